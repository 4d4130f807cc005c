"""Options, and what the plugins wire together."""
