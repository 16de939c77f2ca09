"""The changelog and the control topics keep the newest record of each key, and rows survive it."""

import shutil

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from control_plane.adapters.embedded_log import EmbeddedLog
from control_plane.adapters.faust import log_registry
from control_plane.messages.topics import EVENTS, POLICIES
from control_plane.ports.backbone import Output
from tests.contract.backbone.owners import CountingOwner
from tests.contract.backbone.world import PARTITIONS, World, events

CHANGELOG = "app-loop-rows-changelog"


async def test_topics_are_kept_as_they_should_be(world: World) -> None:
    """Everything for ever but superseded rows and controls; the log's clock is the append time."""
    async with world.running(CountingOwner()):
        policies = await kept(world, POLICIES)
        changelog = await kept(world, CHANGELOG)
        events_ = await kept(world, EVENTS)

    assert (policies, changelog, events_) == ("compacted", "compacted", "for ever")


async def test_rows_survive_the_compaction_of_their_changelog(world: World) -> None:
    if world.is_kafka:
        return  # Kafka's cleaner runs when it likes; that it may run is in the test above.
    owner = CountingOwner()
    async with world.running(owner) as backbone:
        for round_ in range(20):
            await backbone.append(events(100, first=100 * round_))
            await owner.until(lambda upto=100 * (round_ + 1): sum(owner.counts().values()) == upto)
        records_before = sum(len(list_) for list_ in changelog_of(world))
        compact(world)
        records_after = sum(len(list_) for list_ in changelog_of(world))
    shutil.rmtree(world.path / "one" / "tables")

    again = CountingOwner()
    async with world.running(again):
        await again.until(lambda: len(again.starts) == PARTITIONS)
        assert again.counts() == {b"k%d" % k: 400 for k in range(5)}
    assert records_after < records_before


async def test_the_newest_control_of_each_name_survives(world: World) -> None:
    if world.is_kafka:
        return  # As above.
    async with world.running() as backbone:
        for revision in range(50):
            await backbone.append([Output(POLICIES, b"rego/%d" % (n % 2), b"text %d" % revision) for n in range(10)])
        compact(world)
        found = await world.read(POLICIES)

    assert {record.key: record.value for record in found} == {b"rego/0": b"text 49", b"rego/1": b"text 49"}
    assert len(found) < 500


def compact(world: World) -> None:
    with opened(world) as log:
        while log.maintain(dirty_records_min=1).more:
            pass


def changelog_of(world: World) -> list[list[object]]:
    with opened(world) as log:
        return [
            log.read(CHANGELOG, partition, 0, max_records=100_000, max_bytes=1 << 30) for partition in range(PARTITIONS)
        ]


class opened:  # noqa: N801 - reads as what it is
    """The log that the running backbone has open."""

    def __init__(self, world: World) -> None:
        self._path = world.path / "log"

    def __enter__(self) -> EmbeddedLog:
        self._log = log_registry.acquire(self._path, "flush")
        return self._log

    def __exit__(self, *raised: object) -> None:
        log_registry.release(self._log)


async def kept(world: World, topic: str) -> str:
    if not world.is_kafka:
        with opened(world) as log:
            config = log.topics()[topic]
        assert (config.retention_ms, config.retention_bytes) == (None, None)
        return "compacted" if config.compacted else "for ever"
    admin = AIOKafkaAdminClient(bootstrap_servers=world.url.removeprefix("kafka://"))
    await admin.start()
    try:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, world.prefix + topic)])
    finally:
        await admin.close()
    configs = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert configs["message.timestamp.type"] == "LogAppendTime"
    assert (configs["retention.ms"], configs["retention.bytes"]) == ("-1", "-1")
    return {"compact": "compacted", "delete": "for ever"}[configs["cleanup.policy"]]
