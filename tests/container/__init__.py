"""Where records begin, and fragments written and read back."""
