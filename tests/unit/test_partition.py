"""Records through the partitions: whatever stands on the log, the partition goes on, and nothing vanishes."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from control_plane.adapters.memory import Lane, MemoryLog, VirtualClock
from control_plane.adapters.memory.log import Committed
from control_plane.catalogue import ControlSet
from control_plane.errors import ContinuityBroken, OwnerFenced
from control_plane.messages import Command, Outcome, Question, Ruling, topics
from control_plane.messages.wire import decode, encode, encode_event
from control_plane.partition import Partitions
from control_plane.partition.held import Mark
from control_plane.partition.rows import PartitionRows, RecentRows
from control_plane.ports.backbone import Output, Start
from control_plane.ports.policy_engine import PolicySet
from state.rows import HeldOutput, Row, StoredRow, decode_row, decode_stored, encode_row, encode_stored
from tests import builders

PLAIN = {"specversion": "1.0", "id": "e1", "source": "probe", "type": "service.measured", "subject": "service/web-1"}


class World:
    """One partition with its owner."""

    def __init__(self, controls: ControlSet | None = None, engine: Any = None) -> None:
        self.controls = controls or builders.control_set()
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock.now_ms)
        self.source = builders.ControlsAt(self.controls, *([builders.control_set()] if controls else []))
        self.engine = engine or builders.ScriptedEngine()
        self.partitions = Partitions(engine=self.engine, controls=self.source)
        self.lane = Lane(self.log, 0, self.partitions, "atomic")

    async def begin(self, *, adopt: bool = True) -> "World":
        await self.lane.assign()
        if adopt:
            self.send(builders.adopted(self.controls.revision))
        return self

    def send(self, *events: builders.Event | bytes) -> None:
        for event in events:
            raw = event if isinstance(event, bytes) else encode_event(event)
            self.log.append([Output(topics.EVENTS, b"key", raw, 0)])

    async def settle(self) -> None:
        while await self.lane.take():
            while self.lane.advance():
                pass

    def said(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(record.value) for record in self.log.read(topic, 0)]

    def letters(self) -> list[tuple[str, str | None]]:
        return [(letter["data"]["code"], letter["data"]["field"]) for letter in self.said(topics.DEAD_LETTERS)]


def raw(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**PLAIN, **changes}.items() if value is not ...}).encode()


GOOD = builders.event(data={"rss": 500.0}, message_id="good")


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        pytest.param(b"", "json_broken", id="empty"),
        pytest.param(b"\xff", "json_broken", id="no UTF-8"),
        pytest.param(raw(id=...), "envelope_broken", id="no id"),
        pytest.param(raw(subject=...), "subject_missing", id="no subject"),
        pytest.param(raw(subject="web"), "subject_malformed", id="no kind"),
        pytest.param(raw(subject="s/" + "x" * 300), "subject_too_long", id="long subject"),
        pytest.param(raw(type="service.unheard_of"), "type_unknown", id="unknown type"),
        pytest.param(raw(type="clock.tick"), "type_reserved", id="somebody's tick"),
        pytest.param(raw(type="controls.adopted", data={"revision": "x"}), "type_reserved", id="somebody's adoption"),
        pytest.param(raw(type="command.succeeded", data={}), "schema_broken", id="no outcome"),
        pytest.param(raw(type="effect.judged", data={}), "schema_broken", id="no effect"),
        pytest.param(raw(type="decision.proposed", data={}), "schema_broken", id="no proposal"),
        pytest.param(raw(time="2036-01-01T00:00:00Z"), "from_future", id="future"),
        pytest.param(raw(data={"rss": 10**30}), "integer_too_large", id="too many bits"),
        pytest.param(raw(data={"rss": 10**400}), "integer_too_large", id="far too many bits"),
    ],
)
async def test_a_record_that_cannot_be_folded_is_kept_and_those_behind_it_go_on(poison: bytes, code: str) -> None:
    world = await World().begin()

    world.send(poison, GOOD)
    await world.settle()

    assert [found for found, _ in world.letters()] == [code]
    assert len(world.said(topics.COMMANDS)) == 1


async def test_an_event_that_no_row_has_room_for_is_kept_and_the_row_stays_as_it_was() -> None:
    roomy = builders.row(fields={"rss": {"last": "data.rss"}, **builders.NOTES})
    world = await World(builders.control_set(builders.intent(), roomy, builders.rule())).begin()

    world.send(builders.event(data=builders.HUGE, message_id="huge"), GOOD)
    await world.settle()

    assert [found for found, _ in world.letters()] == ["row_too_large"]
    assert len(world.said(topics.COMMANDS)) == 1


async def test_a_dead_letter_says_where_the_record_stands_and_holds_it() -> None:
    world = await World().begin()

    world.send(b"no json")
    await world.settle()

    (letter,) = world.said(topics.DEAD_LETTERS)
    data = letter["data"]
    assert (data["topic"], data["partition"], data["offset"]) == (topics.EVENTS, 0, 2)
    assert (data["record"], data["record_bytes"]) == ("bm8ganNvbg==", 7)
    assert data["cure"] == "Send one JSON object in UTF-8."


async def test_an_event_before_any_controls_is_kept() -> None:
    world = await World().begin(adopt=False)

    world.send(GOOD, builders.adopted(world.controls.revision), builders.event(message_id="later", data={"rss": 500.0}))
    await world.settle()

    assert world.letters() == [("no_controls", None)]
    assert len(world.said(topics.COMMANDS)) == 1


async def test_controls_take_force_at_their_record_in_the_middle_of_a_batch() -> None:
    loose = builders.control_set(builders.intent(), builders.row(), builders.rule(when="data.rss > 600.0"))
    world = await World(loose).begin()

    world.send(
        builders.event(data={"rss": 500.0}, subject="service/before"),
        builders.adopted(builders.control_set().revision, at_ms=builders.NOW_MS + 1),
        builders.event(data={"rss": 500.0}, subject="service/after"),
    )
    await world.settle()

    assert [decision["subject"] for decision in world.said(topics.DECISIONS)] == ["service/after"]
    assert world.partitions.owned() == {0: builders.control_set().revision}


async def test_the_controls_in_force_outlive_a_crash() -> None:
    world = await World().begin()
    await world.settle()

    world.lane = Lane(world.log, 0, Partitions(engine=world.engine, controls=world.source), "atomic")
    await world.lane.assign()
    world.send(GOOD)
    await world.settle()

    assert len(world.said(topics.COMMANDS)) == 1


class Rows:
    """No rows yet."""

    def get(self, key: bytes) -> bytes | None:
        return None

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


@pytest.mark.parametrize("before", [None, builders.record(b"another", 4)])
async def test_a_log_that_does_not_hold_what_was_applied_last_is_refused(before: Any) -> None:
    world = await World().begin()
    mark = b'{"last_digest":"d","controls_revision":""}'

    with pytest.raises(ContinuityBroken, match=r"at offset 4: the log was wiped, cut or restored\. Nothing was done"):
        await world.partitions.assigned(0, Rows(), Start(next_offset=5, mark=mark, record_before=before))


async def test_a_log_that_holds_it_is_taken() -> None:
    world = await World().begin()
    world.send(GOOD)
    await world.settle()
    key = ("loop", topics.EVENTS, 0)
    assert isinstance(world.log.committed[key], Committed)

    again = Partitions(engine=world.engine, controls=world.source)
    await again.assigned(0, Rows(), world.log.start_of("loop", 0))

    assert again.owned() == {0: world.controls.revision}


def test_a_mark_is_small_enough_for_offset_metadata() -> None:
    assert len(msgspec.json.encode(Mark("0" * 32, "0" * 12))) < 200


async def test_a_failing_agent_is_named_and_the_others_go_on() -> None:
    broken = builders.agent("broken", 'raise RuntimeError("out of order")')
    world = await World(builders.control_set(builders.intent(), builders.row(), builders.rule(), broken)).begin()

    world.send(GOOD)
    await world.settle()

    (letter,) = world.said(topics.DEAD_LETTERS)
    assert (letter["data"]["agent"], letter["data"]["code"]) == ("broken", "agent_failed")
    assert letter["data"]["detail"] == "agent broken 1.0.0: RuntimeError: out of order"
    assert len(world.said(topics.COMMANDS)) == 1


async def test_two_subjects_of_one_event_id_get_commands_of_their_own() -> None:
    world = await World().begin()

    world.send(builders.event(data={"rss": 500.0}), builders.event(data={"rss": 500.0}, subject="service/web-2"))
    await world.settle()

    commands = world.said(topics.COMMANDS)
    assert len({command["id"] for command in commands}) == len(commands) == 2


async def test_a_tick_steps_the_rows_that_are_due_and_no_others() -> None:
    expects = {"where": "rows.health.rss < 100.0", "within": "10s"}
    world = await World(builders.control_set(builders.intent(), builders.row(), builders.rule(expects=expects))).begin()
    world.send(GOOD, builders.event(data={"rss": 1.0}, subject="service/idle"))
    await world.settle()
    assert world.partitions.due_ms(0) is None
    world.send(encode(_succeeded(world)))
    await world.settle()
    assert world.partitions.due_ms(0) == world.clock.now_ms() + 10_000

    world.clock.advance(9_999)
    world.send(builders.tick(at_ms=world.clock.now_ms()))
    await world.settle()
    assert world.said(topics.EFFECTS) == []
    world.clock.advance(1)
    world.send(builders.tick(at_ms=world.clock.now_ms()))
    await world.settle()

    assert [effect["data"]["effect"] for effect in world.said(topics.EFFECTS)] == ["unknown"]
    assert world.partitions.due_ms(0) is None


def _succeeded(world: World) -> Outcome:
    command = decode(world.log.fetch(topics.COMMANDS, 0, 0, 1)[0].value, Command)
    return builders.outcome(command, at_ms=world.clock.now_ms())


class Gathering:
    """An engine that answers only when every subject of the batch has asked."""

    concurrent = True

    def __init__(self, subjects: int) -> None:
        self._all_there = asyncio.Barrier(subjects)

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        async with asyncio.timeout(5):
            await self._all_there.wait()
        return builders.allow(question)


async def test_a_concurrent_engine_is_asked_across_subjects_at_once() -> None:
    world = await World(engine=Gathering(subjects=3)).begin()

    world.send(*[builders.event(data={"rss": 500.0}, subject=f"service/web-{number}") for number in range(3)])
    await world.settle()

    assert len(world.said(topics.COMMANDS)) == 3


async def test_outputs_are_published_in_the_order_of_their_records_however_the_engine_answers() -> None:
    class Backwards:
        concurrent = True

        async def rule(self, question: Question, policies: PolicySet) -> Ruling:
            for _ in range(10 - int(question.input["event"]["subject"][-1])):
                await asyncio.sleep(0)
            return builders.allow(question)

    world = await World(engine=Backwards()).begin()

    world.send(*[builders.event(data={"rss": 500.0}, subject=f"service/web-{number}") for number in range(5)])
    await world.settle()

    subjects: Sequence[str] = [command["subject"] for command in world.said(topics.COMMANDS)]
    assert subjects == [f"service/web-{number}" for number in range(5)]


def test_rows_at_hand_are_bounded_by_their_bytes_and_the_least_used_goes_first() -> None:
    rows = RecentRows(bytes_max=100)
    for name in ("a/1", "a/2", "a/3"):
        rows.put(name, Row(subject=name), 40)

    assert rows.get("a/1") is None
    assert rows.get("a/2") == Row(subject="a/2")
    rows.put("a/2", Row(subject="a/2"), 40)
    rows.put("a/4", Row(subject="a/4"), 40)
    assert rows.get("a/3") is None
    assert rows.get("a/2") is not None


def stored(subject: str, *, epoch: int = 1, generation: int = 0, applied: int = 7) -> tuple[bytes, bytes]:
    row = Row(subject=subject, applied=applied, seen=b"12345678", timers={"a": 5})
    held = (HeldOutput(7, topics.COMMANDS, b"k", b"a command", 0),)
    return subject.encode(), encode_stored(StoredRow(5, applied, epoch, generation, held, (), encode_row(row)))


class Stored(Rows):
    """Rows as an earlier owner left them."""

    def __init__(self, *rows: tuple[bytes, bytes]) -> None:
        self._rows = dict(rows)

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._rows.items())


class LostControls:
    """Control topics that hold nothing any more."""

    def at(self, revision: str) -> Any:
        raise ContinuityBroken(f"the control topics do not hold {revision}")


def start(*, epoch: int = 1, generation: int = 0, mark: bytes = b"", next_offset: int = 0) -> Start:
    return Start(next_offset=next_offset, mark=mark, record_before=None, epoch=epoch, generation=generation)


async def test_an_owner_that_finds_a_row_of_a_newer_one_stops() -> None:
    world = World()

    with pytest.raises(OwnerFenced, match=r"a row of it has epoch 9, this process has 3\. Nothing was taken"):
        await world.partitions.assigned(0, Stored(stored("service/web-1", epoch=9)), start(epoch=3))

    assert world.partitions.owned() == {}


async def test_rows_carry_the_epoch_and_the_generation_of_their_owner() -> None:
    world = await World().begin()
    world.send(GOOD)

    await world.settle()
    await world.lane.assign()
    world.send(builders.event(data={"rss": 1.0}, subject="service/web-2"))
    await world.settle()

    written = {decode_stored(raw).row: decode_stored(raw).epoch for raw in world.log.rows[0].values()}
    first = builders.NOW_MS // 1000
    assert sorted(written.values()) == [first, first + 1]


async def test_a_row_of_an_earlier_log_keeps_what_it_knows_and_forgets_where_it_stood() -> None:
    rows = PartitionRows(Stored(stored("service/web-1", generation=0)), start(generation=1, next_offset=3))

    found = rows.touch({}, "service/web-1")

    assert (found.row.applied, found.row.seen, found.held) == (-1, b"12345678", ())
    assert rows.due_ms() == 5
    assert rows.waiting_for(builders.record(b"", 7)) == ["service/web-1"], "its timer goes on; what it held does not"


async def test_rows_of_a_later_log_than_is_known_are_refused() -> None:
    with pytest.raises(ContinuityBroken, match="rows of its log's generation 2"):
        PartitionRows(Stored(stored("service/web-1", generation=2)), start(generation=1))


async def test_a_person_s_word_takes_a_partition_over_another_log() -> None:
    world = await World().begin()
    world.send(GOOD)
    await world.settle()
    before = dict(world.log.rows[0])
    world.log.lose(topics.EVENTS, 0, at_and_above=0)
    with pytest.raises(ContinuityBroken, match="setpoint log continue --partition 0"):
        await world.lane.assign()

    said = world.log.go_on(0, None)
    await world.lane.assign()
    world.send(builders.adopted(world.controls.revision), GOOD)
    await world.settle()

    assert said.generation == 1
    [(_, raw)] = world.log.rows[0].items()
    assert decode_stored(raw).generation == 1
    assert decode_row(decode_stored(raw).row).seen == decode_row(decode_stored(next(iter(before.values()))).row).seen
    assert json.loads(world.log.committed["loop", topics.EVENTS, 0].mark)["generation"] == 1


async def test_controls_that_were_lost_with_the_log_are_adopted_anew() -> None:
    world = World()
    world.partitions = Partitions(engine=world.engine, controls=LostControls())
    mark = b'{"last_digest":"d","controls_revision":"gone"}'

    with pytest.raises(ContinuityBroken):
        await world.partitions.assigned(0, Rows(), start(mark=mark))
    await world.partitions.assigned(0, Rows(), start(mark=mark, generation=1))

    assert world.partitions.owned() == {0: ""}


async def test_a_subject_that_belongs_to_another_partition_gets_no_second_row_here() -> None:
    world = World()
    world.partitions = Partitions(engine=world.engine, controls=world.source, home=lambda _subject: 3)
    world.lane = Lane(world.log, 0, world.partitions, "atomic")
    await world.begin()

    world.send(GOOD)
    await world.settle()

    assert world.letters() == [("wrong_partition", "subject")]
    assert (world.log.rows[0], world.said(topics.DECISIONS)) == ({}, [])
