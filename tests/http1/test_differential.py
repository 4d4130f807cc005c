"""The reader beside h11 and httptools (llhttp): every difference is known, and has its reason.

Every message of the tables goes to all three. Where another parser says something else than this one does, the
message stands in DIFFERENCES with who differs and why; a difference that is not listed there fails, and so does a
listed one that is none any more.
"""

from __future__ import annotations

from typing import Any

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ProtocolError
from sdp.http1 import RequestReader
from tests.http1 import test_requests as tables
from tests.http1.cutting import drain

REFUSED = "refused"
INCOMPLETE = "incomplete"


def own_verdict(data: bytes) -> Any:
    reader = RequestReader()
    reader.feed(data)
    events: list[Any] = []
    try:
        drain(reader, events)
    except ProtocolError:
        return REFUSED
    if not reader.at_start or not events:
        return INCOMPLETE
    head = events[0]
    content = b"".join(event for event in events if isinstance(event, bytes))
    lines = [(name.lower(), value) for name, value in head.headers]
    return head.method, head.target, lines, content


def h11_verdict(data: bytes) -> Any:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    content = b""
    head = None
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return INCOMPLETE
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return head.method, head.target, list(head.headers), content
    except h11.RemoteProtocolError:
        return REFUSED


class Collected:
    def __init__(self) -> None:
        self.target = b""
        self.lines: list[tuple[bytes, bytes]] = []
        self.content = b""
        self.in_trailers = self.done = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.in_trailers:
            self.lines.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.in_trailers = True

    def on_body(self, data: bytes) -> None:
        self.content += data

    def on_message_complete(self) -> None:
        self.done = True


def httptools_verdict(data: bytes) -> Any:
    collected = Collected()
    parser = httptools.HttpRequestParser(collected)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass  # CONNECT: the head is whole
    except httptools.HttpParserError:
        return REFUSED
    if not collected.done:
        return INCOMPLETE
    return parser.get_method(), collected.target, collected.lines, collected.content


ORACLES = {"h11": h11_verdict, "httptools": httptools_verdict}

CORPUS = [
    *(head + b"\r\n" for head, _ in tables.REFUSED),
    *(tables.CHUNKED + content for content in tables.CHUNKS_REFUSED),
    *(tables.CHUNKED + content for content, _, _ in tables.CHUNKS),
    *(tables.get(line=method + b" " + target + b" HTTP/1.1") for method, target in tables.TARGETS),
    *(tables.get(fields, b"GET / " + version) for version, fields, _, _ in tables.VERSIONS),
    *(tables.get(tables.HOST + field, b"GET / " + version) for version, field, _ in tables.PERSISTENCE),
    *(b"POST / " + version + b"\r\n" + tables.HOST + rest for version, rest, _, _ in tables.EXPECTATIONS),
    tables.POST + b"Content-Length: 5\r\n\r\nhello",
    tables.POST + b"Content-Length: 0\r\n\r\n",
    b"\r\n" + tables.get(),
]

H, P, C = tables.HOST, tables.POST, tables.CHUNKED
BOTH = ("h11", "httptools")


def line(text: bytes) -> bytes:
    return text + b"\r\n" + H + b"\r\n"


def host(value: bytes, version: bytes = b"1.1") -> bytes:
    return b"GET / HTTP/" + version + b"\r\nHost:" + value + b"\r\n\r\n"


