"""What policy may be asked, made from a seed: right ones as the loop makes them, and hostile ones made from those."""

import copy
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

INTENTS = ("restart_service", "slow_down", "refund_order", "hold_order", "expedite_order", "forbidden", "é🙂")
NAMES = ("web-1",) * 4 + ("web-2", "web-9", "db-1", "", "x", "é🙂", "evil-twin", "<undefined>")
TEXTS = (
    "web-1",
    "web-2",
    "x",
    "",
    "db-1-a-b-c",
    " padded ",
    "straß",
    "é🙂",
    "\u2028",
    "\x00",
    "7",
    "evil",
    "zebra",
    "ſ",
    "a" * 300,
)
EFFECTS = ("", "effective", "effective", "ineffective", "harmful", "unknown")
OUTCOMES = ("", "succeeded", "failed", "unknown", "expired", "refused", "compensated")
NUMBERS = (0, 1, 2, 5, 7, 10, 11, 59, 60, 80, 250, 900, -1, 0.1, 0.30000000000000004, 1e-9, 6.5, 7.49999, 1e15, -0.0)
ODD = (
    None, True, False, 0, -1, 1e308, 5e-324, 2**53 + 1, 2**63, -(2**70), float("nan"), float("inf"), "", "0.4", "NaN",
    "é🙂", "\x00", "x" * 5_000, [], [[]], [None], [1, "1"], {}, {"": 1}, {"code": "x"}, {"a": {"b": {"c": []}}},
)  # fmt: skip


def valid_input(rng: random.Random, favours: Sequence[str]) -> dict[str, Any]:
    """One that satisfies `policies/input.schema.json`, mostly about one of the intents that are favoured."""
    intent, name = rng.choice(favours if rng.random() < 0.85 else INTENTS), rng.choice(NAMES)
    kind = rng.choice(("service",) * 19 + ("machine",))
    limits = _limits(rng)
    return {
        "decision": {
            "agent": rng.choice(("guard", "person/ann", "")),
            "version": "1.0.0",
            "intent": intent,
            "subject": {"kind": kind, "name": name, "id": f"{kind}/{name}"},
            "parameters": rng.choice(({}, {"grace": "2s"}, {"percent": 10})),
            "confidence": rng.choice((0.9, 0.9, 0.9, 0.9, 0.95, 1, 1.0, 0.85, 0.7, 0.6, 0.55, 0.5, 0.59999, 0.1)),
            "because": rng.choice(TEXTS),
        },
        "intent": _intent(rng, intent if rng.random() < 0.97 else "stop_service", limits),
        "event": {
            "type": rng.choice(("service.probed", "payment.declined")),
            "subject": f"{kind}/{name}",
            "source": "test",
            "occurred_at": "2026-11-21T10:00:00Z",
            "data": _data(rng),
        },
        "rows": rng.choice(({}, {"health": {"p99_ms": 12.5, "up": True}})),
        "facts": _facts(rng, knows_fleet="fleet_share_max" in limits or rng.random() < 0.2),
        "autonomy": {"level": rng.choice(("act", "act", "approve", "propose"))},
        "lineage": {"hop_count": rng.choice((0, 1, 15)), "correlation_id": "c-1"},
        "now": "2026-11-21T10:00:01Z",
    }


def hostile_input(rng: random.Random, favours: Sequence[str]) -> dict[str, Any]:
    """A right one with up to four things done to it."""
    given = copy.deepcopy(valid_input(rng, favours))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        rng.choice(_DEEDS)(rng, given)
    return given


def _limits(rng: random.Random) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    if rng.random() < 0.85:
        limits["cooldown_ms"] = rng.choice((30_000, 30_000, 1, 0))
    if rng.random() < 0.6:
        limits["per_subject"] = {"max": rng.choice((3, 3, 1, 0)), "window_ms": 600_000}
    if rng.random() < 0.4:
        limits["fleet_share_max"] = rng.choice((0.4, 0.4, 0.5, 1, 0))
    return limits


def _intent(rng: random.Random, name: str, limits: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "description": "",
        "subject_kind": "service",
        "action_class": "lifecycle",
        "idempotent": rng.random() < 0.5,
        "reversible": rng.random() < 0.5,
        "deadline_ms": 30_000,
        "limits": limits,
    }


