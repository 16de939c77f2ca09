"""What a replay came to, as a value and as text."""

from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b

from msgspec import Struct

from control_plane.replay.difference import Difference, Kind
from state.rows import decode_stored


class Report(Struct, frozen=True, kw_only=True):
    """`records` were folded again; `recorded` and `replayed` messages are compared, each id once.

    `copies` counts further copies on the log (a log is at least once), `pinned` the answers that were taken from the
    record because an engine had failed or an agent had taken too long, `answers` those of slow agents, which are events
    like all others: nobody outside was asked again. `not_processed` is what the live loop had not put
    out when the log was read.
    """

    records: int
    recorded: int
    replayed: int
    copies: int
    pinned: int
    not_processed: int
    counts: Mapping[Kind, int]
    differences: tuple[Difference, ...]
    recorded_hash: str
    replayed_hash: str
    state_hash: str
    answers: int = 0

    @property
    def equal(self) -> bool:
        """Whether the replay says the same bytes as the log, and the log no others."""
        return not self.counts


def render(report: Report) -> str:
    """For people: both hashes, and the first difference."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    yield f"records folded: {report.records}"
    yield f"recorded: {report.recorded} messages, {report.copies} further copies, hash {report.recorded_hash}"
    yield f"replayed: {report.replayed} messages, {report.pinned} answers pinned, hash {report.replayed_hash}"
    if report.answers:
        yield f"slow agents: {report.answers} answers taken from the log, nobody was asked again"
    yield f"state: hash {report.state_hash}"
    if report.not_processed:
        yield f"not yet processed when the log was read: {report.not_processed} messages"
    if report.equal:
        yield "equal"
        return
    yield "not equal: " + ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in report.counts.items())
    yield "first difference:"
    yield from report.differences[0].lines()


def state_hash(rows: Iterable[tuple[int, bytes, bytes]]) -> str:
    """One hash for all rows, given as (partition, key, stored row): what was folded, neither outputs nor epochs."""
    whole = blake2b(digest_size=16)
    for partition, key, value in sorted(rows):
        row = decode_stored(value).row
        whole.update(f"{partition}\x1f{len(key)}\x1f{len(row)}\x1f".encode() + key + row)
    return whole.hexdigest()