DIFFERENCES: list[tuple[str, tuple[str, ...], list[bytes]]] = [
    # Where this reader is stricter
    (
        "RFC 9112 section 3: one space between method and target; both have to be there, and a version. (llhttp takes "
        "an HTTP/0.9 request, and runs of spaces.)",
        ("httptools",),
        [line(b"GET  / HTTP/1.1"), line(b"GET /")],
    ),
    (
        "RFC 9110 section 2.5: another major version is another protocol: 505. It is h11's caller who is to look at "
        "the version; llhttp knows 0.9 and 2.0, too.",
        BOTH,
        [line(b"GET / HTTP/2.0"), line(b"GET / HTTP/0.9"), b"PRI * HTTP/2.0\r\n\r\n"],
    ),
    (
        "RFC 9112 section 2.2: at least one empty line, and a whole one, should be ignored before a request; one is.",
        ("httptools",),
        [b"\r\n" + b"\r\n" + tables.get(), b"\n" + tables.get(), b"\r" + tables.get()],
    ),
    (
        "RFC 9112 section 2.2: a recipient may take a single LF for a line's end. PROTOCOL: it does not here, since a "
        "proxy before it may not either.",
        ("h11",),
        [
            b"GET / HTTP/1.1\n" + H + b"\r\n",
            tables.get(H + b"A: b\n"),
            tables.get(H + b"A: b\nC: d\r\n"),
            C + b"0\r\nA: b\n\r\n\r\n",
            C + b"0\r\n\n",
            C + b"0\r\n\rA",
        ],
    ),
    (
        "RFC 9112 section 3.2: a target is in one of four forms, none has a fragment, and * is for OPTIONS alone. "
        "RFC 9110 section 4.2: an http URI has a host and no user information.",
        BOTH,
        [
            line(b"GET /a#b HTTP/1.1"),
            line(b"GET * HTTP/1.1"),
            line(b"GET ftp://example.org/ HTTP/1.1"),
            line(b"GET http:///x HTTP/1.1"),
            line(b"GET http://u@example.org/ HTTP/1.1"),
        ],
    ),
    (
        "RFC 9112 section 3.2: the same; llhttp looks at the form of a target's beginning, h11 does not.",
        ("h11",),
        [line(b"GET a HTTP/1.1"), line(b"GET example.org:80 HTTP/1.1")],
    ),
    (
        "RFC 9110 section 9.3.6: CONNECT has a host and a port that can be.",
        BOTH,
        [
            line(b"CONNECT " + target + b" HTTP/1.1")
            for target in (
                b"/", b"example.org", b"example.org:", b"example.org:0", b"example.org:65536", b":80",
                b"http://example.org:80",
            )
        ],
    ),
    (
        "RFC 9112 section 3.2: a request lacks no Host and has one. llhttp leaves that to its caller.",
        ("httptools",),
        [tables.get(b""), tables.get(H + H), tables.get(H + H, b"GET / HTTP/1.0")],
    ),
    (
        "RFC 9112 section 3.2: a Host that is no uri-host and port is answered with 400; section 3.3: an empty one may "
        "be refused. Both leave its syntax to their callers.",
        BOTH,
        [
            *(host(b" " + value) for value in (b"a b", b"a/b", b"u@a", b"a:b", b"a:65536", b"[::g]")),
            *(host(b" " + value) for value in (b"[1.2.3.4]", b"%4")),
            host(b""),
            host(b" \xff", b"1.0"),
        ],
    ),
    (
        "RFC 9112 section 5.2: a server refuses obs-fold, or replaces it. This one refuses it, as PROTOCOL says.",
        ("h11",),
        [tables.get(H + b"A: b\r\n c\r\n"), tables.get(H + b"A: b\r\n\tc: d\r\n"), C + b"0\r\nA: b\r\n c\r\n\r\n"],
    ),
    (
        "RFC 9110 section 5.5: DEL is no character of a field value.",
        ("h11",),
        [tables.get(H + b"A: \x7f\r\n")],
    ),
    (
        "RFC 9110 section 7.6.1: Connection is a list of tokens; one that cannot be read could hide a close.",
        BOTH,
        [tables.get(H + b'Connection: "close\r\n')],
    ),
    (
        "RFC 9110 section 8.6: repeated equal Content-Lengths may be taken for one, or refused; they are refused.",
        ("h11",),
        [P + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", P + b"Content-Length: 0, 0\r\n\r\n"],
    ),
    (
        "RFC 9110 section 8.6: a recipient must guard against numbers that it cannot hold: 2^63 - 1 is the greatest "
        "here; Python's integers end nowhere, llhttp's at 2^64 - 1.",
        BOTH,
        [P + b"Content-Length: 9223372036854775808\r\n\r\n"],
    ),
    (
        "RFC 9112 section 6.1: Content-Length beside Transfer-Encoding ought to be an error. h11 lets chunked win.",
        ("h11",),
        [
            P + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
            P + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        ],
    ),
    (
        "RFC 9112 section 6.1: an unknown transfer coding is answered with 501. llhttp leaves that to its caller.",
        ("httptools",),
        [P + b"Transfer-Encoding: gzip, chunked\r\n\r\n"],
    ),
    (
        "RFC 9112 section 6.1: Transfer-Encoding in HTTP/1.0 is a message with faulty framing.",
        BOTH,
        [b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ),
    (
        "RFC 9112 section 7.1: a chunk size can have any number of digits, and must not overflow: 16 are enough.",
        BOTH,
        [C + b"00000000000000001\r\nx\r\n"],
    ),
    (
        "RFC 9112 section 7.1: the same; h11 takes 20 digits.",
        ("h11",),
        [C + b"10000000000000000\r\nx\r\n"],
    ),
    (
        "RFC 9112 section 7.1.1: a chunk extension has a name, and a value if it has an equals sign.",
        BOTH,
        [C + b"1;a=\r\nx\r\n", C + b"1;=b\r\nx\r\n"],
    ),
    (
        "RFC 9112 section 7.1.1: the same, and no white space after it. h11 does not look into extensions.",
        ("h11",),
        [
            C + chunk_line + b"\r\nx\r\n"
            for chunk_line in (b"1 ", b"1;", b"1;a=b c", b'1;a="b', b'1;a="\x00"')
        ],
    ),
    (
        "RFC 9110 section 6.5.1: fields of framing, routing, and authentication have no place in trailers.",
        BOTH,
        [
            C + b"0\r\nhOST: a\r\n\r\n",
            C + b"0\r\nA: b\r\nContent-Range: bytes 0-1/*\r\n\r\n",
            C + b"0\r\nAuthorization: a b\r\n\r\n",
        ],
    ),
    (
        "RFC 9110 section 6.5.1: the same; llhttp minds framing in trailers, h11 does not.",
        ("h11",),
        [C + b"0\r\nContent-Length: 1\r\n\r\n", C + b"0\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ),
    # Where this reader takes more
    (
        "RFC 9112 section 7.1.1: BWS may stand around the semicolon and the equals sign of an extension, and a "
        "recipient has to read it (RFC 9110 section 5.6.3).",
        BOTH,
        [C + b'1 \t; a = b ;c = "\xe9 ,"\r\nx\r\n0\r\n\r\n'],
    ),
    (
        "RFC 9110 section 9.1: any token is a method. llhttp knows a list of them.",
        ("httptools",),
        [line(b"M-!#$%&'*+.^_`|~9 /x HTTP/1.1")],
    ),
    (
        "RFC 9110 section 2.5: a higher minor version is read as the highest that is known.",
        ("httptools",),
        [line(b"GET / HTTP/1.9")],
    ),
    (
        "RFC 9112 section 2.2: at least one empty line before a request should be ignored. h11 refuses it.",
        ("h11",),
        [b"\r\n" + tables.get()],
    ),
    # Where both take it, and give something else
    (
        "h11 gives the value of Transfer-Encoding in lower case; it is the same by RFC 9112 section 7.",
        ("h11",),
        [b"POST / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"],
    ),
]  # fmt: skip

KNOWN = {(message, oracle) for _, oracles, messages in DIFFERENCES for message in messages for oracle in oracles}


@pytest.mark.parametrize("oracle", sorted(ORACLES))
@pytest.mark.parametrize("message", list(dict.fromkeys(CORPUS)))
def test_every_difference_is_known(message, oracle):
    own, other = own_verdict(message), ORACLES[oracle](message)
    if (message, oracle) in KNOWN:
        assert own != other, "no difference any more"
    else:
        assert own == other


def test_every_known_difference_is_looked_at():
    assert {message for message, _ in KNOWN} <= set(CORPUS)


names = st.sampled_from([b"A", b"Accept", b"X-Long-Name", b"Range", b"User-Agent"])
values = st.from_regex(rb"(?:[\x21-\x7e](?:[ -~]{0,10}[\x21-\x7e])?)?", fullmatch=True)
targets = st.from_regex(rb"/[A-Za-z0-9/_.~-]{0,20}(?:\?[a-z=&]{0,8})?", fullmatch=True)


@given(
    st.sampled_from([b"GET", b"POST", b"HEAD"]),
    targets,
    st.lists(st.tuples(names, values)),
    st.binary(max_size=30),
    st.booleans(),
)
def test_ordinary_requests_make_no_difference(method, target, fields, content, chunked):
    data = method + b" " + target + b" HTTP/1.1\r\nHost: a\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields)
    if chunked:
        data += (
            b"Transfer-Encoding: chunked\r\n\r\n"
            + (b"%x\r\n%b\r\n" % (len(content), content) if content else b"")
            + b"0\r\n\r\n"
        )
    else:
        data += b"Content-Length: %d\r\n\r\n" % len(content) + content
    verdict = own_verdict(data)
    assert isinstance(verdict, tuple)
    assert {name: oracle(data) for name, oracle in ORACLES.items()} == dict.fromkeys(ORACLES, verdict)
