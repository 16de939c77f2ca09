"""A counter for the hot path: a dict instead of a lock, because only the event loop's thread counts and collects."""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

LABEL_SETS_MAX: Final = 2_000
"""Time series that one counter may become; whatever comes after them is counted together, as `other`."""


class Tally(Collector):
    """One counter, by its labels."""

    def __init__(self, name: str, help: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help
        self._labels = labels
        self._other = ("other",) * len(labels)
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, *labels: str, many: int = 1) -> None:
        """Count one, or so many."""
        counts = self._counts
        if labels not in counts and len(counts) >= LABEL_SETS_MAX:
            labels = self._other
        counts[labels] = counts.get(labels, 0) + many

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, count)
        yield family
