"""A prompt file: text with {{expressions}} in it. What they give is data from outside, and is shown as such.

Every value is JSON in one line and cut where it is too long, so that no value can end what it stands in.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from control_plane.sdk import Context, ExpressionMiss, Expressions

PROMPT_CHARS_MAX: Final = 32_000
"""Longest prompt file."""

VALUE_CHARS_MAX: Final = 4_000
"""What is shown of one value."""

RENDERED_CHARS_MAX: Final = 48_000
"""What a model is told of one context."""

MISSING: Final = "null"
"""How a value is shown that is not there."""

HOLE: Final = re.compile(r"\{\{\s*(.+?)\s*\}\}", re.DOTALL)


class PromptTemplate:
    """One prompt, compiled."""

    def __init__(self, text: str, expressions: Expressions) -> None:
        """Raises ExpressionInvalid when a hole holds no expression."""
        pieces = HOLE.split(text)
        self._literals = pieces[::2]
        self._programs = [expressions.compile(hole) for hole in pieces[1::2]]
        self._expressions = expressions

    def render(self, context: Context) -> str:
        """The prompt for one context."""
        scope = self._expressions.scope(_variables(context))
        shown = []
        for program in self._programs:
            try:
                shown.append(as_data(program.evaluate(scope)))
            except ExpressionMiss:
                shown.append(MISSING)
        pieces = [piece for pair in zip(self._literals, [*shown, ""], strict=True) for piece in pair]
        return "".join(pieces)[:RENDERED_CHARS_MAX]


def as_data(value: Any) -> str:
    """A value as a model is shown it."""
    try:
        # ASCII only: no line break and no invisible letter of the data reaches the prompt as such.
        # Sorted, so that the same context is always the same question: expressions give maps in any order.
        text = json.dumps(value, ensure_ascii=True, sort_keys=True, default=str)
    except (TypeError, ValueError, RecursionError):
        return MISSING
    return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}... (cut off)"


def _variables(context: Context) -> Mapping[str, Any]:
    subject, event = context.subject, context.event
    return {
        "data": event.data,
        "rows": context.rows,
        "subject": {"kind": subject.kind, "name": subject.name, "id": subject.id},
        "event": {"type": event.type, "source": event.lineage.source},
    }
