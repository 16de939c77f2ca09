"""Records of `events.v1` as their partition meets them, before any row is looked at: what each is, whom it concerns,
and whether this still is the log that was applied.
"""

from collections.abc import Iterable
from hashlib import blake2b

from control_plane.catalogue import Controls
from control_plane.causality.lineage import SOURCE
from control_plane.errors import ContinuityBroken, InvalidMessage
from control_plane.loop.intake import check_event
from control_plane.messages import Event, topics
from control_plane.messages.event import OF_THE_OWNER
from control_plane.messages.wire import decode_event
from control_plane.ports.backbone import Record, Start

Decoded = tuple[Record, Event | None]
"""A record and its event; None where it is none."""


def runs_of(records: Iterable[Record]) -> list[list[Decoded]]:
    """Records in runs: one that concerns the whole partition stands alone, because all before it must be done."""
    runs: list[list[Decoded]] = []
    alone = True
    for record in records:
        try:
            event = decode_event(record.value, record.recorded_ms)
        except InvalidMessage:
            event = None
        whole_partition = event is not None and concerns_partition(event)
        if whole_partition or alone:
            runs.append([])
        runs[-1].append((record, event))
        alone = whole_partition
    return runs


def concerns_partition(event: Event) -> bool:
    """Whether the partition's owner appended it for all rows; from anybody else such an event is a dead letter."""
    return event.type in OF_THE_OWNER and event.lineage.source == SOURCE


def why_not(record: Record) -> InvalidMessage:
    """Why a record is no event."""
    try:
        decode_event(record.value, record.recorded_ms)
    except InvalidMessage as exc:
        return exc
    raise AssertionError("a record that decodes is never buried undecoded")


def admit(controls: Controls | None, event: Event, record: Record) -> Controls:
    """The controls that the event is folded under. Raises InvalidMessage when it must not be folded."""
    if controls is None:
        raise InvalidMessage(
            "no_controls",
            "the event came before any controls were adopted in its partition",
            cure="Start the loop role first; then send it again.",
        )
    if not concerns_partition(event):
        check_event(event, record.recorded_ms, controls)
    return controls


def check_continuity(partition: int, start: Start, last_digest: str) -> None:
    """The record before the start must be the one that was applied last: otherwise the log was wiped, cut or
    restored."""
    if not start.mark or start.next_offset == 0:
        return
    before = start.record_before
    if before is None or digest_of(before) != last_digest:
        raise ContinuityBroken(
            f"partition {partition} of {topics.EVENTS} no longer holds the record that was applied last, at offset "
            f"{start.next_offset - 1}: the log was wiped, cut or restored. Nothing was done, and nothing of the "
            "partition is taken until a person has looked. Restore the log, or say that it may go on: "
            f"setpoint log continue --partition {partition}"
        )


def digest_of(record: Record) -> str:
    """What a record is known by: its value and the time at which it was recorded, so that a log made anew differs."""
    return blake2b(record.value, digest_size=16, key=record.recorded_ms.to_bytes(8, "big")).hexdigest()
