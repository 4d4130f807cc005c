"""What a torture run does, and in what order: made from a seed alone, so that a run can be done again."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs

__all__ = ["Fault", "Setting", "schedule", "setting"]

KINDS = {
    "kill": 22,
    "massacre": 6,
    "restart": 8,
    "stop": 10,
    "cut": 22,
    "stall": 8,
    "throttle": 5,
    "delay": 5,
    "reorder": 12,
    "full": 8,
    "vanish": 4,
}
"""How often each kind of fault is chosen, as weights."""

LINES = ("distributor>relay",)


@attrs.frozen
class Fault:
    """One thing that goes wrong. ``number`` counts from 1; ``kind`` is one of :data:`KINDS`."""

    number: int
    kind: str
    targets: tuple[str, ...]
    """Nodes, or the line that it happens to."""
    seconds: float = 0.0
    """How long it lasts; for a process that is killed: until it is started again."""
    amount: int = 0
    """Bytes: after how many a cut comes, how many a second a slow line carries, for how many there is room."""
    way: str = ""
    how: str = ""
    calm: bool = False
    """Everything has to be going on again before the next one comes."""
    meanwhile: Fault | None = None
    """What happens while it lasts."""

    @property
    def text(self) -> str:
        """One line for the person who watches."""
        where = " and ".join(self.targets)
        lasting = f"for {self.seconds:.2f} s"
        match self.kind:
            case "kill" | "massacre":
                said = f"kill -9 {where}, again {'at once' if not self.seconds else f'after {self.seconds:.2f} s'}"
            case "restart":
                said = f"SIGTERM {where}, start it again"
            case "stop":
                said = f"SIGSTOP {where} {lasting}"
            case "cut":
                said = f"cut {where} by {self.how} after {self.amount} bytes {self.way}"
            case "stall":
                said = f"stall {where} {self.way or 'both ways'} {lasting}"
            case "throttle":
                said = f"slow {where} down to {self.amount} bytes a second {lasting}"
            case "delay":
                said = f"delay {where} by {self.amount} ms {lasting}"
            case "reorder":
                said = f"set connections of {where} aside, let them out behind {self.amount} bytes of newer ones"
            case "full":
                said = f"no more room for {where} than {self.amount} bytes {lasting}"
            case _:
                said = f"the directory of {where} vanishes {lasting}"
        if self.meanwhile is not None:
            said += f"; meanwhile {self.meanwhile.text}"
        return said


@attrs.frozen
class Setting:
    """How the roles of a run are set: each seed has it otherwise, so that the run meets more of their code."""

    sync: str
    memory: str
    segment_bytes: str
    fan_out_after_sync: bool
    disk: str
    """``limit`` (RLIMIT_FSIZE) or ``tmpfs``: how there is no more room."""

    @property
    def distributor(self) -> tuple[str, ...]:
        """The Distributor's options."""
        sizes = ("--memory", self.memory, "--segment-bytes", self.segment_bytes)
        after_sync = ("--fan-out-after-sync",) if self.fan_out_after_sync else ()
        return ("--sync", self.sync, "--store-retry", "200ms", *sizes, *after_sync)


def setting(seed: int) -> Setting:
    """How the roles are set in the run of this seed."""
    random = Random(f"setting {seed}")
    return Setting(
        sync=random.choice(["always", "100ms", "1"]),
        memory=random.choice(["64KiB", "512KiB", "64MiB"]),
        segment_bytes=random.choice(["64KiB", "1MiB", "1GiB"]),
        fan_out_after_sync=random.random() < 0.2,
        disk=random.choice(["limit", "tmpfs"]),
    )


def schedule(seed: int, count: int, streams: Sequence[str]) -> list[Fault]:
    """The faults of a run. The first so many of a longer run are those of a shorter one."""
    random = Random(f"faults {seed}")
    return [_fault(random, number, streams) for number in range(1, count + 1)]


def nodes(streams: Sequence[str]) -> dict[str, int]:
    """What may be killed, with how often."""
    found = {"distributor": 4 * len(streams), "relay": 2 * len(streams)}
    for name in streams:
        found |= {f"origin of {name}": 2, f"recorder of {name} at relay": 1, f"recorder of {name} at distributor": 1}
    return found


def lines(streams: Sequence[str]) -> list[str]:
    """The lines between them."""
    found = list(LINES)
    for name in streams:
        found += [f"origin>distributor of {name}", f"relay>recorder of {name}", f"distributor>recorder of {name}"]
    return found


def _fault(random: Random, number: int, streams: Sequence[str], within: bool = False) -> Fault:
    kinds = {kind: weight for kind, weight in KINDS.items() if not within or kind in ("kill", "cut", "restart")}
    kind = random.choices(list(kinds), list(kinds.values()))[0]
    weights = nodes(streams)
    node = random.choices(list(weights), list(weights.values()))[0]
    line = random.choice(lines(streams))
    # One stream's origin is the node that most is at stake for.
    posting = f"origin>distributor of {random.choice(list(streams))}"
    seconds = round(random.choice([0.0, random.uniform(0.0, 0.3), random.uniform(0.3, 1.5)]), 2)
    lasting = round(random.uniform(0.1, 1.5), 2)
    amount = random.choice([random.randint(1, 300), random.randint(1, 5000), random.randint(1, 60_000)])
    way, how = random.choice(["up", "down"]), random.choice(["RST", "RST", "FIN"])
    calm = random.random() < 0.4
    meanwhile = None
    if not within and kind in ("stall", "full", "delay", "stop") and random.random() < 0.4:
        meanwhile = _fault(random, number, streams, within=True)
    match kind:
        case "kill" | "restart":
            return Fault(number, kind, (node,), seconds=seconds if kind == "kill" else 0.0, calm=calm)
        case "massacre":
            several = tuple(sorted(random.sample(list(weights), 2 + (random.random() < 0.3))))
            return Fault(number, kind, several, seconds=seconds, calm=calm)
        case "stop":
            return Fault(number, kind, (node,), seconds=lasting, calm=calm, meanwhile=meanwhile)
        case "cut":
            return Fault(number, kind, (line,), amount=amount, way=way, how=how, calm=calm)
        case "stall":
            way = random.choice(["up", "down", ""])
            return Fault(number, kind, (line,), seconds=lasting, way=way, calm=calm, meanwhile=meanwhile)
        case "throttle":
            return Fault(number, kind, (line,), seconds=lasting, amount=random.randint(500, 50_000), calm=calm)
        case "delay":
            late = random.randint(5, 300)
            return Fault(number, kind, (line,), seconds=lasting, amount=late, calm=calm, meanwhile=meanwhile)
        case "reorder":
            line = posting if random.random() < 0.8 else line
            return Fault(number, kind, (line,), amount=amount, calm=calm)
        case "full":
            node = node if node != "relay" else "distributor"
            return Fault(number, kind, (node,), seconds=lasting, amount=amount, calm=calm, meanwhile=meanwhile)
        case _:
            node = node if node != "relay" else "distributor"
            return Fault(number, kind, (node,), seconds=lasting, calm=calm)
