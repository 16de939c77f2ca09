"""Every error that Setpoint raises on purpose.

    SetpointError
    ├── TemporaryError          the world is not ready: try again later
    │   ├── BackboneUnavailable
    │   ├── LedgerUnavailable
    │   ├── AuditUnavailable
    │   ├── OwnerFenced         another worker has taken a partition of this one's
    │   ├── PositionsUnavailable
    │   └── PolicyEngineUnavailable
    └── PermanentError          trying again cannot help: somebody has to change something
        ├── InvalidMessage      a record or a request that is no message of ours
        ├── InvalidWorkspace    a user's file that is wrong, with its place and the cure
        ├── InvalidSettings
        ├── DataInUse           another process owns the data directory
        ├── DataTooNew          the data directory was written by a newer Setpoint
        ├── DataDamaged         a checksum does not hold
        ├── ContinuityBroken    the log no longer holds what was already applied
        └── StorageFull         the disk takes no more; nothing was half written

Each message says what happened, what was not done and what to do.
"""

from collections.abc import Sequence
from dataclasses import dataclass


class SetpointError(Exception):
    """Base of every error raised on purpose."""


class TemporaryError(SetpointError):
    """The world is not ready; the same call may work later."""


class BackboneUnavailable(TemporaryError):
    """The log cannot be reached."""


class OwnerFenced(TemporaryError):
    """Another worker has taken a partition of this one's, which must therefore stop and may then start anew."""


class LedgerUnavailable(TemporaryError):
    """The ledger cannot be written, so nothing is done."""


class AuditUnavailable(TemporaryError):
    """The audit store cannot be reached."""


class PositionsUnavailable(TemporaryError):
    """How far triggers have come cannot be read or written, so they wait."""


class PolicyEngineUnavailable(TemporaryError):
    """The policy engine gives no rulings, so nothing is allowed."""


class PermanentError(SetpointError):
    """Trying again cannot help."""


class InvalidMessage(PermanentError):
    """Bytes or fields that are no message of ours.

    `code` is for machines (dead letters, metrics), `field` names the field, `cure` says what to change.
    """

    def __init__(self, code: str, detail: str, *, field: str | None = None, cure: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.field = field
        self.cure = cure


@dataclass(frozen=True, kw_only=True, slots=True)
class Flaw:
    """One thing that is wrong in a user's file. Lines and columns count from 1; 0 means the whole file."""

    file: str
    line: int
    column: int
    problem: str
    cure: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.problem}. {self.cure}"


class InvalidWorkspace(PermanentError):
    """A workspace that must not start; `flaws` holds all that is wrong, not only the first thing."""

    def __init__(self, flaws: Sequence[Flaw]) -> None:
        super().__init__("\n".join(str(flaw) for flaw in flaws))
        self.flaws = tuple(flaws)


class InvalidSettings(PermanentError):
    """A setting that cannot be used."""


class DataInUse(PermanentError):
    """Another process owns the data directory."""


class DataTooNew(PermanentError):
    """The data directory was written by a newer Setpoint."""


class DataDamaged(PermanentError):
    """A checksum does not hold."""


class ContinuityBroken(PermanentError):
    """The log no longer holds what was already applied."""


class StorageFull(PermanentError):
    """The disk takes no more; nothing was half written."""
