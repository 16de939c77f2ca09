"""How figures are shown."""

import statistics


def spread(values: list[float]) -> str:
    """The median, and between what it lies."""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def verdict(met: bool) -> str:
    """What stands before a goal."""
    return "goal met:" if met else "GOAL MISSED:"
