"""What every benchmark over loopback shares: processes that are started and ended, load, its stamps, and figures.

Nothing here is part of the way of a stream: a benchmark stands outside, as a client does, and looks at the server's
process through ``/proc``. Standard library only; the C sources beside it are built where there is a compiler.
"""
