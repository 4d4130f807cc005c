"""What the processes of one Distributor tell each other of themselves, so that any view is of the whole.

The one that holds the streams answers every view; before it does, it asks the others for their consumers and counters.
One that does not answer in time is left out: its consumers are between two of its lives.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from sdp.distributor.upstream import Upstream
from sdp.errors import SDPError

__all__ = ["REPORT_TARGET", "Colleagues", "Report", "Whole", "encode_report", "summed"]

REPORT_TARGET = b"/-/report"

PATIENCE = 1.0
"""How long a process has to report, in seconds."""

_SUMMED = frozenset(
    {
        *("sdp_bytes_received_total", "sdp_bytes_sent_total", "sdp_deliveries_total", "sdp_joins_total"),
        *("sdp_left_edge_total", "sdp_jumps_total", "sdp_stalled_closed_total", "sdp_requests_total"),
        *("sdp_connections_accepted_total", "sdp_connections_refused_total", "sdp_connections"),
        "sdp_stream_consumers",
    }
)
"""The samples that each process counts for itself; of all else the one that holds the streams has the truth."""

Key = tuple[str, tuple[tuple[str, str], ...]]


@attrs.frozen
class Report:
    """One process's: its live answers by their epoch, and its samples by name and labels."""

    consumers: dict[str, list[dict[str, Any]]]
    samples: dict[Key, float]


def summed(collector: Collector) -> dict[Key, float]:
    """The samples that are to be added up."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in collector.collect()
        for sample in family.samples
        if sample.name in _SUMMED
    }


def encode_report(report: Report) -> bytes:
    """A report as JSON."""
    samples = [[name, labels, value] for (name, labels), value in report.samples.items()]
    return json.dumps({"consumers": report.consumers, "samples": samples}).encode()


def _decode(data: bytes) -> Report:
    said = json.loads(data)
    samples = {(name, tuple((key, text) for key, text in labels)): value for name, labels, value in said["samples"]}
    return Report(said["consumers"], samples)


class Colleagues:
    """The other processes, each reached as an upstream is."""

    log = Logger(namespace="sdp.distributor.workers")

    def __init__(self, others: Iterable[Upstream], clock: Any) -> None:
        self._others = list(others)
        self._clock = clock

    async def reports(self) -> list[Report]:
        """What they report; none of one that does not."""
        asked = [Deferred.fromCoroutine(self._ask(each)) for each in self._others]
        answers: list[Report | None] = await gatherResults(asked)
        return [answer for answer in answers if answer is not None]

    async def _ask(self, other: Upstream) -> Report | None:
        fetching = Deferred.fromCoroutine(other.fetch(b"GET", REPORT_TARGET, (), patience=PATIENCE))
        try:
            answer = await fetching.addTimeout(PATIENCE, self._clock)
        except (SDPError, TimeoutError) as error:
            self.log.debug("{other} does not report: {error}", other=str(other), error=str(error))
            return None
        return _decode(answer.content)

    def close(self) -> None:
        for each in self._others:
            each.close()


class Whole(Collector):
    """The metrics of all processes: those of the one that holds the streams, with the others' shares added."""

    def __init__(self, own: Collector, reports: Iterable[Report]) -> None:
        self._own = own
        self._reports = list(reports)

    def collect(self) -> Iterator[Metric]:
        for family in self._own.collect():
            family.samples = [
                sample._replace(
                    value=sample.value
                    + sum(
                        report.samples.get((sample.name, tuple(sorted(sample.labels.items()))), 0)
                        for report in self._reports
                    )
                )
                for sample in family.samples
            ]
            yield family
