"""However much a subject has to say, no row and no commit grows beyond what a log takes, and nothing is lost by it."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from control_plane.adapters.memory import Lane, MemoryLog, Order, VirtualClock
from control_plane.messages import Command, Question, Ruling, topics
from control_plane.messages.wire import decode, encode
from control_plane.partition import Partitions
from control_plane.partition.rows import HELD_BYTES_MAX
from control_plane.ports.backbone import COMMIT_BYTES_MAX, RECORD_BYTES_MAX, Commit, Output, Record, RowReader, Start
from control_plane.ports.policy_engine import PolicySet
from control_plane.replay import replay
from state.rows import ROW_BYTES_MAX
from tests import builders

LARGE = "x" * 200_000
LOUD = builders.agent(
    "loud",
    'return [context.propose("restart_service", because="loudly", nth=n, parameters={"n": n}) for n in range(5)]',
)
"""Five proposals on each event; policy is asked with the whole event for each of them."""
CONTROLS = builders.control_set(builders.intent(parameters={"type": "object"}), builders.row(), LOUD)


class Watched(Partitions):
    """Keeps the size of every row and every commit."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.row_bytes: list[int] = []
        self.commit_bytes: list[int] = []
        self.offered: list[tuple[int, int]] = []

    async def take(self, partition: int, records: Any) -> Commit:
        commit = await super().take(partition, records)
        rows = [len(row.key) + len(row.value) for row in commit.rows]
        self.row_bytes += rows
        self.commit_bytes.append(sum(rows) + sum(len(one.key) + len(one.value) for one in commit.outputs))
        self.offered.append((len(records), commit.next_offset - commit.batch_offset))
        return commit


class World:
    """One partition on a log whose write is taken apart, and an engine that rules across subjects at once or not."""

    def __init__(self, *, concurrent: bool = False, order: Order = "stepwise") -> None:
        self.log = MemoryLog(VirtualClock().now_ms)
        self.order = order
        self.source = builders.ControlsAt(CONTROLS)
        self.engine = Unhurried() if concurrent else builders.ScriptedEngine(builders.deny)
        self.send(builders.adopted(CONTROLS.revision))

    def send(self, *events: builders.Event) -> None:
        self.log.append([builders.output(event, 0) for event in events])

    async def start(self) -> tuple[Watched, Lane]:
        owner = Watched(engine=self.engine, controls=self.source)
        lane = Lane(self.log, 0, owner, self.order)
        await lane.assign()
        return owner, lane

    def ids(self, topic: str) -> list[str]:
        return [json.loads(record.value)["id"] for record in self.log.read(topic, 0)]


class Unhurried:
    """An engine that is asked across subjects at once."""

    concurrent = True

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        for _ in range(int(question.id[:1], 16) % 4):
            await asyncio.sleep(0)
        return builders.deny(question)


def large(number: int, subject: str = builders.WEB_1, note: str = LARGE) -> builders.Event:
    return builders.event(data={"rss": 1.0, "note": note}, message_id=f"e{number}", subject=subject)


async def drain(lane: Lane) -> None:
    """As many batches in flight as there may be, before any of them becomes durable."""
    while await lane.take() or lane.advance():
        pass


def test_a_row_that_holds_all_it_may_fits_into_one_record_and_one_step_into_a_commit() -> None:
    row_bytes_max = ROW_BYTES_MAX + HELD_BYTES_MAX + 4_096

    assert row_bytes_max < RECORD_BYTES_MAX
    assert row_bytes_max + HELD_BYTES_MAX < COMMIT_BYTES_MAX


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_a_hot_subject_with_large_decisions_never_outgrows_a_record(order: Order) -> None:
    world = World(order=order)
    world.send(*[large(number) for number in range(60)])
    owner, lane = await world.start()

    await drain(lane)

    assert sum(len(record.value) for record in world.log.read(topics.VERDICTS, 0)) > 3 * RECORD_BYTES_MAX
    assert max(owner.row_bytes) <= ROW_BYTES_MAX + HELD_BYTES_MAX + 4_096
    assert Counter(world.ids(topics.VERDICTS)).most_common(1)[0][1] == 1
    assert len(world.ids(topics.DECISIONS)) == 300


@pytest.mark.parametrize("concurrent", [False, True])
async def test_many_large_subjects_in_one_batch_never_outgrow_a_commit(concurrent: bool) -> None:
    world = World(concurrent=concurrent)
    loud = [
        builders.agent(
            f"loud_{number}",
            'return [context.propose("restart_service", because="loudly", nth=n) for n in range(8)]',
        )
        for number in range(3)
    ]
    controls = builders.control_set(builders.intent(), builders.row(), *loud)
    world.source = builders.ControlsAt(CONTROLS, controls)
    world.send(builders.adopted(controls.revision, at_ms=builders.NOW_MS + 1))
    world.send(*[large(number, f"service/web-{number % 40}", note=LARGE[:15_000]) for number in range(120)])
    owner, lane = await world.start()

    await drain(lane)

    assert max(owner.commit_bytes) <= COMMIT_BYTES_MAX
    assert any(taken < offered for offered, taken in owner.offered), "the run was too quiet: nothing was cut"
    assert len(set(world.ids(topics.DECISIONS))) == 24 * 120


