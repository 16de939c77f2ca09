"""Topics on a real Kafka: made as they must be, looked at when they are there already, and while a process runs."""

import asyncio
from pathlib import Path

import pytest

from control_plane.adapters.faust import FaustBackbone, topic_findings
from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.topic_settings import settings_for
from control_plane.adapters.faust.topic_watch import TopicWatch
from control_plane.adapters.faust.topics import APP_ID, Names, TopicPlan
from control_plane.errors import BackboneUnavailable, InvalidSettings
from tests.workers.brokers import set_topic

pytestmark = pytest.mark.kafka

PARTITIONS = 2


def planned(prefix: str, topic: str) -> TopicPlan:
    names = Names(prefix=prefix, app_id=APP_ID, partitions=PARTITIONS)
    return next(one for one in names.plan() if one.name == names.on_log(topic))


async def started(url: str, path: Path) -> FaustBackbone:
    backbone = FaustBackbone(url, partitions=PARTITIONS, data_dir=path)
    await backbone.start()
    return backbone


async def test_topics_that_we_made_are_as_they_must_be(kafka_url: str, tmp_path: Path) -> None:
    backbone = await started(kafka_url, tmp_path)
    try:
        assert backbone.topic_findings() == ()
    finally:
        await backbone.stop()

    assert await asyncio.to_thread(topic_findings, kafka_url, partitions=PARTITIONS) == ()


async def test_a_topic_that_makes_the_loop_wrong_stops_the_start_until_it_is_mended(
    kafka_url: str, kafka_address: str, prefix: str, tmp_path: Path
) -> None:
    await (await started(kafka_url, tmp_path)).stop()
    events = planned(prefix, "events.v1")
    await set_topic(kafka_address, events.name, {**settings_for(events, 1), "message.timestamp.type": "CreateTime"})

    with pytest.raises(InvalidSettings) as refused:
        await started(kafka_url, tmp_path)

    assert f"topic {events.name} has message.timestamp.type=CreateTime" in str(refused.value)
    assert f"--entity-name {events.name} --add-config message.timestamp.type=LogAppendTime" in str(refused.value)
    [finding] = await asyncio.to_thread(topic_findings, kafka_url, partitions=PARTITIONS)
    assert finding.refused

    await set_topic(kafka_address, events.name, settings_for(events, 1))
    await (await started(kafka_url, tmp_path)).stop()


async def test_what_is_merely_unusual_is_shown_and_does_not_stop_a_start(
    kafka_url: str, kafka_address: str, prefix: str, tmp_path: Path
) -> None:
    await (await started(kafka_url, tmp_path)).stop()
    events = planned(prefix, "events.v1")
    await set_topic(kafka_address, events.name, {**settings_for(events, 1), "retention.ms": "604800000"})

    backbone = await started(kafka_url, tmp_path)
    try:
        [finding] = backbone.topic_findings()
        assert (finding.topic, finding.setting, finding.refused) == (events.name, "retention.ms", False)
    finally:
        await backbone.stop()


async def test_settings_that_somebody_changes_under_a_running_process_are_noticed(
    kafka_url: str, kafka_address: str, prefix: str
) -> None:
    failures: asyncio.Queue[BaseException] = asyncio.Queue()
    plan = Names(prefix=prefix, app_id=APP_ID, partitions=PARTITIONS).plan()
    watch = TopicWatch(KafkaAddress.parse(kafka_url), plan, failures.put_nowait, interval_s=0.05)
    await watch.open()
    try:
        rows = planned(prefix, "decisions.v1")
        await set_topic(kafka_address, rows.name, {**settings_for(rows, 1), "cleanup.policy": "compact"})
        failure = await asyncio.wait_for(failures.get(), 20)
    finally:
        await watch.close()

    assert isinstance(failure, InvalidSettings)
    assert f"topic {rows.name} has cleanup.policy=compact" in str(failure)


async def test_a_kafka_that_is_away_is_told_to_who_looks(tmp_path: Path) -> None:
    with pytest.raises(BackboneUnavailable, match="make services"):
        await asyncio.to_thread(topic_findings, "kafka://127.0.0.1:1", partitions=PARTITIONS)
