"""The laboratory's second engine: the same roles in virtual time, exact, repeatable, and faster than the clock.

What is real here: the Distributor and the relays with all that they decide (the service of ``sdp.distributor``), the
Origin's log and poster, the consumers' requests and their reading of the answers, and each byte of HTTP and of
fragmented MP4 between them. What is a model: time, which passes only where something waits for it; the lines between
the machines (rate, delay, jitter, loss, stalls by seed) and what a server's network carries out; the pictures, whose
sizes are drawn by seed. What is not there: processors, codecs and disks. All computing takes no time at all, so a
latency here is what the architecture and the network cost, and the real engine's is that and the machine's share.
"""

from sdp.lab.virtual.cell import VirtualCell, run_cell, unable

__all__ = ["VirtualCell", "run_cell", "unable"]
