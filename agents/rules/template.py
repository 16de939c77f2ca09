"""Sentences with {expressions} in them: `rss {data.rss_mb} MB above 400 MB`."""

import re

from control_plane.sdk import Context, Expressions

SENTENCE_CHARS_MAX = 500

_HOLE = re.compile(r"\{([^{}]+)\}")


class Template:
    """One sentence, compiled. A hole whose expression meets a missing field shows as `?`."""

    def __init__(self, text: str, expressions: Expressions) -> None:
        """Raises ExpressionInvalid when a hole holds no expression."""
        self._literals = _HOLE.split(text)[::2]
        self._programs = [expressions.compile(hole) for hole in _HOLE.split(text)[1::2]]
        self.reads_event = any(program.reads & {"data", "event"} for program in self._programs)
        """Whether it says something that only the event holds."""

    def render(self, context: Context) -> str:
        """The sentence for one context."""
        holes = [_shown(context.value(program)) for program in self._programs]
        pieces = [piece for pair in zip(self._literals, [*holes, ""], strict=True) for piece in pair]
        return "".join(pieces)[:SENTENCE_CHARS_MAX]


def _shown(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
