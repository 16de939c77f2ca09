"""What rules cost an event: microseconds for one step of the loop, by how many rules there are and which types they are
on.

Run as `python -m tests.bench.rules [RULES ...]`. Prints JSON. One event in memory, no log: `same` has all rules on the
event's own type, and none of them matches; `others` has them on types that do not come; `kept` has one rule that keeps
a state of the subject beside them; `empty` is a step without any rule.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from control_plane.catalogue import Controls
from control_plane.loop.arrival import Arrival
from control_plane.loop.step import Done, step
from control_plane.messages import Event
from state.rows import Row
from tests import builders

COUNTS = (10, 100, 1_000, 10_000)
ROUNDS = 7
EVENTS_PER_ROUND = 2_000
ROUND_S_MAX = 1.0


def measure(counts: tuple[int, ...]) -> dict[str, Any]:
    """Microseconds per event, and events per second, for each number of rules."""
    empty_us = _cost_us(_controls(0, "machine.measured", _threshold))
    found: dict[str, Any] = {"empty": _figures(empty_us)}
    for count in counts:
        found[str(count)] = {
            "same": _figures(_cost_us(_controls(count, "machine.measured", _threshold))),
            "same, by site": _figures(_cost_us(_controls(count, "machine.measured", _site))),
            "same, a field is missing": _figures(_cost_us(_controls(count, "machine.measured", _missing))),
            "others": _figures(_cost_us(_controls(count, "machine.type_{n}", _threshold))),
            "kept": _figures(_cost_us(_controls(count, "machine.measured", _threshold, keeping=True))),
        }
    return found


def _threshold(n: int) -> str:
    return f"data.celsius > {100.0 + n}"


def _site(n: int) -> str:
    return f'data.site == "site-{n}" && data.celsius > 40.0'


def _missing(n: int) -> str:
    return f"data.pressure > {100.0 + n}"


def _controls(count: int, on: str, when: Callable[[int], str], *, keeping: bool = False) -> Controls:
    rules = [
        builders.rule(f"rule_{n}", on=on.format(n=n), when=when(n), propose={"because": "too hot"})
        for n in range(count)
    ]
    if keeping:
        keeps = {"count": {"min": 2, "window": "1ms"}, "when": "data.celsius > 10.0"}
        rules.append(builders.rule("keeper", on="machine.measured", **keeps))
    row = builders.row("health", on=["machine.measured"], fields={"celsius": {"last": "data.celsius"}})
    return builders.controls(builders.intent(), row, *rules)


def _cost_us(controls: Controls) -> float:
    """The median of the rounds: the machine has other things to do."""
    events = [_event(n) for n in range(EVENTS_PER_ROUND)]
    _round(controls, events[:50])
    return statistics.median(_round(controls, events) for _ in range(ROUNDS))


def _event(n: int) -> Event:
    data = {"celsius": 20.0 + n % 50, "site": "site-x", "n": n}
    at_ms = builders.NOW_MS + n
    return builders.event("machine.measured", data, subject="service/press-1", message_id=f"e{n}", at_ms=at_ms)


def _round(controls: Controls, events: list[Event]) -> float:
    row, taken = Row(subject="service/press-1"), 0
    began = time.perf_counter()
    for offset, event in enumerate(events):
        done = step(controls, row, Arrival(event, offset, builders.NOW_MS + offset))
        assert isinstance(done, Done)
        row, taken = done.row, taken + 1
        if offset % 10 == 0 and time.perf_counter() - began > ROUND_S_MAX:
            break
    return (time.perf_counter() - began) / taken * 1e6


def _figures(cost_us: float) -> dict[str, float]:
    return {"us_per_event": round(cost_us, 2), "events_per_s": round(1e6 / cost_us)}


if __name__ == "__main__":
    print(json.dumps(measure(tuple(int(given) for given in sys.argv[1:]) or COUNTS)))
