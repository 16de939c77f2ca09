"""The log, as the loop sees it: partitions of records, rows beside them, and one write.

An adapter delivers each partition's records in order, without a gap, at least once, to one owner at a time. Nothing
above this port may know which log it runs on.

What an adapter promises, and the contract suite checks:

- **Order.** Records of one partition are taken in the order of their offsets.
- **No gap.** A batch starts at the offset after the batch before it, or at `Start.next_offset`.
- **One write.** `commit` makes rows, outputs, next offset and mark durable: as one, or in that order, each after
  the one before it was acknowledged. After a crash at any point the partition starts again at the last committed
  offset, and its rows are those of some commit at or after it, whole.
- **Back-pressure.** At most `BATCHES_IN_FLIGHT_MAX` batches of a partition are taken and not yet committed. A batch is
  cut where its records pass `BATCH_BYTES_MAX`.
- **One owner.** Whoever takes a partition first shuts its former owner out and appends a claim (`partition.claimed`)
  to it, which is delivered like every other record. Its number, `Start.epoch`, is stamped on outputs as `EPOCH_HEADER`.
  Nothing of a former owner is added to rows or offsets after that: it stops.
- **Continuity.** A partition whose log lost what was taken of it, or whose rows are gone, is not taken: it is `stopped`
  until a person says `go_on`.
- **Bounds.** A record or a row of up to `RECORD_BYTES_MAX` and a commit of up to `COMMIT_BYTES_MAX` can always be
  written. An owner whose batch leads to more takes only as much of it as fits.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

LOOP_GROUP = "loop"
"""The consumer group that owns `events.v1`."""

EPOCH_HEADER = "epoch"
"""Record header in which outputs carry the epoch of the owner that sent them, in decimal digits; never in their bytes,
because an output that goes out again under a later owner must be the same."""

BATCH_RECORDS_MAX = 200
BATCH_BYTES_MAX = 2 * 1024 * 1024
"""Keys and values of one batch; a single record may be larger, and then comes alone."""
BATCHES_IN_FLIGHT_MAX = 3
RECORD_BYTES_MAX = 16 * 1024 * 1024
"""Key, value and headers of one record; a row with the outputs that it holds is one."""
COMMIT_BYTES_MAX = 32 * 1024 * 1024
"""Rows, with what they hold, and outputs of one commit."""


class Record(Struct, frozen=True, kw_only=True, gc=False):
    """One record as it stands in the log. `recorded_ms` is its append time, milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    recorded_ms: int
    headers: tuple[tuple[str, bytes], ...] = ()


class Output(Struct, frozen=True, gc=False):
    """One record to be appended. Without a partition, the key chooses it (murmur2, as Kafka's clients do)."""

    topic: str
    key: bytes
    value: bytes
    partition: int | None = None


class RowWrite(Struct, frozen=True, gc=False):
    """One row to be stored, whole, in the partition that is committed.

    `value` holds the outputs that are not yet acknowledged; `released` is the same row without them, for a log whose
    one write is atomic: there the outputs are out together with the row.
    """

    key: bytes
    value: bytes
    released: bytes


class Commit(Struct, frozen=True, kw_only=True):
    """All that follows from one batch, or from as much of it as was taken. `mark` is opaque to the adapter.

    `batch_offset` is the offset of the batch's first record, `next_offset` that after the last record that was taken
    whole. Rows may be ahead of it: some of a record's subjects, or of the records behind it, may have been taken too.
    """

    batch_offset: int
    rows: tuple[RowWrite, ...]
    outputs: tuple[Output, ...]
    next_offset: int
    mark: bytes


class Start(Struct, frozen=True, kw_only=True):
    """Where a partition begins when it is taken: the committed offset and mark, and the record just before it if the
    log still holds it. A partition that was never committed starts at 0 with an empty mark.

    `epoch` is this taking's number: it rises each time that the partition is taken, whoever takes it. `generation` says
    how often a person let the partition go on over a log that was no longer the one it had applied.
    """

    next_offset: int
    mark: bytes
    record_before: Record | None
    epoch: int = 0
    generation: int = 0


