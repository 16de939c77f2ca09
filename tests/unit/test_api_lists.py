"""What was decided, done and judged can be listed, paged and followed, on the real audit store as on a fake one."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.adapters.sql import Database, SqlAudit
from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter, Outcome, topics
from control_plane.ports.audit import Audit
from tests.builders import NOW_MS, event
from tests.unit.api_world import Loop, MemoryAudit, World, a_world


@pytest.fixture(params=["memory", "sql"])
async def audit(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Audit]:
    if request.param == "memory":
        yield MemoryAudit()
        return
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")
    try:
        yield SqlAudit(database)
    finally:
        await database.close()


@pytest.fixture
def world(audit: Audit) -> World:
    return a_world(audit)


async def get(world: World, path: str) -> Any:
    async with world.client() as client:
        answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def one_round(world: World) -> None:
    """A restart that was allowed, succeeded and helped."""
    loop = Loop()
    await world.record(*loop.feed(event(data={"rss": 500.0})))
    await world.record(*loop.feed(event(data={"rss": 100.0}, message_id="e2", at_ms=NOW_MS + 1_000), NOW_MS + 1_000))
    await world.record(*loop.tick(NOW_MS + 6_000))


async def test_a_decision_is_shown_with_everything_that_followed_from_it(world: World) -> None:
    await one_round(world)

    [listed] = (await get(world, "/v1/decisions"))["items"]
    shown = await get(world, f"/v1/decisions/{listed['id']}")

    assert (listed["agent"], listed["intent"], listed["subject"]) == (
        "memory_guard",
        "restart_service",
        "service/web-1",
    )
    assert listed["because"] == "rss 500 is too much"
    assert listed["verdict"]["answer"] == "allow"
    assert listed["verdict"]["reasons"] == [{"code": "routine", "msg": "it is routine", "by": "test"}]
    assert "policy_input" not in listed["verdict"]
    assert shown["verdict"]["policy_input"]["decision"]["intent"] == "restart_service"
    assert shown["command"]["causation_id"] == shown["verdict"]["id"]
    assert shown["command"]["outcome"]["status"] == "succeeded"
    assert shown["effect"]["effect"] == "effective"
    assert {shown["correlation_id"]} == {
        part["correlation_id"]
        for part in (shown["verdict"], shown["command"], shown["command"]["outcome"], shown["effect"])
    }


async def test_a_command_is_shown_with_its_outcome_and_its_effect(world: World) -> None:
    await one_round(world)

    [listed] = (await get(world, "/v1/commands"))["items"]
    shown = await get(world, f"/v1/commands/{listed['id']}")

    assert listed["outcome"]["status"] == shown["outcome"]["status"] == "succeeded"
    assert listed["deadline_at"] == "2026-01-01T00:00:30Z"
    assert shown["effect"]["command_id"] == listed["id"]
    assert (await get(world, "/v1/effects"))["items"] == [shown["effect"]]


@pytest.mark.parametrize("answer", ["deny", "escalate"])
async def test_a_decision_that_was_not_allowed_has_a_verdict_and_no_command(world: World, answer: str) -> None:
    await world.record(*Loop(answer=answer).feed(event(data={"rss": 500.0})))

    [listed] = (await get(world, "/v1/decisions"))["items"]
    shown = await get(world, f"/v1/decisions/{listed['id']}")

    assert shown["verdict"]["answer"] == answer
    assert (shown["command"], shown["effect"]) == (None, None)
    assert (await get(world, "/v1/commands"))["items"] == []


async def test_what_is_not_yet_recorded_is_null_and_not_an_error(world: World) -> None:
    decision, command = Loop().feed(event(data={"rss": 500.0}))[1:4:2]
    await world.record(decision, command)

    assert (await get(world, "/v1/decisions"))["items"][0]["verdict"] is None
    assert (await get(world, f"/v1/decisions/{decision.lineage.message_id}"))["command"] is None
    assert (await get(world, f"/v1/commands/{command.lineage.message_id}"))["outcome"] is None


async def test_verdicts_go_with_their_own_decision_also_within_one_flow(world: World) -> None:
    for n in range(5):
        said = Loop(answer="allow" if n % 2 else "deny").feed(event(data={"rss": 500.0}, message_id=f"e{n}"))
        await world.record(*said)

    items = (await get(world, "/v1/decisions?order=oldest"))["items"]

    assert [item["verdict"]["answer"] for item in items] == ["deny", "allow", "deny", "allow", "deny"]
    assert all(item["verdict"]["decision_id"] == item["id"] for item in items)


async def test_an_event_from_outside_that_borrows_an_id_deceives_nobody(world: World) -> None:
    said = Loop().feed(event(data={"rss": 500.0}))
    await world.record(event("service.measured", {"rss": 1.0}, message_id=said[1].lineage.message_id))
    await world.record(*said)

    shown = await get(world, f"/v1/decisions/{said[1].lineage.message_id}")

    assert shown["topic"] == topics.DECISIONS


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_neither_skip_nor_repeat_while_messages_arrive(world: World, order: str) -> None:
    for n in range(10):
        await world.record(event(data={"rss": 1.0}, message_id=f"e{n}"))
    seen: list[str] = []
    path: str | None = f"/v1/events?limit=3&order={order}"

    async with world.client() as client:
        while path:
            answer = await client.get(path)
            seen += [item["id"] for item in answer.json()["items"]]
            path = answer.links["next"]["url"] if "next" in answer.links else None
            assert (path is None) == (answer.json()["next_after"] is None)
            if len(seen) == 3:
                await world.record(event(data={"rss": 1.0}, message_id="late"))

    in_order = [f"e{n}" for n in range(10)]
    assert seen == ([*in_order, "late"] if order == "oldest" else in_order[::-1])


async def test_events_are_filtered_by_type_and_subject(world: World) -> None:
    await one_round(world)
    await world.record(event(data={"rss": 1.0}, subject="service/web-2", message_id="other"))

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await get(world, f"/v1/events?order=oldest&{query}"))["items"]]

    assert await ids("type=service.measured") == ["e1", "e2", "other"]
    assert await ids("subject=service/web-2") == ["other"]
    assert await ids("type=service.measured&subject=service/web-1") == ["e1", "e2"]
    [outcome] = (await get(world, "/v1/events?type=command.succeeded"))["items"]
    assert outcome["event"]["data"]["status"] == "succeeded"
    assert await ids("type=nothing.like_it") == []


async def test_the_link_to_the_next_page_keeps_the_filters(world: World) -> None:
    for n in range(3):
        await world.record(event(data={"rss": 1.0}, message_id=f"e{n}"))

    async with world.client() as client:
        answer = await client.get("/v1/events?limit=2&subject=service/web-1&type=service.measured")
        following = await client.get(answer.links["next"]["url"])

    assert [item["id"] for item in following.json()["items"]] == ["e0"]
    assert "next" not in following.links


async def test_a_flow_and_a_subject_show_every_message_in_its_order(world: World) -> None:
    await one_round(world)
    flow = (await get(world, "/v1/effects"))["items"][0]["correlation_id"]

    messages = (await get(world, f"/v1/flows/{flow}?order=oldest"))["items"]

    topics_in_order = [item["topic"].split(".")[0] for item in messages]
    assert topics_in_order == ["events", "decisions", "verdicts", "commands", "events", "effects"]
    known = {item["id"] for item in messages}
    assert [item["causation_id"] in known for item in messages] == [False, True, True, True, True, True]
    about = (await get(world, "/v1/subjects/service/web-1?order=oldest"))["items"]
    assert {item["id"] for item in about} == known | {"e2"}


async def test_a_subject_shows_how_things_stand_with_it(world: World) -> None:
    loop = Loop()
    said = loop.feed(event(data={"rss": 450.0}))
    outcomes = [message for message in said if isinstance(message, Outcome)]
    await world.record(*[message for message in said if not isinstance(message, Outcome)])
    reason = InvalidMessage("schema_broken", "no", field="data.rss", cure="Mend it.")
    await world.record(
        DeadLetter.of(
            topic=topics.EVENTS,
            partition=0,
            offset=9,
            recorded_ms=NOW_MS,
            record=b"{}",
            reason=reason,
            subject="service/web-1",
        )
    )

    under_way = await get(world, "/v1/subjects/service/web-1")
    await world.record(*outcomes)
    over = await get(world, "/v1/subjects/service/web-1")

    assert under_way["last_event"]["id"] == "e1"
    assert under_way["last_decision"]["verdict"]["answer"] == "allow"
    assert [command["intent"] for command in under_way["live_commands"]] == ["restart_service"]
    assert under_way["open_dead_letters"] == 1
    assert over["live_commands"] == []
    assert over["last_event"]["event"]["type"] == "command.succeeded"


async def test_dead_letters_say_where_why_and_what_to_change(world: World) -> None:
    reason = InvalidMessage("json_broken", "the message is not JSON", field=None, cure="Send JSON.")
    letter = DeadLetter.of(
        topic=topics.EVENTS, partition=3, offset=17, recorded_ms=NOW_MS, record=b"\xff{", reason=reason
    )
    await world.record_raw(topics.EVENTS, b"\xff{")
    await world.record(letter)

    [listed] = (await get(world, "/v1/dead-letters"))["items"]
    item = await get(world, f"/v1/dead-letters/{listed['id']}")
    [poison] = (await get(world, "/v1/events"))["items"]

    assert (item["from_topic"], item["from_partition"], item["from_offset"]) == ("events.v1", 3, 17)
    assert (item["code"], item["cure"], item["agent"]) == ("json_broken", "Send JSON.", None)
    assert base64.b64decode(item["record_base64"]) == b"\xff{"
    assert listed == {name: item[name] for name in listed}
    assert poison["event"] is None


async def test_a_record_that_is_no_message_of_ours_is_left_out_and_counted(world: World) -> None:
    await one_round(world)
    await world.record_raw(topics.DECISIONS, b'{"specversion":"1.0","id":"x","source":"setpoint","type":"t"}')

    assert len((await get(world, "/v1/decisions"))["items"]) == 1
    async with world.client() as client:
        metrics = (await client.get("/metrics")).text
        shown = await client.get("/v1/decisions/x")
    assert 'setpoint_api_unreadable_messages_total{topic="decisions.v1"} 1.0' in metrics
    assert shown.status_code == 500
    assert shown.json()["type"] == "urn:setpoint:problem:unreadable"


async def test_times_are_rfc_3339_in_utc(world: World) -> None:
    await world.record(event(data={"rss": 1.0}, at_ms=NOW_MS + 5))

    [item] = (await get(world, "/v1/events"))["items"]

    assert item["occurred_at"] == "2026-01-01T00:00:00.005000Z"
    assert item["recorded_at"].endswith("Z")
