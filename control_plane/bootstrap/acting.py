"""The role executors: commands from the log into the ledger, through the executors, and what came of them back."""

from collections.abc import Sequence
from dataclasses import replace

from control_plane.adapters.faust.fault_points import fault_point
from control_plane.bootstrap.control_desk import ControlDesk
from control_plane.bootstrap.ends import ExecutorsEnd
from control_plane.bootstrap.executors import build_executors
from control_plane.bootstrap.following import ControlFollower
from control_plane.bootstrap.introducing import Introductions
from control_plane.bootstrap.workshop import check_tools
from control_plane.errors import InvalidMessage
from control_plane.executors import Dispatch
from control_plane.messages import DeadLetter, Outcome, topics
from control_plane.messages.wire import encode
from control_plane.ports.backbone import Backbone, Output, Record
from control_plane.ports.clock import Clock
from control_plane.ports.ledger import Ledger
from control_plane.workspace.checking import undeclared_executors
from control_plane.workspace.reading import Workspace


async def start_dispatch(
    ledger: Ledger,
    *,
    backbone: Backbone,
    clock: Clock,
    desk: ControlDesk,
    workspace: Workspace,
    follower: ControlFollower | None,
) -> Dispatch:
    """Dispatch at work, its executors those of the desk's controls from now on. Whoever calls stops it."""
    end = ExecutorsEnd(
        lambda found: build_executors(replace(workspace, executors=tuple(found))), undeclared_executors(check_tools())
    )
    replies = _Replies(backbone)
    dispatch = end.dispatch = Dispatch(
        ledger=ledger,
        executors=end.first(desk.log.control_set(desk.wanted)),
        clock=clock,
        publish=replies.publish,
        dead_letter=replies.bury,
        halted=desk.halted,
        introduce=Introductions(desk, end, follower).introduce,
        fault_point=fault_point,
    )
    await dispatch.start()
    desk.ends.append(end)
    return dispatch


class _Replies:
    """What dispatch says to the log."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    async def publish(self, outcomes: Sequence[Outcome]) -> None:
        """Outcomes come back as events of their subjects."""
        await self._backbone.append(
            [Output(topics.EVENTS, outcome.subject.encode(), encode(outcome)) for outcome in outcomes]
        )

    async def bury(self, record: Record, reason: InvalidMessage) -> None:
        """A record of `commands.v1` that is no command."""
        letter = DeadLetter.of(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            recorded_ms=record.recorded_ms,
            record=record.value,
            reason=reason,
        )
        await self._backbone.append([Output(topics.DEAD_LETTERS, record.key, encode(letter), record.partition)])
