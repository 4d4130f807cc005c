"""One torture run: a schedule is inflicted on a scene, and all that is left held against what was promised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.system.processes import Distributor
from tests.system.torture.faults import inflict
from tests.system.torture.judge import STORE, Copy, Epoch, Extent, subtract, whole_of
from tests.system.torture.nodes import Source, Trouble, epoch_of
from tests.system.torture.scene import Scene, copy_of, stored
from tests.system.torture.schedule import Fault, Setting
from tests.system.torture.watch import missing_of

__all__ = ["torture"]


def torture(
    directory: Path,
    seed: int,
    chosen: Setting,
    faults: Sequence[Fault],
    streams: dict[str, Source],
    ending: Source,
    tell: Callable[[str], None],
) -> list[str]:
    """Run it in ``directory``; return what was not kept of what was promised, in sentences."""
    tell(f"seed {seed}, {len(faults)} faults: {chosen}")
    with Scene(directory, streams, ending, chosen, seed) as scene:
        try:
            scene.start()
            for fault in faults:
                tell(f"#{fault.number} {fault.text}")
                inflict(scene, fault)
                if fault.calm:
                    scene.goes_on()
            tell("the end: all sources end, all recorders have the rest")
            scene.finish()
        except Trouble as trouble:
            return [str(trouble)]
        return judge(scene, tell) + scene.leave()


def judge(scene: Scene, tell: Callable[[str], None]) -> list[str]:
    """Hold against each other all that there is of every epoch."""
    wrong = []
    for name in scene.streams:
        epochs = {epoch: Epoch(f"{name}, epoch {epoch}") for epoch in scene.announcements.epochs(name)}
        for recorder in scene.recorders:
            if recorder.stream == name:
                for output in recorder.outputs:
                    copy, epoch = copy_of(recorder, output), epoch_of(output)
                    if copy is not None and epoch is not None:
                        epochs.setdefault(epoch, Epoch(f"{name}, epoch {epoch}")).hold(copy)
        for epoch, extents in stored(scene.distributor.store):
            if epoch in epochs:
                epochs[epoch].hold(Copy(STORE, extents))
        _ask(scene, name, epochs)
        _find_captured(scene, name, epochs)
        for epoch, known in epochs.items():
            known.announced(STORE, scene.announcements.required(name, epoch))
            wrong += known.wrong
        last = epochs[scene.announcements.epochs(name)[-1]]
        digests = {copy.who: copy.digest()[:16] for copy in last.copies}
        tell(f"{last.name}: {last.known_from_zero} bytes; " + ", ".join(f"{a} {b}" for a, b in digests.items()))
        copies = sum(len(each.copies) for each in epochs.values())
        short = sum(len(each.cut_short) for each in scene.recorders if each.stream == name)
        tell(f"{name}: {len(epochs)} epochs, {copies} copies of them, {short} of epochs that lost their end to a fault")
    for who, name, epoch in scene.excuses:
        if (name, epoch) not in scene.doubtful:
            wrong.append(f"{who} left because {name}, epoch {epoch}, is not kept whole, and no disk had failed.")
    tell(f"{scene.announcements.count} announcements of what is durable were kept" if not wrong else "")
    return wrong


def _ask(scene: Scene, name: str, epochs: dict[str, Epoch]) -> None:
    """What the Distributor and the relay give out of each epoch; and how long those are that have ended."""
    last = scene.announcements.epochs(name)[-1]
    for who, node in (("the Distributor", scene.distributor), ("the relay", scene.relay)):
        server = node.process
        assert isinstance(server, Distributor)
        for epoch, known in epochs.items():
            try:
                extents, complete = _given(server, f"/{name}?epoch={epoch}")
            except Trouble as trouble:
                known.wrong.append(f"{known.name}: {who} answers {trouble}.")
                continue
            known.hold(Copy(who, extents))
            if who == "the Distributor" and complete is not None:
                known.ended(complete, doubtful=(name, epoch) in scene.doubtful)
    length = epochs[last].complete
    if length is None:
        epochs[last].wrong.append(f"{epochs[last].name}: it has not ended.")
    else:
        recorders = [each.name for each in scene.recorders if each.stream == name]
        epochs[last].whole(length, ["the Distributor", STORE, "the relay", *recorders])


def _given(server: Distributor, target: str) -> tuple[tuple[Extent, ...], int | None]:
    """All that a server gives of an epoch, run by run, and its length where it has ended. Trouble: the refusal."""
    head = server.call("HEAD", target)
    if head.status != 200:
        raise Trouble(f"{head.status} to HEAD")
    extents = []
    for start, end in subtract(whole_of(head.end), missing_of(head.get("Upload-Missing") or "")):
        at = start
        while at < end:
            answer = server.call("GET", target, {"Range": f"bytes={at}-{end - 1}"})
            if answer.status != 206 or not answer.body:
                raise Trouble(f"{answer.status} for [{at}, {end})")
            extents.append(Extent(at, answer.body))
            at += len(answer.body)
    beyond = server.call("GET", target, {"Range": f"bytes={head.end}-"}).get("Content-Range") or ""
    complete = beyond.rpartition("/")[2]
    return tuple(extents), int(complete) if complete.isdigit() else None


def _find_captured(scene: Scene, name: str, epochs: dict[str, Epoch]) -> None:
    """An Origin names its recordings by itself: that of an epoch is the one that begins as the epoch does."""
    captured = [(who, extents) for who, extents in stored(scene.origins[name].store) if extents]
    for known in epochs.values():
        length = known.known_from_zero
        if not length:
            continue
        best, common = None, -1
        for who, extents in captured:
            if extents[0].offset == 0 and (here := known.common_with(extents[0].data)) > common:
                best, common = Copy(f"the Origin's store ({who})", extents), here
        if best is None:
            known.wrong.append(f"{known.name}: the Origin has nothing of it.")
        else:
            known.captured(best)
