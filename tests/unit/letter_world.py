"""A REST app whose log is recorded as it is written, and dead letters for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from control_plane.errors import BackboneUnavailable, InvalidMessage
from control_plane.messages import DeadLetter, Resolution, topics
from control_plane.messages.wire import decode, encode_event
from control_plane.ports.backbone import Output, Position, Record
from control_plane.recorder import recorded
from tests.builders import NOW_MS, event
from tests.unit.api_world import MemoryAudit, World, a_workspace

MENDED = encode_event(event(data={"rss": 450.0}))
"""What the schema of `a_workspace` takes, as if it had only been added since."""


@dataclass(kw_only=True)
class Logged(World):
    """A world in which what is appended is recorded, as if a recorder ran. `dies_before` cuts an append off there."""

    dies_before: str = ""

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        if self.dies_before and any(output.topic == self.dies_before for output in outputs):
            raise BackboneUnavailable("the log cannot be reached")
        places = []
        for output in outputs:
            offset = self.offsets.get(output.topic, 100)
            self.offsets[output.topic] = offset + 1
            places.append(Position(output.topic, output.partition or 0, offset))
            await self._record_at(output, offset)
        self.appended += outputs
        return places

    async def _record_at(self, output: Output, offset: int) -> None:
        found = recorded(
            Record(
                topic=output.topic,
                partition=output.partition or 0,
                offset=offset,
                key=output.key,
                value=output.value,
                recorded_ms=NOW_MS,
            )
        )
        known = {(kept.message.message_id, kept.message.topic) for kept in self.audit.kept}  # type: ignore[attr-defined]
        if (found.message_id, found.topic) not in known:
            await self.audit.append([found])

    @property
    def events(self) -> list[Output]:
        return [output for output in self.appended if output.topic == topics.EVENTS]

    @property
    def resolutions(self) -> list[Resolution]:
        return [decode(o.value, Resolution) for o in self.appended if o.topic == topics.DEAD_LETTERS]


def a_logged_world() -> Logged:
    """One process, with a workspace in force."""
    return Logged(audit=MemoryAudit(), controls=a_workspace())


def another_process(world: Logged) -> Logged:
    """A second api on the same log and store."""
    return Logged(
        audit=world.audit,
        controls=world.controls,
        appended=world.appended,
        offsets=world.offsets,
        metrics=CollectorRegistry(),
    )


def letter(record: bytes = MENDED, offset: int = 0, **changes: Any) -> DeadLetter:
    """The letter of a record that broke a schema."""
    code = changes.pop("code", "schema_broken")
    where: dict[str, Any] = {"topic": topics.EVENTS, "partition": 1, "offset": offset, "recorded_ms": NOW_MS}
    reason = InvalidMessage(code, "it was not as it should be", field="data.rss", cure="Mend it.")
    return DeadLetter.of(**{**where, "record": record, "reason": reason, "subject": "service/web-1", **changes})


async def buried(world: Logged, *letters: DeadLetter) -> list[str]:
    """Record letters; their ids."""
    await world.record(*letters)
    return [found.lineage.message_id for found in letters]
