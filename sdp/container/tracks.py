"""What an encoder gives, as MP4 describes it: a track, and the samples of it."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["Sample", "Track"]


@attrs.frozen(kw_only=True)
class Track:
    """One elementary stream; times of its samples are in units of 1/``timescale`` s, ``bit_rate`` in bits a second.

    ``codec`` is the sample entry's name: avc1, hvc1, hev1, av01, vp09, mp4a, mp3, Opus, fLaC. ``extradata`` is, for
    avc1 and hvc1/hev1, the content of avcC or hvcC, or Annex B parameter sets; for av01 the content of av1C, or
    OBUs; for vp09 the content of vpcC after its version, or nothing; for mp4a the AudioSpecificConfig; for Opus the
    OpusHead; for fLaC the STREAMINFO.
    """

    id: int
    kind: Literal["video", "audio"]
    codec: str
    timescale: int
    extradata: bytes = b""
    width: int = 0
    height: int = 0
    channels: int = 2
    sample_rate: int = 48000
    bit_rate: int = 0


@attrs.frozen
class Sample:
    """One coded picture, or one packet of sound: all times in units of its track's timescale.

    ``data`` is as MP4 holds it (H.264 and HEVC: with 4-byte lengths, see
    :func:`~sdp.container.parameter_sets.avc_from_annex_b`), and never empty: a coder's last, empty packet is no sample.
    ``composition_offset`` is presentation time less decode time, and may be negative. ``sync`` is whether decoding can
    start with it.
    """

    track_id: int
    data: bytes
    decode_time: int
    duration: int
    composition_offset: int = 0
    sync: bool = True
