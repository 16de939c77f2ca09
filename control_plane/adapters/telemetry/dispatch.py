"""What the dispatch of commands counts, read when somebody looks: it keeps its numbers itself."""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class DispatchCounts(Protocol):
    """The numbers of a dispatch, as `control_plane.executors.dispatch` names them."""

    taken: int
    known: int
    stale: int
    unreadable: int
    recovered: int
    held: int
    attempts: int
    attempts_timed_out: int
    attempts_raised: int
    looks: int
    lost: int
    outcomes: dict[str, int]
    published: int
    unavailable: int
    forgotten: int


_COUNTERS: Final[Mapping[str, str]] = {
    "taken": "Commands new to the ledger.",
    "known": "Deliveries of commands that were taken before.",
    "stale": "Commands of an epoch that is over, dropped.",
    "unreadable": "Records that are no command.",
    "recovered": "Commands that another owner, or an earlier run, had left behind.",
    "attempts": "Attempts at commands.",
    "attempts_timed_out": "Attempts that took too long.",
    "attempts_raised": "Attempts that raised.",
    "looks": "Looks at the world to find out what became of a command.",
    "lost": "Commands that another owner had taken over.",
    "published": "Outcomes published.",
    "unavailable": "Calls that ledger or log did not take.",
    "forgotten": "Published commands that were pruned from the ledger.",
}


class DispatchCollector(Collector):
    """One dispatch."""

    def __init__(self, counts: DispatchCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        for name, help in _COUNTERS.items():
            yield CounterMetricFamily(f"setpoint_dispatch_{name}", help, value=getattr(self._counts, name))
        yield GaugeMetricFamily("setpoint_dispatch_held", "Commands in memory now.", value=self._counts.held)
        outcomes = CounterMetricFamily("setpoint_dispatch_outcomes", "Outcomes written.", labels=("status",))
        for status, count in self._counts.outcomes.items():
            outcomes.add_metric((status,), count)
        yield outcomes
