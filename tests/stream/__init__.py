"""The log in memory, its cursors, the life of an epoch."""
