"""Ingest, fan-out and views, a client and a server over in-memory transports."""
