"""What one run is made of: its setting, what producers send, and what goes wrong when. A value, drawn from a seed.

All of it is there before the run begins, so that a run that fails can be made shorter and run again.
"""

from typing import Literal

from msgspec import Struct

Order = Literal["atomic", "stepwise"]
"""How the one write of a partition's owner becomes durable: at once, or rows, then outputs, then the offset."""


class Setting(Struct, frozen=True, kw_only=True):
    """How the house is set up. Durations are virtual.

    `grain_ms` is how coarse the log's clock is: where it is coarse, times meet the edges of windows exactly. `ending`
    is what is done to the log when all is over: whoever takes it then must notice.
    """

    seed: int
    partitions: int
    workers: int
    order: Order
    batch_records: int
    grain_ms: int
    latency_ms: float
    concurrent_engine: bool
    session_s: float
    settle_s: float
    attempts_max: int
    active_ms: int
    start_ms: int
    two_revisions: bool
    ending: Literal["", "cut", "wiped"] = ""


class Input(Struct, frozen=True, kw_only=True):
    """One record that a producer appends, and how often after that, `again_ms` later each, it appends it again."""

    at_ms: int
    key: str
    value: bytes
    good: bool
    again_ms: tuple[int, ...] = ()
    late_ms: int = 0


How = Literal["die before", "die after", "freeze", "lose request", "lose answer", "delay", "again"]


class Strike(Struct, frozen=True, kw_only=True):
    """The first call of this kind at or after a time goes wrong, `times` times over."""

    at_ms: int
    call: str
    how: How
    times: int = 1
    delay_ms: int = 0


What = Literal[
    "kill",
    "pause",
    "skew",
    "leave",
    "log down",
    "ledger down",
    "engine down",
    "engine slow",
    "engine undefined",
    "engine garbage",
    "targets hang",
    "targets refuse",
    "other controls",
    "stale command",
    "cancel",
]


class Spell(Struct, frozen=True, kw_only=True):
    """Something is out of order for a while. `who` is the number of a worker where one is meant."""

    at_ms: int
    what: What
    for_ms: int = 0
    who: int = 0
    by_ms: int = 0


class Plan(Struct, frozen=True, kw_only=True):
    """One run, whole."""

    setting: Setting
    inputs: tuple[Input, ...]
    strikes: tuple[Strike, ...]
    spells: tuple[Spell, ...]

    @property
    def size(self) -> int:
        """How much there is of it."""
        return len(self.inputs) + len(self.strikes) + len(self.spells)


def describe(part: Input | Strike | Spell) -> str:
    """In a few words, for people."""
    when = f"{part.at_ms / 1000:.3f} s"
    if isinstance(part, Input):
        return f"{when} input {part.key}"
    if isinstance(part, Strike):
        return f"{when} {part.call}: {part.how}" + (f", {part.times} times" if part.times > 1 else "")
    return f"{when} {part.what}" + (f" for {part.for_ms / 1000:.1f} s" if part.for_ms else "")
