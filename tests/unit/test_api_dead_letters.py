"""Dead letters over REST: which there are, and what people do about them, once each."""

import asyncio
import json
from datetime import datetime
from typing import Any

import pytest

from control_plane.causality.lineage import SOURCE
from control_plane.messages import DeadLetter, topics
from control_plane.messages.dead_letter import unmarked
from control_plane.messages.envelope import EVENT_BYTES_MAX
from control_plane.messages.wire import decode_event, encode_event
from tests.builders import NOW_MS, event
from tests.unit.api_world import MemoryAudit, World
from tests.unit.letter_world import MENDED, Logged, a_logged_world, another_process, buried, letter


@pytest.fixture
def world() -> Logged:
    return a_logged_world()


async def call(world: World, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    async with world.client() as client:
        answer = await client.request(method, f"/v1/dead-letters{path}", json=body)
    return answer.status_code, answer.json()


async def listed(world: World, query: str = "") -> list[str]:
    status, answer = await call(world, "GET", f"?order=oldest&{query}")
    assert status == 200, answer
    return [item["id"] for item in answer["items"]]


async def test_a_redriven_record_goes_back_as_it_was_and_the_letter_says_who_when_why_and_where_to(
    world: Logged,
) -> None:
    [id] = await buried(world, letter())

    status, found = await call(world, "POST", f"/{id}/redrive", {"because": "the schema was mended"})

    assert status == 200, found
    [back] = world.events
    assert (unmarked(back.value), back.key, back.partition) == (MENDED, b"service/web-1", None)
    assert decode_event(back.value, NOW_MS) == decode_event(MENDED, NOW_MS)
    assert (found["state"], found["objection"]) == ("redriven", None)
    assert found["resolution"] == {
        "how": "redriven",
        "by": "person/admin",
        "because": "the schema was mended",
        "at": "2026-01-01T00:00:00Z",
        "to_topic": "events.v1",
        "to_partition": 0,
        "to_offset": 100,
    }


async def test_a_resolution_stands_on_the_log_beside_its_letter_and_follows_from_it(world: Logged) -> None:
    [id] = await buried(world, letter())

    await call(world, "POST", f"/{id}/discard", {"because": "a test machine"})

    [said] = world.resolutions
    [output] = world.appended
    [kept] = await world.audit.get(id)
    assert (said.letter_id, said.how, said.by, said.because) == (id, "discarded", "person/admin", "a test machine")
    assert said.lineage.causation_id == id
    assert said.lineage.correlation_id == kept.message.correlation_id
    assert (output.topic, output.partition) == (topics.DEAD_LETTERS, kept.message.partition)


@pytest.mark.parametrize("doing", ["redrive", "discard"])
async def test_what_is_asked_twice_is_done_once(world: Logged, doing: str) -> None:
    [id] = await buried(world, letter())

    answers = await asyncio.gather(*(call(world, "POST", f"/{id}/{doing}") for _ in range(5)))

    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(found, sort_keys=True) for _, found in answers}) == 1
    assert len(world.resolutions) == 1
    assert len(world.events) == (doing == "redrive")


async def test_a_letter_is_the_same_to_every_process_and_after_a_restart(world: Logged) -> None:
    first, second, third = await buried(world, letter(), letter(offset=1), letter(offset=2))
    await call(world, "POST", f"/{first}/redrive")
    await call(world, "POST", f"/{second}/discard")

    other = another_process(world)

    for query, wanted in [("state=open", [third]), ("state=redriven", [first]), ("state=discarded", [second])]:
        assert await listed(other, query) == await listed(world, query) == wanted
    assert await call(other, "GET", f"/{first}") == await call(world, "GET", f"/{first}")
    status, again = await call(other, "POST", f"/{first}/redrive")
    assert (status, again["state"], len(world.events)) == (200, "redriven", 1)


async def test_a_crash_between_the_record_and_its_resolution_sends_the_same_event_again(world: Logged) -> None:
    [id] = await buried(world, letter())
    world.dies_before = topics.DEAD_LETTERS
    status, problem = await call(world, "POST", f"/{id}/redrive")
    assert (status, problem["type"]) == (503, "urn:setpoint:problem:unavailable")
    assert await listed(world, "state=open") == [id]
    world.dies_before = ""

    status, found = await call(another_process(world), "POST", f"/{id}/redrive")

    assert (status, found["state"]) == (200, "redriven")
    once, again = (decode_event(output.value, NOW_MS) for output in world.events)
    assert once == again


async def test_two_processes_that_redrive_at_once_say_the_same_thing(world: Logged) -> None:
    [id] = await buried(world, letter())
    other = another_process(world)

    await asyncio.gather(call(world, "POST", f"/{id}/redrive"), call(other, "POST", f"/{id}/redrive"))

    assert len({said.lineage.message_id for said in world.resolutions}) == 1
    assert len({output.value for output in world.events}) == 1
    assert await listed(other, "state=redriven") == [id]


