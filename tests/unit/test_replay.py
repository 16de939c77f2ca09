"""Replaying a log says the same bytes again; whatever was changed on it is found and shown."""

from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from control_plane.adapters.faust import open_log_reader
from control_plane.adapters.memory import MemoryBackbone, MemoryLog, VirtualClock
from control_plane.bootstrap.records import replay as replay_as_the_command_does
from control_plane.catalogue import Controls
from control_plane.errors import ContinuityBroken, DataDamaged
from control_plane.messages import Context, Decision, Question, Ruling, Verdict, topics
from control_plane.messages.wire import decode
from control_plane.partition import Partitions
from control_plane.ports.agent import AgentOverran
from control_plane.ports.backbone import Output, Position, Record
from control_plane.ports.controls_source import ControlsSource
from control_plane.ports.log_reader import LogReader
from control_plane.replay import Report, render, replay, state_hash
from control_plane.workspace.compiling import compile_controls
from control_plane.workspace.control_log import ControlLog, outputs_to_publish
from tests import builders
from tests.tampering import (
    Change,
    ChangedLog,
    carelessly_forged,
    flip_on_disk,
    flipped,
    forged,
    with_hole,
    without,
    written_anew,
)

STRICT = builders.control_set(builders.intent(), builders.row(), builders.rule())
LOOSE = builders.control_set(builders.intent(), builders.row(), builders.rule(when="data.rss > 600.0"))
CONTROLS = builders.ControlsAt(STRICT, LOOSE)


