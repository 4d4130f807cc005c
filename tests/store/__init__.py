"""The log on disk: its index, recovery, faults injected below it."""
