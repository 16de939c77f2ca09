"""The journal of one context (`ports.journal.Journal`): the log first, the world second, the agent last."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from control_plane.causality import Lineage, digest
from control_plane.messages import Context, Invocation, Learnt, Usage, topics
from control_plane.messages.wire import decode, encode
from control_plane.ports.agent import NoDecision
from control_plane.ports.backbone import Output, Position, Record
from control_plane.ports.clock import Clock
from control_plane.ports.journal import ANSWERS_PER_CONTEXT_MAX, TOOL_BYTES_MAX, Answer, Budget, Tool, ToolFailed
from control_plane.slow_agents.counts import SlowCounts
from control_plane.slow_agents.tools_log import ToolsLog

Append = Callable[[Sequence[Output]], Awaitable[Sequence[Position]]]
Tools = Mapping[str, Tool]

PROBLEM_CHARS_MAX: Final = 300
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_encoder = msgspec.json.Encoder(order="deterministic")


class Outside(Struct, frozen=True, kw_only=True):
    """What all journals of a process share. `followed` says that what others append is read as well."""

    append: Append
    clock: Clock
    log: ToolsLog
    tools: Tools
    counts: SlowCounts
    followed: bool = False


class ContextJournal:
    """What one agent asks because of one context. `broken` is what the log raised: then nothing of it counts."""

    def __init__(self, context: Context, record: Record, outside: Outside) -> None:
        self.broken: Exception | None = None
        self._context = context
        self._record = record
        self._outside = outside
        self._asked: dict[str, int] = {}

    async def ask(
        self,
        tool: str,
        request: Mapping[str, Any],
        *,
        timeout_s: float,
        at_most: Usage | None = None,
        budget: Budget | None = None,
    ) -> Mapping[str, Any]:
        """Ask a tool of this process. Raises NoDecision."""
        found = self._outside.tools.get(tool)
        if found is None:
            raise NoDecision("tool_missing", f"this process has no tool {tool!r}; nobody was asked")

        async def invoke() -> Answer:
            try:
                async with asyncio.timeout(timeout_s):
                    return await found.invoke(request)
            except TimeoutError:
                # It may be at work on an answer all the same, and that costs.
                raise ToolFailed("timeout", f"no answer within {timeout_s:g} s", None) from None

        return await self._learn(tool, request, invoke, at_most or Usage(), budget or Budget())

    async def learn(
        self, what: str, request: Mapping[str, Any], ask: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> Mapping[str, Any]:
        """Ask with a function of the agent's own. Raises NoDecision."""

        async def invoke() -> Answer:
            try:
                return Answer(content=await ask())
            except Exception as exc:  # A plug-in of the user's: whatever it raises is what came of asking.
                raise ToolFailed("tool_failed", f"{type(exc).__name__}: {exc}") from exc

        return await self._learn(what, request, invoke, Usage(), Budget())

    async def _learn(
        self,
        tool: str,
        request: Mapping[str, Any],
        invoke: Callable[[], Awaitable[Answer]],
        at_most: Usage,
        budget: Budget,
    ) -> Mapping[str, Any]:
        asked = _encoded(request, "question")
        lineage = self._lineage(tool, asked)
        learnt = self._outside.log.answer(lineage.message_id) or await self._held(lineage.message_id)
        if learnt is None:
            self._reserve(tool, budget, lineage.message_id, at_most)
            learnt = await self._asked_outside(tool, asked, lineage, invoke, at_most)
        else:
            self._outside.counts.invoked(self._context.agent, tool, "known", Usage())
        if learnt.answer is None:
            raise NoDecision(learnt.code, learnt.problem)
        return learnt.answer

    def _lineage(self, tool: str, asked: bytes) -> Lineage:
        """The same question asked in the same order has the same id, whoever asks it when."""
        if sum(self._asked.values()) >= ANSWERS_PER_CONTEXT_MAX:
            raise NoDecision("asks_too_much", f"more than {ANSWERS_PER_CONTEXT_MAX} questions because of one context")
        name = f"tool/{tool}/{digest(asked.decode())}"
        nth = self._asked.get(name, 0)
        self._asked[name] = nth + 1
        return self._context.lineage.child(f"{name}/{nth}")

    def _reserve(self, tool: str, budget: Budget, invocation_id: str, at_most: Usage) -> None:
        """Counts before it is written down: others ask meanwhile."""
        spending, now_ms = self._outside.log.spending(self._context.agent), self._outside.clock.now_ms()
        refusal = spending.why_not(budget, invocation_id, at_most, now_ms)
        if refusal is not None:
            self._outside.counts.invoked(self._context.agent, tool, refusal[0], Usage())
            raise NoDecision(*refusal)
        spending.invoked(invocation_id, now_ms, at_most)

    async def _asked_outside(
        self,
        tool: str,
        asked: bytes,
        lineage: Lineage,
        invoke: Callable[[], Awaitable[Answer]],
        at_most: Usage,
    ) -> Learnt:
        context = self._context
        about: dict[str, Any] = {
            "subject": context.subject.id,
            "occurred_ms": context.now_ms,
            "context_id": context.lineage.message_id,
            "agent": context.agent,
            "agent_version": context.agent_version,
            "tool": tool,
        }
        invocation = Invocation(lineage=lineage, request=msgspec.json.decode(asked), at_most=at_most, **about)
        try:
            await self._write(encode(invocation))
        except BaseException:
            self._outside.log.spending(context.agent).unasked(lineage.message_id)
            raise
        began_ms = self._outside.clock.now_ms()
        answer, known, code, problem = await _outcome_of(invoke)
        usage = at_most if known is None else known
        learnt = Learnt(
            lineage=lineage.child("result"),
            invocation_id=lineage.message_id,
            answer=answer,
            usage=usage,
            took_ms=max(0, self._outside.clock.now_ms() - began_ms),
            code=code,
            problem=problem,
            **about,
        )
        raw = encode(learnt)
        try:
            await self._write(raw)
        except Exception:
            self._outside.log.hold(lineage.message_id, raw)
            raise
        self._outside.counts.invoked(context.agent, tool, code or "answer", usage)
        # As the log has it, so that it is the same when it is read from there.
        return decode(raw, Learnt)

    async def _held(self, invocation_id: str) -> Learnt | None:
        """What was learnt before, once the log takes it."""
        raw = self._outside.log.held(invocation_id)
        if raw is None:
            return None
        try:
            await self._write(raw)
        except BaseException:
            self._outside.log.hold(invocation_id, raw)
            raise
        return decode(raw, Learnt)

    async def _write(self, value: bytes) -> None:
        outside = self._outside
        try:
            (position,) = await outside.append([Output(topics.TOOLS, self._record.key, value, self._record.partition)])
        except Exception as exc:
            # The agent may catch what it is given; that its journal is broken must not be lost with that.
            self.broken = exc
            raise
        outside.log.appended(position, value, outside.clock.now_ms(), followed=outside.followed)


