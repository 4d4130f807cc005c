"""Why a connection did not come about, or was lost, as a person would say it."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError, TimeoutError

__all__ = ["reason"]

_OF_SOCKETS = {
    ConnectionDone: "the peer closed it",
    ConnectionRefusedError: "nothing listens there (connection refused)",
    DNSLookupError: "no host of that name is known",
    TimeoutError: "it does not answer",
}
_OF_TLS = {
    "certificate verify failed": "no certificate that is trusted here vouches for it (--ca-file names others)",
    "wrong version number": "it speaks no TLS there (http, not https?)",
    "tlsv1 alert unknown ca": "it does not trust this side's certificate",
}
"""What OpenSSL calls it, and what it means. The rest is left in OpenSSL's words."""


def reason(error: BaseException | None) -> str:
    """Return the end of a sentence, without its stop."""
    for kind, words in _OF_SOCKETS.items():
        if isinstance(error, kind):
            return words
    match type(error).__name__:
        case "VerificationError":  # service_identity's, in a list for each name
            return "its certificate is another host's"
        case "Error" if error is not None and type(error).__module__.startswith("OpenSSL"):
            return _of_tls(error)
    text = str(error).strip().rstrip(".")
    return text or type(error).__name__


def _of_tls(error: BaseException) -> str:
    """OpenSSL's errors hold a list of (library, function, reason)."""
    causes = error.args[0] if error.args and isinstance(error.args[0], list) else []
    texts = [str(cause[-1]) for cause in causes if cause]
    return "; ".join(_OF_TLS.get(text, text) for text in texts) or "TLS failed"
