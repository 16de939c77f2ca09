"""What followed from a message, found by causation within its flow: verdict, command, outcome, effect."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from control_plane.causality.lineage import SOURCE
from control_plane.errors import InvalidMessage
from control_plane.messages import topics
from control_plane.messages.event import OUTCOME_PREFIX
from control_plane.ports.audit import PAGE_MESSAGES_MAX, Audit, Kept, Page

FLOW_MESSAGES_MAX: Final = 5_000
"""How much of one flow is searched: a runaway loop must not be one more when somebody looks at it."""

_T = TypeVar("_T")
_Step = Callable[[Audit, Sequence[Kept]], Awaitable[Mapping[str, Kept]]]


async def find(audit: Audit, message_id: str, topic: str) -> Kept | None:
    """Our own message with this id in a topic: sources and topics may share one."""
    found = (kept for kept in await audit.get(message_id) if kept.message.topic == topic)
    return next((kept for kept in found if kept.message.source == SOURCE), None)


async def verdicts_of(audit: Audit, decisions: Sequence[Kept]) -> Mapping[str, Kept]:
    """The verdict on each decision, by decision id. A later one counts: `hold` is not final."""
    return await _children(audit, decisions, topics.VERDICTS, lambda kept: True)


async def commands_of(audit: Audit, verdicts: Sequence[Kept]) -> Mapping[str, Kept]:
    """The command that each verdict released, by verdict id."""
    return await _children(audit, verdicts, topics.COMMANDS, lambda kept: True)


async def outcomes_of(audit: Audit, commands: Sequence[Kept]) -> Mapping[str, Kept]:
    """What came of each command, by command id."""
    return await _children(audit, commands, topics.EVENTS, lambda kept: kept.message.type.startswith(OUTCOME_PREFIX))


async def effects_of(audit: Audit, outcomes: Sequence[Kept]) -> Mapping[str, Kept]:
    """The effect that was judged of each outcome, by outcome id."""
    return await _children(audit, outcomes, topics.EFFECTS, lambda kept: True)


def shaped(kept: Kept | None, shape: Callable[[Kept], _T]) -> _T | None:
    """A message that followed, if there is one that can be read."""
    if kept is None:
        return None
    try:
        return shape(kept)
    except InvalidMessage:
        # The item that it hangs on is still worth showing; /v1/flows shows the message itself as it is.
        return None


async def followed(audit: Audit, parent: Kept | None, step: _Step) -> Kept | None:
    """The one message that followed from another, by one of the steps above."""
    if parent is None:
        return None
    return (await step(audit, [parent])).get(parent.message.message_id)


async def _children(
    audit: Audit, parents: Sequence[Kept], topic: str, wanted: Callable[[Kept], bool]
) -> dict[str, Kept]:
    ids = {kept.message.message_id for kept in parents}
    found: dict[str, Kept] = {}
    for correlation_id in sorted({kept.message.correlation_id for kept in parents}):
        async for kept in flow(audit, correlation_id, topic):
            cause = kept.message.causation_id
            if cause in ids and wanted(kept):
                found[cause] = kept
    return found


async def flow(audit: Audit, correlation_id: str, topic: str) -> AsyncIterator[Kept]:
    """The messages of a flow in one topic, oldest first."""
    after, seen = 0, 0
    while seen < FLOW_MESSAGES_MAX:
        page = Page(topic=topic, correlation_id=correlation_id, after=after, limit=PAGE_MESSAGES_MAX)
        found = await audit.query(page)
        for kept in found:
            yield kept
        if len(found) < PAGE_MESSAGES_MAX:
            return
        seen, after = seen + len(found), found[-1].sequence