class WentOn(Struct, frozen=True, kw_only=True):
    """A person's word that a partition may be taken over the log as it is: from `next_offset` on, rows of earlier
    generations keep what they know and forget where they stood. Generation 0 is the log that there was at first."""

    partition: int
    generation: int = 0
    next_offset: int = 0


class Position(Struct, frozen=True, gc=False):
    """Where a record was appended."""

    topic: str
    partition: int
    offset: int


class RowReader(Protocol):
    """The rows of one partition, as last committed and recovered."""

    def get(self, key: bytes) -> bytes | None:
        """The row under a key, or None."""

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Every (key, row), in no promised order."""


class Owner(Protocol):
    """What a backbone calls about the partitions of `events.v1` that this process owns. `control_plane.partition` is
    one."""

    async def assigned(self, partition: int, rows: RowReader, start: Start) -> None:
        """The partition is ours and its rows are recovered; records follow."""

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        """Take a batch through the loop. Called for one batch of a partition at a time, in order; commits may still
        be in flight.

        Where the commit does not cover the batch, the rest is handed over again once it, and every one before it, is
        durable. With nothing in flight an owner always takes something, be it a part of one record."""

    def committed(self, partition: int, commit: Commit) -> None:
        """A commit is durable; called in the order of the batches."""

    async def revoked(self, partition: int) -> None:
        """The partition is no longer ours; nothing of it may be written after this returns."""


class GroupReader(Protocol):
    """What a backbone calls for a consumer group beside the loop: executors, recorder, slow agents.

    A reader for which batches are no matter of order may say `batches_in_hand_max`: a log may then hand it so many
    batches of a partition, from the earliest that it is not done with on. The offset stays behind that one, so after a
    crash batches that it was done with may come again, too."""

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Make a batch safe. The group's offset is committed after this returns; after a crash the batch may come
        again."""


class Backbone(Protocol):
    """A log that was opened, with this process's part in it."""

    partitions: int
    """Of every topic that is keyed by subject."""

    def own_events(self, owner: Owner) -> None:
        """Take part in the loop group: before `start`."""

    def join(self, group: str, topics: Sequence[str], reader: GroupReader, *, gather_ms: int = 0) -> None:
        """Take part in another consumer group: before `start`. Offsets are the group's own. `gather_ms` is how long a
        log may hold records back so that they come in fewer and larger batches."""

    async def start(self) -> None:
        """Open, create the topics that are missing, join the groups. Returns once this process can append.

        Raises BackboneUnavailable, DataInUse, DataTooNew, DataDamaged, StorageFull."""

    async def watch(self) -> None:
        """Wait as long as all is well; raises what made this process give its partitions up."""

    def stopped(self) -> Mapping[tuple[str, str, int], str]:
        """Partitions of this process in which nothing is taken until a person says `go_on`, by (group, topic,
        partition), each with what happened, what was not done and the cure."""

    async def go_on(self, partition: int, from_offset: int | None = None) -> WentOn:
        """A person says that a partition which is stopped may go on, in whichever process it is: from this offset of
        `events.v1`, or as far back as nothing is taken twice: the first record that is kept, where the log only lost
        its beginning, and otherwise its end. Said of a partition that is not stopped, it changes nothing.

        Raises BackboneUnavailable, InvalidSettings."""

    def lag(self) -> Mapping[tuple[str, str, int], int]:
        """Records between what a group has committed and the end of the log, by (group, topic, partition), of the
        partitions that this process has now. The end may be some seconds old."""

    async def stop(self) -> None:
        """Leave the groups after what was taken is committed, and close."""

    async def append(self, outputs: Sequence[Output]) -> Sequence[Position]:
        """Append records; returns once they are durable, with their positions in the order given.

        Raises BackboneUnavailable, StorageFull: then none, or on Kafka some, of them were appended; and there those
        that were not may still land a little later, in their order. Whoever repeats an append must therefore send the
        same ids: an event is folded once by its source and id (known among the last 128 of its subject), an outcome and
        a slow agent's answer once because the row waits for it once, and the recorder keeps one message of an id.
        Ticks, adoptions and control items may come any number of times."""

    async def commit(self, partition: int, commit: Commit) -> None:
        """The one write of a partition's owner. Raises as `append`; then the process must stop owning the partition."""
