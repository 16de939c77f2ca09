"""Why something was decided, and why an agent stayed silent: each on the values that were there."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.adapters.memory import MemoryBackbone, MemoryLog, VirtualClock
from control_plane.messages.wire import utc
from control_plane.partition import Partitions
from control_plane.replay import Instant, instant
from state.projections import Gaps
from tests import builders
from tests.builders import NOW_MS, event
from tests.unit.api_world import Loop, MemoryAudit
from tests.unit.cli_world import Served, served

ITEMS = (builders.intent(), builders.row(), builders.rule(**{"for": "10s", "reads": ["health"]}))
PATIENT = builders.control_set(*ITEMS)
CONTROLS = builders.ControlsAt(PATIENT)


@pytest.fixture(scope="module")
def _served() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.fixture
def service(_served: Served) -> Served:
    """One service for all, emptied before each test."""
    assert isinstance(_served.world.audit, MemoryAudit)
    _served.world.audit.kept.clear()
    return _served


def one_round(service: Served) -> list[Any]:
    loop = Loop()
    said = loop.feed(event(data={"rss": 500.0}))
    service.record(*said)
    service.record(*loop.feed(event(data={"rss": 100.0}, message_id="e2", at_ms=NOW_MS + 1_000), NOW_MS + 1_000))
    service.record(*loop.tick(NOW_MS + 6_000))
    return said


def explained(service: Served, message_id: str) -> Any:
    answer = service.setpoint("explain", message_id, "--json")
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_dossier_holds_fact_knowledge_guards_ruling_command_outcome_and_effect(service: Served) -> None:
    decision = one_round(service)[1]

    dossier = explained(service, decision.lineage.message_id)

    assert dossier["event"]["event"]["data"] == {"rss": 500.0}
    assert (dossier["event"]["topic"], dossier["event"]["offset"]) == ("events.v1", 0)
    assert dossier["rows"] == {"health": {"rss": 500.0}}
    assert dossier["facts"]["in_flight"] == 0
    assert [guard["answer"] for guard in dossier["guards"]] == ["passed"] * len(dossier["guards"])
    assert dossier["guards"][-1]["stage"] == "policy"
    assert dossier["guards"][-1]["reasons"][0]["code"] == "routine"
    assert dossier["command"]["outcome"]["attempts"] == 1
    assert dossier["effect"]["effect"] == "effective"


def test_whatever_followed_from_a_decision_leads_to_its_dossier(service: Served) -> None:
    said = one_round(service)
    dossier = explained(service, said[1].lineage.message_id)

    followed = [dossier["verdict"]["id"], dossier["command"]["id"], dossier["command"]["outcome"]["id"]]

    for message_id in [*followed, dossier["effect"]["id"]]:
        assert explained(service, message_id)["decision"]["id"] == dossier["decision"]["id"]


def test_people_read_it_in_the_order_in_which_it_came_about(service: Served) -> None:
    decision = one_round(service)[1]

    answer = service.setpoint("explain", decision.lineage.message_id)

    labels = [line[:10].strip() for line in answer.stdout.splitlines() if line[:10].strip()]
    assert list(dict.fromkeys(labels)) == [
        "event", "known", "facts", "state", "decision", "guard", "verdict", "command", "outcome", "effect",
    ]  # fmt: skip
    assert "rows.health" in answer.stdout
    assert "allow at policy" in answer.stdout


def test_the_state_that_the_rule_had_before_is_shown_with_its_times(service: Served) -> None:
    loop = Loop(controls=builders.controls(*ITEMS))
    service.record(*loop.feed(event(data={"rss": 500.0}, message_id="first")))
    service.record(*loop.feed(event(data={"rss": 510.0}, message_id="then", at_ms=NOW_MS + 10_000), NOW_MS + 10_000))
    [decision] = json.loads(service.setpoint("decisions", "list", "--json").stdout)

    dossier, shown = explained(service, decision["id"]), service.setpoint("explain", decision["id"]).stdout

    assert dossier["decision"]["own"]["state"] == "pending"
    assert dossier["decision"]["own"]["since_ms"] == NOW_MS
    assert f"state     the rule was pending since {utc(NOW_MS).isoformat(timespec='milliseconds')[:23]}Z" in shown


def test_a_rule_that_was_inactive_had_kept_nothing(service: Served) -> None:
    decision = one_round(service)[1]

    assert explained(service, decision.lineage.message_id)["decision"]["own"] is None
    assert "a rule is inactive then" in service.setpoint("explain", decision.lineage.message_id).stdout


def test_a_guard_that_stopped_it_is_named_and_those_behind_it_were_not_asked(service: Served) -> None:
    loop = Loop()
    service.record(*loop.feed(event(data={"rss": 500.0}, at_ms=NOW_MS - 600_000)))
    [decision] = json.loads(service.setpoint("decisions", "list", "--json").stdout)

    dossier = explained(service, decision["id"])

    answers = {guard["stage"]: guard["answer"] for guard in dossier["guards"]}
    assert answers == {
        "grant": "passed", "lineage": "passed", "freshness": "stopped",
        "concurrency": "not asked", "limits": "not asked", "policy": "not asked",
    }  # fmt: skip
    assert dossier["rows"] is None
    assert dossier["command"] is None


def test_an_event_that_led_to_no_decision_says_how_to_ask_on(service: Served) -> None:
    service.record(event(data={"rss": 1.0}, message_id="calm"))

    answer = service.setpoint("explain", "calm")

    assert answer.exit_code == 1
    assert "follows from no decision" in answer.stderr
    assert "--agent NAME" in answer.stderr


def test_an_id_that_nobody_knows_is_told(service: Served) -> None:
    answer = service.setpoint("explain", "nobody")

    assert answer.exit_code == 1
    assert "nobody" in answer.stderr


async def a_log(*events: Any) -> MemoryLog:
    clock = VirtualClock()
    log = MemoryLog(clock.now_ms)
    backbone = MemoryBackbone(log)
    backbone.own_events(Partitions(engine=builders.ScriptedEngine(builders.allow), controls=CONTROLS))
    await backbone.start()
    await backbone.append([builders.output(builders.adopted(PATIENT.revision), 0)])
    for message_id, data in events:
        clock.advance(4_000)
        # One without data says that it happens tomorrow.
        ahead_ms = 0 if data is not None else 86_400_000
        found = event(data=data, message_id=message_id, at_ms=clock.now_ms() + ahead_ms)
        await backbone.append([builders.output(found)])
    await backbone.stop()
    return log


async def asked(log: MemoryLog, event_id: str, agent: str = "memory_guard") -> Instant | None:
    return await instant(log, CONTROLS, builders.ScriptedEngine(), event_id=event_id, agent=agent)


async def test_a_rule_that_waits_says_for_how_long_still_and_on_which_values() -> None:
    log = await a_log(("a", {"rss": 500.0}), ("b", {"rss": 510.0}))

    found = await asked(log, "b")

    assert found is not None
    assert found.silence is not None
    assert found.why == "silent"
    assert found.rows == {"health": {"rss": 510.0}}
    assert (found.silence.clause, found.silence.state) == ("for", "pending")
    assert found.silence.read == {"data.rss": 510.0}
    assert found.silence.wait_ms is not None
    assert found.own["state"] == "pending", "it had waited since the first event"


async def test_a_rule_whose_condition_did_not_hold_says_so_although_it_was_never_shown_the_event() -> None:
    log = await a_log(("a", {"rss": 5.0}))

    found = await asked(log, "a")

    assert found is not None
    assert found.silence is not None
    assert found.silence.clause == "when"
    assert found.silence.read == {"data.rss": 5.0}


async def test_a_field_that_was_missing_is_named() -> None:
    log = await a_log(("a", {"cpu": 5.0}))

    found = await asked(log, "a")

    assert found is not None
    assert found.silence is not None
    assert found.silence.missing == ("data.rss",)


async def test_what_its_rows_could_not_read_or_take_is_counted_by_field() -> None:
    log = await a_log(("a", {"cpu": 1.0}), ("b", {"cpu": 2.0}), ("c", {"rss": 5.0}))

    before, after = await asked(log, "a"), await asked(log, "c")

    assert before is not None
    assert after is not None
    assert before.gaps == {"health": {"rss": Gaps(late=0, missed=1)}}
    assert after.gaps == {"health": {"rss": Gaps(late=0, missed=2)}}


async def test_what_the_agent_keeps_is_told_as_it_was_before_and_as_it_is_now() -> None:
    log = await a_log(("a", {"rss": 500.0}))

    found = await asked(log, "a")

    assert found is not None
    assert found.own is None
    assert found.own_after["state"] == "pending"


async def test_a_rule_that_proposed_says_which_decision() -> None:
    log = await a_log(("a", {"rss": 500.0}), ("b", {"rss": 500.0}), ("c", {"rss": 500.0}), ("d", {"rss": 500.0}))

    found = [await asked(log, name) for name in ("c", "d")]

    proposed = [one for one in found if one is not None and one.why == "proposed"]
    assert [one.decisions[0].intent for one in proposed] == ["restart_service"]


async def test_an_agent_that_was_not_in_force_is_told() -> None:
    found = await asked(await a_log(("a", {"rss": 500.0})), "a", "nobody")

    assert found is not None
    assert found.why == "not in force"


async def test_an_event_that_became_a_dead_letter_was_shown_to_nobody() -> None:
    found = await asked(await a_log(("a", {"rss": 500.0}), ("late", None)), "late")

    assert found is not None
    assert found.why == "not shown"


async def test_an_event_that_is_not_on_the_log_is_none() -> None:
    assert await asked(await a_log(("a", {"rss": 1.0})), "z") is None
