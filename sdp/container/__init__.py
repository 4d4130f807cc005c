"""Containers: where records begin in the bytes of a stream (framers), and the writing of MP4 fragments. Pure."""

from sdp.container.formats import framer_for
from sdp.container.opaque import OpaqueFramer
from sdp.container.sniffing import SniffingFramer

__all__ = ["OpaqueFramer", "SniffingFramer", "framer_for"]
