"""What the system says when a disk fails, as a sentence for the person who meets it."""

from __future__ import annotations

import errno

from sdp.errors import StorageError

__all__ = ["disk_error"]

_ADVICE = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in this user's quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.EROFS: "mount the file system writable",
    errno.ENOENT: "somebody has taken it away",
    errno.EMFILE: "raise the limit on open files",
    errno.EEXIST: "an epoch's identifier can be used once",
}


def disk_error(doing: str, path: object, error: OSError) -> StorageError:
    """The sentence for an OSError: what could not be done, to what, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0, "see what the system says of that disk")
    return StorageError(f"Cannot {doing} {path}: {error.strerror or error}; {advice}.")
