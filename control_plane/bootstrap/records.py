"""The log as somebody reads it who takes no part in it: opened, and run through the same versions once more."""

from collections.abc import Mapping, Sequence

from control_plane.adapters.faust import KafkaMarks, TopicFinding, open_log_reader, open_log_tail
from control_plane.adapters.faust import topic_findings as found_on
from control_plane.adapters.faust.partitioner import partition_of
from control_plane.adapters.regorus import RegorusEngine
from control_plane.bootstrap.workshop import compile_tools
from control_plane.messages import topics
from control_plane.partition import Home
from control_plane.ports.backbone import LOOP_GROUP
from control_plane.ports.log_reader import LogReader, LogTail
from control_plane.replay import Instant, Report
from control_plane.replay import instant as instant_of
from control_plane.replay import replay as replay_log
from control_plane.settings import Settings
from control_plane.workspace.control_log import ControlLog


def open_reader(settings: Settings) -> LogReader:
    """The log, to be read without taking part in it."""
    return open_log_reader(settings.backbone, security=settings.kafka)


def open_tail(settings: Settings, starts: Mapping[str, int]) -> LogTail:
    """Topics of one partition, followed as they grow. Only for a log that other processes write to."""
    return open_log_tail(settings.backbone, starts, security=settings.kafka)


def open_marks(settings: Settings) -> KafkaMarks:
    """What the owners of the loop's partitions have committed. Only for a log that other processes write to."""
    return KafkaMarks(settings.backbone, partitions=settings.partitions, security=settings.kafka)


def topic_findings(settings: Settings) -> Sequence[TopicFinding]:
    """What is wrong with the topics of the settings' log (`refused`) or unusual about them, each with its cure; nothing
    on an embedded log. Blocking, for `setpoint doctor`. Raises BackboneUnavailable, InvalidSettings."""
    return found_on(settings.backbone, partitions=settings.partitions, security=settings.kafka)


def home_on(partitions: int) -> Home:
    """Where subjects are at home on a log with so many partitions."""
    return lambda subject: partition_of(subject.encode(), partitions)


async def replay(reader: LogReader) -> Report:
    """Run the log through the same versions once more and compare. Raises ContinuityBroken, DataDamaged."""
    # Before anything else is read: whatever the loop had said by then must be there.
    partitions = reader.partitions(topics.EVENTS)
    committed = {
        partition: offset
        for partition in range(partitions)
        if (offset := reader.committed_offset(LOOP_GROUP, topics.EVENTS, partition)) is not None
    }
    controls = ControlLog.from_reader(reader, compile_tools(limited=False))
    return await replay_log(reader, controls, RegorusEngine(), committed=committed, home=home_on(partitions))


async def instant(reader: LogReader, event_id: str, agent: str) -> Instant | None:
    """What an agent made of one event. Raises ContinuityBroken, DataDamaged."""
    controls = ControlLog.from_reader(reader, compile_tools(limited=False))
    return await instant_of(reader, controls, RegorusEngine(), event_id=event_id, agent=agent)
