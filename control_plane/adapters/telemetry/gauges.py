"""Gauges that are asked for when somebody looks."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class LagCollector(Collector):
    """How far each consumer group is behind the end of its partitions."""

    def __init__(self, lag: Callable[[], Mapping[tuple[str, str, int], int]]) -> None:
        self._lag = lag

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        family = GaugeMetricFamily(
            "setpoint_lag_records",
            "Records between a group's committed offset and the end of the partition. Group standby: rows that are "
            "not yet where they are kept at hand.",
            labels=("group", "topic", "partition"),
        )
        for (group, topic, partition), records in self._lag().items():
            family.add_metric((group, topic, str(partition)), records)
        yield family
