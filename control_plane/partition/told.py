"""The partition's own row: what was told in it of other partitions' fleets, and of sources.

A reserved row of the same table, folded from `partition.summarised` records alone. With it are stored its earlier
states, one per batch that is not yet acknowledged: a crash may leave a row ahead of the log, and a step must read what
was told as of its own record, never later.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from control_plane.messages.owner_event import own_subject
from control_plane.messages.summary import HEARD_SOURCES_MAX, SUMMARY_AGE_MAX_MS, FleetCount, PartitionsSummary
from control_plane.ports.backbone import Record, RowWrite
from state.rows import Row, decode_head, decode_partition_row, decode_row, encode_partition_row, encode_row


class _Of(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was last told of one partition, when, and by which owner."""

    at_ms: int
    counts: dict[str, FleetCount]
    epoch: int = 0


class _Parts(Struct, frozen=True, kw_only=True):
    """What the row holds."""

    partitions: int = 0
    told: dict[str, _Of] = {}
    heard: dict[str, int] = {}


class Told:
    """What a partition was told, as of the last summary that was taken."""

    def __init__(self, partition: int, stored: bytes | None = None, next_offset: int = 0, generation: int = 0) -> None:
        self.partition = partition
        self._row = _as_of(next_offset, stored, generation) or Row(subject=own_subject(partition))
        self._generation = generation
        self._parts = msgspec.convert(self._row.parts, _Parts)
        self._earlier: list[tuple[int, bytes]] = []
        self._changed = False

    @classmethod
    def alone(cls) -> "Told":
        """For the one partition of a loop that has no others."""
        told = cls(0)
        told._parts = _Parts(partitions=1)
        return told

    @property
    def heard(self) -> Mapping[str, int]:
        """When each foreign source was last heard in any partition."""
        return self._parts.heard

    def elsewhere(self, fleet: str, revision: str, now_ms: int) -> list[FleetCount] | str:
        """The counts of a fleet in every other partition; or why they are not known."""
        if not self._parts.partitions:
            return "nothing was told of the partitions yet"
        counts = []
        for number in range(self._parts.partitions):
            if number == self.partition:
                continue
            told = self._parts.told.get(str(number))
            if told is None:
                return f"partition {number} was never heard of"
            if now_ms - told.at_ms > SUMMARY_AGE_MAX_MS:
                return (
                    f"partition {number} was last heard of {now_ms - told.at_ms} ms ago, and after "
                    f"{SUMMARY_AGE_MAX_MS} ms it is not known any more"
                )
            count = told.counts.get(fleet)
            if count is None or count.revision != revision:
                return f"partition {number} counts it under another definition"
            counts.append(count)
        return counts

    def of_itself(self, fleet: str, revision: str, down: int) -> int:
        """How many of this partition's members are down as the others know it; `down` where there are no others."""
        if self._parts.partitions == 1:
            return down
        told = self._parts.told.get(str(self.partition))
        count = told.counts.get(fleet) if told is not None else None
        return count.down if count is not None and count.revision == revision else 0

    def fold(self, record: Record, summary: PartitionsSummary) -> None:
        """Take one summary in."""
        if record.offset <= self._row.applied:
            return
        if not self._changed:
            self._earlier.append((record.offset, encode_row(self._row)))
        now_ms = max(self._row.now_ms, record.recorded_ms)
        of = {
            number: _Of(at_ms=now_ms, counts=counts, epoch=epoch)
            for number, counts in summary.counts.items()
            if (epoch := summary.epochs.get(number, 0)) >= self._epoch_of(number)
        }
        self._parts = _Parts(
            partitions=summary.partitions,
            told={**self._parts.told, **of},
            heard=merged_heard(self._parts.heard, summary.heard),
        )
        parts: dict[str, Any] = msgspec.to_builtins(self._parts, order="sorted")
        self._row = replace(self._row, applied=record.offset, now_ms=now_ms, parts=parts)
        self._changed = True

    def _epoch_of(self, number: str) -> int:
        """Of the newest owner that told of a partition."""
        told = self._parts.told.get(number)
        return told.epoch if told is not None else 0

    def write(self, epoch: int) -> RowWrite | None:
        """The row as it is to be stored, if the batch changed it."""
        if not self._changed:
            return None
        self._changed = False
        earlier = tuple(raw for _, raw in self._earlier)
        return RowWrite(
            self._row.subject.encode(),
            encode_partition_row(self._row, earlier, epoch, self._generation),
            encode_partition_row(self._row, (), epoch, self._generation),
        )

    def acknowledged(self, next_offset: int) -> None:
        """No record before this offset comes again."""
        self._earlier = [(offset, raw) for offset, raw in self._earlier if offset >= next_offset]


def merged_heard(before: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """When each source was last heard; of too many, those that were heard last."""
    heard = {source: max(before.get(source, 0), more.get(source, 0)) for source in {**before, **more}}
    newest = sorted(heard, key=lambda source: (-heard[source], source))[:HEARD_SOURCES_MAX]
    return {source: heard[source] for source in sorted(newest)}


def _as_of(next_offset: int, stored: bytes | None, generation: int) -> Row | None:
    """The newest stored state in which nothing at or after an offset was taken; of another log just the newest."""
    if stored is None:
        return None
    states = [decode_row(raw) for raw in decode_partition_row(stored)]
    if decode_head(stored).generation != generation:
        return replace(states[-1], applied=-1)
    return next((row for row in reversed(states) if row.applied < next_offset), None)
