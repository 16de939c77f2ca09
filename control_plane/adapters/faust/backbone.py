"""The Backbone port on Faust, over Kafka or the embedded log; nothing above it may know which.

One Faust app per consumer group of this process: `loop` with the table of rows, the others with offsets only. What a
new owner shuts out, and when, is in `recovery.py` and `kafka_lines.py`.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from control_plane.adapters.faust.data_dir import DataDir
from control_plane.adapters.faust.embedded_side import EmbeddedSide
from control_plane.adapters.faust.followers import Followers
from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_side import KafkaSide
from control_plane.adapters.faust.library_logs import tame
from control_plane.adapters.faust.parts import Failed, GroupPart, OwnerPart
from control_plane.adapters.faust.pinned import TABLE, GroupApp, add_rows_table
from control_plane.adapters.faust.topic_settings import TopicFinding
from control_plane.adapters.faust.topics import APP_ID, Names
from control_plane.adapters.faust.words import WordLog, Words
from control_plane.errors import BackboneUnavailable, InvalidSettings
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import LOOP_GROUP, Commit, GroupReader, Output, Owner, Position, WentOn
from control_plane.settings import NO_SECURITY, KafkaSecurity

JOIN_TIMEOUT_S = 60.0
STANDBY = "standby"
"""Stands for a group where lag is told: of rows that other workers own."""

_log = logging.getLogger(__name__)


class LogSide(Protocol):
    """What differs between the two logs."""

    async def open(self) -> None:
        """Reach the log and create the topics that are missing."""

    async def close(self) -> None: ...

    def app(self, group: str) -> GroupApp:
        """An app for a consumer group, on this log's transport."""

    def prepare(self, part: OwnerPart | GroupPart) -> None:
        """Give a part its way to write."""

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]: ...

    @property
    def words(self) -> WordLog:
        """Once it is open."""


