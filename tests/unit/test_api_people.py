"""REST for people: controls changed as a whole, proposals, cancellations; each refusal with its field and its cure."""

import json
from typing import Any

import pytest

from control_plane.errors import BackboneUnavailable, Flaw, InvalidWorkspace
from control_plane.loop.deliberation import PROPOSAL_BYTES_MAX
from control_plane.loop.intake import check_event
from control_plane.messages import Command, Outcome, topics
from control_plane.messages.wire import decode_event, proposed_of
from tests import builders
from tests.builders import NOW_MS, WEB_1
from tests.unit.api_world import Loop, World, a_world

WISH = {"intent": "restart_service", "subject": WEB_1, "because": "it hangs"}
SOLID = builders.intent(
    parameters={"type": "object", "properties": {"grace": {"type": "integer"}}, "additionalProperties": False}
)


def a_strict_world() -> World:
    return a_world(controls=builders.controls(SOLID, builders.row(), builders.rule()))


async def asked(world: World, method: str, path: str, **options: Any) -> Any:
    async with world.client() as client:
        return await client.request(method, path, **options)


async def propose(world: World, key: str | None = None, **changes: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await asked(world, "POST", "/v1/proposals", json=WISH | changes, headers=headers)


async def record_appended(world: World) -> None:
    for output in world.appended:
        await world.record_raw(output.topic, output.value)


class TestControls:
    async def test_what_is_in_force_is_shown_item_by_item_with_its_revision(self) -> None:
        world = a_world()
        world.followed = {0: world.desk.wanted, 1: world.desk.wanted}

        answer = await asked(world, "GET", "/v1/controls")

        found = answer.json()
        assert answer.headers["ETag"] == f'"{world.desk.wanted}"'
        assert [item["body"] for item in found["items"]] == [item.body for item in world.desk.items]
        assert (found["adopted"], found["settings"]) == (True, {"durability": "flush"})
        assert (await asked(world, "GET", "/v1/controls?items=false")).json()["items"] == []

    async def test_partitions_of_other_processes_are_told_by_the_log(self) -> None:
        world = a_world()
        world.followed = {0: world.desk.wanted}
        before = await asked(world, "GET", "/v1/controls")

        await world.record(builders.adopted("older", 1), builders.adopted(world.desk.wanted, 1))
        after = await asked(world, "GET", "/v1/controls")

        assert (before.json()["adopted"], before.json()["partitions"]["1"]) == (False, None)
        assert after.json()["adopted"]

    async def test_a_change_says_what_it_was_compared_with(self) -> None:
        world = a_world()
        body = {"items": [{"kind": i.kind, "name": i.name, "body": i.body} for i in world.desk.items[:1]]}
        before = world.desk.wanted

        blind = await asked(world, "PUT", "/v1/controls", json=body)
        outdated = await asked(world, "PUT", "/v1/controls", json=body, headers={"If-Match": '"older"'})
        assert (blind.status_code, outdated.status_code, world.desk.wanted) == (428, 412, before)
        done = await asked(world, "PUT", "/v1/controls", json=body, headers={"If-Match": f'"{before}"'})

        assert (done.status_code, done.json()["before"], done.json()["revision"]) == (200, before, world.desk.wanted)
        assert {change["how"] for change in done.json()["changes"]} == {"removed"}

    async def test_every_flaw_of_a_refused_change_is_told(self) -> None:
        world = a_world()
        flaws = [Flaw(file=f"rows/{n}.yaml", line=1, column=2, problem="bad", cure="Mend it.") for n in "ab"]
        world.desk.refuses = InvalidWorkspace(flaws)

        answer = await asked(
            world, "PUT", "/v1/controls", json={"items": []}, headers={"If-Match": f'"{world.desk.wanted}"'}
        )

        assert answer.status_code == 422
        assert [flaw["file"] for flaw in answer.json()["flaws"]] == ["rows/a.yaml", "rows/b.yaml"]
        assert "nothing was changed" in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("body", "status"),
        [(b"", 400), (b"{", 400), (b"\xff", 400), (b"[]", 422), (b'{"items": [1]}', 422), (b'{"item": []}', 422)],
    )
    async def test_what_is_no_list_of_items_is_refused(self, body: bytes, status: int) -> None:
        world = a_world()

        answer = await asked(world, "PUT", "/v1/controls", content=body, headers={"If-Match": f'"{world.desk.wanted}"'})

        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
        cure = "Send what /openapi.json describes" if status == 422 else "Send one JSON object"
        assert answer.json()["cure"].startswith(cure)


