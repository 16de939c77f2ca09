"""What was said, kept for people to ask about: every message of the log, once.

Written by the recorder, read by REST and CLI, never by the loop.

What an adapter promises, and the contract suite checks:

- **Once.** A position of the log is recorded once, however often it is delivered. A second copy of a message in the
same topic (same source and id, another position: at-least-once logs have them) is counted, not stored.
- **Whole batches.** One `append` is one transaction, or part of one.
- **Keyset pages.** `sequence` rises in the order in which messages become visible: a reader that goes on after the
last one it saw neither skips nor repeats, whatever arrives meanwhile.

Every call raises AuditUnavailable when the store cannot be reached; then nothing of an `append` was written, as far as
the caller may know, and it can be repeated as it was.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

PAGE_MESSAGES_MAX = 1000


class RecordedMessage(Struct, frozen=True, kw_only=True):
    """One message and where it stands in the log. `body` is the record's value, byte by byte.

    `occurred_ms` is when it happened by its producer's word, `recorded_ms` when the log took it.
    """

    message_id: str
    source: str
    topic: str
    partition: int
    offset: int
    type: str
    subject: str
    correlation_id: str
    causation_id: str | None
    occurred_ms: int
    recorded_ms: int
    body: bytes


class Appended(Struct, frozen=True, kw_only=True):
    """What became of a batch: messages stored, further copies counted, positions that were known already.

    `contradicting` counts positions that are known to hold another message: the log is not the one that was recorded.
    Nothing is stored for them.
    """

    stored: int
    copies: int
    known: int
    contradicting: int


class Page(Struct, frozen=True, kw_only=True):
    """Which messages to give. Filters that are None do not filter; all others must hold.

    `after` is the sequence of the last message seen, 0 to begin; with `newest_first` pages go backwards from it.
    """

    topic: str | None = None
    type: str | None = None
    subject: str | None = None
    correlation_id: str | None = None
    after: int = 0
    limit: int = 100
    newest_first: bool = False


class Kept(Struct, frozen=True, kw_only=True):
    """A message as the store keeps it. `copies` counts how often it stands in its topic."""

    sequence: int
    copies: int
    message: RecordedMessage


class Audit(Protocol):
    """The audit store."""

    async def append(self, messages: Sequence[RecordedMessage]) -> Appended:
        """Store messages."""

    async def query(self, page: Page) -> Sequence[Kept]:
        """One page, at most PAGE_MESSAGES_MAX messages."""

    async def get(self, message_id: str) -> Sequence[Kept]:
        """Every message with this id, oldest first: sources and topics may share one."""
