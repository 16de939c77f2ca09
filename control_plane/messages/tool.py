"""What a slow agent asked outside, and what it learnt: the two kinds of record on `tools.v1`.

An invocation stands on the log before anything is asked, its answer before it is used. Nothing in them is a secret:
keys are named, never written.
"""

from typing import Any

from msgspec import Struct

from control_plane.causality import Lineage


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was used up: tokens, and money in millionths of the currency that prices are given in."""

    tokens_in: int = 0
    tokens_out: int = 0
    cost_micros: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of both directions."""
        return self.tokens_in + self.tokens_out


class Invocation(Struct, frozen=True, kw_only=True):
    """A slow agent asks a tool, because of one context. `at_most` is what the answer may use up: as long as nobody
    knows what became of it, that counts as used."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    context_id: str
    agent: str
    agent_version: str
    tool: str
    request: dict[str, Any]
    at_most: Usage


class Learnt(Struct, frozen=True, kw_only=True):
    """What came of an invocation: an answer, or the code and the sentence of why there is none."""

    lineage: Lineage
    subject: str
    occurred_ms: int
    invocation_id: str
    context_id: str
    agent: str
    agent_version: str
    tool: str
    answer: dict[str, Any] | None
    usage: Usage
    took_ms: int
    code: str = ""
    problem: str = ""
