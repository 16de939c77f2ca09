"""A process's part in its service's controls: whatever dies in between, nothing is in force by half."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from control_plane.adapters.memory import MemoryBackbone, MemoryLog, VirtualClock
from control_plane.bootstrap.control_desk import Beginning, ControlDesk
from control_plane.bootstrap.following import ControlFollower
from control_plane.bootstrap.workshop import check_tools
from control_plane.caretaker import Caretaker
from control_plane.catalogue import ControlSet
from control_plane.errors import BackboneUnavailable, Flaw, InvalidWorkspace, PolicyEngineUnavailable
from control_plane.messages import topics
from control_plane.messages.cancellation import cancellation, event_of
from control_plane.partition import Partitions
from control_plane.ports.backbone import Output, Position
from control_plane.ports.policy_engine import PolicySet
from control_plane.workspace.control_log import ControlLog, encode_item
from control_plane.workspace.diffing import Applied, Moved
from tests import builders
from tests.contract.ledger.commands import a_command

OLD = builders.control_set(builders.intent(), builders.row(), builders.rule())
NEW = builders.control_set(builders.intent(), builders.row(), builders.rule(when="data.rss > 600.0"))
OTHER = builders.control_set(builders.intent(), builders.row(), builders.rule(when="data.rss > 700.0"))


class End:
    """What changes with the controls; says what it was told, and refuses what it is told to refuse."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.refuses = False
        self.published = asyncio.Event()

    async def prepare(self, controls: ControlSet) -> "End":
        self.said.append(f"prepare {controls.revision}")
        if self.refuses:
            raise InvalidWorkspace([Flaw(file="x", line=0, column=0, problem="no", cure="Go.")])
        return self

    async def before(self) -> None:
        self.said.append("before")
        self.published.set()

    async def after(self) -> None:
        self.said.append("after")

    async def discard(self) -> None:
        self.said.append("discard")


class Failing(MemoryBackbone):
    """A backbone that fails at an append: that many succeed before."""

    good = 10**9

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        self.good -= 1
        if self.good < 0:
            raise BackboneUnavailable("the log is away")
        return await super().append(outputs)


class Process:
    """One process on a log: its desk, and its partitions with their caretaker."""

    def __init__(self, log: MemoryLog, clock: VirtualClock, *, owns: bool = True, change_policies: Any = None) -> None:
        self.log = log
        self.clock = clock
        self.backbone = Failing(log)
        controls = ControlLog.from_reader(log, builders.TOOLS)
        self.follower = ControlFollower(log, controls)
        self.partitions = Partitions(engine=builders.ScriptedEngine(), controls=controls)
        self.loaded: list[str] = []
        self.end = End()
        self.desk = ControlDesk(
            controls,
            backbone=self.backbone,
            clock=clock,
            check_tools=check_tools,
            load_policies=lambda policies: self.loaded.append(policies.revision),
            owned=self.partitions.owned if owns else dict,
            change_policies=change_policies,
        )
        self.desk.ends.append(self.end)
        if owns:
            self.backbone.own_events(self.partitions)
        self.caretaker = Caretaker(self.backbone, self.partitions, clock, lambda: self.desk.wanted)

    async def begin(self, folder: ControlSet = OLD, *, publishes: bool = True, has_loop: bool = True) -> Beginning:
        await self.backbone.start()
        beginning = await self.desk.begin(folder, publishes=publishes, has_loop=has_loop)
        await self.turn()
        return beginning

    async def turn(self) -> None:
        """The caretaker looks, and the partitions take what it appended."""
        await self.caretaker.look()
        await self.backbone.settle()

    async def while_it_turns(self, work: Awaitable[Any]) -> Any:
        """Let the process go on until something is done."""
        running = asyncio.ensure_future(work)
        async with asyncio.timeout(30):
            while not running.done():
                await self.turn()
                self.clock.advance(10)
                await asyncio.wait([running], timeout=0.01)
        return running.result()

    def revisions(self) -> set[str]:
        return set(self.partitions.owned().values())


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def log(clock: VirtualClock) -> MemoryLog:
    return MemoryLog(clock.now_ms)


async def test_an_apply_is_adopted_by_every_partition_and_only_then_do_triggers_change(
    log: MemoryLog, clock: VirtualClock
) -> None:
    process = Process(log, clock)
    await process.begin()

    done = await process.while_it_turns(process.desk.apply(NEW.items, OLD.revision))

    assert isinstance(done, Applied)
    assert [change.title for change in done.changes] == ["rule memory_guard"]
    assert process.revisions() == {NEW.revision}
    assert process.end.said == [f"prepare {NEW.revision}", "before", "after"]
    assert process.desk.in_force().revision == NEW.revision


