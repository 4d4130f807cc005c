"""The pages: rendered from a Distributor's streams, beside a fixed set of files read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["Pages"]

CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What may be among the assets, by suffix."""

STATES: Final = ("live", "stalled", "ended")
"""In the order in which a person looks for them."""


class Pages:
    """Renders the pages for people, and holds the files that these load.

    All files are read when it is made, so that no request reaches the file system.
    """

    def __init__(self) -> None:
        package = files(__package__ or "sdp.web")
        self._assets = dict(_read_assets(package / "assets"))
        environment = Environment(
            loader=PackageLoader("sdp.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters["bit_rate"] = bit_rate
        self._index = environment.get_template("index.html")
        self._watch = environment.get_template("watch.html")

    def index(self, streams: Sequence[Mapping[str, Any]]) -> bytes:
        """Return the page that lists ``streams`` (each the JSON object of ``/-/streams``): the live ones first."""
        ordered = sorted(streams, key=_place)
        live = sum(stream["state"] == "live" for stream in ordered)
        return self._index.render(streams=ordered, live=live).encode()

    def watch(self, name: str) -> bytes:
        """Return the page that plays the stream ``name``, whether there is such a stream or not yet."""
        return self._watch.render(name=name).encode()

    def asset(self, name: str) -> tuple[str, bytes] | None:
        """Return content type and bytes of the file served as ``/-/assets/NAME``, or None where there is none."""
        return self._assets.get(name)


def bit_rate(rate: float) -> str:
    """Say ``rate``, in bits a second, with three significant figures; streams.js says it alike."""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate >= 0.9995 * size:
            value = rate / size
            return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"
    return f"{rate:.0f} bit/s"


def _place(stream: Mapping[str, Any]) -> tuple[int, str]:
    state = stream["state"]
    return (STATES.index(state) if state in STATES else len(STATES), stream["name"])


def _read_assets(directory: Traversable) -> list[tuple[str, tuple[str, bytes]]]:
    found = []
    for entry in directory.iterdir():
        content_type = CONTENT_TYPES.get("." + entry.name.rpartition(".")[2])
        if content_type is not None:
            found.append((entry.name, (content_type, entry.read_bytes())))
    return found
