"""The real commands as processes, over loopback."""
