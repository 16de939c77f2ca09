"""The policies that every workspace starts from: they are right, covered by their tests, and fail closed together."""

import asyncio
import copy
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.adapters.memory.clock import START_MS
from control_plane.adapters.regorus import RegorusEngine, check_policies, run_tests
from control_plane.catalogue import Intent
from control_plane.causality import Lineage
from control_plane.governance.case import Case
from control_plane.governance.policy import question
from control_plane.messages import Decision, Event, Question, Ruling, Subject
from control_plane.messages.wire import utc
from state.rows import RecentAction, Row
from tests.builders import controls, intent

SCHEMA = msgspec.json.decode(files("policies").joinpath("input.schema.json").read_bytes())


def below(folder: Traversable, prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += below(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".rego"):
            found.append((prefix + entry.name.removesuffix(".rego"), entry.read_text()))
    return sorted(found)


ALL = below(files("policies"))
MODULES = tuple(module for module in ALL if not module[0].endswith("_test"))
TESTS = tuple(module for module in ALL if module[0].endswith("_test"))


@dataclass(frozen=True)
class BuiltIn:
    revision: str = "built-in"
    modules: tuple[tuple[str, str], ...] = MODULES
    data: tuple[tuple[str, str], ...] = ()


ENGINE = RegorusEngine()
RESTART: dict[str, Any] = {
    "decision": {
        "agent": "memory_guard",
        "version": "1.0.0",
        "intent": "restart_service",
        "subject": {"kind": "service", "name": "web-1", "id": "service/web-1"},
        "parameters": {"grace": "2s"},
        "confidence": 0.9,
        "because": "rss 412.0 MB above 400 MB for 5 s",
    },
    "intent": {
        "name": "restart_service",
        "description": "Stop the service and start it again.",
        "subject_kind": "service",
        "action_class": "lifecycle",
        "idempotent": False,
        "reversible": False,
        "deadline_ms": 30_000,
        "limits": {"per_subject": {"max": 3, "window_ms": 600_000}, "cooldown_ms": 30_000, "fleet_share_max": 0.4},
    },
    "event": {
        "type": "process.measured",
        "subject": "service/web-1",
        "source": "probe",
        "occurred_at": "2026-01-31T12:00:00Z",
        "data": {"rss_mb": 412.0},
    },
    "rows": {"service_health": {"rss_mb": 412.0, "up": True}},
    "facts": {
        "hour_utc": 12,
        "in_flight": 0,
        "actions_last_10m": 1,
        "recent_actions": [
            {
                "intent": "restart_service",
                "agent": "memory_guard",
                "age_ms": 60_000,
                "outcome": "succeeded",
                "effect": "effective",
            }
        ],
        "event_age_ms": 12,
        "ages_ms": {"service_health": 0},
        "fleet_share": 0.1,
    },
    "autonomy": {"level": "act"},
    "lineage": {"hop_count": 0, "correlation_id": "0" * 32},
    "now": "2026-01-31T12:00:00.012000Z",
}
# What the built-in policies read of a restart; without any one of these it is not allowed.
NEEDED = (
    ("decision",),
    ("decision", "intent"),
    ("decision", "subject"),
    ("decision", "subject", "kind"),
    ("decision", "confidence"),
    ("intent",),
    ("intent", "name"),
    ("intent", "limits"),
    ("facts",),
    ("facts", "actions_last_10m"),
    ("facts", "recent_actions"),
    ("facts", "fleet_share"),
    ("facts", "recent_actions", 0, "intent"),
    ("facts", "recent_actions", 0, "effect"),
    ("facts", "recent_actions", 0, "age_ms"),
)


def ruled(document: dict[str, Any]) -> Ruling:
    return asyncio.run(ENGINE.rule(Question(id="decision-1", input=document), BuiltIn()))


def changed(path: tuple[Any, ...], *value: Any) -> dict[str, Any]:
    """The restart with another value at a path, or with none."""
    document = copy.deepcopy(RESTART)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if value:
        place[path[-1]] = value[0]
    else:
        del place[path[-1]]
    return document


def test_the_built_in_policies_have_no_flaw() -> None:
    assert len(MODULES) == len(TESTS) == 5
    assert check_policies(ALL) == []


def test_the_tests_of_the_built_in_policies_pass_and_make_every_rule_true() -> None:
    report = run_tests(MODULES, TESTS)

    assert [str(flaw) for flaw in report.flaws] == []
    assert report.passed
    assert len(report.trials) >= 32


def test_the_input_that_code_builds_is_the_input_that_the_schema_describes() -> None:
    lineage = Lineage.root("probe", "event-1")
    event = Event(lineage=lineage, type="process.measured", subject="service/web-1", occurred_at=utc(START_MS))
    decision = Decision(
        lineage=lineage.child("decision/memory_guard/0"),
        subject="service/web-1",
        occurred_ms=START_MS,
        agent="memory_guard",
        agent_version="1.0.0",
        intent="restart_service",
        parameters={},
        confidence=0.9,
        because="too much",
    )
    recent = RecentAction(
        command_id="c", agent="memory_guard", intent="restart_service", action_class="lifecycle", at_ms=START_MS - 1000
    )
    for declared in (_intent(), _intent(limits={"per_subject": {"max": 3, "window": "1m"}, "fleet_share_max": 0.4})):
        case = Case(
            decision=decision,
            intent=declared,
            event=event,
            subject=Subject.parse("service/web-1"),
            row=Row(subject="service/web-1", recent=(recent,)),
            now_ms=START_MS,
            granted=("restart_service",),
            rows={"service_health": {"rss_mb": 412.0}},
            ages_ms={"service_health": 0},
            scope=None,
        )
        document = msgspec.json.decode(msgspec.json.encode(question(case).input))
        assert [error.message for error in jsonschema_rs.iter_errors(SCHEMA, document)] == []


def _intent(**changes: Any) -> Intent:
    return controls(intent(**changes)).intents["restart_service"]


def test_every_field_of_the_input_is_described() -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        found = [] if schema.get("description") else [path]
        for name, inner in schema.get("properties", {}).items():
            found += undescribed(inner, f"{path}.{name}")
        for part in ("items", "additionalProperties"):
            if isinstance(schema.get(part), dict):
                found += undescribed(schema[part], f"{path}.{part}")
        return found

    assert undescribed(SCHEMA, "input") == []
    assert jsonschema_rs.is_valid(SCHEMA, RESTART)


def test_a_routine_restart_is_allowed() -> None:
    ruling = ruled(RESTART)

    assert (ruling.answer, [reason.code for reason in ruling.reasons]) == ("allow", ["routine_restart"])


@pytest.mark.parametrize("path", NEEDED, ids=lambda path: ".".join(str(step) for step in path))
def test_a_restart_with_something_missing_is_denied(path: tuple[Any, ...]) -> None:
    assert ruled(changed(path)).answer == "deny"


@pytest.mark.parametrize(
    ("path", "value", "answer", "code"),
    [
        (("decision", "confidence"), 0.55, "escalate", "low_confidence"),
        (("decision", "confidence"), 0.4, "deny", "no_permit"),
        (("facts", "fleet_share"), 0.5, "deny", "too_wide"),
        (("facts", "actions_last_10m"), 11, "escalate", "action_storm"),
        (("decision", "subject", "kind"), "database", "deny", "no_permit"),
        (("intent", "limits"), {}, "deny", "no_permit"),
    ],
)
def test_what_is_out_of_bounds_is_held_up(path: tuple[str, ...], value: Any, answer: str, code: str) -> None:
    ruling = ruled(changed(path, value))

    assert (ruling.answer, ruling.reasons[0].code) == (answer, code)


def test_a_third_try_after_two_that_did_not_help_is_denied() -> None:
    tries = [
        {"intent": "restart_service", "agent": "a", "age_ms": age, "outcome": "succeeded", "effect": effect}
        for age, effect in ((3000, "ineffective"), (2000, "harmful"))
    ]

    ruling = ruled(changed(("facts", "recent_actions"), tries))

    assert (ruling.answer, ruling.reasons[0].code) == ("deny", "did_not_help")


@settings(max_examples=150, deadline=None)
@given(
    path=st.sampled_from([path for path in NEEDED if path not in {("decision",), ("intent",), ("facts",)}]),
    value=st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.lists(st.none(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)
def test_a_value_of_another_type_never_gets_past(path: tuple[Any, ...], value: Any) -> None:
    harmless = path == ("facts", "recent_actions") and value == []
    harmless = harmless or (path[-1] in {"intent", "effect"} and path[0] == "facts" and isinstance(value, str))

    assert ruled(changed(path, value)).answer == "deny" or harmless
