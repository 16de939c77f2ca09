"""The partitions that this process takes on the embedded log: claimed, and each with a line of its own.

The log's file lock is the fence; claim and epoch are as on Kafka, so that nothing above needs to know.
"""

import time
from collections.abc import Callable, Collection, Mapping

from faust.types import TP

from control_plane.adapters.embedded_log import Append
from control_plane.adapters.faust.embedded_writer import EmbeddedLine, EmbeddedWriter
from control_plane.adapters.faust.own_rows import CLAIM_KEY, FENCE_KEY, Claim, encode_claim, epoch_in
from control_plane.adapters.faust.row_store import PartitionRows
from control_plane.adapters.faust.topics import Names
from control_plane.messages.owner_event import claim_of, next_epoch, own_subject
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import Commit

OWNER = "only"
"""Who claims: an embedded log has one process."""


class EmbeddedLines:
    """Takes partitions, and makes their commit lines (parts.WriteLines)."""

    def __init__(self, writer: EmbeddedWriter, *, names: Names, group: str, atomic: bool) -> None:
        self._writer = writer
        self._names = names
        self._group = group
        self._atomic = atomic
        self._epochs: dict[int, int] = {}

    async def fence(self, partitions: Collection[int]) -> None:
        now_ms = _now_ms()
        claims = [
            Append(EVENTS, partition, own_subject(partition).encode(), claim_of(partition, OWNER, now_ms))
            for partition in partitions
        ]
        firsts = [Append(self._names.changelog, partition, FENCE_KEY, b"") for partition in partitions]
        self._writer.log.write([*claims, *firsts])

    async def claim(self, rows: Mapping[int, PartitionRows]) -> Mapping[int, int]:
        for partition, stored in rows.items():
            epoch = self._epochs[partition] = next_epoch(epoch_in(stored.get(CLAIM_KEY)), _now_ms())
            claim = [(CLAIM_KEY, encode_claim(Claim(epoch, OWNER)))]
            [position] = self._writer.log.write(self._writer.rows(claim, partition))
            stored.write(claim, position.offset)
        await self._writer.log.durable()
        return self._epochs

    def line(
        self, partition: int, rows: PartitionRows, generation: int, committed: Callable[[Commit], None]
    ) -> EmbeddedLine:
        return EmbeddedLine(
            TP(EVENTS, partition),
            rows,
            committed,
            writer=self._writer,
            group=self._group,
            atomic=self._atomic,
            epoch=self._epochs[partition],
            generation=generation,
        )

    async def close(self) -> None:
        """The lock goes with the log."""


def _now_ms() -> int:
    return round(time.time() * 1000)
