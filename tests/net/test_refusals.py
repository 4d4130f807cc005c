"""A refusal as a line for people, and the numbers in a refusal's fields."""

from __future__ import annotations

import pytest

from sdp.http1 import Headers
from sdp.net.refusals import complete_length, offset_field, retry_after, sentence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"title": "T", "detail": "Do this."}', "Do this (409)"),
        (b'{"title": "T"}', "T (409)"),
        (b'{"detail": 5}', "the answer was 409"),
        (b"[]", "the answer was 409"),
        (b"<html>", "the answer was 409"),
        (b"\xff", "the answer was 409"),
        (b'{"detail": "one\\nfake line\\u001b[2J"}', "one fake line [2J (409)"),
    ],
)
def test_why(content, said):
    assert sentence(409, content) == said


def test_a_long_story_is_cut():
    assert len(sentence(409, b'{"detail": "%b"}' % (b"x" * 10_000))) < 600


@pytest.mark.parametrize(
    ("value", "length"), [(b"bytes */7", 7), (b"bytes 0-6/7", None), (b"bytes */x", None), (None, None)]
)
def test_the_length_of_what_has_ended(value, length):
    assert complete_length(Headers([] if value is None else [(b"Content-Range", value)])) == length


@pytest.mark.parametrize(("value", "offset"), [(b"0", 0), (b"12", 12), (b"+1", None), (b"", None), (b"9" * 30, None)])
def test_offsets(value, offset):
    assert offset_field(Headers([(b"Upload-Offset", value)]), b"upload-offset") == offset


@pytest.mark.parametrize(("value", "after"), [(b"3", 3.0), (b"Fri, 1 Jan", 0.0), (b"99999", 0.0), (None, 0.0)])
def test_when_to_ask_again(value, after):
    assert retry_after(Headers([] if value is None else [(b"Retry-After", value)])) == after
