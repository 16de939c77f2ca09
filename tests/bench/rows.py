"""What a field of a row part costs, by its way of folding: microseconds for an event, and bytes in the row.

An event is folded into a part with that one field, at a rate that fills its window of ten minutes; `stored` is the same
from stored bytes to stored bytes. Time is that of the thread: a busy machine adds little to it.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from control_plane.adapters.cel import CelExpressions
from control_plane.catalogue.definitions import FieldDefinition
from control_plane.workspace.compiling import compile_field
from state.projections import Projection

TYPE = "parcel.scanned"
EVERY_MS = 300
EVENTS = 6_000
ROUND = 200

_OVER = {"window": "10m"}
_WEIGHT = {"of": "data.weight_kg", **_OVER}
FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "last": {"it": {"last": "data.weight_kg"}},
    "first": {"it": {"first": "data.weight_kg"}},
    "first_seen": {"it": {"first_seen": {}}},
    "last_seen": {"it": {"last_seen": {}}},
    "count": {"it": {"count": _OVER}},
    "rate": {"it": {"rate": _OVER}},
    "min": {"it": {"min": _WEIGHT}},
    "max": {"it": {"max": _WEIGHT}},
    "mean": {"it": {"mean": _WEIGHT}},
    "quantile": {"it": {"quantile": {**_WEIGHT, "q": 0.99}}},
    "quantile, 3 of one": {f"p{q}": {"quantile": {**_WEIGHT, "q": q / 100}} for q in (50, 95, 99)},
    "distinct, 100 values": {"it": {"distinct": {"of": "data.site", **_OVER}}},
    "distinct, all differ": {"it": {"distinct": {"of": "data.id", **_OVER}}},
    "count, last and max": {"scans": {"count": _OVER}, "n": {"last": "data.id"}, "most": {"max": _WEIGHT}},
}


def measured(fields: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The figures of one part."""
    expressions = CelExpressions()
    part = Projection(
        name="parcel_log",
        on=(TYPE,),
        fields=[compile_field(n, msgspec.convert(how, FieldDefinition), expressions) for n, how in fields.items()],
    )
    random, kept, now_ms = Random(1), None, 1_767_225_600_000
    folds: list[float] = []
    data: dict[str, Any] = {}
    for _ in range(EVENTS // ROUND):
        events = [_event(random) for _ in range(ROUND)]
        begun = time.thread_time()
        for data in events:
            now_ms += EVERY_MS
            kept = part.fold(kept, TYPE, data, now_ms - 40, now_ms)
        folds.append((time.thread_time() - begun) / ROUND)
    assert kept is not None, "something was folded"
    raw = msgspec.msgpack.encode(kept)

    def stored() -> None:
        msgspec.msgpack.encode(part.fold(msgspec.msgpack.decode(raw), TYPE, data, now_ms, now_ms))

    return {
        "fold_us": statistics.median(folds[len(folds) // 2 :]) * 1e6,
        "stored_us": _us_of(stored),
        "view_us": _us_of(lambda: part.view(kept, now_ms)),
        "bytes": len(raw),
        "bytes_max": part.bytes_max,
    }


def _event(random: Random) -> dict[str, Any]:
    number = random.randrange(10**9)
    return {"weight_kg": random.lognormvariate(1, 1), "site": f"site-{number % 100}", "id": f"parcel-{number}"}


def _us_of(call: Callable[[], object]) -> float:
    rounds = []
    for _ in range(10):
        begun = time.thread_time()
        for _ in range(ROUND):
            call()
        rounds.append((time.thread_time() - begun) / ROUND)
    return statistics.median(rounds) * 1e6


def table(found: dict[str, dict[str, float]]) -> str:
    """The figures as lines."""
    lines = [
        "rows: a field over ten minutes, 2,000 events in the window, microseconds for one event and bytes in the row"
    ]
    lines.append(f"  {'way of folding':<22}{'fold':>8}{'stored':>8}{'view':>8}{'bytes':>8}{'at most':>9}")
    for name, figures in found.items():
        times = "".join(f"{figures[key]:8.1f}" for key in ("fold_us", "stored_us", "view_us"))
        lines.append(f"  {name:<22}{times}{figures['bytes']:8.0f}{figures['bytes_max']:9.0f}")
    return "\n".join(lines)


def main() -> None:
    """Print the figures as one line of JSON."""
    print(json.dumps({name: measured(fields) for name, fields in FIELDS.items()}))


if __name__ == "__main__":
    sys.exit(main())
