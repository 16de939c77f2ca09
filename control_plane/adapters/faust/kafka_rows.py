"""The rows of one partition on their way into its changelog on Kafka, and from there into the store.

Whoever owns the partition writes there alone. A hole between two of its writes is somebody else's: a newer owner's,
then this one stops; an older one's, then its rows are written again as they stand here.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence

from control_plane.adapters.faust.fault_points import fault_point
from control_plane.adapters.faust.kafka_writer import KafkaWriter
from control_plane.adapters.faust.own_rows import FENCE_KEY, WORD_KEY, epoch_of
from control_plane.adapters.faust.row_store import PartitionRows
from control_plane.errors import BackboneUnavailable, ContinuityBroken, OwnerFenced
from control_plane.ports.backbone import Record

MENDINGS_MAX = 3
"""How often in a row the same hole may open again; an older owner that is not shut out does not stop by itself."""

Rows = Sequence[tuple[bytes, bytes]]
ReadRange = Callable[[str, int, int, int], AsyncIterator[Record]]
"""Records of a topic's partition, from an offset on and before another."""

_log = logging.getLogger(__name__)


class KafkaRows:
    """Written one batch after the other. `written_again` counts rows that somebody else had overwritten."""

    def __init__(
        self, changelog: str, partition: int, stored: PartitionRows, *, writer: KafkaWriter, epoch: int, read: ReadRange
    ) -> None:
        self.written_again = 0
        self._changelog = changelog
        self._partition = partition
        self._stored = stored
        self._writer = writer
        self._epoch = epoch
        self._read = read

    async def write(self, rows: Rows, *, heeds_word: bool = False) -> None:
        """Rows into the changelog, then into the store. `heeds_word` lets a person's word stand that came meanwhile.

        Raises OwnerFenced, ContinuityBroken, BackboneUnavailable and KafkaError."""
        expected = (self._stored.changelog_offset() or 0) + 1
        first, last = await self._writer.write_batch(self._changelog, self._partition, rows)
        fault_point("rows.after")
        words: Rows = ()
        if first != expected or last - first != len(rows) - 1:
            words, last = await self._mend(rows, expected, last, heeds_word)
        self._stored.write([*rows, *words], last)
        fault_point("store.after")

    async def shut_out_others(self) -> None:
        """One record, from which on the changelog refuses the producers of former owners."""
        await self.write([(FENCE_KEY, b"")])

    async def _mend(self, rows: Rows, expected: int, last: int, heeds_word: bool) -> tuple[Rows, int]:
        """Write again what others have overwritten; gives what they may have said, and the last offset then."""
        words: dict[bytes, bytes] = {}
        for _ in range(MENDINGS_MAX):
            keys = await self._others(expected, last, words if heeds_word else None)
            if not keys:
                return tuple(words.items()), last
            newest = dict(rows)
            again = [(key, newest[key] if key in newest else self._stored.get(key) or b"") for key in keys]
            _log.warning(
                "an older owner wrote rows: they are written again as they are",
                extra={"changelog": self._changelog, "partition": self._partition, "rows": len(again)},
            )
            self.written_again += len(again)
            expected = last + 1
            first, last = await self._writer.write_batch(self._changelog, self._partition, again)
            if first == expected and last - first == len(again) - 1:
                return tuple(words.items()), last
        raise ContinuityBroken(
            f"{self._changelog}/{self._partition}: somebody else goes on writing rows there, also after they were "
            f"written again {MENDINGS_MAX} times. This process gave the partition up. Find out who writes to that "
            "topic and stop it, then start again."
        )

    async def _others(self, expected: int, last: int, words: dict[bytes, bytes] | None) -> Sequence[bytes]:
        """Whose rows others wrote since the last of ours. Raises OwnerFenced when one of them is a newer owner."""
        if last < expected:
            raise BackboneUnavailable(
                f"{self._changelog}/{self._partition}: Kafka took rows and did not say where. This process gave the "
                "partition up; what was not committed comes again. Start it again."
            )
        keys: dict[bytes, None] = {}
        async for record in self._read(self._changelog, self._partition, expected, last + 1):
            epoch = epoch_of(record)
            if epoch > self._epoch:
                raise OwnerFenced(
                    f"{self._changelog}/{self._partition}: the owner of epoch {epoch} writes rows there, this process "
                    f"has epoch {self._epoch}. It gave the partition up. Start it again: the group then gives it what "
                    "is its own."
                )
            if words is not None and record.key == WORD_KEY:
                words[record.key] = record.value
            elif epoch < self._epoch:
                keys[record.key] = None
        return tuple(keys)
