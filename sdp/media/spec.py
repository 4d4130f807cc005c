"""What a source is asked to give: one value that names the input, the container and the encoders' settings."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from attrs import Attribute, field, frozen

__all__ = ["SourceSpec"]

CONTAINERS = ("mp4", "mpegts")
MINIMUM_SIZE = (160, 120)
"""The smallest picture that the test pattern's strip and digits fit in; smaller sizes are refused for all sources."""


def _rate(value: object) -> Fraction | None:
    """Take 30, 29.97, "30000/1001" or a Fraction; the denominator stays small enough for every codec's header."""
    if value is None:
        return None
    if not isinstance(value, (int, float, str, Fraction)):
        raise ValueError(f"rate is frames per second, not {value!r}")
    return Fraction(value).limit_denominator(1001)


def _check_size(_: object, __: Attribute[Any], value: tuple[int, int] | None) -> None:
    if value is None:
        return
    width, height = value
    if width % 2 or height % 2 or width < MINIMUM_SIZE[0] or height < MINIMUM_SIZE[1]:
        raise ValueError(f"size {width}x{height}: give even numbers of at least 160x120")


def _check_container(_: object, __: Attribute[Any], value: str) -> None:
    if value not in CONTAINERS:
        raise ValueError(f"container {value!r}: choose one of {', '.join(CONTAINERS)}")


def _check_positive(_: object, attribute: Attribute[Any], value: float | Fraction | None) -> None:
    if value is not None and value <= 0:
        raise ValueError(f"{attribute.name} {value}: give a number greater than 0")


@frozen(kw_only=True)
class SourceSpec:
    """Where a stream comes from, and in which form it is given out. Raises ValueError for what cannot be.

    ``source``: "test" (the test pattern), "-" (standard input), a path, a URL, a device ("/dev/video0",
    "v4l2:/dev/video0", "x11grab::0.0", any "FORMAT:NAME" of libavdevice).
    """

    source: str = "test"
    container: str = field(default="mp4", validator=_check_container)
    fragment: float | None = field(default=None, validator=_check_positive)
    """Seconds gathered into one record; None: every frame goes out alone, as soon as it is encoded."""
    loop: bool = False
    """Begin a finite source again at its end, with timestamps that go on."""
    size: tuple[int, int] | None = field(default=None, validator=_check_size)
    """Width and height in pixels; None: the input's own (the test pattern's is 1280x720)."""
    rate: Fraction | None = field(default=None, converter=_rate, validator=_check_positive)
    """Frames per second; None: the input's own (the test pattern's is 30)."""
    gop: float = field(default=1.0, validator=_check_positive)
    """Seconds between key frames, where video is encoded: how long a joining consumer may have to reach back."""
    video_bit_rate: int | None = field(default=None, validator=_check_positive)
    """Bits per second; None: constant quality."""
    audio: bool = True
    audio_bit_rate: int = field(default=128_000, validator=_check_positive)
    preset: str = "ultrafast"
    video_codec: str = "libx264"
    audio_codec: str = "aac"
    realtime: bool = True
    """Give out media at the speed of its timestamps; False: as fast as it can be made."""
