"""Taps: what twistd reads of a role: its options, and the service that they ask for."""