async def test_a_record_that_was_given_back_counts_as_such_whoever_discards_the_letter_meanwhile(world: Logged) -> None:
    [id] = await buried(world, letter())
    other = another_process(world)
    await call(world, "POST", f"/{id}/discard")
    await call(other, "POST", f"/{id}/redrive")

    status, problem = await call(world, "POST", f"/{id}/discard")

    assert (status, problem["type"]) == (409, "urn:setpoint:problem:redriven_already")
    assert await listed(world, "state=redriven") == await listed(other, "state=redriven") == [id]


@pytest.mark.parametrize(
    ("found", "code", "cure"),
    [
        pytest.param(letter(b"\xff{"), "json_broken", "JSON", id="no JSON"),
        pytest.param(letter(b"{}"), "envelope_broken", "CloudEvents", id="no event"),
        pytest.param(letter(encode_event(event("never.heard"))), "type_unknown", "Declare", id="of no known type"),
        pytest.param(letter(encode_event(event(data={}))), "schema_broken", "schemas/", id="not as its schema wants"),
        pytest.param(letter(b" " * (EVENT_BYTES_MAX + 1)), "record_cut", "smaller", id="too large"),
        pytest.param(letter(agent="gone"), "agent_unknown", "gone", id="of an agent that is gone"),
        pytest.param(letter(topic=topics.COMMANDS), "command_not_redriven", "propose", id="a command"),
        pytest.param(letter(topic="trigger/orders"), "trigger_unknown", "orders", id="of a trigger that is gone"),
        pytest.param(letter(topic="elsewhere"), "origin_unknown", "event", id="from nowhere"),
        pytest.param(
            letter(encode_event(event("controls.adopted", source=SOURCE))), "type_reserved", "type", id="not theirs"
        ),
    ],
)
async def test_what_would_only_be_buried_again_is_refused_with_the_reason_and_stays_open(
    world: Logged, found: DeadLetter, code: str, cure: str
) -> None:
    [id] = await buried(world, found)

    status, problem = await call(world, "POST", f"/{id}/redrive")
    _, shown = await call(world, "GET", f"/{id}")

    assert (status, problem["type"]) == (409, f"urn:setpoint:problem:{code}")
    assert "nothing was redriven" in problem["detail"]
    assert cure in problem["cure"]
    assert (shown["state"], shown["objection"]["code"]) == ("open", code)
    assert world.appended == []


async def test_a_record_that_became_a_letter_again_is_named_by_the_first_and_follows_from_it(world: Logged) -> None:
    [first] = await buried(world, letter())
    await call(world, "POST", f"/{first}/redrive")
    [second] = await buried(world, letter(world.events[0].value, offset=7, code="row_too_large"))
    await call(world, "POST", f"/{second}/redrive")
    [third] = await buried(world, letter(world.events[1].value, offset=8, code="row_too_large"))

    shown = [(await call(world, "GET", f"/{id}"))[1] for id in (first, second, third)]

    assert [found["causation_id"] for found in shown] == [None, first, second]
    assert [found["again"] for found in shown] == [second, third, None]
    assert [found["state"] for found in shown] == ["redriven", "redriven", "open"]
    assert len({found["correlation_id"] for found in shown}) == 1
    assert unmarked(world.events[1].value) == MENDED


@pytest.mark.parametrize(
    ("sent", "goes_back"),
    [
        ({}, "2026-01-01T00:00:00Z"),
        ({"time": None}, "2026-01-01T00:00:00Z"),
        ({"time": "2025-06-01T12:00:00+02:00"}, "2025-06-01T10:00:00Z"),
    ],
)
async def test_what_is_old_does_not_look_new(world: Logged, sent: dict[str, Any], goes_back: str) -> None:
    plain = {"specversion": "1.0", "id": "e1", "source": "test", "type": "service.measured", "subject": "service/web-1"}
    record = json.dumps({**plain, "data": {"rss": 1.0}, **sent}).encode()
    [first] = await buried(world, letter(record))
    await call(world, "POST", f"/{first}/redrive")
    [second] = await buried(world, letter(world.events[0].value, offset=1, recorded_ms=NOW_MS + 3_600_000))
    await call(world, "POST", f"/{second}/redrive")

    once, twice = (decode_event(output.value, NOW_MS + 7_200_000) for output in world.events)

    assert once.occurred_at == twice.occurred_at == datetime.fromisoformat(goes_back)
    assert unmarked(world.events[0].value) == unmarked(world.events[1].value)
    assert sent.get("time", "") is None or unmarked(world.events[0].value) == record


