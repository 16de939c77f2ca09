"""A trigger's definition in, the trigger out; or before that, what is wrong in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter, Event, topics
from control_plane.messages.wire import encode_event
from control_plane.ports.backbone import Output
from control_plane.ports.expressions import Expressions
from control_plane.ports.webhooks import Webhook
from control_plane.triggers.again import map_again
from control_plane.triggers.folder import FolderKeys, FolderTrigger, examine_folder
from control_plane.triggers.formats import FORMATS
from control_plane.triggers.kafka_topic import KafkaKeys, KafkaTrigger, examine_kafka
from control_plane.triggers.mapping import EventMapping
from control_plane.triggers.process_probe import MEASURED, PROBED, ProcessProbe, ProcessProbeKeys
from control_plane.triggers.timer import FORMAT as TIMER_FORMAT
from control_plane.triggers.timer import Timer, TimerKeys, examine_timer
from control_plane.triggers.tools import Declared, TriggerTools
from control_plane.triggers.trigger import Publish, Trigger
from control_plane.triggers.webhook import WebhookKeys, WebhookTrigger, examine_webhook
from control_plane.workspace.examined import Examined

_DECLARED_BESIDE = frozenset({"name", "kind", "file"})
_WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class _Kind:
    """The shape of a kind's own keys, what is built of them, and what can be said of them before that."""

    shape: type[Struct]
    build: Callable[[Declared, Any, TriggerTools], Trigger] | None
    examine: Callable[[Any], Examined]


def _probe(declared: Declared, keys: ProcessProbeKeys, tools: TriggerTools) -> Trigger:
    return ProcessProbe(declared.name, keys, publishing(tools))


_KINDS: Mapping[str, _Kind] = {
    "folder": _Kind(FolderKeys, FolderTrigger, examine_folder),
    "kafka": _Kind(KafkaKeys, KafkaTrigger, examine_kafka),
    "process_probe": _Kind(ProcessProbeKeys, _probe, lambda _keys: Examined(types=frozenset({MEASURED, PROBED}))),
    "timer": _Kind(TimerKeys, Timer, examine_timer),
    _WEBHOOK: _Kind(WebhookKeys, None, examine_webhook),
}


def trigger_kinds() -> Mapping[str, type[Struct]]:
    """The shape of each kind's own keys."""
    return {name: kind.shape for name, kind in _KINDS.items()}


def examine_trigger(definition: Mapping[str, Any]) -> Examined:
    """What is wrong in a definition whose shape is right, what it reads and what it publishes."""
    kind = _KINDS[definition["kind"]]
    return kind.examine(_shaped(definition, kind))


def build_triggers(definitions: Sequence[Mapping[str, Any]], tools: TriggerTools) -> list[Trigger]:
    """All that run by themselves; webhooks are served instead. Raises InvalidWorkspace."""
    return [build_trigger(found, tools) for found in definitions if found["kind"] != _WEBHOOK]


def build_webhooks(definitions: Sequence[Mapping[str, Any]], tools: TriggerTools) -> dict[str, Webhook]:
    """The webhooks by name, for whoever serves HTTP. Raises InvalidWorkspace when a secret is not there."""
    kind = _KINDS[_WEBHOOK]
    found = [definition for definition in definitions if definition["kind"] == _WEBHOOK]
    return {each["name"]: WebhookTrigger(_declared(each), _shaped(each, kind), tools) for each in found}


def webhook_names(definitions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which of these are webhooks."""
    return [found["name"] for found in definitions if found["kind"] == _WEBHOOK]


def event_again(definition: Mapping[str, Any], letter: DeadLetter, expressions: Expressions) -> bytes:
    """What the definition makes now of what could not be made an event before. Raises InvalidMessage, and
    InvalidWorkspace."""
    declared, keys = _declared(definition), _shaped(definition, _KINDS[definition["kind"]])
    if isinstance(keys, ProcessProbeKeys):
        raise InvalidMessage(
            "trigger_unknown",
            f"the trigger {declared.name} maps nothing by now: it probes processes",
            cure="Send what it meant as an event, then discard the letter.",
        )
    form = TIMER_FORMAT if isinstance(keys, TimerKeys) else FORMATS[keys.format]
    mapping = EventMapping(declared, keys.event, form, expressions, getattr(keys, "when", None))
    return map_again(declared, form, mapping, letter)


def build_trigger(definition: Mapping[str, Any], tools: TriggerTools) -> Trigger:
    """The trigger that a workspace declares; its shape was checked when the workspace was read."""
    kind = _KINDS[definition["kind"]]
    assert kind.build is not None, "webhooks do not run, they are served"
    return kind.build(_declared(definition), _shaped(definition, kind), tools)


def publishing(tools: TriggerTools) -> Publish:
    """A way to publish events of one's own making."""

    async def publish(events: Sequence[Event]) -> None:
        await tools.append([Output(topics.EVENTS, event.subject.encode(), encode_event(event)) for event in events])

    return publish


def _declared(definition: Mapping[str, Any]) -> Declared:
    return Declared(name=definition["name"], file=definition.get("file", ""))


def _shaped(definition: Mapping[str, Any], kind: _Kind) -> Any:
    return msgspec.convert({k: v for k, v in definition.items() if k not in _DECLARED_BESIDE}, kind.shape)
