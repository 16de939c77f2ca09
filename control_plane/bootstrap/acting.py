"""The role executors: commands from the log into the ledger, through the executors, and what came of them back."""

from dataclasses import replace

from control_plane.adapters.faust.fault_points import fault_point
from control_plane.bootstrap.control_desk import ControlDesk
from control_plane.bootstrap.ends import ExecutorsEnd
from control_plane.bootstrap.executors import build_executors
from control_plane.bootstrap.following import ControlFollower
from control_plane.bootstrap.introducing import Introductions
from control_plane.bootstrap.workshop import check_tools
from control_plane.executors import Dispatch
from control_plane.joints import Replies
from control_plane.ports.backbone import Backbone
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
    replies = Replies(backbone)
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
