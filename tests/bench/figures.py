"""How figures are shown, and which ratios of them have goals."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct


class Ratio(Struct, frozen=True):
    """One promise: a figure of ours over another's, and what it should come to."""

    name: str
    label: str
    value: float
    goal: float
    is_limit: bool = False
    """The goal is the most that it may be."""
    unit: str = "x"
    """Of value and goal: a ratio has none, P8 is microseconds."""

    @property
    def is_met(self) -> bool:
        return self.value <= self.goal if self.is_limit else self.value >= self.goal


def spread(values: Sequence[float]) -> str:
    """The median, and between what it lies."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def verdict(met: bool) -> str:
    """What stands before a goal."""
    return "goal met:" if met else "GOAL MISSED:"


def ratios(found: Mapping[str, Any]) -> list[Ratio]:
    """Every ratio that can be made of what was measured on the logs."""
    made = []
    for name in ("embedded", "kafka"):
        if name in found:
            made += _of_log(name, {key: statistics.median(values) for key, values in found[name].items()})
    if "failover" in found:
        made += _of_failover(found["failover"])
    return made


def table(name: str, figures: Mapping[str, Sequence[float]]) -> str:
    """The figures of one log, and their ratios."""
    lines = [f"{name}: median (smallest to largest) of {len(figures['stock'])} rounds"]
    lines += [f"  {_LABELS[key]:<44} {spread(values)}" for key, values in figures.items()]
    return "\n".join([*lines, *map(line, ratios({name: figures}))])


def failover_table(found: Mapping[str, Mapping[str, float]]) -> str:
    """How soon killed processes are back."""
    lines = [
        f"  {who:<6} answers again {one['after_kill_s']:.1f} s after its start following kill -9, "
        f"{one['after_rebuild_s']:.1f} s with tables made again from the changelog"
        for who, one in found.items()
    ]
    subjects = int(found["ours"]["subjects"])
    return "\n".join([f"kill -9 on Kafka with {subjects} subjects", *lines, *map(line, _of_failover(found))])


_LABELS = {
    "stock": "stock Faust, one hop and a table, events/s",
    "loops": "full loops/s",
    "bare": "full loops/s, ungoverned and unrecorded",
    "sensed": "sensed events/s, 1 % decide",
    "hop": "bare aiokafka hop, events/s",
    "hop_p50_ms": "bare aiokafka hop at 200/s, p50 ms",
    "hop_p99_ms": "bare aiokafka hop at 200/s, p99 ms",
    "stock_p50_ms": "stock Faust at 200/s, p50 ms",
    "stock_p99_ms": "stock Faust at 200/s, p99 ms",
    "ours_p50_ms": "event to command at 200/s, p50 ms",
    "ours_p99_ms": "event to command at 200/s, p99 ms",
    "apart_p50_ms": "the same, the loop in a process of its own, p50 ms",
    "apart_p99_ms": "the same, the loop in a process of its own, p99 ms",
}


def _of_log(name: str, median: Mapping[str, float]) -> list[Ratio]:
    made = [
        Ratio("P1", f"full loops against stock Faust's one hop, {name}", median["loops"] / median["stock"], 1.2),
        Ratio("P2", f"sensed events against stock Faust's one hop, {name}", median["sensed"] / median["stock"], 5.0),
        Ratio("P9", f"full loops against ungoverned ones, {name}", median["loops"] / median["bare"], 0.7),
    ]
    for percentile, goal in (("p50", 1.3), ("p99", 1.5)):
        if f"hop_{percentile}_ms" in median:
            for who, how in (("ours", "all in one process"), ("apart", "the loop in its own")):
                label = f"event to command against a bare hop, {how}, {percentile}"
                value = median[f"{who}_{percentile}_ms"] / median[f"hop_{percentile}_ms"]
                made.append(Ratio("P5", label, value, goal, is_limit=True))
    return made


def _of_failover(found: Mapping[str, Mapping[str, float]]) -> list[Ratio]:
    stock, ours = found["stock"], found["ours"]
    again = ours["after_kill_s"] / stock["after_kill_s"]
    rebuilt = ours["after_rebuild_s"] / stock["after_rebuild_s"]
    return [
        Ratio("P11", "acting again after kill -9, against Faust", again, 0.5, is_limit=True),
        Ratio("P11", "the same with tables made again, against Faust", rebuilt, 0.1, is_limit=True),
    ]


def line(ratio: Ratio) -> str:
    bound = "at most" if ratio.is_limit else "at least"
    value, goal = f"{ratio.value:.4g} {ratio.unit}", f"{ratio.goal:g} {ratio.unit}"
    return f"  {ratio.name:<4} {ratio.label}: {value}, {verdict(ratio.is_met)} {bound} {goal}"
