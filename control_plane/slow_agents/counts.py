"""What the slow agents of this process count; read when somebody looks."""

from typing import Final

from control_plane.messages import Usage

LABEL_SETS_MAX: Final = 1_000
"""Different labels that one number is kept for; what comes after them is counted together, as `other`."""

Labels = tuple[str, ...]


class SlowCounts:
    """Numbers by their labels. Money is in millionths."""

    def __init__(self) -> None:
        self.answers: dict[Labels, int] = {}
        """By agent and what became of the context: `decision`, `none`, or the code of why there is no answer."""
        self.invocations: dict[Labels, int] = {}
        """By agent, tool and what came of it: `answer`, `known` for one from the log, or the code of why there is
        none."""
        self.tokens: dict[Labels, int] = {}
        """By agent, tool and direction: `in` or `out`."""
        self.cost_micros: dict[Labels, int] = {}
        """By agent and tool."""
        self.waiting = 0
        """Contexts that an agent is at work on, or that wait for it."""

    def answered(self, agent: str, became: str) -> None:
        """One context is dealt with."""
        _add(self.answers, (agent, became))

    def invoked(self, agent: str, tool: str, became: str, usage: Usage) -> None:
        """One question is answered, or was not to be."""
        _add(self.invocations, (agent, tool, became))
        for direction, tokens in (("in", usage.tokens_in), ("out", usage.tokens_out)):
            if tokens:
                _add(self.tokens, (agent, tool, direction), tokens)
        if usage.cost_micros:
            _add(self.cost_micros, (agent, tool), usage.cost_micros)


def _add(counts: dict[Labels, int], labels: Labels, many: int = 1) -> None:
    if labels not in counts and len(counts) >= LABEL_SETS_MAX:
        labels = ("other",) * len(labels)
    counts[labels] = counts.get(labels, 0) + many