async def test_until_partitions_have_adopted_it_the_door_judges_by_what_they_follow(
    log: MemoryLog, clock: VirtualClock
) -> None:
    process = Process(log, clock)
    await process.begin()

    applying = asyncio.ensure_future(process.desk.apply(NEW.items, OLD.revision))
    async with asyncio.timeout(30):
        await process.end.published.wait()
    assert process.desk.in_force().revision == OLD.revision
    assert process.end.said[-1] == "before"
    await process.while_it_turns(applying)

    assert process.desk.in_force().revision == NEW.revision


async def test_what_is_unchanged_is_not_published_again(log: MemoryLog, clock: VirtualClock) -> None:
    process = Process(log, clock)
    await process.begin()
    ends = [log.bounds(topic, 0)[1] for topic in topics.CONTROLS]

    done = await process.desk.apply(OLD.items, OLD.revision)

    assert isinstance(done, Applied)
    assert done.changes == ()
    assert [log.bounds(topic, 0)[1] for topic in topics.CONTROLS] == ends
    assert process.end.said == []


async def test_a_bad_item_an_end_that_refuses_and_a_log_that_is_away_change_nothing(
    log: MemoryLog, clock: VirtualClock
) -> None:
    process = Process(log, clock)
    await process.begin()

    with pytest.raises(InvalidWorkspace):
        await process.desk.apply([*NEW.items, builders.item("row", "bad", {"row": "bad"})], OLD.revision)
    process.end.refuses = True
    with pytest.raises(InvalidWorkspace):
        await process.desk.apply(NEW.items, OLD.revision)
    process.end.refuses, process.backbone.good = False, 0
    with pytest.raises(BackboneUnavailable):
        await process.desk.apply(NEW.items, OLD.revision)
    process.backbone.good = 10**9

    assert process.end.said[-1] == "discard"
    assert process.desk.wanted == ControlLog.from_reader(log, builders.TOOLS).wanted == OLD.revision
    assert isinstance(await process.while_it_turns(process.desk.apply(NEW.items, OLD.revision)), Applied)


async def test_of_two_that_were_compared_with_the_same_only_one_is_taken(log: MemoryLog, clock: VirtualClock) -> None:
    process = Process(log, clock)
    await process.begin()

    both = asyncio.gather(process.desk.apply(NEW.items, OLD.revision), process.desk.apply(OTHER.items, OLD.revision))
    first, second = await process.while_it_turns(both)

    assert isinstance(first, Applied)
    assert second == Moved(NEW.revision)
    assert process.revisions() == {NEW.revision}


async def test_who_dies_between_the_items_and_the_set_has_changed_nothing(log: MemoryLog, clock: VirtualClock) -> None:
    dying = Process(log, clock)
    await dying.begin()
    dying.backbone.good = 1
    with pytest.raises(BackboneUnavailable):
        await dying.desk.apply(NEW.items, OLD.revision)
    await dying.backbone.stop()

    again = Process(log, clock)
    beginning = await again.begin()

    [changed] = [item for item in NEW.items if item not in OLD.items]
    assert encode_item(changed).key in {record.key for record in log.read(topics.AGENTS, 0)}
    assert (beginning.revision, beginning.changes, beginning.overtaken) == (OLD.revision, (), ())
    assert again.revisions() == {OLD.revision}


async def test_who_dies_between_publishing_and_adopting_adopts_at_the_next_start(
    log: MemoryLog, clock: VirtualClock
) -> None:
    dying = Process(log, clock)
    await dying.begin()
    applying = asyncio.ensure_future(dying.desk.apply(NEW.items, OLD.revision))
    async with asyncio.timeout(30):
        await dying.end.published.wait()
    applying.cancel()
    await asyncio.wait([applying])
    assert dying.revisions() == {OLD.revision}
    await dying.backbone.stop()

    again = Process(log, clock)
    beginning = await again.begin()

    assert again.revisions() == {NEW.revision}
    assert [change.title for change in beginning.overtaken] == ["rule memory_guard"], "the folder is as it was"


async def test_a_folder_that_was_edited_since_is_published_at_the_start(log: MemoryLog, clock: VirtualClock) -> None:
    first = Process(log, clock)
    await first.begin()
    await first.while_it_turns(first.desk.apply(NEW.items, OLD.revision))
    await first.backbone.stop()

    second = Process(log, clock)
    beginning = await second.begin(OTHER)

    assert (beginning.before, beginning.revision) == (NEW.revision, OTHER.revision)
    assert [change.title for change in beginning.changes] == ["rule memory_guard"]
    assert second.revisions() == {OTHER.revision}


