"""The partitions that this process takes on Kafka: fenced, claimed, and each with a producer and a line of its own.

A partition is taken in this order: its producer shuts out the former owner's; a claim in `events.v1` and a first record
in the changelog make that known where it counts; the rows come back; the epoch is set above the last one.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from faust.types import TP

from control_plane.adapters.faust.kafka_fence import Fence, NewProducer
from control_plane.adapters.faust.kafka_line import KafkaLine
from control_plane.adapters.faust.kafka_rows import KafkaRows, ReadRange
from control_plane.adapters.faust.kafka_writer import KafkaOffsets, KafkaWriter, all_acknowledged, not_acknowledged
from control_plane.adapters.faust.own_rows import CLAIM_KEY, FENCE_KEY, Claim, encode_claim, epoch_headers, epoch_in
from control_plane.adapters.faust.owner_lane import Superseded
from control_plane.adapters.faust.row_store import PartitionRows
from control_plane.adapters.faust.topics import Names
from control_plane.messages.owner_event import claim_of, next_epoch, own_subject
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import Commit, Output

CLAIMS_AT_ONCE_MAX = 16
RENEW_EVERY_S = 3_600.0
"""Well under `transactional.id.expiration.ms`, which is a week by default: an id that is not asked for within it keeps
nobody out any more."""


class _Taking:
    """One partition while it is ours."""

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self.epoch = 0
        self.rows: KafkaRows | None = None
        self.line: KafkaLine | None = None


class KafkaLines:
    """Takes partitions, and makes their commit lines (parts.WriteLines)."""

    def __init__(
        self,
        *,
        new_producer: NewProducer,
        offsets: KafkaOffsets,
        names: Names,
        owner: str,
        read: ReadRange,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._new_producer = new_producer
        self._offsets = offsets
        self._names = names
        self._owner = owner
        self._read = read
        self._failed = failed
        self._takings: dict[int, _Taking] = {}
        self._former: list[Fence] = []
        self._renewing: asyncio.Task[None] | None = None

    async def fence(self, partitions: Collection[int]) -> None:
        """Shut the former owners of these partitions out."""
        for partition in partitions:
            former = self._takings.pop(partition, None)
            if former is not None:
                former.fence.let_go()
                self._former = [*(fence for fence in self._former if not fence.has_ended), former.fence]
        await _side_by_side([self._fence(partition) for partition in partitions])
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._renew_for_ever(), name="fences")

    async def claim(self, rows: Mapping[int, PartitionRows]) -> Mapping[int, int]:
        """Set the epochs of partitions whose rows are back."""
        await _side_by_side([self._claim(partition, stored) for partition, stored in rows.items()])
        return {partition: self._takings[partition].epoch for partition in rows}

    def line(
        self, partition: int, rows: PartitionRows, generation: int, committed: Callable[[Commit], None]
    ) -> KafkaLine:
        taking = self._takings[partition]
        assert taking.rows is not None, "a partition is claimed before anything is written"
        taking.line = KafkaLine(
            TP(self._names.on_log(EVENTS), partition),
            taking.rows,
            committed,
            writer=self._writer(taking),
            offsets=self._offsets,
            fence=taking.fence,
            generation=generation,
        )
        return taking.line

    async def close(self) -> None:
        """Let every partition go."""
        renewing, self._renewing = self._renewing, None
        if renewing is not None:
            renewing.cancel()
            await asyncio.wait([renewing])
        fences = [*self._former, *(taking.fence for taking in self._takings.values())]
        self._former, self._takings = [], {}
        await asyncio.gather(*(fence.close() for fence in fences))

    async def _fence(self, partition: int) -> None:
        taking = _Taking(Fence(f"{self._names.group('loop')}-{partition}", self._new_producer))
        self._takings[partition] = taking
        await taking.fence.raise_up()
        claim = claim_of(partition, self._owner, _now_ms())
        writer = self._writer(taking)
        await writer.append([Output(EVENTS, own_subject(partition).encode(), claim, partition)])
        # Not yet through KafkaRows: what stands before it is not known.
        await _acknowledged(writer.write_batch(self._names.changelog, partition, [(FENCE_KEY, b"")]))

    async def _claim(self, partition: int, stored: PartitionRows) -> None:
        taking = self._takings[partition]
        taking.epoch = next_epoch(epoch_in(stored.get(CLAIM_KEY)), _now_ms())
        taking.rows = KafkaRows(
            self._names.changelog,
            partition,
            stored,
            writer=self._writer(taking),
            epoch=taking.epoch,
            read=self._read,
        )
        claim = encode_claim(Claim(taking.epoch, self._owner))
        await _acknowledged(taking.rows.write([(CLAIM_KEY, claim)], heeds_word=True))

    def _writer(self, taking: _Taking) -> KafkaWriter:
        return KafkaWriter(lambda: taking.fence.producer, self._names, epoch_headers(taking.epoch))

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            for taking in list(self._takings.values()):
                if taking.line is not None:
                    taking.line.renew().add_done_callback(self._renewed)

    def _renewed(self, renewed: "asyncio.Future[None]") -> None:
        error = None if renewed.cancelled() else renewed.exception()
        if error is not None and not isinstance(error, Superseded):
            self._failed(error)


async def _side_by_side(steps: Collection[Coroutine[Any, Any, None]]) -> None:
    """So many at once; the first error is raised once all have ended."""
    places = asyncio.Semaphore(CLAIMS_AT_ONCE_MAX)

    async def one(step: Coroutine[Any, Any, None]) -> None:
        async with places:
            await step

    await all_acknowledged([one(step) for step in steps])


async def _acknowledged(writing: Coroutine[Any, Any, Any]) -> None:
    try:
        await writing
    except KafkaError as error:
        raise not_acknowledged(error) from error


def _now_ms() -> int:
    return round(time.time() * 1000)
