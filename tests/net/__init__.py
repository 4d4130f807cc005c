"""Connections, over in-memory transports and a Clock."""
