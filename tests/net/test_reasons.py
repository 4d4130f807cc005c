"""Why a connection failed: a sentence's end, never a library's own words where those say nothing."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, DNSLookupError, TimeoutError

from sdp.net.reasons import reason


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionDone(), "the peer closed it"),
        (ConnectionRefusedError("Connection refused"), "nothing listens there"),
        (ConnectionResetError("Connection reset by peer."), "Connection reset by peer"),
        (DNSLookupError("no results"), "no host of that name"),
        (TimeoutError(), "does not answer"),
        (OSError(), "OSError"),
        (VerificationError(errors=[]), "its certificate is another host's"),
        (SSL.Error([("SSL routines", "", "certificate verify failed")]), "--ca-file"),
        (SSL.Error([("SSL routines", "", "wrong version number")]), "no TLS there"),
        (SSL.Error([("SSL routines", "", "one"), ("SSL routines", "", "two")]), "one; two"),
        (SSL.Error([]), "TLS failed"),
        (SSL.Error(), "TLS failed"),
    ],
)
def test_what_is_said(error, said):
    assert said in reason(error)
    assert not reason(error).endswith(".")
