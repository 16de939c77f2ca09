"""What is being done, and what came of it: the memory that makes one command one act.

A ledger is opened for one owner, a run of one process. What the owner holds is its own for as long as it renews its
lease; whatever an owner left behind becomes another's when that lease has lapsed.

What an adapter promises, and the contract suite checks:

- **Once.** A command id is taken once, however often it is delivered. A known id is recognised before anything else is
  asked of it; then a command of a lower epoch than the highest seen for its partition is dropped without a trace.
- **One live per subject.** Of the unfinished commands of a subject only the first may be held by another owner than
those behind it: nobody is given a command whose subject is still in somebody else's hands.
- **Whole batches.** Each call is one transaction, or part of one together with calls that waited beside it.
- **Fenced.** An owner that lost a command can neither begin nor finish it.
- **Outbox.** `finish` writes the outcome and that it is not yet published in the same stroke, on the same row.

Every call raises LedgerUnavailable when it cannot be written; then, as far as the caller may know, nothing of it was.
All calls but `lease` can therefore be repeated as they were: the second time changes nothing and answers the same.
Times are milliseconds since the epoch, given in by the caller.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from control_plane.messages import Command
from control_plane.messages.outcome import Status


class Taking(Struct, frozen=True, kw_only=True):
    """One record of `commands.v1`: the command, its bytes, where they stood, and the epoch stamped at their sending."""

    command: Command
    body: bytes
    partition: int
    offset: int
    epoch: int = 0


class Entry(Struct, frozen=True, kw_only=True):
    """One unfinished command as the ledger holds it. `begun` means that an attempt may have acted and nobody wrote what
    came of it; `attempts` and `begun_ms` tell of the last attempt."""

    command: Command
    attempts: int = 0
    begun: bool = False
    begun_ms: int | None = None


class Taken(Struct, frozen=True, kw_only=True):
    """What became of a batch. `leased` are held by this owner; `waiting` counts new ones that were left for `lease`."""

    leased: tuple[Entry, ...]
    waiting: int
    known: int
    stale: int


class Leased(Struct, frozen=True, kw_only=True):
    """Commands that are now held by this owner, in order. `more` says that others are there that nobody holds."""

    entries: tuple[Entry, ...]
    more: bool


class Begin(Struct, frozen=True, kw_only=True):
    """The n-th attempt at a command is about to be made."""

    command_id: str
    attempt: int
    begun_ms: int


class Conclusion(Struct, frozen=True, kw_only=True):
    """What a command came to. `begun_ms` is of the last attempt that was made, None if none ever was."""

    command_id: str
    status: Status
    detail: str
    attempts: int
    begun_ms: int | None
    finished_ms: int


class Release(Struct, frozen=True, kw_only=True):
    """An attempt did nothing; the command stays with its owner and is not due before `due_ms`."""

    command_id: str
    attempts: int
    due_ms: int


class Finished(Struct, frozen=True, kw_only=True):
    """A command with its conclusion, whose outcome is not known to be published."""

    command: Command
    conclusion: Conclusion


class Ledger(Protocol):
    """The ledger, as one owner sees it."""

    async def start(self, now_ms: int) -> None:
        """Announce the owner. A sole owner declares every other one gone."""

    async def renew(self, now_ms: int) -> None:
        """Keep what this owner holds, for another `lease_s`."""

    async def take(self, batch: Sequence[Taking], *, now_ms: int, lease: bool = True) -> Taken:
        """Make a batch safe, and lease what may be leased at once unless told not to."""

    async def lease(self, *, now_ms: int, entries_max: int) -> Leased:
        """Lease due commands that nobody holds, oldest first, at most one per subject."""

    async def begin(self, begins: Sequence[Begin]) -> frozenset[str]:
        """Note attempts before they are made. Only the ids given may be acted on; this owner loses the others."""

    async def release(self, releases: Sequence[Release]) -> None:
        """Note that attempts did nothing."""

    async def finish(self, conclusions: Sequence[Conclusion]) -> frozenset[str]:
        """Write outcomes. Gives the ids that were written: only their outcomes may be published by the caller."""

    async def pending(self, *, now_ms: int, outcomes_max: int) -> Sequence[Finished]:
        """Outcomes that another owner wrote and left unpublished, in order; from now on this owner's to publish."""

    async def published(self, command_ids: Sequence[str]) -> None:
        """Note that outcomes stand in the log."""

    async def prune(self, *, before_ms: int, entries_max: int) -> int:
        """Forget published commands taken before an instant, at most so many; gives how many."""

    async def stop(self) -> None:
        """Let go of all that this owner holds."""