async def test_letters_are_chosen_by_what_they_have_in_common_and_paged(world: Logged) -> None:
    ids = await buried(
        world,
        letter(code="type_unknown"),
        letter(offset=1, subject="service/web-2"),
        letter(offset=2, agent="guard"),
        letter(offset=3, topic="trigger/orders", recorded_ms=NOW_MS + 5_000),
    )

    assert await listed(world, "reason=type_unknown") == ids[:1]
    assert await listed(world, "subject=service/web-2") == ids[1:2]
    assert await listed(world, "agent=guard") == ids[2:3]
    assert await listed(world, "topic=trigger/orders") == ids[3:]
    assert await listed(world, "since=2026-01-01T00:00:05Z") == ids[3:]
    assert await listed(world, "state=redriven") == []
    async with world.client() as client:
        page = await client.get("/v1/dead-letters?limit=3")
        rest = await client.get(page.links["next"]["url"])
        naive = await client.get("/v1/dead-letters?since=2026-01-01T00:00:05")
    assert [item["id"] for item in page.json()["items"] + rest.json()["items"]] == ids[::-1]
    assert rest.json()["next_after"] is None
    assert naive.status_code == 422


async def test_a_sweep_shows_first_and_does_only_when_it_is_told_to(world: Logged) -> None:
    good = await buried(
        world, *(letter(encode_event(event(data={"rss": 1.0}, message_id=f"e{n}")), n) for n in range(3))
    )
    [bad] = await buried(world, letter(b"[]", offset=9))
    wish = {"reason": "schema_broken"}

    status, shown = await call(world, "POST", "/redrive", wish)
    assert (status, shown["dry_run"], shown["done"]) == (200, True, good)
    assert [(found["id"], found["code"]) for found in shown["refused"]] == [(bad, "envelope_broken")]
    assert world.appended == []

    status, done = await call(world, "POST", "/redrive", {**wish, "dry_run": False, "because": "mended"})
    assert {**done, "dry_run": True} == shown
    assert [decode_event(output.value, 0).lineage.message_id for output in world.events] == ["e0", "e1", "e2"]
    assert await listed(world, "state=redriven") == good
    _, again = await call(world, "POST", "/redrive", {**wish, "dry_run": False})
    assert (again["done"], len(world.events)) == ([], 3)
    await call(world, "POST", "/discard", {**wish, "dry_run": False})
    assert await listed(world, "state=open") == []


async def test_a_sweep_of_many_goes_on_where_the_last_one_ended(world: Logged) -> None:
    ids = await buried(world, *(letter(offset=n) for n in range(5)))
    done: list[str] = []
    after: int | None = 0

    while after is not None:
        _, found = await call(
            world, "POST", "/discard", {"topic": topics.EVENTS, "dry_run": False, "limit": 2, "after": after}
        )
        done += found["done"]
        after = found["next_after"]

    assert done == ids


async def test_nobody_means_everything_by_naming_nothing(world: Logged) -> None:
    await buried(world, letter())

    status, problem = await call(world, "POST", "/discard", {"dry_run": False})

    assert (status, problem["type"]) == (422, "urn:setpoint:problem:letters_unchosen")
    assert world.appended == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/x/redrive", {}, 404),
        ("/x/discard", {}, 404),
        ("/redrive", {"reason": 1}, 422),
        ("/redrive", {"reasons": "typo"}, 422),
        ("/discard", {"topic": "t", "since": "2026-01-01T00:00:00"}, 422),
        ("/discard", {"topic": "t", "limit": 0}, 422),
        ("/x/redrive", {"because": "x" * 501}, 422),
    ],
)
async def test_a_wish_that_is_none_is_refused(world: Logged, path: str, body: Any, status: int) -> None:
    answered, problem = await call(world, "POST", path, body)

    assert (answered, problem["status"]) == (status, status)
    assert problem["cure"]


async def test_the_metrics_count_what_is_open_by_its_reason(world: Logged) -> None:
    ids = await buried(world, letter(), letter(offset=1), letter(offset=2, code="json_broken"))
    await call(world, "POST", f"/{ids[2]}/discard")

    async with world.client() as client:
        metrics = (await client.get("/metrics")).text

    assert 'setpoint_dead_letters_open{code="schema_broken"} 2.0' in metrics
    assert 'setpoint_dead_letters_open{code="json_broken"} 0.0' in metrics


async def test_metrics_are_shown_although_the_store_is_away(world: Logged) -> None:
    await buried(world, letter())
    assert isinstance(world.audit, MemoryAudit)
    world.audit.away = True

    async with world.client() as client:
        answer = await client.get("/metrics")

    assert answer.status_code == 200


async def test_a_stranger_on_the_topic_is_no_letter_and_resolves_none(world: Logged) -> None:
    [id] = await buried(world, letter())
    forged = {"specversion": "1.0", "id": "x", "source": "stranger", "type": "setpoint.resolution"}
    forged |= {"time": "2026-01-01T00:00:00Z", "data": {"letter_id": id, "how": "discarded"}}  # type: ignore[dict-item]
    await world.record_raw(topics.DEAD_LETTERS, json.dumps(forged).encode())
    await world.record_raw(topics.DEAD_LETTERS, b"\xff")

    assert await listed(world, "state=open") == [id]
    assert await listed(world) == [id]
