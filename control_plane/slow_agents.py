"""Agents that take their time: contexts in, proposals out, in a consumer group of their own.

They never hold up the loop, nor one another: each is given its time and no more. What an agent answers is an event of
its subject's partition; whether it still fits is judged there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from control_plane.messages import Context, Decision, Proposed, topics
from control_plane.messages.decision import DECISIONS_PER_EVENT_MAX
from control_plane.messages.wire import decode_context, encode
from control_plane.ports.agent import SlowAgent
from control_plane.ports.backbone import Output, Record

SLOW_DECIDE_TIMEOUT_S = 60.0
PROBLEM_CHARS_MAX = 300


class SlowAgents:
    """The group reader of `contexts.v1` (`ports.backbone.GroupReader`)."""

    def __init__(
        self,
        find: Callable[[str], SlowAgent | None],
        append: Callable[[Sequence[Output]], Awaitable[Any]],
        decide_timeout_s: float = SLOW_DECIDE_TIMEOUT_S,
    ) -> None:
        """`find` gives the agent in force under a name; `append` is the backbone's."""
        self._find = find
        self._append = append
        self._decide_timeout_s = decide_timeout_s

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Let the agents decide on a batch, side by side. After a crash they are asked again; one answer is taken."""
        await asyncio.gather(*(self._answer(record) for record in records))

    async def _answer(self, record: Record) -> None:
        context = decode_context(record.value)
        decisions, problem = await self._decided(context)
        proposed = Proposed(
            lineage=context.lineage.child("proposed"),
            subject=context.subject.id,
            occurred_ms=context.now_ms,
            context_id=context.lineage.message_id,
            agent=context.agent,
            agent_version=context.agent_version,
            decisions=decisions,
            problem=problem,
        )
        await self._append([Output(topics.EVENTS, record.key, encode(proposed), record.partition)])

    async def _decided(self, context: Context) -> tuple[tuple[Decision, ...], str]:
        agent = self._find(context.agent)
        if agent is None:
            return (), "the agent is no longer in force"
        try:
            async with asyncio.timeout(self._decide_timeout_s):
                answer = tuple(await agent.decide(context))
        except TimeoutError:
            return (), f"no answer within {self._decide_timeout_s:g} s"
        except Exception as exc:  # noqa: BLE001 - a plug-in of the user's must not stop the others, whatever it raises
            return (), f"{type(exc).__name__}: {exc}"[:PROBLEM_CHARS_MAX]
        if len(answer) > DECISIONS_PER_EVENT_MAX or not all(_is_own(decision, context) for decision in answer):
            return (), "the answer is no short sequence of decisions built with context.propose"
        return answer, ""


def _is_own(decision: object, context: Context) -> bool:
    return isinstance(decision, Decision) and decision.agent == context.agent