class FaustBackbone:
    """A log and this process's part in it (control_plane.ports.backbone.Backbone)."""

    def __init__(
        self,
        url: str,
        *,
        partitions: int = 4,
        data_dir: Path,
        app_id: str = APP_ID,
        durability: str = "flush",
        topic_prefix: str = "",
        standbys: int = 0,
        security: KafkaSecurity = NO_SECURITY,
    ) -> None:
        self.partitions = partitions
        # An embedded log is nobody else's, so its names need no prefix.
        address = KafkaAddress.parse(url, security) if url.startswith("kafka://") else None
        prefix = topic_prefix or address.prefix if address is not None else ""
        self._names = Names(prefix=prefix, app_id=app_id, partitions=partitions)
        self._data_dir = DataDir(Path(data_dir))
        self._side = _side(address or url, self._names, self._data_dir, durability, standbys, self._fail)
        self._owner: Owner | None = None
        self._readers: dict[str, tuple[tuple[str, ...], GroupReader, int]] = {}
        self._owner_part: OwnerPart | None = None
        self._apps: list[GroupApp] = []
        self._broken: asyncio.Future[Any] | None = None
        self._giving_up: asyncio.Task[None] | None = None
        self._followers: Followers | None = None
        self._words: Words | None = None

    def own_events(self, owner: Owner) -> None:
        """Take part in the loop group: before `start`."""
        assert self._broken is None, "groups are joined before the start"
        self._owner = owner

    def join(self, group: str, topics: Sequence[str], reader: GroupReader, *, gather_ms: int = 0) -> None:
        """Take part in another consumer group: before `start`."""
        assert self._broken is None, "groups are joined before the start"
        if group == LOOP_GROUP or group in self._readers:
            raise InvalidSettings(f"group {group!r} was already joined. Nothing was changed. Choose another name.")
        for topic in topics:
            self._names.partitions_of(topic)
        self._readers[group] = (tuple(topics), reader, gather_ms)

    async def start(self) -> None:
        """Open, create the topics that are missing, join the groups."""
        assert self._broken is None, "a backbone is started once at a time"
        tame()
        self._broken = asyncio.get_running_loop().create_future()
        try:
            await self._open()
        except BaseException:
            await self.stop()
            raise

    def lag(self) -> Mapping[tuple[str, str, int], int]:
        """Records that each group has yet to commit, and rows that are yet to come to where they are kept warm."""
        lag = dict(self._followers.lag()) if self._followers is not None else {}
        if self._owner_part is not None and self._owner_part.standby is not None:
            warm = self._owner_part.standby.lag()
            lag |= {(STANDBY, TABLE, partition): records for partition, records in warm.items()}
        return lag

    def stands_by(self) -> bool:
        """Whether others own every partition of the loop: this process takes over when one of them leaves."""
        app = self._owner_part.app if self._owner_part is not None else None
        return app is not None and app.consumer.stands_by()

    def topic_findings(self) -> Sequence[TopicFinding]:
        """What is unusual about the settings of Kafka's topics, as they were when they were last looked at."""
        return self._side.topics.findings if isinstance(self._side, KafkaSide) else ()

    def stopped(self) -> Mapping[tuple[str, str, int], str]:
        """Partitions of this process that wait for a person's word, and why."""
        return self._words.stopped() if self._words is not None else {}

    async def go_on(self, partition: int, from_offset: int | None = None) -> WentOn:
        """Let a partition that is stopped go on, in whichever process it is."""
        if self._words is None:
            raise BackboneUnavailable("the log is not open. Nothing was changed. Try again once it is.")
        return await self._words.say(partition, from_offset)

    async def stop(self) -> None:
        """Leave the groups after what was taken is committed, and close."""
        followers, self._followers = self._followers, None
        if followers is not None:
            await followers.stop()
        words, self._words = self._words, None
        if words is not None:
            await words.stop()
        apps, self._apps = self._apps, []
        async with AsyncExitStack() as closing:  # Whatever fails to close, the rest is closed.
            closing.callback(self._data_dir.release)
            closing.push_async_callback(self._side.close)
            for app in apps:
                closing.push_async_callback(app.stop)
            if self._giving_up is not None:
                await self._giving_up
            await asyncio.gather(*(app.part.end() for app in apps))
            await asyncio.gather(*(app.part.close() for app in apps))
        self._owner_part = self._broken = self._giving_up = None

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """Append records; returns once they are durable."""
        return await self._side.append(outputs)

    async def commit(self, partition: int, commit: Commit) -> None:
        """Write a commit behind those that are on their way in its partition."""
        lane = self._owner_part.lane(partition) if self._owner_part else None
        if lane is None:
            raise BackboneUnavailable(
                f"partition {partition} is not owned by this process. Nothing was written. Its owner "
                "takes the batch again."
            )
        await lane.submit(commit)

    async def watch(self) -> None:
        """Raises what made this process give its partitions up; waits for it as long as all is well."""
        assert self._broken is not None, "a backbone is watched while it is started"
        raise await asyncio.shield(self._broken)

    async def _open(self) -> None:
        self._data_dir.make()
        if self._owner is not None:
            self._data_dir.claim()
        await self._side.open()
        if self._owner is not None:
            self._add_owner(self._owner)
        for group, (topics, reader, gather_ms) in self._readers.items():
            self._add(group, topics, GroupPart(reader, names=self._names, failed=self._fail, gather_ms=gather_ms))
        await self._join_all()
        apps = dict(zip(self._groups(), self._apps, strict=True))
        self._followers = Followers(apps, self._names, self._fail)
        self._words = Words(self._side.words, apps, self._names)

    def _groups(self) -> list[str]:
        """In the order of their apps."""
        return [*([LOOP_GROUP] if self._owner is not None else []), *self._readers]

    def _add_owner(self, owner: Owner) -> None:
        self._owner_part = OwnerPart(owner, names=self._names, failed=self._fail)
        app = self._add(LOOP_GROUP, (EVENTS,), self._owner_part)
        add_rows_table(app, self._names)

    def _add(self, group: str, topics: Sequence[str], part: OwnerPart | GroupPart) -> GroupApp:
        app = self._side.app(group)
        app.part, part.app, app.gave_up = part, app, self._fail
        self._side.prepare(part)
        for topic in topics:
            app.topics.add(app.topic(self._names.on_log(topic), key_type=bytes, value_type=bytes))
        self._apps.append(app)
        return app

    async def _join_all(self) -> None:
        assert self._broken is not None
        joining: asyncio.Future[Any] = asyncio.gather(*(app.start() for app in self._apps))
        done, _ = await asyncio.wait(
            {joining, self._broken}, timeout=JOIN_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        if joining not in done:
            joining.cancel()
            await asyncio.wait([joining])
        if self._broken.done():
            raise self._broken.result()
        if not done:
            raise BackboneUnavailable(
                f"the consumer groups were not joined within {JOIN_TIMEOUT_S:g} s. This process owns nothing. Check "
                "the brokers, and that no other worker has this one's data directory."
            )
        joining.result()

    def _fail(self, error: BaseException) -> None:
        """The process must stop owning: nothing may be taken after what could not be written."""
        if self._broken is None or self._broken.done() or isinstance(error, asyncio.CancelledError):
            return
        _log.error("this process gives its partitions up", exc_info=error)
        self._broken.set_result(error)
        self._giving_up = asyncio.create_task(self._give_up())

    async def _give_up(self) -> None:
        await asyncio.gather(*(app.part.end() for app in self._apps))


def _side(
    at: KafkaAddress | str, names: Names, data_dir: DataDir, durability: str, standbys: int, failed: Failed
) -> LogSide:
    if isinstance(at, KafkaAddress):
        return KafkaSide(
            at, names=names, data_dir=data_dir.tables, member=data_dir.member, standbys=standbys, failed=failed
        )
    if not at.startswith("embedded://"):
        raise InvalidSettings(
            f"backbone {at!r} cannot be used. Nothing was started. Write embedded://PATH or kafka://host:port."
        )
    return EmbeddedSide(at, names=names, data_dir=data_dir.tables, durability=durability, failed=failed)
