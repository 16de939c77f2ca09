"""What is the embedded log's own in the backbone: opening, topics, transport, upkeep, and how commits are written."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from yarl import URL

from control_plane.adapters.embedded_log import EmbeddedLog
from control_plane.adapters.faust import log_registry
from control_plane.adapters.faust.embedded_lines import EmbeddedLines
from control_plane.adapters.faust.embedded_transport import EmbeddedTransport
from control_plane.adapters.faust.embedded_words import EmbeddedWords
from control_plane.adapters.faust.embedded_writer import EmbeddedOffsets, EmbeddedWriter
from control_plane.adapters.faust.parts import Failed, GroupPart, OwnerPart
from control_plane.adapters.faust.pinned import GroupApp, new_app
from control_plane.adapters.faust.topics import Names, other_partition_count
from control_plane.errors import InvalidSettings, SetpointError, StorageFull
from control_plane.ports.backbone import Output, Position

MEMBER = "only"
UPKEEP_EVERY_S = 10.0
UPKEEP_PAUSE_S = 0.02
"""Between two rounds of upkeep that follow one another, so that records pass between them."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedAddress:
    """`embedded://PATH?atomic=false`; a relative path is taken from where the process runs."""

    path: Path
    atomic: bool

    @classmethod
    def parse(cls, url: str) -> "EmbeddedAddress":
        path, _, query = url.removeprefix("embedded://").partition("?")
        atomic = parse_qs(query).get("atomic", ["true"])[0]
        if not path or atomic not in ("true", "false"):
            raise InvalidSettings(
                f"backbone {url!r} cannot be read. Nothing was started. Write embedded://PATH or embedded://PATH?atomic=false."
            )
        return cls(path=Path(path), atomic=atomic == "true")


class EmbeddedSide:
    """Opened with the backbone, closed with it."""

    def __init__(self, url: str, *, names: Names, data_dir: Path, durability: str, failed: Failed) -> None:
        self._address = EmbeddedAddress.parse(url)
        self._names = names
        self._data_dir = data_dir
        self._durability = durability
        self._failed = failed
        self._groups: list[str] = []
        self._log: EmbeddedLog | None = None
        self._upkeep: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._log = log_registry.acquire(self._address.path, self._durability)
        self._create_missing(self._log)
        self.words = EmbeddedWords(self._log, self._names)
        self._upkeep = asyncio.create_task(self._keep_up(self._log))

    async def close(self) -> None:
        upkeep, self._upkeep = self._upkeep, None
        if upkeep is not None:
            upkeep.cancel()
            await asyncio.wait([upkeep])
        log, self._log = self._log, None
        groups, self._groups = self._groups, []
        if log is not None:
            for group in groups:
                log_registry.leave(log, group)
            log_registry.release(log)

    def app(self, group: str) -> GroupApp:
        name = self._names.group(group)
        log_registry.join(self._ready(), name)
        self._groups.append(name)
        url = f"embedded://{self._address.path.resolve()}"
        app = new_app(name, broker=url, names=self._names, data_dir=self._data_dir, member=MEMBER)
        app.transport = app.producer_transport = EmbeddedTransport([URL(url)], app, log=self._ready())
        return app

    def prepare(self, part: OwnerPart | GroupPart) -> None:
        """Give a part its way to write."""
        if isinstance(part, GroupPart):
            part.offsets = EmbeddedOffsets(self._ready(), part.app.conf.id)
        else:
            part.lines = EmbeddedLines(
                EmbeddedWriter(self._ready(), self._names),
                names=self._names,
                group=part.app.conf.id,
                atomic=self._address.atomic,
            )

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        return await EmbeddedWriter(self._ready(), self._names).append(outputs)

    async def _keep_up(self, log: EmbeddedLog) -> None:
        """Retention and compaction, a bounded round at a time."""
        while True:
            await asyncio.sleep(UPKEEP_EVERY_S)
            try:
                more = True
                while more:
                    more = log.maintain().more
                    await asyncio.sleep(UPKEEP_PAUSE_S)
            except StorageFull as error:
                _log.warning("no room for upkeep of the log: tried again later", extra={"why": str(error)})
            except SetpointError as error:
                self._failed(error)
                return

    def _ready(self) -> EmbeddedLog:
        assert self._log is not None, "the backbone is started before anything is written"
        return self._log

    def _create_missing(self, log: EmbeddedLog) -> None:
        found = log.topics()
        for topic in self._names.plan():
            known = found.get(topic.name)
            if known is not None and known.partitions != topic.partitions:
                raise other_partition_count(topic.name, found=known.partitions, wanted=topic.partitions)
            log.create_topic(topic.name, partitions=topic.partitions, compacted=topic.compacted)