class SingleControls:
    """One set of controls, under every revision."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def at(self, revision: str) -> Controls:
        return self._controls


async def live_log(
    answer: builders.Answering = builders.allow, *, subjects: int = 3, controls: ControlsSource = CONTROLS
) -> MemoryLog:
    """A log on which each subject was restarted once; offset 0 adopts controls, then one event per subject. Its control
    topics hold `STRICT`."""
    clock = VirtualClock()
    log = MemoryLog(clock.now_ms)
    backbone = MemoryBackbone(log)
    backbone.own_events(Partitions(engine=builders.ScriptedEngine(answer), controls=controls))
    await backbone.start()
    await backbone.append(outputs_to_publish(STRICT, ControlLog(builders.TOOLS)))
    await backbone.append([builders.output(builders.adopted(STRICT.revision), 0)])
    for number in range(subjects):
        clock.advance(100)
        found = builders.event(data={"rss": 500.0}, subject=f"service/web-{number}", at_ms=clock.now_ms())
        await backbone.append([builders.output(found)])
    await backbone.stop()
    return log


async def replayed(log: LogReader, change: Change | None = None, **options: object) -> Report:
    reader = ChangedLog(log, change) if change else log
    return await replay(reader, CONTROLS, builders.ScriptedEngine(), **options)  # type: ignore[arg-type]


async def replayed_by_its_own_controls(log: LogReader, change: Change) -> Report:
    """As `setpoint replay` does it: under what the control topics hold."""
    reader = ChangedLog(log, change)
    return await replay(reader, ControlLog.from_reader(reader, builders.TOOLS), builders.ScriptedEngine())


async def test_an_untouched_log_is_equal_to_its_replay() -> None:
    report = await replayed(await live_log())

    assert report.equal
    assert report.recorded_hash == report.replayed_hash
    assert (report.records, report.recorded, report.replayed) == (5, 9, 9)


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
            return replace(record, value=record.value.replace(b'"answer":"allow"', b'"answer":"alloW"'))
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

    for at in range(length):
        report = await replayed(log, flipped(Position(topic, 0, 0), at))

        assert not report.equal, f"byte {at} of the record on {topic}"


async def test_a_flipped_byte_that_breaks_the_json_is_found() -> None:
    def tear(record: Record) -> Record:
        return replace(record, value=record.value[:-1]) if record.topic == topics.VERDICTS else record

    report = await replayed(await live_log(), tear)

    assert report.counts["unreadable"] == 3
    assert report.counts["missing"] == 3


async def test_a_threshold_that_was_changed_with_all_digests_is_found_by_what_no_longer_follows() -> None:
    report = await replayed_by_its_own_controls(await live_log(), forged(STRICT, LOOSE))

    assert report.counts == {"extra": 9}
    assert report.differences[0].topic == topics.DECISIONS
    assert "follows from nothing" in render(report)


async def test_a_threshold_that_was_changed_without_its_digest_is_refused() -> None:
    forgery = carelessly_forged(topics.AGENTS, "> 400.0", "> 600.0")

    with pytest.raises(DataDamaged, match="is not what was published"):
        await replayed_by_its_own_controls(await live_log(), forgery)


async def test_the_first_difference_is_the_first_in_log_order() -> None:
    def flip(record: Record) -> Record:
        if record.topic == topics.COMMANDS or (record.topic == topics.VERDICTS and record.offset == 2):
            return replace(record, value=record.value.replace(b"restart", b"REstart"))
        return record

    report = await replayed(await live_log(), flip)

    assert [found.topic for found in report.differences] == [topics.COMMANDS] * 2 + [topics.VERDICTS, topics.COMMANDS]
    assert report.differences[0].place == "partition 0, offset 0"


async def test_an_event_that_was_removed_and_left_a_hole_stops_the_replay() -> None:
    with pytest.raises(ContinuityBroken, match="goes on at offset 3"):
        await replayed(await live_log(), with_hole(Position(topics.EVENTS, 0, 2)))


async def test_an_event_that_was_removed_without_a_hole_is_found_by_what_followed_from_it() -> None:
    report = await replayed(await live_log(), without(Position(topics.EVENTS, 0, 2)))

    assert report.counts == {"extra": 3}


async def test_a_log_that_was_written_anew_says_the_same_until_a_byte_on_its_disk_is_another(tmp_path: Path) -> None:
    log = await live_log()
    ids = [decode(record.value, Verdict).lineage.message_id for record in log.read(topics.VERDICTS, 0)]
    copy = written_anew(log, tmp_path / "copy")
    with closing(open_log_reader(f"embedded://{copy}")) as reader:
        assert await replayed(reader) == await replayed(log)

    flip_on_disk(copy, [message_id.encode() for message_id in ids])

    with pytest.raises(DataDamaged), closing(open_log_reader(f"embedded://{copy}")) as reader:
        await replayed(reader)


async def test_a_command_that_was_removed_is_found() -> None:
    report = await replayed(await live_log(), without(Position(topics.COMMANDS, 0, 1)))

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
    tools = replace(builders.TOOLS, agents={"agent": lambda item: stalling})
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

    assert (await replayed(log, committed={0: 5})).equal
    assert (await replayed(log, committed={0: 6})).counts == {"missing": 3}


async def test_dead_letters_are_compared_and_those_of_others_left_alone() -> None:
    log = await live_log()
    log.append([Output(topics.EVENTS, b"key", b"no json", 0)])
    report = await replayed(log, committed={0: 6})
    assert report.counts == {"missing": 1}
    letter = report.differences[0].other
    assert letter is not None

    of_an_executor = letter.replace(b'"topic":"events.v1"', b'"topic":"commands.v1"').replace(b'"id":"', b'"id":"0')
    log.append([Output(topics.DEAD_LETTERS, b"key", value, 0) for value in (letter, of_an_executor)])

    assert (await replayed(log, committed={0: 5})).equal


async def test_a_log_whose_beginning_was_cut_is_refused() -> None:
    with pytest.raises(ContinuityBroken, match="cut or removed"):
        await replayed(await live_log(), lambda record: record if record.offset else None)


async def test_setpoint_replay_asks_the_log_what_the_loop_had_committed() -> None:
    log = await live_log()
    end = log.bounds(topics.VERDICTS, 0)[1] - 1

    untouched = await replay_as_the_command_does(log)
    cut = await replay_as_the_command_does(ChangedLog(log, without(Position(topics.VERDICTS, 0, end))))

    assert (untouched.not_processed, cut.not_processed) == (0, 0)
    assert untouched.counts.get("missing", 0) == 0
    assert cut.counts["missing"] == 1
