"""What rules cost an event: microseconds for one step of the loop, by how many rules there are and which types they are
on.

Run as `python -m tests.bench.rules [RULES ...]`. Prints JSON. One event in memory, no log, in the thread's own time, to
which a busy machine adds little: `same` has all rules on the event's type, and none of them matches; `others` has them
on types that do not come; `kept` has one rule beside them that keeps a state of the subject and changes it with every
event; `empty` is a step without any rule.
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
    empty_us = cost_us(controls(0, "machine.measured", _threshold))
    found: dict[str, Any] = {"empty": _figures(empty_us)}
    for count in counts:
        found[str(count)] = {
            "same": _figures(cost_us(controls(count, "machine.measured", _threshold))),
            "same, by site": _figures(cost_us(controls(count, "machine.measured", _site))),
            "same, limit and more": _figures(cost_us(controls(count, "machine.measured", _limit_and_more))),
            "same, not looked up": _figures(cost_us(controls(count, "machine.measured", _not_looked_up))),
            "same, a field is missing": _figures(cost_us(controls(count, "machine.measured", _missing))),
            "others": _figures(cost_us(controls(count, "machine.type_{n}", _threshold))),
            "kept": _figures(cost_us(controls(count, "machine.measured", _threshold, keeping=True))),
        }
    return found


def _threshold(n: int) -> str:
    return f"data.celsius > {100.0 + n}"


def _site(n: int) -> str:
    return f'data.site == "site-{n}" && data.celsius > 40.0'


def _limit_and_more(n: int) -> str:
    return f'data.celsius > {100.0 + n} && data.site != "site-{n}"'


def _not_looked_up(n: int) -> str:
    return f"data.celsius * 2.0 > {1000.0 + n}"


def _missing(n: int) -> str:
    return f"data.pressure > {100.0 + n}"


def controls(count: int, on: str, when: Callable[[int], str], *, keeping: bool = False) -> Controls:
    """So many rules; `on` and `when` are told apart by their number. With `keeping`, one more that keeps a state."""
    rules = [
        builders.rule(f"rule_{n}", on=on.format(n=n), when=when(n), propose={"because": "too hot"})
        for n in range(count)
    ]
    if keeping:
        keeps = {"count": {"min": 2, "window": "1ms"}, "when": "data.celsius > 10.0"}
        rules.append(builders.rule("keeper", on="machine.measured", **keeps))
    row = builders.row("health", on=["machine.measured"], fields={"celsius": {"last": "data.celsius"}})
    return builders.controls(builders.intent(), row, *rules)


def cost_us(found: Controls, rounds: int = ROUNDS) -> float:
    """Microseconds for one event: the median of the rounds."""
    events = [_event(n) for n in range(EVENTS_PER_ROUND)]
    _round(found, events[:50])
    return statistics.median(_round(found, events) for _ in range(rounds))


def _event(n: int) -> Event:
    data = {"celsius": 20.0 + n % 50, "site": "site-x", "n": n}
    at_ms = builders.NOW_MS + n
    return builders.event("machine.measured", data, subject="service/press-1", message_id=f"e{n}", at_ms=at_ms)


def _round(controls: Controls, events: list[Event]) -> float:
    row, taken = Row(subject="service/press-1"), 0
    began = time.thread_time()
    for offset, event in enumerate(events):
        done = step(controls, row, Arrival(event, offset, builders.NOW_MS + offset))
        assert isinstance(done, Done)
        row, taken = done.row, taken + 1
        if offset % 10 == 0 and time.thread_time() - began > ROUND_S_MAX:
            break
    return (time.thread_time() - began) / taken * 1e6


def table(found: dict[str, Any]) -> str:
    """The figures as lines."""
    lines = [f"rules, us per event in memory; without any {found['empty']['us_per_event']:.0f}"]
    for count, kinds in found.items():
        if count != "empty":
            shown = ", ".join(f"{kind} {figures['us_per_event']:.0f}" for kind, figures in kinds.items())
            lines.append(f"  {count:>6}: {shown}")
    return "\n".join(lines)


def _figures(cost_us: float) -> dict[str, float]:
    return {"us_per_event": round(cost_us, 2), "events_per_s": round(1e6 / cost_us)}


if __name__ == "__main__":
    print(json.dumps(measure(tuple(int(given) for given in sys.argv[1:]) or COUNTS)))
