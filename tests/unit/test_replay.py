"""Replaying a log says the same bytes again; whatever was changed on it is found and shown."""

from collections.abc import Callable, Iterator

import msgspec
import pytest

from control_plane.adapters.memory import MemoryBackbone, MemoryLog, VirtualClock
from control_plane.catalogue import Controls
from control_plane.errors import ContinuityBroken
from control_plane.messages import Context, Decision, Question, Ruling, topics
from control_plane.partition import Partitions
from control_plane.ports.agent import AgentOverran
from control_plane.ports.backbone import Output, Record
from control_plane.ports.controls_source import ControlsSource
from control_plane.replay import Report, render, replay, state_hash
from control_plane.workspace.compiling import compile_controls
from tests import builders

STRICT = builders.control_set(builders.intent(), builders.row(), builders.rule())
LOOSE = builders.control_set(builders.intent(), builders.row(), builders.rule(when="data.rss > 600.0"))
CONTROLS = builders.ControlsAt(STRICT, LOOSE)

Change = Callable[[Record], Record | None]


class ChangedLog:
    """A log as somebody left it: each record changed, or gone where the change is None."""

    def __init__(self, log: MemoryLog, change: Change) -> None:
        self._log = log
        self._change = change

    def partitions(self, topic: str) -> int:
        return self._log.partitions(topic)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return self._log.bounds(topic, partition)

    def read(self, topic: str, partition: int, offset: int = 0) -> Iterator[Record]:
        changed = (self._change(record) for record in self._log.read(topic, partition, offset))
        return (record for record in changed if record is not None)

    def close(self) -> None:
        self._log.close()


def with_value(record: Record, value: bytes) -> Record:
    return msgspec.structs.replace(record, value=value)


