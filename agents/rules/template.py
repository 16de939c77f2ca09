"""Sentences with {expressions} in them: `rss {data.rss_mb} MB above 400 MB`."""

import re
from collections.abc import Sequence

from control_plane.sdk import Context, Expressions

SENTENCE_CHARS_MAX = 500

_HOLE = re.compile(r"\{([^{}]+)\}")


class Template:
    """One sentence, compiled. A hole whose expression meets a missing field shows as `?`."""

    def __init__(self, text: str, expressions: Expressions) -> None:
        """Raises ExpressionInvalid when a hole holds no expression."""
        self._literals, self._holes = _HOLE.split(text)[::2], _HOLE.split(text)[1::2]
        self._programs = [expressions.compile(hole) for hole in self._holes]
        self.reads_event = any(program.reads & {"data", "event"} for program in self._programs)
        """Whether it says something that only the event holds."""

    def render_whole(self, context: Context) -> str:
        """The text for one context, for something that is more than a sentence. Raises ValueError where a hole meets a
        missing field."""
        found = [context.value(program) for program in self._programs]
        for hole, value in zip(self._holes, found, strict=True):
            if value is None:
                raise ValueError(f"{{{hole}}} is missing on this event, so what stands around it names nothing")
        return self._filled([str(value) for value in found])

    def render(self, context: Context) -> str:
        """The sentence for one context."""
        return self._filled([_shown(context.value(program)) for program in self._programs])[:SENTENCE_CHARS_MAX]

    def _filled(self, holes: Sequence[str]) -> str:
        return "".join([piece for pair in zip(self._literals, [*holes, ""], strict=True) for piece in pair])


def _shown(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
