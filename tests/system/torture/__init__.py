"""The torture run: everything on the way of a stream is killed, stopped, cut off and starved, and no byte is lost.

    python -m tests.system.torture --seed 1 --faults 200 [--source clip.mp4]

Origin > line > Distributor with a store > line > relay > line > recorder, and a second recorder at the Distributor, for
a live test pattern and for a file. ``schedule`` makes a seed into faults, ``faults`` inflicts them on the ``scene``,
``watch`` notes whatever is announced to be durable, and ``judge`` says at the end what was not kept of all that.
"""
