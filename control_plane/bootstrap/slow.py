"""The slow agents of a process: the groups that serve them, the tools that they may ask, and what `tools.v1` holds."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, Final

import msgspec

from control_plane.adapters.openai import OpenAiTool
from control_plane.bootstrap.records import open_reader
from control_plane.bootstrap.workshop import compile_tools
from control_plane.catalogue import ControlItem, ControlSet
from control_plane.errors import BackboneUnavailable
from control_plane.joints import Waiting
from control_plane.messages import topics
from control_plane.ports.agent import SlowAgent
from control_plane.ports.backbone import Backbone, GroupReader, Record
from control_plane.ports.clock import Clock
from control_plane.ports.log_reader import LogReader
from control_plane.settings import Settings
from control_plane.slow_agents import SHARED_GROUP, Grouping, SlowAgents, SlowCounts, Tools, ToolsLog
from control_plane.slow_agents.grouping import group_name
from control_plane.slow_agents.journal import Outside

FOLLOW_INTERVAL_S: Final = 1.0
"""How late a process hears what others used up of a budget that they share."""

GROUPS_MAX: Final = 32
"""Groups of their own that slow agents may have; those beyond share one."""

_log = logging.getLogger(__name__)


class SlowEnd:
    """Everything about slow agents that a service starts and stops."""

    def __init__(
        self,
        backbone: Backbone,
        clock: Clock,
        find: Callable[[str], SlowAgent | None],
        *,
        is_alone: bool,
        tools: Tools | None = None,
    ) -> None:
        """`is_alone` says that no other process appends to this log."""
        self.counts = SlowCounts()
        self._backbone = backbone
        self._clock = clock
        self._find = find
        self._own_tools = {"openai": OpenAiTool()} if tools is None else {}
        self._log = ToolsLog()
        self._outside = Outside(
            append=backbone.append,
            clock=clock,
            log=self._log,
            tools=tools if tools is not None else self._own_tools,
            counts=self.counts,
            followed=not is_alone,
        )
        self._asks_models = False

    def join(self, sets: Iterable[ControlSet], started: asyncio.Event) -> None:
        """Join the groups of the slow agents in these sets, and the one for all others: before the backbone starts."""
        items = {item.key: item for found in sets for item in found.items}
        self._asks_models = any(item.kind == "llm" for item in items.values())
        agents = compile_tools().agents
        wanted = sorted({group for item in items.values() if (group := _group_of(item, agents))} - {SHARED_GROUP})
        groups = [SHARED_GROUP, *wanted[:GROUPS_MAX]]
        grouping = Grouping(groups)
        for group in groups:
            reader = SlowAgents(self._find, self._outside, _serving(grouping, group))
            waiting = Waiting(started, _always(reader), reader.batches_in_hand_max)
            self._backbone.join(group, [topics.CONTEXTS], waiting)

    async def begin(self, settings: Settings) -> Coroutine[Any, Any, None] | None:
        """Know what the log holds, and load what would hold the process up at the first question. Gives what has to
        run from then on, where other processes append."""
        loading = asyncio.gather(*(tool.warm() for tool in self._own_tools.values() if self._asks_models))
        reader = await asyncio.to_thread(open_reader, settings)
        try:
            await asyncio.to_thread(self._log.read_back, reader, self._clock.now_ms())
            await loading
        except BaseException:
            reader.close()
            raise
        if self._outside.followed:
            return self._follow(reader)
        reader.close()
        return None

    async def close(self) -> None:
        """Let go of the tools."""
        for tool in self._own_tools.values():
            await tool.close()

    async def _follow(self, reader: LogReader) -> None:
        """Hear what other processes append, until cancelled."""
        reading: asyncio.Future[list[Record]] | None = None
        try:
            while True:
                await self._clock.sleep(FOLLOW_INTERVAL_S)
                reading = asyncio.ensure_future(asyncio.to_thread(self._log.news, reader))
                try:
                    self._log.heard(await asyncio.shield(reading))
                except BackboneUnavailable as exc:
                    _log.warning("what others asked cannot be read; trying again", extra={"reason": str(exc)})
        finally:
            # A reader that is closed while a thread reads never gives that thread back.
            if reading is not None:
                await asyncio.gather(reading, return_exceptions=True)
            reader.close()


def _always(reader: SlowAgents) -> Callable[[], GroupReader]:
    return lambda: reader


def _serving(grouping: Grouping, group: str) -> Callable[[SlowAgent | None], bool]:
    return lambda agent: grouping.group_of(agent) == group


def _group_of(item: ControlItem, agents: Mapping[str, Callable[[ControlItem], Any]]) -> str | None:
    """The group that an item's agent asks for; None for what is no slow agent."""
    if item.kind == "llm":
        return group_name(msgspec.json.decode(item.body).get("group") or item.name)
    if item.kind == "agent" and "SlowAgent" in item.body:
        return group_name(getattr(agents[item.kind](item), "group", None))
    return None
