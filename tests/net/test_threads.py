"""Threads that may hang, and do not keep the process."""

from __future__ import annotations

import threading

from sdp.net.threads import DaemonPool


def test_a_thread_begins_when_it_is_needed_and_keeps_nobody():
    pool = DaemonPool(1, "test")
    before = threading.active_count()
    pool.start()
    assert threading.active_count() == before
    found: list[bool] = []
    done = threading.Event()
    pool.callInThreadWithCallback(lambda *_: done.set(), lambda: found.append(threading.current_thread().daemon))
    assert done.wait(20)
    assert found == [True]
    pool.stop()
    assert threading.active_count() == before
