"""How a slow agent learns from outside: asked once, written down before it is used, never asked again in a replay.

What an implementation promises:

- **Before.** An invocation is on the log before anybody outside is asked; an answer, or why there is none, before the
  agent is given it.
- **Once.** The same question within the same context is answered from the log where its answer stands there. After a
  crash in between it may be asked a second time.
- **Within its means.** What would exceed the budget is not asked. As long as nobody knows what an invocation used up,
  all that it might have used counts.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from control_plane.messages import Usage

TOOL_BYTES_MAX = 256 * 1024
"""Largest question and largest answer, as JSON."""

ANSWERS_PER_CONTEXT_MAX = 16
"""Questions that an agent may ask because of one context."""


class Budget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent may use up, over all subjects; None does not limit. Money is in millionths of the currency."""

    tokens_per_hour: int | None = None
    cost_per_day_micros: int | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """What a tool has answered, as JSON has it, and what that used up; None when it does not say."""

    content: Mapping[str, Any]
    usage: Usage | None = Usage()


class ToolFailed(Exception):
    """A tool gave no answer. `code` is for metrics and rules, `usage` what it used up all the same; None when nobody
    knows."""

    def __init__(self, code: str, detail: str, usage: Usage | None = Usage()) -> None:  # noqa: B008 - it is frozen
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.usage = usage


class Tool(Protocol):
    """Something outside that slow agents may ask."""

    async def invoke(self, request: Mapping[str, Any]) -> Answer:
        """Ask it. Raises ToolFailed. May be cancelled at any time."""

    async def close(self) -> None:
        """Let go of what it holds."""


class Journal(Protocol):
    """The journal of one context: `context.journal`."""

    async def ask(
        self,
        tool: str,
        request: Mapping[str, Any],
        *,
        timeout_s: float,
        at_most: Usage | None = None,
        budget: Budget | None = None,
    ) -> Mapping[str, Any]:
        """Ask one of the tools that this process has, by name.

        Raises NoDecision with the code and the sentence when there is no answer, or the budget does not allow to ask.
        `at_most` is the most that the answer may use up.
        """

    async def learn(
        self, what: str, request: Mapping[str, Any], ask: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> Mapping[str, Any]:
        """Ask with a function of the agent's own; `what` names it, `request` says what it asks. What the function
        raises is written down and raised as NoDecision."""