class SingleControls:
    """One set of controls, under every revision."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def at(self, revision: str) -> Controls:
        return self._controls


async def live_log(
    answer: builders.Answering = builders.allow, *, subjects: int = 3, controls: ControlsSource = CONTROLS
) -> MemoryLog:
    """A log on which each subject was restarted once; offset 0 adopts controls, then one event per subject."""
    clock = VirtualClock()
    log = MemoryLog(clock.now_ms)
    backbone = MemoryBackbone(log)
    backbone.own_events(Partitions(engine=builders.ScriptedEngine(answer), controls=controls))
    await backbone.start()
    await backbone.append([builders.output(builders.adopted(STRICT.revision), 0)])
    for number in range(subjects):
        clock.advance(100)
        found = builders.event(data={"rss": 500.0}, subject=f"service/web-{number}", at_ms=clock.now_ms())
        await backbone.append([builders.output(found)])
    await backbone.stop()
    return log


async def replayed(log: MemoryLog, change: Change | None = None, **options: object) -> Report:
    reader = ChangedLog(log, change) if change else log
    return await replay(reader, CONTROLS, builders.ScriptedEngine(), **options)  # type: ignore[arg-type]


async def test_an_untouched_log_is_equal_to_its_replay() -> None:
    report = await replayed(await live_log())

    assert report.equal
    assert report.recorded_hash == report.replayed_hash
    assert (report.records, report.recorded, report.replayed) == (4, 9, 9)


async def test_other_batch_sizes_give_the_same_hashes() -> None:
    log = await live_log(subjects=7)

    hashes = {
        (report.replayed_hash, report.state_hash)
        for report in [await replayed(log, batch_records=size) for size in (1, 2, 3, 200)]
    }

    assert len(hashes) == 1


async def test_the_replayed_state_has_the_hash_of_the_live_rows() -> None:
    log = await live_log()

    report = await replayed(log)

    assert report.state_hash == state_hash((0, key, value) for key, value in log.rows[0].items())


async def test_a_changed_field_in_a_verdict_is_found_and_shown() -> None:
    def flip(record: Record) -> Record:
        if record.topic == topics.VERDICTS and record.offset == 1:
            return with_value(record, record.value.replace(b'"answer":"allow"', b'"answer":"alloW"'))
        return record

    report = await replayed(await live_log(), flip)

    assert report.counts == {"different": 1}
    assert report.recorded_hash != report.replayed_hash
    assert "verdicts.v1" in render(report)
    assert 'data.answer: recorded "alloW", replayed "allow"' in render(report)
    assert "partition 0, offset 1" in render(report)


@pytest.mark.parametrize("topic", [topics.DECISIONS, topics.VERDICTS, topics.COMMANDS])
async def test_any_flipped_byte_is_found(topic: str) -> None:
    log = await live_log(subjects=1)
    length = len(log.fetch(topic, 0, 0, 1)[0].value)

    for place in range(length):

        def flip(record: Record, at: int = place) -> Record:
            flipped = bytes(byte ^ (1 if index == at else 0) for index, byte in enumerate(record.value))
            return with_value(record, flipped) if record.topic == topic else record

        assert not (await replayed(log, flip)).equal, f"byte {place} of the record on {topic}"


async def test_a_flipped_byte_that_breaks_the_json_is_found() -> None:
    def tear(record: Record) -> Record:
        return with_value(record, record.value[:-1]) if record.topic == topics.VERDICTS else record

    report = await replayed(await live_log(), tear)

    assert report.counts["unreadable"] == 3
    assert report.counts["missing"] == 3


async def test_a_changed_threshold_is_found() -> None:
    def loosen(record: Record) -> Record:
        return with_value(record, record.value.replace(STRICT.revision.encode(), LOOSE.revision.encode()))

    report = await replayed(await live_log(), lambda r: loosen(r) if r.topic == topics.EVENTS else r)

    assert report.counts == {"extra": 9}
    assert report.differences[0].topic == topics.DECISIONS
    assert "follows from nothing" in render(report)


async def test_the_first_difference_is_the_first_in_log_order() -> None:
    def flip(record: Record) -> Record:
        if record.topic == topics.COMMANDS or (record.topic == topics.VERDICTS and record.offset == 2):
            return with_value(record, record.value.replace(b"restart", b"REstart"))
        return record

    report = await replayed(await live_log(), flip)

    assert [found.topic for found in report.differences] == [topics.COMMANDS] * 2 + [topics.VERDICTS, topics.COMMANDS]
    assert report.differences[0].place == "partition 0, offset 0"


async def test_an_event_that_was_removed_and_left_a_hole_stops_the_replay() -> None:
    def remove(record: Record) -> Record | None:
        return None if record.topic == topics.EVENTS and record.offset == 2 else record

    with pytest.raises(ContinuityBroken, match="goes on at offset 3"):
        await replayed(await live_log(), remove)


async def test_an_event_that_was_removed_without_a_hole_is_found_by_what_followed_from_it() -> None:
    def remove(record: Record) -> Record | None:
        if record.topic != topics.EVENTS or record.offset < 2:
            return record
        return None if record.offset == 2 else msgspec.structs.replace(record, offset=record.offset - 1)

    report = await replayed(await live_log(), remove)

    assert report.counts == {"extra": 3}


async def test_a_command_that_was_removed_is_found() -> None:
    log = await live_log()
    kept = [record for record in log.read(topics.COMMANDS, 0) if record.offset != 1]

    def without(record: Record) -> Record | None:
        if record.topic != topics.COMMANDS:
            return record
        return with_value(record, kept[record.offset].value) if record.offset < len(kept) else None

    report = await replayed(log, without)

    assert report.counts == {"missing": 1}
    assert "the log does not hold it" in render(report)


async def test_copies_that_are_equal_are_counted_and_others_found() -> None:
    log = await live_log()
    command = log.fetch(topics.COMMANDS, 0, 0, 1)[0]
    log.append([Output(topics.COMMANDS, command.key, command.value, 0)])
    assert (await replayed(log)).copies == 1
    assert (await replayed(log)).equal

    log.append([Output(topics.COMMANDS, command.key, command.value.replace(b"dry_run", b"wet_run"), 0)])

    report = await replayed(log)
    assert report.counts == {"unequal_copies": 1}
    assert 'data.executor: recorded "dry_run", copied "wet_run"' in render(report)


async def test_a_ruling_that_failed_is_taken_from_the_record() -> None:
    def away(question: Question) -> Ruling:
        return Ruling.none("connection refused", "p1")

    report = await replayed(await live_log(away))

    assert report.equal
    assert report.pinned == 3


async def test_an_agent_that_took_too_long_is_taken_from_the_record() -> None:
    class Stalling:
        name, version, listens_to, reads, intents = "stalling", "1.0.0", ("service.measured",), (), ("restart_service",)
        stalls = True

        def decide(self, context: Context) -> list[Decision]:
            if self.stalls and context.subject.name == "web-1":
                raise AgentOverran("decide took longer than 0.25 s")
            return [context.propose("restart_service", because="always")]

    stalling = Stalling()
    tools = msgspec.structs.replace(builders.TOOLS, agents={"agent": lambda item: stalling})
    found = builders.control_set(builders.intent(), builders.item("agent", "stalling", "-"))
    controls = SingleControls(compile_controls(found, tools))
    log = await live_log(controls=controls)
    stalling.stalls = False

    report = await replay(log, controls, builders.ScriptedEngine())

    assert report.equal, render(report)
    assert report.pinned == 1
    assert [record.value.count(b"agent_overran") for record in log.read(topics.DEAD_LETTERS, 0)] == [1]


async def test_a_ruling_that_did_not_fail_is_asked_for_again() -> None:
    report = await replayed(await live_log(builders.deny))

    assert report.counts == {"different": 3, "missing": 2}
    assert report.not_processed == 1


async def test_what_the_live_loop_had_not_put_out_yet_is_no_difference() -> None:
    log = await live_log()
    log.append([builders.output(builders.event(data={"rss": 500.0}, subject="service/late"))])

    report = await replayed(log)

    assert report.equal
    assert report.not_processed == 3
    assert "not yet processed when the log was read: 3 messages" in render(report)


async def test_what_the_live_loop_is_known_to_have_committed_must_be_there() -> None:
    log = await live_log()
    log.append([builders.output(builders.event(data={"rss": 500.0}, subject="service/late"))])

    assert (await replayed(log, committed={0: 4})).equal
    assert (await replayed(log, committed={0: 5})).counts == {"missing": 3}


async def test_dead_letters_are_compared_and_those_of_others_left_alone() -> None:
    log = await live_log()
    log.append([Output(topics.EVENTS, b"key", b"no json", 0)])
    report = await replayed(log, committed={0: 5})
    assert report.counts == {"missing": 1}
    letter = report.differences[0].other
    assert letter is not None

    of_an_executor = letter.replace(b'"topic":"events.v1"', b'"topic":"commands.v1"').replace(b'"id":"', b'"id":"0')
    log.append([Output(topics.DEAD_LETTERS, b"key", value, 0) for value in (letter, of_an_executor)])

    assert (await replayed(log, committed={0: 5})).equal


async def test_a_log_whose_beginning_was_cut_is_refused() -> None:
    with pytest.raises(ContinuityBroken, match="cut or removed"):
        await replayed(await live_log(), lambda record: record if record.offset else None)
