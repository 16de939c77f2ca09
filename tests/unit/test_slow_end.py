"""The slow agents of a service: which groups are joined for them, and what several processes tell one another."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.bootstrap.slow import GROUPS_MAX, SlowEnd
from control_plane.bootstrap.workshop import load_workspace
from control_plane.catalogue import ControlItem, ControlSet
from control_plane.errors import InvalidWorkspace
from control_plane.messages import Learnt, Usage, topics
from control_plane.messages.wire import decode, encode
from control_plane.ports.backbone import GroupReader, Output, Position, Record
from control_plane.ports.journal import Budget
from control_plane.slow_agents import SHARED_GROUP, ToolsLog
from control_plane.slow_agents.spending import HOUR_MS
from control_plane.slow_agents.tools_log import ANSWERS_BYTES_MAX
from tests import builders
from tests.builders import NOW_MS
from tests.unit.test_slow_agents import World, a_context, asks


class Joined:
    """A backbone that only notes who joins."""

    def __init__(self) -> None:
        self.groups: dict[str, GroupReader] = {}

    def join(self, group: str, topics: Sequence[str], reader: GroupReader, *, gather_ms: int = 0) -> None:
        self.groups[group] = reader

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        raise AssertionError("nobody asks anything here")


def joined(*items: ControlItem) -> list[str]:
    backbone: Any = Joined()
    end = SlowEnd(backbone, World(asks).clock, lambda name: None, is_alone=True, tools={})
    end.join([ControlSet.of(items)], asyncio.Event())
    return sorted(backbone.groups)


def llm(name: str, **further: Any) -> ControlItem:
    return builders.item("llm", name, {"llm": name, **further})


class TestGroups:
    def test_each_model_has_a_group_of_its_own_unless_it_names_one(self) -> None:
        assert joined(llm("a"), llm("b", group="slow"), llm("c", group="slow")) == [
            SHARED_GROUP,
            "agents-a",
            "agents-slow",
        ]

    def test_a_python_agent_has_one_only_where_it_names_it(self) -> None:
        own = builders.agent("own", "return ()", base="SlowAgent", group="forecasts")
        other = builders.agent("other", "return ()", base="SlowAgent")

        assert joined(own, other, builders.agent("fast", "return ()")) == [SHARED_GROUP, "agents-forecasts"]

    def test_without_slow_agents_there_is_the_shared_one_for_those_that_may_come(self) -> None:
        assert joined() == [SHARED_GROUP]

    def test_of_very_many_the_rest_share_one(self) -> None:
        assert len(joined(*[llm(f"a{n}") for n in range(GROUPS_MAX + 5)])) == GROUPS_MAX + 1


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        ("group", "Not a name", "group is no name"),
        ("asks_every_ms", "1m", "asks_every_ms is no whole number"),
        ("asks_every_ms", -1, "asks_every_ms is no whole number"),
        ("decide_timeout_s", 0, "decide_timeout_s is no number of seconds up to 300"),
        ("decide_timeout_s", 301, "decide_timeout_s is no number of seconds up to 300"),
        ("in_flight_max", 0, "in_flight_max is no whole number from 1 to 1000"),
    ],
)
def test_what_a_slow_agent_cannot_mean_is_said_before_it_starts(
    tmp_path: Path, attribute: str, value: Any, problem: str
) -> None:
    (tmp_path / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")
    for path, text in {
        "intents/a.yaml": "intent: restart_service\nsubject_kind: service\nexecutor: dry_run\n",
        "agents/slow.py": builders.agent("slow", "return ()", base="SlowAgent", **{attribute: value}).body,
    }.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)

    with pytest.raises(InvalidWorkspace, match=problem):
        load_workspace(tmp_path)


class TestSeveralProcesses:
    """Two processes share an agent and its budget; each reads what the other appends."""

    async def worlds(self) -> tuple[World, World]:
        one, other = World(asks, followed=True), World(asks, followed=True)
        other.log = one.log
        return one, other

    def follow(self, *worlds: World) -> None:
        for world in worlds:
            world.tools_log.heard(world.tools_log.news(world))  # type: ignore[arg-type] - it reads no further

    async def test_what_one_used_the_other_does_not_use_again(self) -> None:
        one, other = await self.worlds()
        for n in range(4):
            await one.take(a_context(f"e{n}", f"service/web-{n}"))
        self.follow(one, other)

        await other.take(a_context("e9", "service/web-9"))

        assert other.proposed[-1].code == "budget_tokens"
        assert one.tools_log.spending("slow").tokens_since(0) == other.tools_log.spending("slow").tokens_since(0) == 480

    async def test_nothing_is_counted_twice_in_whatever_order_it_is_heard(self) -> None:
        one, other = await self.worlds()
        self.follow(one, other)
        await one.take(a_context())
        self.follow(one, one, other)
        await other.take(a_context("e2", "service/web-2"))
        self.follow(other, one, one)

        assert {world.tools_log.spending("slow").tokens_since(0) for world in (one, other)} == {240}

    async def test_a_context_that_moved_to_another_worker_is_answered_from_the_log(self) -> None:
        one, other = await self.worlds()
        one.refuses = lambda output: output.topic == topics.EVENTS
        with pytest.raises(Exception, match="the log takes nothing"):
            await one.take(a_context())
        self.follow(other)

        await other.take(a_context())

        assert (len(one.model.asked), len(other.model.asked)) == (1, 0)
        assert other.proposed[0].decisions


class TestTheToolsLog:
    async def test_answers_that_are_at_hand_have_room_in_memory(self) -> None:
        world = World(asks)
        await world.take(a_context())
        (learnt,) = world.learnt
        log = ToolsLog()
        large = decode(encode(learnt), Learnt)
        for n in range(200):
            value = encode(_with(large, f"i{n}", "x" * 250_000))
            log.appended(Position(topics.TOOLS, 0, n), value, NOW_MS, followed=False)

        assert log.answer("i0") is None
        assert log.answer("i199") is not None
        assert log._answers_bytes <= ANSWERS_BYTES_MAX

    @pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
    def test_only_what_is_young_enough_to_count_is_read_back(self, count: int) -> None:
        class Reader:
            """A partition with a record an hour."""

            read_from: int | None = None

            def partitions(self, topic: str) -> int:
                return 1

            def bounds(self, topic: str, partition: int) -> tuple[int, int]:
                return 0, count

            def read(self, topic: str, partition: int, offset: int = 0) -> list[Record]:
                self.read_from = offset
                return [
                    Record(topic=topic, partition=0, offset=at, key=b"", value=b"{}", recorded_ms=at * HOUR_MS)
                    for at in range(offset, count)
                ]

        reader: Any = Reader()
        ToolsLog().read_back(reader, now_ms=(count - 1) * HOUR_MS)

        assert reader.read_from == max(0, count - 1 - 24)

    def test_what_is_no_record_of_ours_is_passed_by(self) -> None:
        log = ToolsLog()
        for value in (b"", b"[]", b"{}", b'{"id": 5}', b"\xff"):
            log.heard([Record(topic=topics.TOOLS, partition=0, offset=0, key=b"", value=value, recorded_ms=0)])

        assert log.spending("slow").why_not(Budget(tokens_per_hour=1), "i", Usage(tokens_in=1), NOW_MS) is None


def _with(learnt: Learnt, invocation_id: str, text: str) -> Learnt:
    return replace(learnt, invocation_id=invocation_id, answer={"content": text})
