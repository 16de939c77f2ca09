"""What dispatch has counted since it started, for telemetry to read."""

from dataclasses import dataclass, field


@dataclass(kw_only=True, slots=True)
class DispatchCounters:
    """Each only rises, but for `held`."""

    taken: int = 0
    """Commands new to the ledger."""
    known: int = 0
    """Deliveries of commands that were taken before."""
    stale: int = 0
    """Commands of an epoch that is over, dropped."""
    unreadable: int = 0
    """Records that are no command, given to the dead letters."""
    recovered: int = 0
    """Commands that another owner, or an earlier run, had left behind."""
    held: int = 0
    """Commands in memory now."""
    attempts: int = 0
    attempts_timed_out: int = 0
    attempts_raised: int = 0
    looks: int = 0
    lost: int = 0
    """Commands that another owner had taken over when this one wanted to go on."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Written, by status."""
    published: int = 0
    unavailable: int = 0
    """Calls that ledger or log did not take."""
    forgotten: int = 0
    """Published commands that were pruned."""