async def _outcome_of(
    invoke: Callable[[], Awaitable[Answer]],
) -> tuple[dict[str, Any] | None, Usage | None, str, str]:
    try:
        found = await invoke()
    except ToolFailed as exc:
        return None, exc.usage, code_of(exc.code), _sentence(exc.detail)
    try:
        return msgspec.json.decode(_encoded(found.content, "answer"), type=dict[str, Any]), found.usage, "", ""
    except NoDecision as exc:
        return None, found.usage, exc.code, exc.detail


def _encoded(value: Mapping[str, Any], what: str) -> bytes:
    try:
        raw = _encoder.encode(value)
        msgspec.json.decode(raw, type=dict[str, Any])
    except (TypeError, ValueError, RecursionError) as exc:
        raise NoDecision("no_json", f"the {what} cannot be written down as JSON: {_sentence(str(exc))}") from exc
    if len(raw) > TOOL_BYTES_MAX:
        raise NoDecision("too_large", f"the {what} has {len(raw)} bytes, more than {TOOL_BYTES_MAX}")
    return raw


def code_of(code: str) -> str:
    """A code as it may stand in metrics."""
    return code if _CODE.fullmatch(code) else "failed"


def _sentence(text: str) -> str:
    return text[:PROBLEM_CHARS_MAX]
