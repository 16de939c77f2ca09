"""Drives the partitions over a log that is only read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from control_plane.messages import topics
from control_plane.partition import Home, Partitions
from control_plane.ports.backbone import BATCH_RECORDS_MAX, Output, Record, Start
from control_plane.ports.controls_source import ControlsSource
from control_plane.ports.log_reader import LogReader
from control_plane.ports.policy_engine import PolicyEngine
from control_plane.replay.comparison import Comparison, hash_of
from control_plane.replay.pinned import PinnedControls, PinnedEngine, overruns_by_event
from control_plane.replay.recorded import RecordedLog, whole_partition
from control_plane.replay.report import Report, state_hash
from control_plane.replay.said import is_answer


async def replay(
    reader: LogReader,
    controls: ControlsSource,
    engine: PolicyEngine,
    *,
    committed: Mapping[int, int] | None = None,
    batch_records: int = BATCH_RECORDS_MAX,
    home: Home | None = None,
) -> Report:
    """Fold `events.v1` again from its beginning and compare all that follows with what was recorded.

    `committed` is the loop's next offset in each partition, where it is known: below it, whatever is missing is a
    difference. Without it the end of each partition may be missing; see `comparison`. `home` is the live loop's.
    Reading blocks the event loop.

    Raises ContinuityBroken when the log does not begin at its beginning, or lacks controls; DataDamaged.
    """
    recorded = RecordedLog.of(reader)
    pinned_engine = PinnedEngine(engine, recorded.faults)
    pinned_controls = PinnedControls(controls, overruns_by_event(reader, recorded.overruns))
    comparison = Comparison(recorded, reader)
    rows: list[tuple[int, bytes, bytes]] = []
    records = answers = 0
    for partition in range(reader.partitions(topics.EVENTS)):
        fold = Fold(partition, Partitions(engine=pinned_engine, controls=pinned_controls, home=home))
        processed_below = (committed or {}).get(partition, 0)
        await fold.begin()
        for batch in batches(whole_partition(reader, topics.EVENTS, partition), batch_records, processed_below):
            records += len(batch)
            answers += sum(is_answer(record.value) for record in batch)
            comparison.take(partition, await fold.take(batch), processed=batch[0].offset < processed_below)
        rows += fold.rows()
    comparison.finish()
    pinned = pinned_engine.pinned + pinned_controls.pinned
    return _report(recorded, comparison, pinned=pinned, records=records, answers=answers, state=state_hash(rows))


class Fold:
    """One partition, its rows in memory, each batch committed at once."""

    def __init__(self, partition: int, partitions: Partitions) -> None:
        self._partition = partition
        self._partitions = partitions
        self._rows: dict[bytes, bytes] = {}

    async def begin(self) -> None:
        """Take the partition as if nothing of it had been processed."""
        await self._partitions.assigned(self._partition, self, Start(next_offset=0, mark=b"", record_before=None))

    async def take(self, batch: Sequence[Record]) -> Sequence[Output]:
        """What follows from a batch, in as many commits as it needs."""
        outputs: list[Output] = []
        while batch:
            commit = await self._partitions.take(self._partition, batch)
            self._rows.update((row.key, row.released) for row in commit.rows)
            self._partitions.committed(self._partition, commit)
            outputs += commit.outputs
            batch = batch[commit.next_offset - commit.batch_offset :]
        return outputs

    def rows(self) -> list[tuple[int, bytes, bytes]]:
        """All rows, as `state_hash` takes them."""
        return [(self._partition, key, value) for key, value in self._rows.items()]

    def get(self, key: bytes) -> bytes | None:
        """The row under a key (`ports.backbone.RowReader`)."""
        return self._rows.get(key)

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Every row (`ports.backbone.RowReader`)."""
        return iter(list(self._rows.items()))


def batches(records: Iterable[Record], batch_records: int, processed_below: int) -> Iterator[list[Record]]:
    """Records in batches, none of which holds both processed records and later ones."""
    batch: list[Record] = []
    for record in records:
        if batch and (len(batch) >= batch_records or record.offset == processed_below):
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _report(
    recorded: RecordedLog, comparison: Comparison, *, pinned: int, records: int, answers: int, state: str
) -> Report:
    missing_at_end = {said.key for said in comparison.not_processed()}
    replayed = [said for key, said in comparison.replayed.items() if key not in missing_at_end]
    on_log = [found for found in recorded.messages.values() if found.said.ours or found.replayed]
    return Report(
        records=records,
        recorded=len(on_log),
        replayed=len(replayed),
        copies=sum(found.copies - 1 for found in on_log),
        pinned=pinned,
        not_processed=len(missing_at_end),
        counts=dict(comparison.differences.counts),
        differences=comparison.differences.first(),
        recorded_hash=hash_of(found.said for found in on_log),
        replayed_hash=hash_of(replayed),
        state_hash=state,
        answers=answers,
    )
