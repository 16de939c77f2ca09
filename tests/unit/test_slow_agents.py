"""Slow agents: each is given its time, asks the world through its journal, and holds up nobody else."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from control_plane.adapters.memory.clock import VirtualClock
from control_plane.errors import BackboneUnavailable
from control_plane.messages import Context, Decision, Event, Invocation, Learnt, Proposed, Subject, Usage, topics
from control_plane.messages.wire import decode, encode_context
from control_plane.ports.agent import SLOW_ANSWER_MAX_MS, NoDecision
from control_plane.ports.backbone import Output, Position, Record
from control_plane.ports.journal import ANSWERS_PER_CONTEXT_MAX, TOOL_BYTES_MAX, Answer, Budget
from control_plane.slow_agents import SHARED_GROUP, Grouping, SlowAgents, SlowCounts, ToolsLog
from control_plane.slow_agents.journal import Outside
from control_plane.slow_agents.spending import DAY_MS, GRAIN_MS, HOUR_MS
from tests import builders
from tests.builders import NOW_MS, WEB_1
from tests.unit.llm_world import FakeModel, Held, content, fails, said

Deciding = Callable[[Context], Any]


class Scripted:
    """A slow agent that decides as a function says."""

    version = "1.0.0"
    listens_to = ("service.measured",)
    reads: tuple[str, ...] = ()
    intents = ("restart_service",)

    def __init__(self, decide: Deciding, name: str = "slow", **further: Any) -> None:
        self.name = name
        self._decide = decide
        for key, value in further.items():
            setattr(self, key, value)

    async def decide(self, context: Context) -> Sequence[Decision]:
        found: Sequence[Decision] = await self._decide(context)
        return found


class World:
    """A log in a list, a clock that stands still, and the reader of one group."""

    def __init__(
        self, decide: Deciding, *, model: FakeModel | None = None, followed: bool = False, **further: Any
    ) -> None:
        self.followed = followed
        self.agents = {"slow": Scripted(decide, **further)}
        self.model = model or FakeModel()
        self.clock = VirtualClock(NOW_MS)
        self.log: list[Output] = []
        self.refuses: Callable[[Output], bool] = lambda _: False
        self.start()

    def start(self) -> None:
        """The process begins anew; the log is what it was."""
        self.counts = SlowCounts()
        self.tools_log = ToolsLog()
        self.tools_log.read_back(self, self.clock.now_ms())  # type: ignore[arg-type] - it reads no further
        outside = Outside(
            append=self.append,
            clock=self.clock,
            log=self.tools_log,
            tools={"openai": self.model},
            counts=self.counts,
            followed=self.followed,
        )
        self.reader = SlowAgents(lambda name: self.agents.get(name), outside)

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        if any(self.refuses(output) for output in outputs):
            raise BackboneUnavailable("the log takes nothing. Nothing was appended. Wait.")
        self.log += outputs
        return [Position(output.topic, 0, len(self.on(output.topic)) - 1) for output in outputs]

    async def take(self, *contexts: Context, at_ms: int = NOW_MS) -> None:
        await self.reader.take(topics.CONTEXTS, 0, [record_of(context, at_ms) for context in contexts])

    def on(self, topic: str) -> list[Output]:
        return [output for output in self.log if output.topic == topic]

    @property
    def proposed(self) -> list[Proposed]:
        return [decode(output.value, Proposed) for output in self.on(topics.EVENTS)]

    @property
    def learnt(self) -> list[Learnt]:
        return [
            decode(found.value, Learnt) for found in self.on(topics.TOOLS) if b'"type":"tool.result"' in found.value
        ]

    def partitions(self, topic: str) -> int:
        return 1

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return 0, len(self.on(topic))

    def read(self, topic: str, partition: int, offset: int = 0) -> list[Record]:
        return [
            Record(topic=topic, partition=0, offset=at, key=b"", value=output.value, recorded_ms=NOW_MS)
            for at, output in enumerate(self.on(topic))
        ][offset:]


def a_context(message_id: str = "e1", subject: str = WEB_1, agent: str = "slow") -> Context:
    event: Event = builders.event(message_id=message_id, subject=subject, data={"rss": 500.0})
    return Context(
        agent=agent,
        agent_version="1.0.0",
        event=event,
        subject=Subject.parse(subject),
        now_ms=NOW_MS,
        rows={},
        ages_ms={},
    )


def record_of(context: Context, at_ms: int = NOW_MS) -> Record:
    raw = encode_context(context)
    return Record(topic=topics.CONTEXTS, partition=0, offset=0, key=b"k", value=raw, recorded_ms=at_ms)


async def nothing(context: Context) -> Sequence[Decision]:
    return ()


async def restarts(context: Context) -> Sequence[Decision]:
    return (context.propose("restart_service", because="it is slow"),)


async def asks(context: Context) -> Sequence[Decision]:
    answer = await context.journal.ask(
        "openai",
        {"about": context.subject.id},
        timeout_s=0.05,
        at_most=Usage(tokens_in=500, tokens_out=100, cost_micros=70),
        budget=Budget(tokens_per_hour=1000, cost_per_day_micros=1000),
    )
    return (context.propose("restart_service", because=str(answer["content"])),)


class TestAnswers:
    async def test_a_decision_goes_back_as_an_event_of_its_subject(self) -> None:
        world = World(restarts)

        await world.take(a_context())

        (proposed,) = world.proposed
        assert [found.intent for found in proposed.decisions] == ["restart_service"]
        assert proposed.context_id == a_context().lineage.message_id == proposed.lineage.causation_id
        assert proposed.lineage.hop_count == 1, "it comes back into the loop"
        assert (world.log[-1].key, world.log[-1].partition) == (b"k", 0)
        assert world.counts.answers == {("slow", "decision"): 1}

    async def test_a_context_that_comes_twice_gives_the_same_answer_byte_by_byte(self) -> None:
        world = World(restarts)

        await world.take(a_context())
        await world.take(a_context())

        assert world.log[0] == world.log[1]

    @pytest.mark.parametrize(
        ("decide", "code"),
        [
            (lambda context: _raises(NoDecision("refused", "it will not")), "refused"),
            (lambda context: _raises(NoDecision("Not a code!", "it will not")), "failed"),
            (lambda context: _raises(RuntimeError("broken")), "agent_failed"),
            (lambda context: _raises(SystemExit(3)), "agent_failed"),
            (lambda context: _gives("nonsense"), "agent_nonsense"),
            (lambda context: _gives([1]), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b")] * 2), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b", nth=n) for n in range(9)]), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b", confidence=7)]), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b", confidence=float("nan"))]), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b", parameters={1j: 1})]), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b", parameters={"x": object()})]), "agent_nonsense"),
            (lambda context: _gives([context.propose("a", because="b", parameters={"x": 2**70})]), "agent_nonsense"),
            (
                lambda context: _gives([context.propose("a", because="b", parameters={"x": "x" * 99_999})]),
                "agent_nonsense",
            ),
            (lambda context: _gives([context.propose("a", because="b", parameters=_deep(200))]), "agent_nonsense"),
            (lambda context: _gives([a_context(subject="partition/0").propose("a", because="b")]), "agent_nonsense"),
            (lambda context: _gives([a_context(agent="other").propose("a", because="b")]), "agent_nonsense"),
        ],
    )
    async def test_whatever_an_agent_does_one_answer_goes_back_and_says_why(self, decide: Deciding, code: str) -> None:
        world = World(decide)

        await world.take(a_context())

        (proposed,) = world.proposed
        assert (proposed.decisions, proposed.code) == ((), code)
        assert proposed.problem

    async def test_an_agent_that_does_not_come_to_an_end_is_left_to_itself(self) -> None:
        told = asyncio.Event()

        async def stubborn(context: Context) -> Sequence[Decision]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                await told.wait()
            return ()

        world = World(stubborn, decide_timeout_s=0.02)
        await world.take(a_context())
        told.set()

        assert [found.code for found in world.proposed] == ["timeout"]

    async def test_what_waited_too_long_is_answered_without_asking(self) -> None:
        world = World(asks)

        await world.take(a_context(), at_ms=NOW_MS - SLOW_ANSWER_MAX_MS)

        assert [found.code for found in world.proposed] == ["too_late"]
        assert world.model.asked == []

    async def test_a_decision_names_the_version_that_made_it(self) -> None:
        world = World(restarts)
        world.agents["slow"].version = "2.0.0"

        await world.take(a_context())

        assert [found.agent_version for found in world.proposed[0].decisions] == ["2.0.0"]

    async def test_an_agent_that_is_gone_is_answered_for(self) -> None:
        world = World(asks)

        await world.take(a_context(agent="gone"))

        assert [found.code for found in world.proposed] == ["not_in_force"]

    async def test_no_more_contexts_are_worked_on_at_once_than_the_agent_says(self) -> None:
        async def asks_freely(context: Context) -> Sequence[Decision]:
            await context.journal.ask("openai", {}, timeout_s=1.0)
            return ()

        world = World(asks_freely, in_flight_max=2, model=FakeModel(said("hot", after=3)))

        await world.take(*[a_context(f"e{n}", f"service/web-{n}") for n in range(5)])

        assert len(world.proposed) == 5
        assert world.model.at_once_max == 2

    async def test_a_record_that_is_no_context_holds_nobody_up(self) -> None:
        world = World(restarts)
        broken = [
            Record(topic="", partition=0, offset=n, key=b"", value=v, recorded_ms=0) for n, v in enumerate(POISON)
        ]

        await world.reader.take(topics.CONTEXTS, 0, [*broken, record_of(a_context())])

        assert len(world.proposed) == 1

    async def test_each_group_answers_for_its_own_and_the_shared_one_for_all_others(self) -> None:
        grouping = Grouping([SHARED_GROUP, "agents-own"])

        assert grouping.group_of(Scripted(nothing, group="own")) == "agents-own"
        assert grouping.group_of(Scripted(nothing, group="later")) == SHARED_GROUP
        assert grouping.group_of(Scripted(nothing)) == grouping.group_of(None) == SHARED_GROUP


POISON = (b"", b"{}", b"\xff", b"[1]", b'{"data":{"agent":"slow"}}', b'{"data":{"agent":5}}')


class TestTheJournal:
    async def test_a_question_stands_on_the_log_before_it_is_asked_and_its_answer_before_it_is_used(self) -> None:
        seen: list[int] = []

        async def reply(request: Any) -> Answer:
            seen.append(len(world.on(topics.TOOLS)))
            return Answer(content=content("hot"))

        async def decide(context: Context) -> Sequence[Decision]:
            decisions = await asks(context)
            seen.append(len(world.on(topics.TOOLS)))
            return decisions

        world = World(decide, model=FakeModel(reply))
        await world.take(a_context())

        assert seen == [1, 2]
        invocation = decode(world.on(topics.TOOLS)[0].value, Invocation)
        (learnt,) = world.learnt
        assert invocation.request == {"about": WEB_1}
        assert invocation.lineage.causation_id == a_context().lineage.message_id
        assert learnt.lineage.causation_id == learnt.invocation_id == invocation.lineage.message_id
        assert learnt.lineage.correlation_id == a_context().lineage.correlation_id
        assert world.proposed[0].decisions[0].because == "hot"

    async def test_after_a_crash_between_answer_and_proposal_nobody_is_asked_a_second_time(self) -> None:
        world = World(asks)
        world.refuses = lambda output: output.topic == topics.EVENTS
        with pytest.raises(BackboneUnavailable):
            await world.take(a_context())
        world.refuses = lambda _: False
        world.start()

        await world.take(a_context())

        assert len(world.model.asked) == 1
        assert [found.code for found in world.proposed] == [""]
        assert world.counts.invocations == {("slow", "openai", "known"): 1}

    async def test_a_failure_is_an_answer_too_and_is_known_as_well(self) -> None:
        world = World(asks, model=FakeModel(fails("rate_limited")))
        await world.take(a_context())
        world.start()

        await world.take(a_context())

        assert len(world.model.asked) == 1
        assert [found.code for found in world.proposed] == ["rate_limited", "rate_limited"]

    async def test_where_the_crash_came_before_the_answer_it_is_asked_again(self) -> None:
        world = World(asks)
        world.refuses = lambda output: b'"tool.result"' in output.value
        with pytest.raises(BackboneUnavailable):
            await world.take(a_context())
        world.refuses = lambda _: False
        world.start()

        await world.take(a_context())

        assert len(world.model.asked) == 2
        assert world.proposed[0].decisions

    async def test_while_the_log_is_away_nobody_is_asked_again_for_an_answer_that_it_did_not_take(self) -> None:
        world = World(asks)
        world.refuses = lambda output: b'"tool.result"' in output.value
        for _ in range(3):
            with pytest.raises(BackboneUnavailable):
                await world.take(a_context())
        world.refuses = lambda _: False

        await world.take(a_context())

        assert len(world.model.asked) == 1
        assert len(world.learnt) == 1
        assert world.tools_log.spending("slow").tokens_since(0) == 120
        assert world.proposed[0].decisions

    async def test_an_agent_cannot_hide_that_its_journal_is_broken(self) -> None:
        async def careless(context: Context) -> Sequence[Decision]:
            try:
                return await asks(context)
            except Exception:  # noqa: BLE001 - that is what is careless
                return ()

        world = World(careless)
        world.refuses = lambda output: output.topic == topics.TOOLS
        with pytest.raises(BackboneUnavailable):
            await world.take(a_context())

        assert world.log == []

    async def test_what_one_context_meets_does_not_keep_the_others_from_their_answers(self) -> None:
        world = World(asks)
        world.refuses = lambda output: b"web-2" in output.value
        contexts = [a_context("e1"), a_context("e2", "service/web-2")]
        with pytest.raises(BackboneUnavailable):
            await world.take(*contexts)
        world.refuses = lambda _: False

        await world.take(*contexts)

        assert len(world.model.asked) == 2
        assert {found.subject for found in world.proposed} == {WEB_1, "service/web-2"}

    async def test_the_same_question_twice_is_two_questions_in_the_order_in_which_they_are_asked(self) -> None:
        async def twice(context: Context) -> Sequence[Decision]:
            await asks(context)
            return await asks(context)

        world = World(twice)
        await world.take(a_context())
        world.start()
        await world.take(a_context())

        assert len({found.invocation_id for found in world.learnt}) == len(world.model.asked) == 2

    async def test_an_agent_learns_with_a_function_of_its_own(self) -> None:
        calls: list[str] = []

        async def decide(context: Context) -> Sequence[Decision]:
            async def forecast() -> dict[str, Any]:
                calls.append("asked")
                return {"rain": True}

            learnt = await context.journal.learn("weather", {"city": "Bonn"}, forecast)
            return (context.propose("restart_service", because=f"rain: {learnt['rain']}"),)

        world = World(decide)
        await world.take(a_context())
        world.start()
        await world.take(a_context())

        assert calls == ["asked"]
        assert [found.decisions[0].because for found in world.proposed] == ["rain: True"] * 2

    @pytest.mark.parametrize(
        ("request_", "answer", "code"),
        [
            ({1j: 1}, {}, "no_json"),
            ({"x": object()}, {}, "no_json"),
            ({"x": "x" * TOOL_BYTES_MAX}, {}, "too_large"),
            ({}, {"x": object()}, "no_json"),
            ({}, {"x": "x" * TOOL_BYTES_MAX}, "too_large"),
            ({}, RuntimeError("down"), "tool_failed"),
        ],
    )
    async def test_what_cannot_be_written_down_is_no_answer(self, request_: Any, answer: Any, code: str) -> None:
        async def decide(context: Context) -> Sequence[Decision]:
            async def ask() -> Any:
                if isinstance(answer, Exception):
                    raise answer
                return answer

            await context.journal.learn("weather", request_, ask)
            return ()

        world = World(decide)
        await world.take(a_context())

        assert [found.code for found in world.proposed] == [code]

    async def test_an_agent_asks_only_so_much_because_of_one_context(self) -> None:
        async def curious(context: Context) -> Sequence[Decision]:
            while True:
                await context.journal.ask("openai", {}, timeout_s=1.0)

        world = World(curious)
        await world.take(a_context())

        assert len(world.model.asked) == ANSWERS_PER_CONTEXT_MAX
        assert [found.code for found in world.proposed] == ["asks_too_much"]

    async def test_a_tool_that_hangs_is_given_its_time(self) -> None:
        world = World(asks, model=FakeModel(Held()))

        await world.take(a_context())

        assert [found.code for found in world.proposed] == [found.code for found in world.learnt] == ["timeout"]

    async def test_a_tool_that_nobody_has_is_no_answer(self) -> None:
        async def decide(context: Context) -> Sequence[Decision]:
            await context.journal.ask("crystal_ball", {}, timeout_s=1.0)
            return ()

        world = World(decide)
        await world.take(a_context())

        assert [found.code for found in world.proposed] == ["tool_missing"]


class TestBudgets:
    """Each question may take 600 tokens, of which 120 are used; 1,000 may be used within an hour."""

    async def asked(self, world: World, count: int, first: int = 0) -> list[str]:
        before = len(world.proposed)
        for n in range(first, first + count):
            await world.take(a_context(f"e{n}", f"service/web-{n}"), at_ms=world.clock.now_ms())
        return [found.code for found in world.proposed[before:]]

    async def test_what_would_exceed_it_is_not_asked(self) -> None:
        world = World(asks)

        codes = await self.asked(world, 6)

        # 120 each: after four the fifth could exceed it.
        assert codes == ["", "", "", "", "budget_tokens", "budget_tokens"]
        assert len(world.model.asked) == 4
        assert world.counts.tokens == {("slow", "openai", "in"): 400, ("slow", "openai", "out"): 80}

    async def test_a_restart_does_not_give_it_back(self) -> None:
        world = World(asks)
        await self.asked(world, 4)
        world.start()

        assert await self.asked(world, 1, first=4) == ["budget_tokens"]

    async def test_it_is_there_again_when_its_window_has_passed(self) -> None:
        world = World(asks)
        await self.asked(world, 5)

        world.clock.advance(HOUR_MS - GRAIN_MS)
        assert await self.asked(world, 1, first=5) == ["budget_tokens"]
        world.clock.advance(2 * GRAIN_MS)
        assert await self.asked(world, 1, first=6) == [""]

    async def test_what_an_answer_did_not_tell_counts_as_all_that_it_may_have_used(self) -> None:
        world = World(asks, model=FakeModel(said("hot", usage=None)))

        assert await self.asked(world, 2) == ["", "budget_tokens"]

    async def test_so_does_what_hung_and_what_a_crash_left_without_an_answer(self) -> None:
        hung = World(asks, model=FakeModel(Held()))
        crashed = World(asks)
        crashed.refuses = lambda output: b'"tool.result"' in output.value
        with pytest.raises(BackboneUnavailable):
            await crashed.take(a_context("crashed", "service/crashed"))
        crashed.refuses = lambda _: False
        crashed.start()

        assert await self.asked(hung, 2) == ["timeout", "budget_tokens"]
        assert await self.asked(crashed, 1) == ["budget_tokens"]

    async def test_a_server_that_was_not_reached_costs_nothing(self) -> None:
        world = World(asks, model=FakeModel(fails("unreachable")))

        assert await self.asked(world, 9) == ["unreachable"] * 9

    async def test_money_is_counted_by_the_day(self) -> None:
        dear = Usage(tokens_in=1, tokens_out=1, cost_micros=940)
        world = World(asks, model=FakeModel(said("hot", usage=dear)))

        assert await self.asked(world, 2) == ["", "budget_cost"]
        world.clock.advance(DAY_MS + GRAIN_MS)
        assert await self.asked(world, 1, first=2) == [""]
        assert world.counts.cost_micros == {("slow", "openai"): 1880}

    async def test_questions_that_are_under_way_count_with_all_that_they_may_use(self) -> None:
        world = World(asks, in_flight_max=5, model=FakeModel(said("hot", after=3)))

        await world.take(*[a_context(f"e{n}", f"service/web-{n}") for n in range(5)])

        assert sorted(found.code for found in world.proposed) == ["", *["budget_tokens"] * 4]


async def _raises(error: BaseException) -> Any:
    raise error


async def _gives(answer: Any) -> Any:
    return answer


def _deep(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"x": found}
    return found
