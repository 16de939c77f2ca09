"""What is sent to us by HTTP. Kind `webhook`: Alertmanager, Grafana, CloudEvents, and any JSON with a mapping.

Knows no HTTP server: `control_plane.api` serves it. Keeps no position: whoever gets no answer sends again, and what is
sent again has the same id.
"""

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from control_plane.catalogue.definitions import Expression
from control_plane.errors import InvalidMessage
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Program
from control_plane.ports.webhooks import NotTaken, Received
from control_plane.triggers.formats import FORMATS
from control_plane.triggers.mapping import EventKeys, EventMapping, examine_event
from control_plane.triggers.reading import json_value
from control_plane.triggers.sorting import Arrived, Place, Sorted, Sorter
from control_plane.triggers.tools import Declared, Keys, TriggerTools
from control_plane.triggers.webhook_doors import AuthKeys, auth_problems, door_for
from control_plane.workspace.examined import Examined, Formula

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
"""The door of REST takes no more."""
ITEMS_MAX: Final = 1_000
ITEMS_PER_TURN: Final = 32
"""After so many, whoever shares the process has its turn: the loop must not wait for a thousand alerts."""
_NOT_SHOWN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that no expression sees: secrets must not become data."""
_PATH: Final = re.compile(r"body((?:\.[A-Za-z_][A-Za-z0-9_]*)*)")


_log = logging.getLogger(__name__)


class WebhookKeys(Keys, frozen=True):
    """What `triggers/*.yaml` says of this kind. Without `auth` the key of the service opens it."""

    format: Literal["json", "cloudevents", "alertmanager", "grafana"] = "json"
    each: Expression | None = None
    when: Expression | None = None
    event: EventKeys = EventKeys()
    auth: AuthKeys | None = None
    body_bytes_max: Annotated[int, Meta(ge=1, le=BODY_BYTES_MAX)] = 1024 * 1024
    items_max: Annotated[int, Meta(ge=1, le=ITEMS_MAX)] = ITEMS_MAX


def examine_webhook(keys: WebhookKeys) -> Examined:
    """What is wrong in a definition whose shape is right, and what it reads."""
    form = FORMATS[keys.format]
    readable = form.reads | {"body", "headers"}
    said = examine_event(keys.event, form, readable, id_needed=True)
    formulas = list(said.formulas)
    if keys.each is not None:
        formulas.append(Formula(path=("each",), variables=frozenset({"body", "headers"})))
    if keys.when is not None:
        formulas.append(Formula(path=("when",), variables=readable))
    return Examined(problems=said.problems + auth_problems(keys.auth), formulas=tuple(formulas), types=said.types)


class WebhookTrigger:
    """One webhook (`ports.webhooks.Webhook`)."""

    def __init__(self, declared: Declared, keys: WebhookKeys, tools: TriggerTools) -> None:
        form = FORMATS[keys.format]
        mapping = EventMapping(declared, keys.event, form, tools.expressions, keys.when)
        self.name = declared.name
        self.binding: Literal["json", "cloudevents"] = "cloudevents" if keys.format == "cloudevents" else "json"
        self.body_bytes_max = keys.body_bytes_max
        self._door = door_for(declared, keys.auth, tools)
        self.has_secret = self._door.has_secret
        self._declared = declared
        self._items_max = keys.items_max
        self._tools = tools
        self._sorter = Sorter(declared, form, mapping, tools)
        self._each_text = keys.each or form.each
        self._each = self._compiled(self._each_text)

    def _compiled(self, text: str | None) -> Program | None:
        try:
            return None if text is None else self._tools.expressions.compile(text)
        except ExpressionInvalid as invalid:
            raise self._declared.wrong(f"each is no expression: {invalid}", "Run setpoint check.") from invalid

    def admits(self, headers: Mapping[str, str]) -> bool:
        """Whether the body is worth reading."""
        return self._door.admits(headers)

    def authentic(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Whether the sender knows the secret."""
        return self._door.authentic(headers, body)

    async def receive(self, headers: Mapping[str, str], texts: Sequence[bytes]) -> Received:
        """Make events of what was sent; returns once all of it is durable."""
        shown = {name: value for name, value in headers.items() if name not in _NOT_SHOWN}
        into = Sorted()
        for n, text in enumerate(texts):
            place = self._place("the body" if len(texts) == 1 else f"event {n}", text)
            try:
                items = list(self._items(text, place, shown))
            except InvalidMessage as reason:
                self._sorter.refuse(text, place, reason, into)
                continue
            for at, item in enumerate(items):
                if at % ITEMS_PER_TURN == 0:
                    await asyncio.sleep(0)
                self._sorter.sort(item, into)
        return await self._kept(into)

    async def refuse(self, body: bytes, reason: InvalidMessage) -> None:
        """Keep a body that is nothing of ours."""
        into = Sorted()
        self._sorter.refuse(body, self._place("the body", body), reason, into)
        await self._kept(into)

    async def _kept(self, into: Sorted) -> Received:
        await self._sorter.bring_in(into)
        not_taken = [NotTaken(place=refused.place.words, reason=refused.reason) for refused in into.refused]
        return Received(accepted=into.events, not_taken=not_taken, passed_by=into.passed_by)

    def _items(self, text: bytes, place: Place, headers: Mapping[str, str]) -> Iterator[Arrived]:
        body = json_value(text, "the body") if self._sorter.needs_value or self._each is not None else None
        self._tell_of_truncation(body)
        beside = {"body": body, "headers": headers}
        if self._each is None:
            yield Arrived(raw=text, value=body, place=place, beside=beside, places={"item": "", "body": ""})
            return
        for n, item in enumerate(self._listed(beside)):
            raw = msgspec.json.encode(item)
            at = f"{self._where()}[{n}]"
            places = {"item": at, "body": "", "labels": f"{at}.labels", "annotations": f"{at}.annotations"}
            yield Arrived(raw=raw, value=item, place=self._place(at, raw), beside=beside, places=places)

    def _tell_of_truncation(self, body: Any) -> None:
        """Alertmanager and Grafana say how many alerts of a group they left out: nobody will ever send them."""
        left_out = body.get("truncatedAlerts") if isinstance(body, dict) else None
        if left_out:
            extra = {"trigger": self.name, "left_out": left_out, "cure": "set max_alerts to 0 where they are sent"}
            _log.warning("a sender left alerts out", extra=extra)

    def _listed(self, beside: Mapping[str, Any]) -> list[Any]:
        assert self._each is not None
        try:
            found = self._each.evaluate(self._tools.expressions.scope(beside, (self._each,)))
        except ExpressionMiss as miss:
            raise self._no_list(str(miss)) from miss
        if not isinstance(found, list):
            raise self._no_list(f"{self._each_text} is no list")
        if len(found) > self._items_max:
            raise InvalidMessage(
                "too_many_items",
                f"{len(found)} items came at once; at most {self._items_max} are taken, and none of these was",
                field=self._where(),
                cure="Send fewer at a time, or raise items_max of the trigger.",
            )
        return found

    def _no_list(self, why: str) -> InvalidMessage:
        return InvalidMessage(
            "items_missing",
            f"there are no items to make events of: {why}",
            field=self._where(),
            cure=f"Send a list there, or change each of the trigger {self.name}.",
        )

    def _where(self) -> str:
        """Where the items stand, as the sender would call it."""
        plain = _PATH.fullmatch(self._each_text or "")
        return plain.group(1).removeprefix(".") if plain is not None else "item"

    def _place(self, words: str, raw: bytes) -> Place:
        return Place(words=words, identity=blake2b(raw, digest_size=16).hexdigest())
