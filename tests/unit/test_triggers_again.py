"""What a trigger could make no event of, mapped once more after the mend."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from control_plane.bootstrap.mapping_again import mapping_again
from control_plane.catalogue import ControlSet
from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter
from control_plane.messages.dead_letter import unmarked
from control_plane.messages.wire import decode_event
from control_plane.redriving import redriven
from control_plane.triggers import build_trigger, build_webhooks, event_again
from control_plane.triggers.folder import FolderTrigger
from control_plane.triggers.sorting import BESIDE_BYTES_MAX
from tests.builders import EXPRESSIONS, item
from tests.unit.triggers_world import World, as_json

ORDERS: dict[str, Any] = {
    "name": "orders",
    "kind": "webhook",
    "each": "body.orders",
    "event": {
        "type": "order.placed",
        "subject": '"order/" + item.number',
        "id": "item.number + headers.shop",
        "data": {"many": "size(body.orders)"},
    },
}
BY_CODE: dict[str, Any] = {**ORDERS, "event": {**ORDERS["event"], "subject": '"order/" + item.code'}}
"""The same after the mend."""


@pytest.fixture
def world() -> World:
    return World()


async def refused(world: World, definition: Mapping[str, Any], body: Any, headers: Mapping[str, str]) -> DeadLetter:
    hook = build_webhooks([definition], world.tools)[definition["name"]]
    await hook.receive(headers, [body if isinstance(body, bytes) else as_json(body)])
    [letter] = world.letters
    return letter


async def test_an_item_is_mapped_as_it_came_with_all_that_came_beside_it(world: World) -> None:
    good, bad = {"number": "7"}, {"code": "8", "number": "8"}
    letter = await refused(world, BY_CODE, {"orders": [good, bad]}, {"shop": "x"})

    event = decode_event(event_again(ORDERS, letter, EXPRESSIONS), 0)

    assert (event.subject, event.lineage.message_id, event.data) == ("order/7", "7x", {"many": 2})
    assert event.lineage.source == "trigger/orders"


async def test_what_would_have_named_the_event_names_it_still(world: World) -> None:
    definition = {**ORDERS, "event": {**ORDERS["event"], "subject": "item.nowhere"}}
    del definition["event"]["id"]
    letter = await refused(world, definition, {"orders": [{"number": "7"}]}, {})
    mended = {**definition, "event": {**definition["event"], "subject": '"order/" + item.number'}}

    again = [decode_event(event_again(mended, letter, EXPRESSIONS), 0).lineage.message_id for _ in range(2)]

    hook = build_webhooks([mended], world.tools)["orders"]
    await hook.receive({}, [as_json({"orders": [{"number": "7"}]})])
    assert again == [world.ids[0]] * 2


async def test_a_body_without_items_is_kept_once_and_mapped_whole(world: World) -> None:
    whole = {"name": "orders", "kind": "webhook", "event": {**ORDERS["event"], "subject": "item.nowhere"}}
    whole["event"]["data"] = {"number": "body.number"}
    letter = await refused(world, whole, {"number": "7"}, {"shop": "x"})
    whole["event"]["subject"] = '"order/" + body.number'

    event = decode_event(event_again(whole, letter, EXPRESSIONS), 0)

    assert letter.brought is not None
    assert (letter.brought.as_value, letter.brought.beside) == (("body",), {"headers": {"shop": "x"}})
    assert (event.subject, event.data) == ("order/7", {"number": "7"})


async def test_a_line_of_a_file_is_mapped_with_its_name(world: World, tmp_path: Path) -> None:
    world.root = tmp_path
    (tmp_path / "day-1.jsonl").write_text('{"number": "7"}\n')
    definition = {
        "name": "orders",
        "kind": "folder",
        "path": ".",
        "event": {"type": "order.placed", "subject": "item.x"},
    }
    trigger = build_trigger(definition, world.tools)
    assert isinstance(trigger, FolderTrigger)
    await trigger.begin()
    await trigger.look()
    [letter] = world.letters
    mended = {**definition, "event": {"type": "order.placed", "subject": '"order/" + item.number + file'}}

    event = decode_event(event_again(mended, letter, EXPRESSIONS), 0)

    assert event.subject == "order/7day-1.jsonl"


@pytest.mark.parametrize(
    ("definition", "body", "code"),
    [
        pytest.param(ORDERS, b"{", "not_taken_apart", id="no JSON"),
        pytest.param(ORDERS, {"orders": 7}, "not_taken_apart", id="no list"),
        pytest.param(ORDERS, {"orders": [{}]}, "unmappable", id="not mended"),
        pytest.param(
            {**ORDERS, "when": "item.big"}, {"orders": [{"number": "7", "big": True}]}, "record_cut", id="big"
        ),
    ],
)
async def test_what_cannot_be_mapped_is_refused_with_the_reason(
    world: World, definition: dict[str, Any], body: Any, code: str
) -> None:
    headers = {"note": "x" * BESIDE_BYTES_MAX} if code == "record_cut" else {}
    letter = await refused(world, definition, body, headers)

    with pytest.raises(InvalidMessage) as caught:
        event_again(definition, letter, EXPRESSIONS)

    assert caught.value.code == code


async def test_what_is_left_out_by_now_is_said_to_be(world: World) -> None:
    letter = await refused(world, ORDERS, {"orders": [{"number": "7"}]}, {})

    with pytest.raises(InvalidMessage) as caught:
        event_again({**ORDERS, "when": 'item.number != "7"'}, letter, EXPRESSIONS)

    assert caught.value.code == "passed_by"


async def test_what_is_in_force_now_says_how_it_is_mapped(world: World) -> None:
    letter = await refused(world, BY_CODE, {"orders": [{"number": "7"}]}, {"shop": "x"})
    body = {"trigger": "orders", **{key: value for key, value in ORDERS.items() if key != "name"}}
    in_force = ControlSet.of([item("trigger", "orders", body)])
    nothing = ControlSet.of([])

    back = redriven(letter, world.clock.now_ms(), world.controls, mapping_again(lambda: in_force))
    with pytest.raises(InvalidMessage, match="no trigger is called 'orders'"):
        redriven(letter, world.clock.now_ms(), world.controls, mapping_again(lambda: nothing))

    assert back.key == b"order/7"
    assert unmarked(back.value) == event_again(ORDERS, letter, EXPRESSIONS)
    assert b'"redriveof"' in back.value
