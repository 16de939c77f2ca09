"""What became of the questions to OPA, counted."""

from collections import Counter


class OpaCounts:
    """By what became of a question: `ruled`, or why there was no ruling. `probes` are questions of our own."""

    def __init__(self) -> None:
        self.by_end: Counter[str] = Counter()

    def add(self, end: str) -> None:
        """One more."""
        self.by_end[end] += 1
