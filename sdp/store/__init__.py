"""The log on disk: where a stream's bytes lie, so that they outlive the memory, the process and the machine's power."""

from sdp.store.files import Files
from sdp.store.recording import READ_LIMIT, Recording
from sdp.store.retention import Limits
from sdp.store.segments import GoneError
from sdp.store.store import GATHER, QUEUE_LIMIT, SEGMENT_SIZE, SYNC_INTERVAL, FileStore
from sdp.store.verifying import Verdict, verify

__all__ = [
    "GATHER",
    "QUEUE_LIMIT",
    "READ_LIMIT",
    "SEGMENT_SIZE",
    "SYNC_INTERVAL",
    "FileStore",
    "Files",
    "GoneError",
    "Limits",
    "Recording",
    "Verdict",
    "verify",
]
