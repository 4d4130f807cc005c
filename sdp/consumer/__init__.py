"""The Consumer: a stream's bytes, kept as a gapless copy, or taken live as records."""
