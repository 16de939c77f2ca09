"""What an OPA did for this process, and which OPAs run which policies; read when somebody looks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from control_plane.ports.bundles import Bundles

OPAS_SHOWN_MAX: Final = 200


class OpaCounters(Protocol):
    """The numbers of one process's way to its OPA."""

    @property
    def by_end(self) -> Mapping[str, int]:
        """Questions, by what became of them."""

    @property
    def is_away(self) -> bool:
        """Whether OPA is asked by a probe only."""

    @property
    def times_away(self) -> int:
        """How often that began."""


class OpaCollector(Collector):
    """This process's own OPA."""

    def __init__(self, counters: OpaCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        questions = CounterMetricFamily(
            "setpoint_opa_questions",
            "Questions to OPA by what became of them: ruled, or why there was no ruling. While OPA is away they are "
            "not put at all (waiting).",
            labels=("end",),
        )
        for end, count in self._counters.by_end.items():
            questions.add_metric((end,), count)
        yield questions
        yield GaugeMetricFamily("setpoint_opa_away", "Whether OPA does not answer.", value=int(self._counters.is_away))
        yield CounterMetricFamily(
            "setpoint_opa_times_away", "How often OPA stopped answering.", value=self._counters.times_away
        )


class BundlesCollector(Collector):
    """All OPAs that pull from this process."""

    def __init__(self, bundles: Bundles, now_ms: Callable[[], int]) -> None:
        self._bundles = bundles
        self._now_ms = now_ms

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        runs = GaugeMetricFamily(
            "setpoint_opa_runs",
            "1 for the bundle that an OPA runs; `current` says whether it is the one that is offered.",
            labels=("opa", "bundle", "current"),
        )
        refused = GaugeMetricFamily("setpoint_opa_refused", "Whether an OPA refused the last bundle.", labels=("opa",))
        silent = GaugeMetricFamily("setpoint_opa_silent_s", "Seconds since an OPA told of itself.", labels=("opa",))
        for each in self._bundles.seen()[:OPAS_SHOWN_MAX]:
            current = str(each.bundle == self._bundles.revision).lower()
            runs.add_metric((each.id, each.bundle, current), 1)
            refused.add_metric((each.id,), int(bool(each.problem)))
            silent.add_metric((each.id,), (self._now_ms() - each.told_at_ms) / 1_000)
        yield from (runs, refused, silent)
