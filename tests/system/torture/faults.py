"""How each fault is inflicted, and taken back."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.system.proxy import Cut, Way
from tests.system.torture.nodes import Node, RecorderNode
from tests.system.torture.scene import Scene
from tests.system.torture.schedule import Fault

__all__ = ["inflict"]

CUT_WAIT = 3.0
"""How long a cut waits for its byte, in seconds: on a line that carries nothing it is taken back."""


def inflict(scene: Scene, fault: Fault) -> None:
    """Do it, let it last, and take it back; everything that it concerns may then go on."""
    match fault.kind:
        case "kill" | "massacre":
            nodes = [scene.nodes[target] for target in fault.targets]
            for node in nodes:
                node.down = True
                node.kill()
            scene.pause(fault.seconds)
            for node in nodes:
                _again(node)
        case "restart":
            (node,) = (scene.nodes[target] for target in fault.targets)
            node.down = True
            node.end()
            _again(node)
        case _:
            with _LASTING[fault.kind](scene, fault):
                if fault.meanwhile is not None:
                    inflict(scene, fault.meanwhile)
                scene.pause(fault.seconds)


def _again(node: Node) -> None:
    """Start it, but for a recorder that has all of its epoch: that waits for the next one."""
    node.down = False
    if not (isinstance(node, RecorderNode) and node.waits):
        node.start()


@contextmanager
def _stopped(scene: Scene, fault: Fault) -> Iterator[None]:
    node = scene.nodes[fault.targets[0]]
    process = node.process
    node.send(signal.SIGSTOP)
    yield
    if process is not None and process is node.process:
        node.send(signal.SIGCONT)


@contextmanager
def _cut(scene: Scene, fault: Fault) -> Iterator[None]:
    line = scene.line(fault.targets[0])
    line.cut_after(Way(fault.way), fault.amount, Cut(fault.how))
    yield
    scene.until(lambda: not line.armed, "", CUT_WAIT)
    line.heal()


@contextmanager
def _stalled(scene: Scene, fault: Fault) -> Iterator[None]:
    line = scene.line(fault.targets[0])
    line.stall(*([Way(fault.way)] if fault.way else []))
    yield
    line.heal()


@contextmanager
def _throttled(scene: Scene, fault: Fault) -> Iterator[None]:
    line = scene.line(fault.targets[0])
    line.throttle(fault.amount)
    yield
    line.heal()


@contextmanager
def _delayed(scene: Scene, fault: Fault) -> Iterator[None]:
    line = scene.line(fault.targets[0])
    line.delay(fault.amount / 1000)
    yield
    line.heal()


@contextmanager
def _reordered(scene: Scene, fault: Fault) -> Iterator[None]:
    """What a connection had sent comes out behind what the next one brings."""
    line = scene.line(fault.targets[0])
    line.stall(Way.UP)
    scene.until(lambda: line.held(Way.UP), "", CUT_WAIT)
    line.set_aside()
    line.resume()
    before = line.carried[Way.UP]
    yield
    scene.until(lambda: line.carried[Way.UP] >= before + fault.amount, "", CUT_WAIT)
    line.heal()


@contextmanager
def _full(scene: Scene, fault: Fault) -> Iterator[None]:
    """There is no room for what the node writes."""
    node = scene.nodes[fault.targets[0]]
    if node.process is None:
        yield
        return
    node.wounded, since = True, scene.epochs_so_far()
    with node.disk.full(node.process.process.pid, fault.amount):
        yield
    _after_a_disk(scene, fault, since)


@contextmanager
def _vanished(scene: Scene, fault: Fault) -> Iterator[None]:
    """The directory that the node writes to is somewhere else for a time."""
    node = scene.nodes[fault.targets[0]]
    node.wounded, since = True, scene.epochs_so_far()
    away = node.written.with_name(node.written.name + ".away")
    node.written.rename(away)
    yield
    away.rename(node.written)
    _after_a_disk(scene, fault, since)


def _after_a_disk(scene: Scene, fault: Fault, since: dict[str, int]) -> None:
    """What the disk has stopped goes on by itself, or with the next start."""
    if fault.targets[0] != scene.distributor.name:
        return
    if fault.calm:
        scene.until(scene.records_again, "that the Distributor records again")
        scene.doubt(since)
    else:
        scene.distributor.kill()
        scene.doubt(since)
        scene.distributor.start()


_LASTING = {
    "stop": _stopped,
    "cut": _cut,
    "stall": _stalled,
    "throttle": _throttled,
    "delay": _delayed,
    "reorder": _reordered,
    "full": _full,
    "vanish": _vanished,
}
