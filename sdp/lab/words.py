"""A run in words: numbers as a person reads them, and the answer in a sentence. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from sdp.lab.effects import Effect
from sdp.lab.statistics import PROBABILITIES, Interval, widened
from sdp.lab.summary import Condition, Summary

__all__ = ["NEVER", "NOTHING", "answer", "duration", "interval", "percent", "question", "signed", "step", "way"]

NEVER: Final = "never"
"""In place of a latency that has no end."""

NOTHING: Final = "\N{EN DASH}"
"""In place of what is not known."""


def duration(microseconds: float) -> str:
    """``4.13 ms``, ``41.3 ms``, ``413 ms``, ``4.13 s``: three digits, which is more than most of them deserve."""
    if math.isnan(microseconds):
        return NOTHING
    if math.isinf(microseconds):
        return NEVER
    size = abs(microseconds)
    value, unit = (microseconds / 1000, "ms") if size < 9_995_000 else (microseconds / 1e6, "s")
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    text = f"{value:,.{digits}f}"
    return f"{'0.00' if text == '-0.00' else text} {unit}".replace("-", "\N{MINUS SIGN}")


def signed(microseconds: float) -> str:
    """A difference, with its sign."""
    if math.isinf(microseconds):
        return "until never" if microseconds > 0 else "from never"
    return ("+" if microseconds > 0 else "") + duration(microseconds)


def interval(found: Interval, show: Any = duration) -> str:
    """``4.13 ms to 4.40 ms``, the unit once where it is the same."""
    low, high = show(found.low), show(found.high)
    if low == high:
        return str(low)
    unit = high.rsplit(" ", 1)[-1]
    return f"{low.removesuffix(' ' + unit)} to {high}"


def percent(share: float) -> str:
    """``0.3 %``; never a rounded 0 or 100 where it is not that."""
    if math.isnan(share):
        return NOTHING
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.0005:
        return "< 0.1 %"
    return f"{min(share * 100, 99.9):.1f} %"


_NAMES: Final = {
    "presented": "its presentation",
    "decoded": "its decoded picture",
    "fetched": "its last byte's arrival",
}


def way(end: str) -> str:
    """What a latency is the time of."""
    return f"from the drawing of a frame to {_NAMES[end]}"


def step(start: str, end: str) -> str:
    """A bar of a waterfall by what happens in it."""
    return _STEPS.get(end, f"to relay {end[3:]}" if end.startswith("hop") else f"{start} to {end}")


_STEPS: Final = {
    "encoded": "encoding",
    "written": "packaging",
    "posted": "posting",
    "received": "to the Distributor",
    "appended": "into the log",
    "durable": "sync",
    "fanned_out": "fan-out",
    "fetched": "to the consumer",
    "decoded": "decoding",
    "presented": "presentation",
}


def question(summary: Summary) -> str:
    """What was asked: the scenario's own words, else what it varies."""
    asked = _find(summary.run, "question") or _find(summary.run, "title")
    if asked:
        return asked
    if not summary.steps:
        return "What is the latency?"
    return f"What {'does' if len(summary.steps) == 1 else 'do'} {_listed(list(summary.steps))} cost?"


def _find(run: Any, key: str) -> str | None:
    for table in (run, run.get("scenario"), run.get("run")):
        if isinstance(table, dict) and isinstance(table.get(key), str) and table[key] not in ("", "none"):
            return str(table[key])
    return None


def answer(summary: Summary) -> str:
    """What came out, in a sentence or a few: the medians, what matters beyond noise, what was lost."""
    conditions = summary.known
    if not conditions:
        return "No picture was due in any cell: there is nothing to tell."
    if len(conditions) == 1:
        parts = [_alone(conditions[0], summary)]
    elif len(summary.steps) == 1:
        parts = [_one_factor(conditions, summary)]
    else:
        parts = [_many_factors(summary, conditions)]
    return " ".join(
        each
        for each in (_joined(conditions), _recovered(conditions), *parts, _lost(conditions), _drifted(conditions))
        if each
    )


def _alone(condition: Condition, summary: Summary) -> str:
    median, _, late, greatest = condition.quantiles
    return (
        f"Half of the frames take at most {duration(median.value)} {way(summary.end)}, "
        f"99 of 100 at most {duration(late.value)}, and the slowest {duration(greatest.value)}."
    )


def _one_factor(conditions: Sequence[Condition], summary: Summary) -> str:
    if any(each.interval.excludes_zero for each in summary.effects[PROBABILITIES[0]]):
        return _spread(conditions, summary)
    shown = [duration(value) for value in sorted({each.quantiles[0].value for each in conditions})]
    between = shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1]}"
    [name] = summary.steps
    return f"{_begun(name)} makes no difference to the median beyond noise: it is {between} {way(summary.end)}."


