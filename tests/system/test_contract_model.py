"""The posting table of the wire contract as a model: random posts to a running Distributor, each answer foretold."""

from __future__ import annotations

import random
from pathlib import Path

import attrs
import pytest

from tests.system.client import LAST_CHUNK, Peer, Response, chunk, content_range
from tests.system.processes import Distributor, problem_of

pytestmark = pytest.mark.system

STEPS = 250


@attrs.define
class Model:
    """What the contract says that a stream without a connected Origin is."""

    data: bytes | None = None
    ended: bool = False
    promised: int | None = None
    etag: str = ""

    @property
    def end(self) -> int:
        return len(self.data or b"")

    def post(self, first: int, body: bytes, complete: int | None, tag: str | None) -> int:
        """Do what the table says, and return the status; ``tag`` is ``right``, ``wrong`` or None."""
        if tag is not None and (self.data is None or tag == "wrong"):
            return 412
        if self.data is None or (self.ended and first == 0 and tag is None):
            return self._begin(first, body, complete)
        last = first + len(body)
        if self.ended:
            fits = last <= self.end and complete in (None, self.end)
            return 204 if fits and self.data[first:last] == body else 409
        if first > self.end or self._contradicts(complete, last):
            return 409
        overlap = min(last, self.end) - first
        if self.data[first : first + overlap] != body[:overlap]:
            return 409
        self.data += body[overlap:]
        self._promise(complete)
        return 204

    def _begin(self, first: int, body: bytes, complete: int | None) -> int:
        if first > 0:
            return 409
        self.data, self.ended, self.promised, self.etag = body, False, None, ""
        self._promise(complete)
        return 201

    def _contradicts(self, complete: int | None, last: int) -> bool:
        if complete is not None and (complete < self.end or self.promised not in (None, complete)):
            return True
        return self.promised is not None and last > self.promised

    def _promise(self, complete: int | None) -> None:
        self.promised = self.promised if complete is None else complete
        self.ended = self.promised == self.end

    def finish(self, length: int, tag: str | None) -> int:
        if tag is not None and (self.data is None or tag == "wrong"):
            return 412
        if self.data is None or length != self.end or (self.promised not in (None, length)):
            return 409
        self.ended, self.promised = True, length
        return 204


def fields_for(model: Model, tag: str | None) -> dict[str, str]:
    match tag:
        case "right":
            return {"If-Match": model.etag or '"none"'}
        case "wrong":
            return {"If-Match": '"other"'}
    return {}


def some_post(chance: random.Random, model: Model) -> tuple[int, bytes, int | None]:
    """A range near the log's end, its bytes mostly the right ones, and now and then a complete length."""
    first = max(0, model.end + chance.choice((0, 0, 0, 0, -1, -5, -model.end, 1)))
    if model.ended and chance.random() < 0.2:
        first = 0
    body = bytes(chance.choices(b"abc", k=chance.randint(1, 12)))
    held = (model.data or b"")[first : first + len(body)]
    if chance.random() < 0.8:
        body = held + body[len(held) :]
    last = first + len(body)
    complete = None
    if chance.random() < 0.15:
        complete = last + chance.choice((0, 0, 1, 8))
    elif model.promised is not None and chance.random() < 0.6 and last <= model.promised:
        complete = model.promised
    return first, body, complete


def send(peer: Peer, chance: random.Random, name: str, fields: dict[str, str], body: bytes) -> Response:
    if chance.random() < 0.5:
        return peer.call(chance.choice(("POST", "PUT")), f"/{name}", fields, body)
    cut = chance.randint(0, len(body))
    peer.send(peer.head_bytes("POST", f"/{name}", {**fields, "Transfer-Encoding": "chunked"}))
    for piece in (body[:cut], body[cut:]):
        if piece:
            peer.send(chunk(piece))
    peer.send(LAST_CHUNK)
    return peer.response("POST")


def step(peer: Peer, chance: random.Random, name: str, model: Model) -> tuple[Response, int]:
    """Do one thing to the stream and to the model; return the answer, and the status that the model foretells."""
    tag = chance.choice((None, None, None, "right", "wrong"))
    what = chance.random()
    if what < 0.03:
        expected = 404 if model.data is None else 204
        response = peer.call("DELETE", f"/{name}")
        model.data, model.ended, model.promised, model.etag = None, False, None, ""
        return response, expected
    if what < 0.06:
        body = bytes(chance.choices(b"xyz", k=chance.randint(0, 9)))
        response = send(peer, chance, name, {}, body)
        model.data, model.ended, model.promised = body, True, len(body)
        return response, 201
    fields = fields_for(model, tag)
    if what < 0.15:
        length = max(0, model.end + chance.choice((0, 0, 1, -1)))
        response = peer.call("POST", f"/{name}", {"Content-Range": f"bytes */{length}", **fields}, b"")
        return response, model.finish(length, tag)
    first, body, complete = some_post(chance, model)
    lines = {**content_range(first, first + len(body) - 1, "*" if complete is None else complete), **fields}
    response = send(peer, chance, name, lines, body)
    return response, model.post(first, body, complete, tag)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("which", ["distributor", "stored"])
def test_random_posts(request: pytest.FixtureRequest, name: str, which: str, seed: int) -> None:
    server: Distributor = request.getfixturevalue(which)
    chance, model = random.Random(seed), Model()
    with server.peer() as peer, server.peer() as reader:
        for _ in range(STEPS):
            response, expected = step(peer, chance, name, model)
            assert response.status == expected, (response, model)
            if expected >= 400:
                problem_of(response, expected)
            elif expected == 201:
                assert response.etag != model.etag
                model.etag = response.etag
            assert response.end == model.end, (response, model)
            assert response.get("ETag") == (None if model.data is None else model.etag)
            if model.end:
                got = reader.call("GET", f"/{name}", {"Range": f"bytes=0-{model.end - 1}"})
                assert got.body == model.data
                assert got["Content-Range"] == f"bytes 0-{model.end - 1}/{model.end if model.ended else '*'}"
    assert server.call("HEAD", f"/{name}").status == (404 if model.data is None else 200)


def test_random_posts_survive_a_restart(start, tmp_path: Path) -> None:
    """What the model holds at the drain is what the next Distributor has, open or ended."""
    server = start(store=tmp_path / "store")
    models: dict[str, Model] = {}
    for seed in range(20):
        chance, model = random.Random(1000 + seed), Model()
        with server.peer() as peer:
            for _ in range(chance.randint(1, 25)):
                response, expected = step(peer, chance, f"s/{seed}", model)
                assert response.status == expected
                if expected == 201:
                    model.etag = response.etag
        models[f"s/{seed}"] = model
    server.stop()
    again = start(store=tmp_path / "store")
    for name, model in models.items():
        head = again.call("HEAD", f"/{name}")
        if model.data is None:
            assert head.status == 404
            continue
        assert (head.end, head.etag) == (model.end, model.etag)
        assert again.log_of(name) == model.data
        assert (again.describe(name)["state"] == "ended") == model.ended
