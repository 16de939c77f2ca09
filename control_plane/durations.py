"""Durations as people write them: `500ms`, `5s`, `10m`, `24h`."""

import re

_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}

DURATION_MS_MAX = 366 * 24 * 3_600_000
"""Longest duration that a setting or a file may name: a year."""


def parse_duration_ms(text: object) -> int:
    """A duration as milliseconds. Raises ValueError when it is no duration, zero-length units aside."""
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{text!r} is not a duration; write it as 500ms, 5s, 10m or 24h")
    ms = int(float(found[1]) * _MS[found[2]])
    if ms > DURATION_MS_MAX:
        raise ValueError(f"{text!r} is longer than a year")
    return ms


def is_duration(text: object) -> bool:
    """Whether it is a duration as people write them."""
    return isinstance(text, str) and _FORM.fullmatch(text) is not None
