"""The statistics as lines of text, for the panel over the picture. Pure."""

from __future__ import annotations

from typing import Any

__all__ = ["lines_of", "title_of"]


def _ms(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f} ms"


def lines_of(told: dict[str, Any], past: float) -> list[str]:
    """What :meth:`sdp.consumer.report.Report.told` says, for people; ``past`` in seconds where it is not live."""
    glass, decoded, offset = told["glass_to_glass_ms"], told["to_decoded_ms"], told["clock_offset_ms"]
    clock = "clock ?" if offset is None else f"clock {offset:+.2f} (+/- {told['clock_error_ms']:.2f}) ms"
    return [
        f"{told['state']}" + (f", {past:.0f} s ago" if past else ""),
        f"glass to glass {_ms(glass and glass['p50'])}, p99 {_ms(glass and glass['p99'])}",
        f"to decoded {_ms(decoded and decoded['p50'])}",
        f"delay {_ms(told['delay_ms'])} of {_ms(told['target_ms'])}, rate {told['rate']:.3f}",
        f"buffer {_ms(told['buffer_ms'])}, {told['bit_rate'] / 1e6:.2f} Mbit/s",
        f"shown {told['shown']}, late {told['late']}, dropped {told['dropped']}",
        f"stalls {told['stalls']}, skips {told['skips']}, missing {told['missing']}",
        clock,
    ]


def title_of(name: str, told: dict[str, Any], past: float) -> str:
    """A window's title."""
    if past:
        return f"{name}: {past:.0f} s ago"
    glass = told["glass_to_glass_ms"]
    return f"{name}: {told['state']}" + ("" if glass is None else f", {glass['p50']:.0f} ms")
