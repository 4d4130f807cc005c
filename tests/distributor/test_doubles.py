"""The doubles keep the contracts that they stand for."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from sdp.interfaces import IFramer, IRecording, IStore
from tests.distributor.disk import Disk
from tests.distributor.marked import MarkedFramer


def test_they_provide_what_they_say():
    disk = Disk()
    verifyObject(IStore, disk)
    verifyObject(IRecording, disk.create("a", "1", "text/plain"))
    verifyObject(IFramer, MarkedFramer())
