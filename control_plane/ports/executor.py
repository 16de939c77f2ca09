"""Who acts. An executor carries out commands, and can look whether one was carried out."""

from typing import Literal, Protocol

from msgspec import Struct

from control_plane.messages import Command

ATTEMPT_TIMEOUT_S = 10.0
CONCURRENCY_MAX = 64
DETAIL_CHARS_MAX = 500


class Attempt(Struct, frozen=True, kw_only=True):
    """What one attempt came to.

    - `succeeded`: done.
    - `failed`: refused by the target for good; nothing more will come of trying.
    - `nothing_done`: the answer proves that nothing was done; another attempt is safe.
    - `unknown`: nobody knows; only `reconcile` may find out.
    """

    result: Literal["succeeded", "failed", "nothing_done", "unknown"]
    detail: str = ""


class Found(Struct, frozen=True, kw_only=True):
    """What reconciling found in the world."""

    state: Literal["done", "absent", "unknown"]
    detail: str = ""


class Executor(Protocol):
    """Carries out commands of the intents that name it.

    Both calls are given `attempt_timeout_s` and are cancelled after it; neither may block the event loop. An exception
    counts as `unknown`.
    """

    name: str
    attempt_timeout_s: float
    settle_s: float
    """How long after an attempt's end absence is not yet believed."""
    attempts_max: int
    backoff_s: float
    concurrency_max: int
    """Calls under way at once. A target that hangs fills the places of its own executor only."""

    async def start(self) -> None:
        """Open what it needs."""

    async def execute(self, command: Command) -> Attempt:
        """Do it once, with the command id as idempotency key."""

    async def reconcile(self, command: Command) -> Found:
        """Look at the world: was this very command carried out? Absence must be sure to be said."""

    async def stop(self) -> None:
        """Close what it opened. What it supervises goes on."""
