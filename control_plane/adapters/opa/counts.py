"""What became of the questions to OPA, counted."""

from collections import Counter

from control_plane.adapters.opa.breaker import Breaker


class OpaCounts:
    """By what became of a question: `ruled`, or why there was no ruling. `probes` are questions of our own."""

    def __init__(self, breaker: Breaker) -> None:
        self.by_end: Counter[str] = Counter()
        self._breaker = breaker

    @property
    def is_away(self) -> bool:
        """Whether OPA is asked by a probe only."""
        return self._breaker.is_open

    @property
    def times_away(self) -> int:
        """How often that began."""
        return self._breaker.opened

    def add(self, end: str) -> None:
        """One more."""
        self.by_end[end] += 1
