"""Which service is broken, how and when: drawn from a seed. The loop is told nothing of it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

FAULTS: Final = ("crash", "leak", "slow")
SPIKES: Final = ("slow_spike", "memory_spike")
"""What heals itself within half a second: the red herring."""

QUICK_FAULTS: Final = ("crash", "leak")
"""Faults that can be told from a spike soon; the first one is one of them, so that there is something to see."""

FIRST_AT_S: Final = (0.2, 0.5)
NEXT_AFTER_S: Final = (0.6, 1.6)

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
    first = drawn.choice(QUICK_FAULTS)
    later = [*(kind for kind in FAULTS if kind != first), drawn.choice(SPIKES)]
    drawn.shuffle(later)
    broken = drawn.sample(list(services), len(later) + 1)
    at_s = drawn.uniform(*FIRST_AT_S)
    faults = [Fault(first, broken[0], round(at_s, 3))]
    for kind, service in zip(later, broken[1:], strict=True):
        at_s += drawn.uniform(*NEXT_AFTER_S)
        faults.append(Fault(kind, service, round(at_s, 3)))
    return tuple(faults)