async def test_a_worker_publishes_only_where_there_is_nothing_yet(log: MemoryLog, clock: VirtualClock) -> None:
    executors = Process(log, clock, owns=False)
    await executors.begin(NEW, publishes=False, has_loop=False)
    assert ControlLog.from_reader(log, builders.TOOLS).wanted is None

    loop = Process(log, clock)
    await loop.begin(OLD, publishes=False)
    late = Process(log, clock, owns=False)
    await late.begin(NEW, publishes=False)

    assert ControlLog.from_reader(log, builders.TOOLS).wanted == OLD.revision == late.desk.wanted


async def test_a_process_follows_what_another_one_publishes(log: MemoryLog, clock: VirtualClock) -> None:
    loop = Process(log, clock)
    await loop.begin()
    executors = Process(log, clock, owns=False)
    await executors.begin(publishes=False)

    await loop.while_it_turns(loop.desk.apply(NEW.items, OLD.revision))
    executors.follower.catch_up()
    await executors.desk.heed()

    assert executors.desk.wanted == NEW.revision
    assert executors.end.said == [f"prepare {NEW.revision}", "before", "after"]


async def test_a_process_that_cannot_follow_keeps_its_last_good_controls_and_says_why(
    log: MemoryLog, clock: VirtualClock
) -> None:
    loop = Process(log, clock)
    await loop.begin()
    executors = Process(log, clock, owns=False)
    await executors.begin(publishes=False)
    executors.end.refuses = True

    await loop.while_it_turns(loop.desk.apply(NEW.items, OLD.revision))
    executors.follower.catch_up()
    await executors.desk.heed()
    assert (executors.desk.wanted, executors.end.said[-1]) == (OLD.revision, f"prepare {NEW.revision}")
    assert NEW.revision in executors.desk.problem

    executors.end.refuses = False
    await loop.while_it_turns(loop.desk.apply(OTHER.items, NEW.revision))
    executors.follower.catch_up()
    await executors.desk.heed()
    assert (executors.desk.wanted, executors.desk.problem) == (OTHER.revision, "")


async def test_policies_that_cannot_be_made_ready_are_not_in_force_and_a_follower_tries_again(
    log: MemoryLog, clock: VirtualClock
) -> None:
    away = True

    async def change(_policies: PolicySet) -> None:
        if away:
            raise PolicyEngineUnavailable("no engine runs them")

    permit = 'package setpoint.permits.p\n\nallow contains {"code": "a", "msg": "m"}\n'
    other = builders.control_set(*OLD.items, builders.item("policy", "permits/p", permit))
    loop = Process(log, clock)
    await loop.begin()
    executors = Process(log, clock, owns=False, change_policies=change)
    await executors.begin(publishes=False)

    with pytest.raises(PolicyEngineUnavailable):
        await executors.desk.apply(other.items, OLD.revision)
    assert ControlLog.from_reader(log, builders.TOOLS).wanted == OLD.revision
    assert executors.end.said[-1] == "discard"

    await loop.while_it_turns(loop.desk.apply(other.items, OLD.revision))
    executors.follower.catch_up()
    await executors.desk.heed()
    assert executors.desk.wanted == OLD.revision
    assert "no engine runs them" in executors.desk.problem
    away = False
    await executors.desk.heed()
    assert (executors.desk.wanted, executors.desk.problem) == (other.revision, "")


async def test_a_partition_that_was_handed_over_under_newer_controls_reads_them_when_they_are_needed(
    log: MemoryLog, clock: VirtualClock
) -> None:
    first = Process(log, clock)
    await first.begin()
    heir = Process(log, clock)  # It has read the log, and was not told of anything since.
    await first.while_it_turns(first.desk.apply(NEW.items, OLD.revision))
    await first.backbone.stop()

    await heir.backbone.start()
    await heir.backbone.settle()

    assert heir.revisions() == {NEW.revision}


async def test_a_cancellation_holds_at_once_here_and_elsewhere_once_it_was_heard(
    log: MemoryLog, clock: VirtualClock
) -> None:
    api, executors = Process(log, clock), Process(log, clock, owns=False)
    await api.begin()
    await executors.begin(publishes=False)
    command = a_command("c1")
    wish = cancellation(command, by="person/admin", because="wrong one")

    await api.desk.cancel(wish, event_of(wish, command, clock.now_ms()))
    assert api.desk.halted(command) == "cancelled by person/admin: wrong one"
    assert executors.desk.halted(command) is None
    executors.follower.catch_up()

    assert executors.desk.halted(command) == "cancelled by person/admin: wrong one"
    assert executors.desk.halted(a_command("c2")) is None
    assert any(
        b"cancellation.requested" in r.value
        for n in range(log.partitions(topics.EVENTS))
        for r in log.read(topics.EVENTS, n)
    )