@pytest.mark.parametrize("concurrent", [False, True])
@pytest.mark.parametrize("crash", [False, True])
async def test_a_tick_on_more_rows_than_a_commit_takes_is_finished_in_the_next(
    concurrent: bool, crash: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.partition.rows.COMMIT_BYTES_MAX", 20_000)
    world = World(concurrent=concurrent)
    expects = {"where": "rows.health.rss < 100.0", "within": "10s"}
    waiting = builders.control_set(builders.intent(), builders.row(), builders.rule(expects=expects))
    world.source = builders.ControlsAt(CONTROLS, waiting)
    world.engine = builders.ScriptedEngine()
    world.engine.concurrent = concurrent
    world.send(builders.adopted(waiting.revision, at_ms=builders.NOW_MS + 1))
    world.send(
        *[builders.event(data={"rss": 500.0}, subject=f"service/web-{number}", message_id="e") for number in range(30)]
    )
    owner, lane = await world.start()
    await drain(lane)
    answer_every_command(world)
    await drain(lane)
    owner.offered.clear()

    world.log._now_ms = lambda: builders.NOW_MS + 10_000
    world.send(builders.tick(at_ms=builders.NOW_MS + 10_000))
    if crash:
        await lane.take()
        while lane.write_row():
            pass
        # What the rows hold goes out again with the rest of the same tick, and then no more.
        owner, lane = await world.start()
    await drain(lane)

    assert any(taken == 0 for _, taken in owner.offered), "the tick was not divided"
    assert len(world.ids(topics.EFFECTS)) == len(set(world.ids(topics.EFFECTS))) == 30
    assert owner.due_ms(0) is None


def answer_every_command(world: World) -> None:
    commands = [decode(record.value, Command) for record in world.log.read(topics.COMMANDS, 0)]
    world.log.append([Output(topics.EVENTS, b"k", encode(builders.outcome(command)), 0) for command in commands])


async def test_what_was_held_before_a_crash_counts_after_it() -> None:
    """Crashes that come before any offset is committed must not let a row grow with each of them."""
    world = World()
    world.send(*[large(number) for number in range(60)])
    biggest = 0
    for _ in range(6):
        owner, lane = await world.start()
        while await lane.take(7):
            pass
        while lane.write_row():
            pass
        biggest = max(biggest, *owner.row_bytes, 0)

    owner, lane = await world.start()
    await drain(lane)

    assert max([biggest, *owner.row_bytes]) <= ROW_BYTES_MAX + HELD_BYTES_MAX + 4_096
    assert len(set(world.ids(topics.DECISIONS))) == 300


async def test_an_event_that_more_follows_from_than_a_row_holds_is_buried_and_the_row_stays() -> None:
    shouting = [
        builders.agent(
            f"shouter_{n}", 'return [context.propose("restart_service", because="loudly", nth=n) for n in range(8)]'
        )
        for n in range(8)
    ]
    controls = builders.control_set(builders.intent(), builders.row(), *shouting)
    world = World()
    world.source = builders.ControlsAt(CONTROLS, controls)
    world.send(builders.adopted(controls.revision, at_ms=builders.NOW_MS + 1), large(1), large(2, "service/web-2"))
    world.send(builders.event(data={"rss": 2.0}, message_id="small"))
    _, lane = await world.start()

    await drain(lane)

    letters = [json.loads(record.value) for record in world.log.read(topics.DEAD_LETTERS, 0)]
    assert [(letter["subject"], letter["data"]["code"]) for letter in letters] == [
        (builders.WEB_1, "says_too_much"),
        ("service/web-2", "says_too_much"),
    ]
    assert {json.loads(r.value)["subject"] for r in world.log.read(topics.DECISIONS, 0)} == {builders.WEB_1}


async def test_a_replay_of_what_was_cut_is_equal() -> None:
    world = World(concurrent=True)
    world.send(*[large(number, f"service/web-{number % 9}") for number in range(90)])
    _, lane = await world.start()
    await drain(lane)

    report = await replay(world.log, world.source, builders.ScriptedEngine(builders.deny), committed={0: 91})

    assert report.equal


async def test_a_lane_hands_over_what_was_left_only_once_the_rest_is_durable() -> None:
    class Sparing:
        """Takes two records of each batch."""

        def __init__(self) -> None:
            self.taken: list[int] = []
            self.committed_below = 0

        async def assigned(self, partition: int, rows: RowReader, start: Start) -> None: ...

        async def take(self, partition: int, records: list[Record]) -> Commit:
            assert records[0].offset == self.committed_below, "the commits before it are durable"
            self.taken += [record.offset for record in records[:2]]
            upto = records[:2][-1].offset + 1
            return Commit(batch_offset=records[0].offset, rows=(), outputs=(), next_offset=upto, mark=b"")

        def committed(self, partition: int, commit: Commit) -> None:
            self.committed_below = commit.next_offset

        async def revoked(self, partition: int) -> None: ...

    log = MemoryLog(VirtualClock().now_ms)
    log.append([Output(topics.EVENTS, b"k", b"%d" % number, 0) for number in range(7)])
    owner = Sparing()
    lane = Lane(log, 0, owner, "stepwise")
    await lane.assign()

    await drain(lane)

    assert owner.taken == list(range(8)), "seven records and the claim"