def _spread(conditions: Sequence[Condition], summary: Summary) -> str:
    """From the best to the worst condition, by the median and by p99, which need not be the same ones."""

    def between(at: int) -> str:
        best = min(conditions, key=lambda each: each.quantiles[at].value)
        worst = max(conditions, key=lambda each: each.quantiles[at].value)
        least, most = duration(best.quantiles[at].value), duration(worst.quantiles[at].value)
        return (
            f"is {least} everywhere" if least == most else f"goes from {least} ({best.label}) to {most} ({worst.label})"
        )

    return f"The median {way(summary.end)} {between(0)}, p99 {between(2)}."


def _shown(condition: Condition) -> str:
    return duration(condition.quantiles[0].value)


def _many_factors(summary: Summary, conditions: Sequence[Condition]) -> str:
    largest: dict[str, Effect] = {}
    for effect in summary.effects[PROBABILITIES[0]]:
        if effect.factor not in largest or abs(effect.interval.value) > abs(largest[effect.factor].interval.value):
            largest[effect.factor] = effect
    if largest.keys() != summary.steps.keys():  # the design does not tell each factor's part
        return _spread(conditions, summary)
    ordered = sorted(largest.values(), key=lambda each: -abs(each.interval.value))
    real = [each for each in ordered if each.interval.excludes_zero]
    idle = [each.factor for each in ordered if not each.interval.excludes_zero]
    sentences = []
    if real:
        told = [f"{each.factor} ({_cost(each)})" for each in real[:3]]
        sentences.append(f"What counts most is {told[0]}" + (f", then {_listed(told[1:])}" if told[1:] else "") + ".")
    if idle:
        makes = "makes" if len(idle) == 1 else "make"
        sentences.append(_begun(f"{_listed(idle)} {makes} no difference to the median beyond noise."))
    best = min(conditions, key=lambda each: each.quantiles[0].value)
    sentences.append(f"The lowest median, {_shown(best)} {way(summary.end)}, is that of {best.label}.")
    return " ".join(sentences)


def _cost(effect: Effect) -> str:
    if math.isinf(effect.interval.value):
        worse = effect.level if effect.interval.value > 0 else effect.reference
        return f"with {worse} most frames are never shown"
    return f"{signed(effect.interval.value)} for {effect.level} beside {effect.reference}"


def _begun(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _lost(conditions: Sequence[Condition]) -> str:
    due, lost = sum(each.counts.due for each in conditions), sum(each.counts.lost for each in conditions)
    if lost == 0:
        return f"Each of the {due:,} frames was shown."
    worst = max(conditions, key=lambda each: each.lost.value)
    where = f", most with {worst.label} ({percent(worst.lost.value)})" if len(conditions) > 1 else ""
    return f"{lost:,} of {due:,} frames were never shown{where}."


def _joined(conditions: Sequence[Condition]) -> str:
    """How long newcomers wait, in the middle."""
    told = [(each.start_ups[(len(each.start_ups) - 1) // 2], each.label) for each in conditions if each.start_ups]
    if not told:
        return ""
    (least, best), (most, worst) = min(told), max(told)
    if duration(least) == duration(most):
        return f"Half of the newcomers wait at most {duration(most)} for their first frame."
    between = f"{duration(least)} ({best}) to {duration(most)} ({worst})"
    return f"In the middle newcomers wait {between} for their first frame."


MOST_TOLD: Final = 5
"""Conditions whose recovery a sentence tells."""


def _recovered(conditions: Sequence[Condition]) -> str:
    """How long it takes after each fault, in the middle of the times that it happened."""
    told = []
    for condition in conditions:
        times = sorted(each.seconds for each in condition.recoveries)
        if times:
            told.append((times[(len(times) - 1) // 2], condition.label if len(conditions) > 1 else "the fault"))
    told.sort()
    over = [f"{duration(seconds * 1e6)} after {label}" for seconds, label in told if math.isfinite(seconds)][:MOST_TOLD]
    never = [label for seconds, label in told if math.isinf(seconds)][:MOST_TOLD]
    sentences = [f"Frames come as before {_listed(over)}."] if over else []
    if never:
        sentences.append(
            f"They never do after {_listed(never)}." if over else f"Frames never come as before after {_listed(never)}."
        )
    return " ".join(sentences)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _drifted(conditions: Sequence[Condition]) -> str:
    """Which condition drifts most, of those in which nothing was broken: a fault is no drift."""
    whole = [each for each in conditions if not each.recoveries]
    found = [
        each for each in whole if widened(each.drift, len(whole)).excludes_zero and abs(each.drift.value) >= LEAST_DRIFT
    ]
    if not found:
        return ""
    worst = max(found, key=lambda each: abs(each.drift.value))
    return f"The latency drifts by {signed(worst.drift.value)} a second with {worst.label}."


LEAST_DRIFT: Final = 100.0
"""Microseconds a second that are worth a sentence: a third of a second an hour."""
