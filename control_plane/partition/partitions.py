"""The records of `events.v1` through the loop, partition by partition, exact on a log that is only at least once.

Vendor-free: it knows the backbone only as a port. A record at or below its row's applied offset is not folded again;
the outputs that the row still holds for it go out again, byte-equal. Production, replay and simulation drive this same
code.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
from msgspec.structs import replace

from control_plane.errors import ContinuityBroken, InvalidMessage
from control_plane.loop.arrival import NO_FLEETS, Arrival
from control_plane.loop.deliberation import OVERRAN
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import DeadLetter, Event
from control_plane.messages.event import CONTROLS_ADOPTED, PARTITION_CLAIMED, PARTITION_SUMMARISED
from control_plane.messages.summary import summary_of
from control_plane.partition.fleets import KnownFleets
from control_plane.partition.following import buried, following, letter_of, says_too_much, unfolded
from control_plane.partition.held import Held, Mark, ToTell
from control_plane.partition.records import (
    Decoded,
    admit,
    check_continuity,
    concerns_partition,
    digest_of,
    runs_of,
    why_not,
)
from control_plane.partition.rows import HELD_BYTES_MAX, Batch, PartitionRows, Touched, output_bytes
from control_plane.ports.backbone import Commit, Output, Record, RowReader, Start
from control_plane.ports.controls_source import ControlsSource
from control_plane.ports.policy_engine import PolicyEngine
from state.rows import HeldOutput, Row

TURN_MAX = 100
"""After how much work others on the same event loop have their turn: a record counts 1, and 2 more for each message
that follows from it, so that a turn takes some 4 ms. A whole batch would hold up whoever carries out, records and
answers for 40 ms, once for each partition."""

FAULT_PAUSE_S = 0.02
FAULTS_WAITED_OUT_MAX = 1_500
"""Half a minute in which an engine that does not rule may come back, after a crash and only then."""

Home = Callable[[str], int]
"""The partition that a subject belongs to."""


class Observer(Protocol):
    """Who is told what the loop did: telemetry and the live view. Must not raise and must not wait."""

    def stepped(self, event: Event, done: Done) -> None: ...

    def dead_lettered(self, letter: DeadLetter) -> None: ...


class _Silent:
    def stepped(self, event: Event, done: Done) -> None: ...

    def dead_lettered(self, letter: DeadLetter) -> None: ...


class Partitions:
    """The owner that the backbone calls (`ports.backbone.Owner`)."""

    def __init__(
        self,
        *,
        engine: PolicyEngine,
        controls: ControlsSource,
        observer: Observer | None = None,
        home: Home | None = None,
    ) -> None:
        """Without `home` a subject is at home wherever it is first heard of."""
        self._engine = engine
        self._home = home
        self._controls = controls
        self._observer = observer or _Silent()
        self._held: dict[int, Held] = {}

    async def assigned(self, partition: int, rows: RowReader, start: Start) -> None:
        """Take a partition. Raises ContinuityBroken when its log is not the one that was applied and no person has said
        that it may go on, OwnerFenced when a newer owner was there already."""
        mark = msgspec.json.decode(start.mark, type=Mark) if start.mark else Mark("", "")
        if mark.generation == start.generation:
            check_continuity(partition, start, mark.last_digest)
        held = Held(partition, PartitionRows(rows, start, partition), replace(mark, generation=start.generation))
        if mark.controls_revision:
            self._follow_on(held, mark)
        self._held[partition] = held

    async def revoked(self, partition: int) -> None:
        """Let go of a partition."""
        self._held.pop(partition, None)

    def owned(self) -> dict[int, str]:
        """The partitions that are ours, with the revision of the controls in force in each."""
        return {number: held.mark.controls_revision for number, held in self._held.items()}

    def due_ms(self, partition: int) -> int | None:
        """When a row of the partition next wants a tick."""
        held = self._held.get(partition)
        return held.rows.due_ms() if held else None

    def to_tell(self, partition: int) -> ToTell | None:
        """What the other partitions should know of this one. None while nothing in force asks for it, and while rows
        that a crash left ahead are yet to be counted: what they began may be under way, and others would take its
        place."""
        held = self._held.get(partition)
        if held is None or held.controls is None or not held.tells or held.rows.fleets.has_rows_ahead:
            return None
        return ToTell(held.rows.fleets.counts(), dict(held.heard), held.controls.heeds_sources, held.rows.epoch)

    async def take(self, partition: int, records: Sequence[Record]) -> Commit:
        """Take a batch through the loop, or as much of it as one commit may hold."""
        held = self._held[partition]
        first = records[0].offset
        batch = Batch(records[-1].offset + 1)
        for segment in runs_of(records):
            if segment[0][0].offset < batch.end:
                await self._take_segment(held, batch, segment)
        if batch.end > first:
            held.mark = replace(held.mark, last_digest=digest_of(records[batch.end - first - 1]))
        in_order = sorted(batch.outputs, key=_offset_of)
        outputs = tuple(Output(out.topic, out.key, out.value, out.partition) for out in in_order)
        return Commit(
            batch_offset=first,
            rows=held.rows.writes(batch, first),
            outputs=outputs,
            next_offset=batch.end,
            mark=msgspec.json.encode(held.mark),
        )

    def committed(self, partition: int, commit: Commit) -> None:
        """The commit's rows and outputs are durable; rows need no longer hold those outputs."""
        held = self._held.get(partition)
        if held is not None:
            held.rows.acknowledged(commit.batch_offset, commit.next_offset)

    def _follow_on(self, held: Held, mark: Mark) -> None:
        """Under the controls that were in force. Where the control topics were lost with the log, there are none until
        new ones are adopted."""
        try:
            held.adopt(self._controls.at(mark.controls_revision))
        except ContinuityBroken:
            if mark.generation == held.mark.generation:
                raise
            held.mark = replace(held.mark, controls_revision="")

    async def _take_segment(self, held: Held, batch: Batch, segment: Sequence[Decoded]) -> None:
        """Records between two that concern the whole partition: subjects are independent of one another here, but for
        members of fleets, which are taken in the order of their records."""
        record, event = segment[0]
        if event is not None and concerns_partition(event):
            await self._take_for_partition(held, batch, record, event)
            return
        if not self._engine.concurrent or held.rows.fleets.is_behind(record.offset):
            await self._take_in_order(held, batch, segment)
            return
        chains: dict[str, list[Decoded]] = {}
        for record, event in segment:
            chains.setdefault(_chain_of(held, event), []).append((record, event))
        await asyncio.gather(*[self._take_in_order(held, batch, chain) for chain in chains.values()])

    async def _take_for_partition(self, held: Held, batch: Batch, record: Record, event: Event) -> None:
        held.rows.fleets.move_to(record.offset, "")
        if event.type == CONTROLS_ADOPTED:
            revision = str(event.data.get("revision", ""))
            held.adopt(self._controls.at(revision))
            held.mark = replace(held.mark, controls_revision=revision)
            return
        if event.type == PARTITION_SUMMARISED:
            self._take_summary(held, batch, record, event)
            return
        if event.type == PARTITION_CLAIMED:
            return
        for subject in held.rows.waiting_for(record):
            await self._take_one(held, batch, subject, record, event)

    def _take_summary(self, held: Held, batch: Batch, record: Record, event: Event) -> None:
        try:
            held.rows.told.fold(record, summary_of(event.data))
        except InvalidMessage as exc:
            self._bury(held, batch, record, exc, subject=event.subject)

    async def _take_in_order(self, held: Held, batch: Batch, records: Sequence[Decoded]) -> None:
        """One after the other, until the batch is full."""
        worked = 0
        for record, event in records:
            said_before = len(batch.outputs)
            if event is None:
                self._bury(held, batch, record, why_not(record))
            else:
                held.hear(event, record)
                await self._take_one(held, batch, event.subject, record, event)
            worked += 1 + 2 * (len(batch.outputs) - said_before)
            if worked >= TURN_MAX:
                worked = 0
                await asyncio.sleep(0)

    async def _take_one(self, held: Held, batch: Batch, subject: str, record: Record, event: Event) -> None:
        if record.offset >= batch.end:
            return
        held.rows.fleets.move_to(record.offset, subject)
        touched = held.rows.touch(batch.touched, subject)
        if record.offset <= touched.row.applied:
            self._repeat(held, batch, touched, record, event)
            return
        try:
            done, faulty = await self._step(held, touched.row, event, record)
        except InvalidMessage as exc:
            self._bury(held, batch, record, exc, subject=event.subject)
            return
        found = following(held.number, record, touched.row, done)
        said_bytes = output_bytes(found.outputs)
        if said_bytes > HELD_BYTES_MAX:
            found = unfolded(held.number, record, touched.row, says_too_much())
            said_bytes = output_bytes(found.outputs)
        if not batch.fits(touched, len(found.encoded), said_bytes, record.offset):
            return
        held.rows.replace(touched, found.row, found.encoded, found.outputs)
        if faulty and held.sees_fleets(subject):
            _end_with_fault(batch, record, event)
        batch.outputs += found.outputs
        for letter in found.letters:
            self._observer.dead_lettered(letter)
        self._observer.stepped(event, done)

    def _check_home(self, held: Held, subject: str) -> None:
        """One subject is one row: somebody else's partitioner must not make it two. Asked before there is a row."""
        home = self._home(subject) if self._home is not None else held.number
        if home != held.number:
            raise InvalidMessage(
                "wrong_partition",
                f"{subject} belongs to partition {home}, and the record stands in {held.number}",
                field="subject",
                cure="Write with the subject as key, and the partitioner of Kafka's Java clients (murmur2). "
                "`setpoint dlq redrive` puts this one where it belongs.",
            )

    def _repeat(self, held: Held, batch: Batch, touched: Touched, record: Record, event: Event) -> None:
        """A record that the row knows: what it still holds for it goes out again, and what was never folded is buried
        again."""
        again = [output for output in touched.held if output.input_offset == record.offset]
        if again and batch.fits_outputs(output_bytes(again), record.offset):
            batch.outputs += again
            batch.repeated[touched.row.subject] = record.offset
        if again or concerns_partition(event):
            return
        try:
            admit(held.controls, event, record)
        except InvalidMessage as exc:
            self._bury(held, batch, record, exc, subject=event.subject)

    async def _step(self, held: Held, row: Row, event: Event, record: Record) -> tuple[Done, bool]:
        """The step, and whether a fault is in it: asked again, an engine may answer, and an agent be in time."""
        done, faulty = await self._asked(held, row, event, record)
        for _ in range(FAULTS_WAITED_OUT_MAX):
            if not (faulty and held.rows.fleets.is_behind(record.offset) and held.sees_fleets(row.subject)):
                break
            # Rows that a crash left ahead may hang on the answer that it had before.
            await asyncio.sleep(FAULT_PAUSE_S)
            done, faulty = await self._asked(held, row, event, record)
        return done, faulty

    async def _asked(self, held: Held, row: Row, event: Event, record: Record) -> tuple[Done, bool]:
        controls = admit(held.controls, event, record)
        if row.applied < 0:
            self._check_home(held, row.subject)
        rows, faulty = held.rows, False
        fleets = KnownFleets(rows.fleets, rows.told, record.recorded_ms) if held.sees_fleets(row.subject) else NO_FLEETS
        heard, place = rows.told.heard, (held.number, held.mark.generation)
        result = step(controls, row, Arrival(event, record.offset, record.recorded_ms, fleets, heard, *place))
        while isinstance(result, Ask):
            rulings = {q.id: await self._engine.rule(q, controls.policies) for q in result.questions}
            faulty = faulty or any(ruling.problem is not None for ruling in rulings.values())
            result = result.resume(rulings)
        return result, faulty or any(failure.reason.code == OVERRAN for failure in result.failures)

    def _bury(self, held: Held, batch: Batch, record: Record, reason: InvalidMessage, *, subject: str = "") -> None:
        """Keep what must not be folded, with its reason; it follows from the record alone, so it needs no row."""
        letter = letter_of(record, reason, subject)
        output = buried(held.number, record, letter)
        if record.offset < batch.end and batch.fits_outputs(output_bytes((output,)), record.offset):
            batch.outputs.append(output)
            self._observer.dead_lettered(letter)


def _end_with_fault(batch: Batch, record: Record, event: Event) -> None:
    """After a crash the step may end otherwise. What is decided on other members hangs on it, so none of their rows may
    be stored without this one; of one batch some may."""
    batch.end = min(batch.end, record.offset if concerns_partition(event) else record.offset + 1)


def _chain_of(held: Held, event: Event | None) -> str:
    """Records of one chain are taken in their order: those of one subject, and those of all members of fleets."""
    return "" if event is None or held.sees_fleets(event.subject) else event.subject


def _offset_of(output: HeldOutput) -> int:
    return output.input_offset
