"""The limits of dispatch, each with its unit."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DispatchBounds:
    """Limits that hold for all executors together, unless said."""

    held_max: int = 2_000
    """Commands in memory; what comes beyond waits in the ledger."""
    batch_max: int = 500
    """Commands in one transaction, outcomes in one append."""
    reconcile_for_s: float = 60.0
    """How long the world is asked before an outcome is `unknown`."""
    begun_age_s_max: float = 5.0
    """An attempt that was noted longer ago is noted again first: the process may have been stopped, its lease lost.
    Must be less than the ledger's lease."""
    sweep_s: float = 5.0
    """How often the lease is renewed and what others left behind is looked for. At most a third of the lease."""
    retry_first_s: float = 0.1
    retry_max_s: float = 5.0
    """Pause before trying again what ledger or log did not take; doubled from the first to the second."""
    stop_grace_s: float = 10.0
    """How long attempts under way may go on when the service stops."""
    keep_s: float = 24 * 3600.0
    """How long published commands are remembered, and so how late a repeated one is still recognised."""
    prune_entries_max: int = 2_000
    """Commands forgotten in one sweep at most."""
