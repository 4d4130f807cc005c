"""Sources: the test pattern, files, pacing, encoding."""
