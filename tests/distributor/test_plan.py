"""The posting table: from a POST's head, and the epoch that it meets, to what is to be done."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.distributor.conditions import matches, names
from sdp.distributor.posting import Action, Plan, Post, plan, read_post
from sdp.errors import ProtocolError, Refusal
from sdp.http1.fields import ANY, parse_entity_tags
from sdp.http1.ranges import MAX_LAST, ContentRange, parse_content_range

from .marked import marked
from .requests import request


def post(content_range, tags=None, content_type=None):
    return Post(
        range=None if content_range is None else parse_content_range(b"bytes " + content_range),
        content_type=content_type,
        tags=None if tags is None else parse_entity_tags(tags),
        capture_time=None,
        random_access=None,
        declared_length=None,
    )


def meeting(state):
    """An epoch in that state; all that are there end at 10."""
    if state == "none":
        return None
    epoch = marked(b"K234567890", window=0 if state == "evicted" else 1 << 20)
    if state == "promised":
        epoch.complete_length = 20
    if state == "ended":
        epoch.finish()
    return epoch


BEGIN, APPEND, COMPARE, FINISH = Action.BEGIN, Action.APPEND, Action.COMPARE, Action.FINISH
OPEN = b"%d-9007199254740991/*"
MINE, OTHER = b'"1"', b'"0"'

TABLE: list[tuple[str, bytes | None, bytes | None, Any]] = [
    # no such stream
    ("none", b"0-9/*", None, Plan(BEGIN, 0, 10)),
    ("none", b"0-9/10", None, Plan(BEGIN, 0, 10, 10)),
    ("none", b"0-9/99", None, Plan(BEGIN, 0, 10, 99)),
    ("none", OPEN % 0, None, Plan(BEGIN, 0, None)),
    ("none", None, None, Plan(BEGIN)),
    ("none", b"5-9/*", None, 409),
    ("none", b"*/0", None, 409),
    ("none", b"0-9/*", MINE, 412),
    ("none", b"0-9/*", b"*", 412),
    ("none", b"*/0", MINE, 412),
    # open
    ("open", b"10-19/*", None, Plan(APPEND, 10, 20)),
    ("open", b"10-19/*", MINE, Plan(APPEND, 10, 20)),
    ("open", b"10-19/*", b"*", Plan(APPEND, 10, 20)),
    ("open", b"10-19/*", b'"0", "1"', Plan(APPEND, 10, 20)),
    ("open", b"10-19/*", OTHER, 412),
    ("open", b"10-19/*", b'W/"1"', 412),
    ("open", b"5-19/*", None, Plan(APPEND, 5, 20)),
    ("open", b"0-9/*", None, Plan(APPEND, 0, 10)),
    ("open", b"0-4/*", MINE, Plan(APPEND, 0, 5)),
    ("open", b"11-19/*", None, 409),
    ("open", OPEN % 10, None, Plan(APPEND, 10, None)),
    ("open", OPEN % 3, None, Plan(APPEND, 3, None)),
    ("open", OPEN % 11, None, 409),
    ("open", b"10-19/20", None, Plan(APPEND, 10, 20, 20)),
    ("open", b"10-19/99", None, Plan(APPEND, 10, 20, 99)),
    ("open", b"0-9/10", None, Plan(APPEND, 0, 10, 10)),
    ("open", b"0-4/5", None, 409),
    ("open", b"*/10", None, Plan(FINISH)),
    ("open", b"*/10", MINE, Plan(FINISH)),
    ("open", b"*/10", OTHER, 412),
    ("open", b"*/9", None, 409),
    ("open", b"*/11", None, 409),
    ("open", None, None, Plan(BEGIN)),
    # open, and its complete length is said to be 20
    ("promised", b"10-19/20", None, Plan(APPEND, 10, 20, 20)),
    ("promised", b"10-19/*", None, Plan(APPEND, 10, 20)),
    ("promised", OPEN % 10, None, Plan(APPEND, 10, None)),
    ("promised", b"10-19/21", None, 409),
    ("promised", b"10-20/*", None, 409),
    ("promised", b"*/10", None, 409),
    # open, and held no longer in its first part
    ("evicted", b"10-19/*", None, Plan(APPEND, 10, 20)),
    ("evicted", b"9-19/*", None, 409),
    # ended
    ("ended", b"0-9/*", None, Plan(BEGIN, 0, 10)),
    ("ended", b"0-99/*", None, Plan(BEGIN, 0, 100)),
    ("ended", None, None, Plan(BEGIN)),
    ("ended", b"0-9/*", MINE, Plan(COMPARE, 0, 10)),
    ("ended", b"0-9/10", MINE, Plan(COMPARE, 0, 10)),
    ("ended", b"0-9/11", MINE, 409),
    ("ended", b"0-10/*", MINE, 409),
    ("ended", b"5-9/*", None, Plan(COMPARE, 5, 10)),
    ("ended", b"5-10/*", None, 409),
    ("ended", b"10-10/*", None, 409),
    ("ended", OPEN % 5, None, 409),
    ("ended", OPEN % 0, None, Plan(BEGIN, 0, None)),
    ("ended", b"0-9/*", OTHER, 412),
    ("ended", b"*/10", None, Plan(FINISH)),
    ("ended", b"*/9", None, 409),
]


@pytest.mark.parametrize(("state", "content_range", "tags", "expected"), TABLE)
def test_the_table(state, content_range, tags, expected):
    epoch = meeting(state)
    if isinstance(expected, Plan):
        assert plan(post(content_range, tags), epoch, held=False) == expected
        return
    with pytest.raises(Refusal) as caught:
        plan(post(content_range, tags), epoch, held=False)
    assert caught.value.status == expected
    if expected == 409 and state == "ended":
        assert caught.value.headers == ((b"Content-Range", b"bytes */10"),)


@pytest.mark.parametrize(
    ("state", "content_range", "tags", "expected"),
    [
        ("open", b"10-19/*", None, 409),
        ("open", b"0-9/*", None, 409),
        ("open", b"*/10", None, 409),
        ("open", None, None, 409),
        ("open", b"10-19/*", MINE, Plan(APPEND, 10, 20)),
        ("open", b"5-19/*", MINE, Plan(APPEND, 5, 20)),
        ("open", b"*/10", MINE, Plan(FINISH)),
        ("open", b"11-19/*", MINE, 409),
        # The epoch is looked at before who posts.
        ("open", b"10-19/*", OTHER, 412),
        ("ended", b"0-9/*", None, Plan(BEGIN, 0, 10)),
        ("ended", None, None, Plan(BEGIN)),
    ],
)
def test_the_table_where_another_connection_is_the_origin(state, content_range, tags, expected):
    if isinstance(expected, Plan):
        assert plan(post(content_range, tags), meeting(state), held=True) == expected
        return
    with pytest.raises(Refusal) as caught:
        plan(post(content_range, tags), meeting(state), held=True)
    assert caught.value.status == expected


@pytest.mark.parametrize(
    ("declared", "said", "fits"),
    [
        ("video/mp4", None, True),
        ("video/mp4", "video/mp4", True),
        ("video/mp4", "Video/MP4", True),
        ("video/mp4", "video/webm", False),
        (None, "video/webm", True),
    ],
)
def test_the_content_type_of_an_epoch_stays(declared, said, fits):
    epoch = marked(b"K234567890", declared=declared)
    if fits:
        assert plan(post(b"10-19/*", None, said), epoch, held=False).action is APPEND
    else:
        with pytest.raises(Refusal, match="Content-Type"):
            plan(post(b"10-19/*", None, said), epoch, held=False)


def test_an_overlap_that_retention_has_taken_from_an_ended_epoch():
    epoch = meeting("evicted")
    assert epoch is not None
    epoch.append(b"K2345", 0)
    epoch.finish()
    with pytest.raises(Refusal) as caught:
        plan(post(b"5-14/*"), epoch, held=False)
    assert (caught.value.status, caught.value.headers) == (409, ((b"Content-Range", b"bytes */15"),))


offsets = st.integers(0, 30)


@given(
    state=st.sampled_from(["none", "open", "promised", "ended"]),
    first=offsets,
    length=st.integers(1, 30),
    complete=st.none() | offsets,
    tagged=st.booleans(),
    held=st.booleans(),
)
def test_against_a_model(state, first, length, complete, tagged, held):
    """What is taken extends the log without a gap, or is held already; and nobody else is in the way."""
    end = first + length
    if complete is not None and complete < end:
        complete = end
    said = post(
        b"%d-%d/%b" % (first, end - 1, b"*" if complete is None else b"%d" % complete), MINE if tagged else None
    )
    epoch = meeting(state)
    what = refused = None
    try:
        what = plan(said, epoch, held=held)
    except Refusal as refusal:
        refused = refusal.status
    if epoch is None:
        allowed = None if tagged or first else BEGIN
    elif epoch.ended:
        fits = end <= 10 and complete in (None, 10)
        allowed = BEGIN if first == 0 and not tagged else COMPARE if fits else None
    else:
        promised = epoch.complete_length
        fits = first <= 10 and (complete is None or (complete >= 10 and promised in (None, complete)))
        fits = fits and (promised is None or end <= promised) and (tagged or not held)
        allowed = APPEND if fits else None
    assert (what and what.action) == allowed
    if what is None:
        assert refused == (412 if tagged and epoch is None else 409)
    else:
        assert (what.start, what.end) == (first, end)


@pytest.mark.parametrize(
    ("tags", "current", "holds"),
    [(None, None, True), (None, "1", True), (MINE, None, False), (b"*", None, False), (b"*", "1", True)],
)
def test_if_match(tags, current, holds):
    epoch = None if current is None else marked(b"K", identifier=current)
    assert matches(None if tags is None else parse_entity_tags(tags), epoch) is holds


@pytest.mark.parametrize(
    ("tags", "current", "named"),
    [
        (None, "1", False),
        (MINE, "1", True),
        (b"W/" + MINE, "1", True),
        (b'"x"', "1", False),
        (b"*", "1", True),
        (b"*", None, False),
    ],
)
def test_if_none_match(tags, current, named):
    epoch = None if current is None else marked(b"K", identifier=current)
    assert names(None if tags is None else parse_entity_tags(tags), epoch) is named


def test_who_wants_to_be_the_first_is_told_that_somebody_was():
    first = attrs.evolve(post(None), unwanted=ANY)
    assert plan(first, None, held=False).action is Action.BEGIN
    with pytest.raises(Refusal) as refused:
        plan(first, marked(b"K"), held=False)
    assert refused.value.status == 412


# -- heads


def test_a_head_with_everything():
    said = read_post(
        request(
            b"Content-Range: bytes 5-9/20",
            b"Content-Length: 5",
            b"Content-Type: video/mp4",
            b'If-Match: "1"',
            b"Capture-Time: 123",
            b"Random-Access: ?1",
            b"Expect: 100-continue",
            method=b"POST",
        )
    )
    assert said == Post(ContentRange(5, 9, 20), "video/mp4", [(False, b"1")], 123, True, 5)
    assert not said.open_ended


def test_a_head_with_nothing():
    said = read_post(request(b"Transfer-Encoding: chunked", b"If-Match: *", b"Content-Range: bytes 0-%d/*" % MAX_LAST))
    assert (said.tags, said.declared_length, said.open_ended) == (ANY, None, True)
    assert read_post(request(b"Content-Length: 0")).open_ended
    assert read_post(request(b"Content-Range: bytes */5")).range == (None, None, 5)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"Content-Range: bytes 0-4/*",), 411),
        ((), 411),
        ((b"Content-Length: 5", b"Content-Range: bytes 0-4/*", b"Content-Range: bytes 0-4/*"), 400),
        ((b"Content-Length: 5", b"Content-Range: 0-4/*"), 400),
        ((b"Content-Length: 5", b"Content-Range: bytes 4-0/*"), 400),
        ((b"Content-Length: 5", b"Content-Range: bytes 0-4/*, bytes 6-7/*"), 400),
        ((b"Content-Length: 5", b"Content-Range: bytes */5"), 400),
        ((b"Content-Length: 5", b"Content-Range: bytes 0-%d/*" % MAX_LAST), 400),
        ((b"Content-Length: 5", b'If-Match: "1"'), 400),
        ((b"Content-Length: 5", b"If-Match: 1", b"Content-Range: bytes 0-4/*"), 400),
        ((b"Content-Length: 5", b"Capture-Time: 1.5"), 400),
        ((b"Content-Length: 5", b"Capture-Time: -1"), 400),
        ((b"Content-Length: 5", b"Capture-Time: %d" % 2**63), 400),
        ((b"Content-Length: 5", b"Random-Access: 1"), 400),
        ((b"Content-Length: 5", b"Expect: miracle"), 417),
    ],
)
def test_heads_that_are_refused(lines, status):
    with pytest.raises((ProtocolError, Refusal)) as caught:
        read_post(request(*lines, method=b"POST"))
    assert caught.value.status == status