class TestProposals:
    async def test_a_proposal_goes_onto_the_log_as_an_event_of_its_subject(self) -> None:
        world = a_strict_world()

        answer = await propose(world, parameters={"grace": 2}, still_when="rows.health.rss > 1.0")

        [output] = world.appended
        event = decode_event(output.value, NOW_MS)
        assert world.controls is not None
        check_event(event, NOW_MS, world.controls)
        [decision] = proposed_of(event).decisions
        assert (answer.status_code, output.topic, output.key) == (202, topics.EVENTS, WEB_1.encode())
        assert answer.json() == {
            "id": event.lineage.message_id,
            "decision_id": decision.lineage.message_id,
            "agent": "person/admin",
            "correlation_id": event.lineage.correlation_id,
        }
        assert (decision.parameters, decision.still_when) == ({"grace": 2}, "rows.health.rss > 1.0")

    @pytest.mark.parametrize(
        ("changes", "field", "cure"),
        [
            ({"intent": "restart_servce"}, "intent", "Did you mean restart_service?"),
            ({"subject": "web-1"}, "subject", "kind/name"),
            ({"subject": "machine/m1"}, "subject", "service/NAME"),
            ({"parameters": {"grace": "soon"}}, "parameters.grace", "as the intent restart_service declares"),
            ({"parameters": {"force": True}}, "parameters", "as the intent restart_service declares"),
            ({"parameters": [1]}, "parameters", ""),
            ({"still_when": "rows..x"}, "still_when", "CEL"),
            ({"because": "x" * 501}, "because", ""),
            ({"confidence": 1.0}, "confidence", ""),
            ({"parameters": {"grace": 2**70}}, None, ""),
        ],
    )
    async def test_what_is_wrong_is_told_with_its_field_and_nothing_is_appended(
        self, changes: dict[str, Any], field: str | None, cure: str
    ) -> None:
        world = a_strict_world()

        answer = await propose(world, **changes)

        assert answer.status_code in (400, 422), answer.text
        if field is not None:
            assert answer.json()["field"] == field
        assert cure in answer.json()["cure"]
        assert world.appended == []

    async def test_parameters_have_a_limit(self) -> None:
        world = a_world()

        answer = await propose(world, parameters={"note": "x" * PROPOSAL_BYTES_MAX})

        assert (answer.status_code, answer.json()["field"], world.appended) == (413, "parameters", [])

    async def test_the_same_key_again_is_the_same_proposal(self) -> None:
        world = a_world()
        first = await propose(world, "ticket-1")
        unrecorded = await propose(world, "ticket-1")
        await record_appended(world)
        recorded = await propose(world, "ticket-1")
        other = await propose(world, "ticket-2")

        assert first.json() == unrecorded.json() == recorded.json()
        assert other.json()["id"] != first.json()["id"]
        ids = [decode_event(output.value, NOW_MS).lineage.message_id for output in world.appended]
        assert ids == [first.json()["id"]] * 2 + [other.json()["id"]], "the loop folds an id once"

    async def test_another_proposal_under_a_used_key_is_refused(self) -> None:
        world = a_world()
        await propose(world, "ticket-1")
        await record_appended(world)

        answer = await propose(world, "ticket-1", because="something else")

        assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")

    async def test_without_a_key_each_one_is_new(self) -> None:
        world = a_world()

        assert (await propose(world)).json()["id"] != (await propose(world)).json()["id"]

    async def test_before_any_controls_and_without_a_log_nothing_is_taken(self) -> None:
        early, cut_off = a_world(controls=None), a_world(append_raises=BackboneUnavailable("the log is away"))

        assert [(await propose(world)).status_code for world in (early, cut_off)] == [503, 503]


class TestCancelling:
    async def a_command(self, world: World, *, with_outcome: bool = False) -> str:
        messages = Loop().feed(builders.event(data={"rss": 500.0}))
        await world.record(*[m for m in messages if with_outcome or not isinstance(m, Outcome)])
        [command] = [message for message in messages if isinstance(message, Command)]
        return command.lineage.message_id

    async def cancel(self, world: World, command_id: str, **body: Any) -> Any:
        return await asked(world, "POST", f"/v1/commands/{command_id}/cancel", content=json.dumps(body))

    async def test_a_command_that_has_not_begun_is_cancelled_by_whoever_asks(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("control_plane.api.cancelling.OUTCOME_WAIT_S", 0.0)
        world = a_world()
        command_id = await self.a_command(world)

        answer = await self.cancel(world, command_id, because="wrong one")

        [(wish, event)] = world.desk.cancelled
        assert (answer.status_code, answer.json()["state"]) == (202, "requested")
        assert (wish.command_id, wish.reason) == (command_id, "cancelled by person/admin: wrong one")
        assert (event.subject, event.lineage.causation_id) == (WEB_1, command_id)

    @pytest.mark.parametrize(
        ("begun", "with_outcome", "code"), [(True, False, "command_begun"), (None, True, "command_over")]
    )
    async def test_one_that_has_begun_or_is_over_is_not(
        self, begun: bool | None, with_outcome: bool, code: str
    ) -> None:
        world = a_world(begun=begun)
        command_id = await self.a_command(world, with_outcome=with_outcome)

        answer = await self.cancel(world, command_id)

        assert (answer.status_code, answer.json()["type"]) == (409, f"urn:setpoint:problem:{code}")
        assert "another proposal" in answer.json()["cure"]
        assert world.desk.cancelled == []

    async def test_who_begins_while_it_is_asked_is_told_of(self, monkeypatch: Any) -> None:
        monkeypatch.setattr("control_plane.api.cancelling.OUTCOME_WAIT_S", 0.0)
        world = a_world(begun=False)
        command_id = await self.a_command(world)
        cancelled = world.desk.cancel

        async def and_it_begins(*given: Any) -> None:
            await cancelled(*given)
            world.begun = True

        world.desk.cancel = and_it_begins  # type: ignore[method-assign]

        assert (await self.cancel(world, command_id)).json()["type"] == "urn:setpoint:problem:command_begun"

    async def test_a_body_that_says_something_else_is_refused(self) -> None:
        world = a_world()
        command_id = await self.a_command(world)

        answer = await self.cancel(world, command_id, reason="wrong one")

        assert (answer.status_code, answer.json()["field"], world.desk.cancelled) == (422, "reason", [])
