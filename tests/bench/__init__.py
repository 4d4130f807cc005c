"""The benchmarks' own arithmetic and processes."""