def _facts(rng: random.Random, *, knows_fleet: bool) -> dict[str, Any]:
    count = rng.choice((0, 0, 0, 1, 1, 2, 3))
    recent = [
        {
            "intent": rng.choice(INTENTS),
            "agent": "guard",
            "age_ms": (count - n) * 60_000,
            "outcome": rng.choice(OUTCOMES),
            "effect": rng.choice(EFFECTS),
        }
        for n in range(count)
    ]
    facts: dict[str, Any] = {
        "hour_utc": rng.randrange(24),
        "in_flight": rng.choice((0, 0, 1)),
        "actions_last_10m": rng.choice((count, count, count, count, count, count, 3, 10, 11, 40)),
        "recent_actions": recent,
        "event_age_ms": rng.choice((0, 500, 10**9)),
        "ages_ms": rng.choice(({}, {"health": 20})),
    }
    if knows_fleet and rng.random() < 0.95:
        facts |= {
            "fleet": "web",
            "fleet_size": rng.choice((1, 9, 10, 40)),
            "fleet_share": rng.choice((0.1, 0.1, 0.25, 0.4, 0.4000001, 0.9)),
            "fleet_healthy_share": rng.choice((0.2, 1, 1.0)),
            "fleet_in_flight": rng.choice((0, 0, 0, 1, 7)),
        }
    return facts


def _data(rng: random.Random) -> dict[str, Any]:
    """The event's own data: no schema binds it here, so what is in it may be of any kind."""
    data: dict[str, Any] = {"amount_eur": rng.choice((80, 80, 199.99, 200, 201, 900, 1e9))}
    if rng.random() < 0.97:
        data["s"] = rng.choice(TEXTS[:6]) if rng.random() < 0.7 else rng.choice(TEXTS)
        data["n"] = rng.choice(NUMBERS)
    if rng.random() < 0.9:
        data["list"] = [rng.choice((1, 2, 3, 4, 7, 41, 46, 50)) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
        data["flag"] = rng.random() < 0.4
    if rng.random() < 0.7:
        data["object"] = rng.choice(
            ({}, {"mode": "wild"}, {"a": {"b": rng.random() < 0.3}}, {"a": 1, "b": 2, "c": 3, "d": 4})
        )
        data["any"] = (
            rng.choice((["x"], [1], [], {"k": 1}, {}, ["x", "x"], [2], [3]))
            if rng.random() < 0.8
            else rng.choice(NUMBERS + TEXTS[:4])
        )
    if rng.random() < 0.06:
        data[rng.choice(tuple(data))] = rng.choice([odd for odd in ODD if odd == odd and odd not in (float("inf"),)])
    return data


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, below in value.items():
            found += _paths(below, (*path, key))
    elif isinstance(value, list):
        for n, below in enumerate(value[:5]):
            found += _paths(below, (*path, n))
    return found


def _somewhere(rng: random.Random, given: dict[str, Any]) -> tuple[Any, Any]:
    """A place anywhere in the input: what holds it, and its key there."""
    paths = _paths(given)
    if not paths:
        return given, "decision"
    *above, last = rng.choice(paths)
    holder: Any = given
    for step in above:
        holder = holder[step]
    return holder, last


def _drop(rng: random.Random, given: dict[str, Any]) -> None:
    holder, key = _somewhere(rng, given)
    if isinstance(holder, list) or key in holder:
        del holder[key]


def _replace(rng: random.Random, given: dict[str, Any]) -> None:
    holder, key = _somewhere(rng, given)
    holder[key] = copy.deepcopy(rng.choice(ODD))


def _swap(rng: random.Random, given: dict[str, Any]) -> None:
    """Two values change places: right in themselves, and wrong where they are."""
    holder, key = _somewhere(rng, given)
    value = copy.deepcopy(holder[key]) if isinstance(holder, list) or key in holder else None
    other, place = _somewhere(rng, given)
    other[place] = value


def _as_text(rng: random.Random, given: dict[str, Any]) -> None:
    holder, key = _somewhere(rng, given)
    if isinstance(holder, list) or key in holder:
        holder[key] = json.dumps(holder[key], default=str)[:2_000]


def _nest(rng: random.Random, given: dict[str, Any]) -> None:
    holder, key = _somewhere(rng, given)
    value: Any = copy.deepcopy(holder[key]) if isinstance(holder, list) or key in holder else 1
    for _ in range(rng.choice((1, 3, 60, 400))):
        value = {"a": value} if rng.random() < 0.5 else [value]
    holder[key] = value


def _add(rng: random.Random, given: dict[str, Any]) -> None:
    holder, key = _somewhere(rng, given)
    inner = holder[key] if isinstance(holder, list) or key in holder else None
    if isinstance(inner, dict):
        inner[rng.choice(("fleet_share_max", "effect", "name", "", "é🙂", "__proto__", "x" * 300))] = rng.choice(ODD)
    elif isinstance(inner, list):
        inner += [rng.choice(ODD)] * rng.choice((1, 50))


_DEEDS: tuple[Callable[[random.Random, dict[str, Any]], None], ...] = (
    _drop,
    _drop,
    _replace,
    _replace,
    _replace,
    _swap,
    _as_text,
    _nest,
    _add,
)
