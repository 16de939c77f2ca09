"""What a webhook cannot take is kept and named; what it could not keep is to be sent again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from control_plane.errors import BackboneUnavailable, StorageFull
from tests.unit.triggers_world import World
from tests.unit.webhook_world import ALERTS, BEARER, a_group, an_alert, an_app, resolved, send

BROKEN: dict[str, tuple[Any, int, str, str | None]] = {
    "no JSON": (b"{", 400, "json_broken", None),
    "no text": (b"\xff\xfe", 400, "json_broken", None),
    "an empty body": (b"", 400, "json_broken", None),
    "deep nesting": (b'{"alerts":' + b"[" * 100 + b"]" * 100 + b"}", 422, "too_deep", "data"),
    "no list": ({"alerts": {}}, 422, "items_missing", "alerts"),
    "nothing of it": ({"a": 1}, 422, "items_missing", "alerts"),
    "a list": ([an_alert()], 422, "items_missing", "alerts"),
    "no object in the list": (a_group(3), 422, "alert_broken", "alerts[0]"),
    "an unknown status": (a_group(an_alert(status="on fire")), 422, "alert_broken", "alerts[0].status"),
    "labels that are a list": (a_group(an_alert(labels=[])), 422, "alert_broken", "alerts[0].labels"),
    "a label that is a number": (
        a_group(an_alert(labels={"service": 1})),
        422,
        "alert_broken",
        "alerts[0].labels[...]",
    ),
    "a time that is none": (a_group(an_alert(startsAt="yesterday")), 422, "alert_broken", "alerts[0].startsAt"),
    "a time without a zone": (
        a_group(an_alert(startsAt="2026-01-01T00:00:00")),
        422,
        "alert_broken",
        "alerts[0].startsAt",
    ),
    "no fingerprint": (
        a_group({k: v for k, v in an_alert().items() if k != "fingerprint"}),
        422,
        "alert_broken",
        "alerts[0]",
    ),
    "no label to name the subject": (a_group(an_alert(labels={})), 422, "unmappable", "alerts[0].labels.service"),
    "a subject that is too long": (
        a_group(an_alert(labels={"service": "x" * 300})),
        422,
        "subject_too_long",
        "subject",
    ),
    "the future": (a_group(an_alert(startsAt="2027-01-01T00:00:00Z")), 422, "from_future", "time"),
}


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(("body", "status", "code", "field"), BROKEN.values(), ids=list(BROKEN))
async def test_what_cannot_be_mapped_is_kept_and_the_sender_is_told_why(
    world: World, body: Any, status: int, code: str, field: str | None
) -> None:
    answer = await send(world, ALERTS, body)

    problem = answer.json()
    [letter] = world.letters
    assert (answer.status_code, problem["type"].rpartition(":")[2], problem.get("field")) == (status, code, field)
    assert problem["cure"]
    assert "kept as dead letters" in problem["detail"]
    assert (letter.code, letter.field, letter.topic) == (code, field, "trigger/alerts")
    assert letter.record_bytes == len(body) if isinstance(body, bytes) else letter.record
    assert world.events == []


async def test_what_is_good_is_taken_whatever_stands_beside_it(world: World) -> None:
    broken = an_alert(labels={"alertname": "Nameless"}, fingerprint="f2")

    answer = await send(world, ALERTS, a_group(an_alert(), broken, resolved(fingerprint="f3")))

    problem = answer.json()
    assert answer.status_code == 422
    assert [taken["id"] for taken in problem["accepted"]] == world.ids
    assert [found["place"] for found in problem["not_taken"]] == ["alerts[1]"]
    assert problem["detail"].startswith("alerts[1]: event.subject cannot be made of what was sent: labels.service is")
    assert "1 of 3 were not taken" in problem["detail"]
    assert [event.type for event in world.events] == ["alert.fired", "alert.resolved"]
    assert b"Nameless" in world.letters[0].record
    assert world.appends == 1


async def test_what_is_sent_again_and_cannot_be_mapped_is_the_same_dead_letter(world: World) -> None:
    for _ in range(2):
        await send(world, ALERTS, a_group(an_alert(labels={})))
    await send(world, ALERTS, a_group(an_alert(labels={}, fingerprint="other")))

    first, second, third = (letter.lineage.message_id for letter in world.letters)
    assert first == second != third


async def test_more_items_than_are_taken_at_once_are_kept_whole(world: World) -> None:
    answer = await send(world, {**ALERTS, "items_max": 2}, a_group(an_alert(), an_alert(), an_alert()))

    assert (answer.status_code, answer.json()["field"]) == (413, "alerts")
    assert "at most 2 are taken" in answer.json()["detail"]
    assert [letter.code for letter in world.letters] == ["too_many_items"]


async def test_a_body_that_is_too_large_is_not_read_to_its_end(world: World) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1_000):
            read += 1
            yield b" " * 1_000

    transport = an_app(world, {**ALERTS, "body_bytes_max": 5_000})
    async with httpx.AsyncClient(transport=transport, base_url="http://setpoint") as client:
        answer = await client.post("/hooks/alerts", content=endless(), headers=BEARER)

    assert answer.status_code == 413
    assert "more than 5000 bytes" in answer.json()["detail"]
    assert world.outputs == []


async def test_what_cannot_be_made_durable_is_to_be_sent_again(world: World) -> None:
    world.append_raises = [BackboneUnavailable("The log is away."), StorageFull("The disk is full.")]

    answers = [await send(world, ALERTS, a_group(an_alert())) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [503, 507, 202]
    assert answers[0].headers["Retry-After"]
    assert len(world.events) == 1


async def test_a_body_that_never_comes_ends_and_may_be_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.api.hooks.BODY_TIMEOUT_S", 0.01)

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    async with httpx.AsyncClient(transport=an_app(world, ALERTS), base_url="http://setpoint") as client:
        answer = await client.post("/hooks/alerts", content=never(), headers=BEARER)

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:setpoint:problem:body_too_slow"
