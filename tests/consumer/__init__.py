"""From answers to GETs to a gapless copy."""
