"""What slow agents count, read when somebody looks: they keep their numbers themselves."""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

MILLION: Final = 1_000_000


class SlowAgentCounts(Protocol):
    """The numbers of slow agents, as `control_plane.slow_agents` names them."""

    answers: dict[tuple[str, ...], int]
    invocations: dict[tuple[str, ...], int]
    tokens: dict[tuple[str, ...], int]
    cost_micros: dict[tuple[str, ...], int]
    waiting: int


class SlowAgentsCollector(Collector):
    """The slow agents of one process."""

    def __init__(self, counts: SlowAgentCounts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """As Prometheus reads it."""
        found = self._counts
        became = "Contexts that slow agents have dealt with: decision, none, or the code of why there is no answer."
        yield _counter("setpoint_slow_answers", became, ("agent", "became"), found.answers)
        asked = "Questions to tools: answer, known (from the log), or the code of why there is no answer."
        yield _counter("setpoint_tool_invocations", asked, ("agent", "tool", "became"), found.invocations)
        yield _counter("setpoint_llm_tokens", "Tokens used up.", ("agent", "tool", "direction"), found.tokens)
        cost = {labels: micros / MILLION for labels, micros in found.cost_micros.items()}
        yield _counter("setpoint_llm_cost", "Money used up, in the currency of the prices.", ("agent", "tool"), cost)
        yield GaugeMetricFamily("setpoint_slow_contexts_waiting", "Contexts without an answer.", value=found.waiting)


def _counter(name: str, help: str, labels: tuple[str, ...], counts: Mapping[tuple[str, ...], float]) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for values, count in counts.items():
        family.add_metric(values, count)
    return family
