"""Which service is broken, how and when: drawn from a seed. The loop is told nothing of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FAULTS: Final = ("crash", "leak", "slow")
SPIKES: Final = ("slow_spike", "memory_spike")
"""What heals itself within half a second: the red herring."""

CRASH_AT_S: Final = (0.1, 0.3)
"""A crash is the quickest to be told from a spike, so it comes soon: then there is something to see."""

OTHERS_AT_S: Final = (0.1, 4.0)

SENTENCES: Final = {
    "crash": "its process ends without a word",
    "leak": "it takes ever more memory",
    "slow": "it answers ever more slowly",
    "slow_spike": "it is slow for half a second, and recovers by itself",
    "memory_spike": "it takes much memory for half a second, and recovers by itself",
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which one service is broken, so many seconds after the start."""

    kind: str
    service: str
    at_s: float

    @property
    def is_real(self) -> bool:
        """Whether it stays until somebody acts."""
        return self.kind in FAULTS


def draw_faults(seed: int, services: Sequence[str]) -> tuple[Fault, ...]:
    """Three real faults and one spike, each on a service of its own, in the order in which they happen."""
    drawn = random.Random(seed)
    kinds = [*FAULTS, drawn.choice(SPIKES)]
    broken = drawn.sample(list(services), len(kinds))
    faults = [
        Fault(kind, service, round(drawn.uniform(*(CRASH_AT_S if kind == "crash" else OTHERS_AT_S)), 3))
        for kind, service in zip(kinds, broken, strict=True)
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at_s))
