"""Every block of docs/triggers.md: its triggers pass the check, and what comes in becomes what the page says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from control_plane.adapters.memory import VirtualClock
from control_plane.bootstrap.workshop import load_workspace
from control_plane.messages.wire import encode_event, utc
from control_plane.triggers import build_trigger, build_webhooks
from control_plane.triggers.folder import FolderTrigger
from control_plane.triggers.kafka_taking import Taken
from control_plane.triggers.kafka_topic import KafkaTrigger
from tests.builders import controls, intent, row, rule
from tests.examples.page import blocks_of
from tests.unit.triggers_world import SECRET, World, running, settle

SECRETS = dict.fromkeys(("PUSH_SECRET", "ALERTS_TOKEN", "SHOP_USER", "SHOP_PASSWORD"), SECRET)
TYPES = ["order.placed", "code.pushed", "alert.fired", "alert.resolved", "night.fell", "parcel.scanned"]
RECORD_MS = 1_767_225_600_000


def examples() -> Iterator[Any]:
    """Each trigger of the page, with what comes in and the event, where the page says them."""
    blocks = blocks_of("triggers.md")
    at = 0
    while at < len(blocks):
        language, line, text = blocks[at]
        assert language == "yaml", f"docs/triggers.md:{line}: a trigger comes first"
        at += 1
        after = []
        while at < len(blocks) and blocks[at][0] != "yaml":
            after.append(blocks[at][2])
            at += 1
        assert len(after) <= 2, f"docs/triggers.md:{line}: what comes in, and the event"
        yield pytest.param(text, after[0] if len(after) == 2 else "", after[-1] if after else "", id=f"line {line}")


EXAMPLES = list(examples())
WITH_EVENTS = [example for example in EXAMPLES if example.values[2]]


@pytest.mark.parametrize(("text", "sent", "event"), EXAMPLES)
def test_what_the_page_declares_passes_the_check(tmp_path: Path, text: str, sent: str, event: str) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "triggers").mkdir()
    (tmp_path / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")
    fields = {"n": {"count": {"window": "1h"}}}
    (tmp_path / "rows/seen.yaml").write_text(yaml.safe_dump({"row": "seen", "on": TYPES, "fields": fields}))
    (tmp_path / "triggers/it.yaml").write_text(text)

    assert load_workspace(tmp_path).warnings == ()


@pytest.mark.parametrize(("text", "sent", "event"), WITH_EVENTS)
async def test_what_comes_in_becomes_the_event_that_the_page_says(
    tmp_path: Path, text: str, sent: str, event: str
) -> None:
    world = World(root=tmp_path, environ=SECRETS, clock=VirtualClock(RECORD_MS))
    world.controls = controls(intent(), rule(), row(on=TYPES, fields={"n": {"count": {"window": "1h"}}}))
    written = yaml.safe_load(text)
    definition = {"name": written.pop("trigger"), **written}

    await bring_in(world, definition, sent)

    [made] = world.events
    said = json.loads(event)
    came = msgspec.json.decode(encode_event(made))
    if "time" in said:
        assert utc(RECORD_MS).fromisoformat(came.pop("time")) == utc(RECORD_MS).fromisoformat(said.pop("time"))
    assert {name: came[name] for name in said} == said
    assert world.letters == []


async def bring_in(world: World, definition: dict[str, Any], sent: str) -> None:
    """What the page sends, by the way of its kind."""
    if definition["kind"] == "webhook":
        await build_webhooks([definition], world.tools)[definition["name"]].receive({}, [sent.encode()])
        return
    trigger = build_trigger(definition, world.tools)
    if isinstance(trigger, FolderTrigger):
        (world.root / "inbox").mkdir()
        (world.root / "inbox/a.jsonl").write_text(sent)
        await trigger.begin()
        await trigger.look()
    elif isinstance(trigger, KafkaTrigger):
        record = Taken(partition=3, offset=17, timestamp_ms=RECORD_MS, key=b"7", value=sent.encode(), headers=())
        await trigger.publish([record])
    else:
        async with running(trigger):
            await settle()
            for _ in range(4 * 60):
                world.clock.advance(60_000)
                await settle()


def test_the_page_has_an_example_of_every_kind() -> None:
    kinds = {yaml.safe_load(example.values[0])["kind"] for example in EXAMPLES}

    assert kinds == {"webhook", "timer", "folder", "kafka"}
    assert len(WITH_EVENTS) >= 6
