"""The reader of `contexts.v1`: each context to its agent, each agent's answer back as an event of its subject.

An agent is given its time and no more, and so many contexts at once and no more. What it answers is an event of its
subject's partition; whether it still fits is judged there. Whatever an agent does, one answer goes back: its decisions,
or the code of why there are none.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from control_plane.causality.lineage import trail_step
from control_plane.errors import InvalidMessage
from control_plane.loop.deliberation import as_recorded
from control_plane.messages import Context, Decision, Proposed, topics
from control_plane.messages.decision import DECISIONS_PER_EVENT_MAX
from control_plane.messages.subject import check_target
from control_plane.messages.wire import decode_context, decode_event, encode, ms_of
from control_plane.ports.agent import SLOW_ANSWER_MAX_MS, NoDecision, SlowAgent
from control_plane.ports.backbone import Output, Record
from control_plane.slow_agents.journal import PROBLEM_CHARS_MAX, ContextJournal, Outside, code_of

DECIDE_TIMEOUT_S: Final = 60.0
"""How long one `decide` may take, unless its agent says otherwise."""

IN_FLIGHT_MAX: Final = 8
"""Contexts that one agent is at work on at once in one process, unless it says otherwise."""

BATCHES_IN_HAND_MAX: Final = 256
"""Batches of one partition from the earliest that is not answered on: contexts come one by one, and one that hangs must
not keep those behind it from their agents. How many questions are asked at once is for each agent to say."""

Find = Callable[[str], SlowAgent | None]
"""The agent in force under a name."""

_log = logging.getLogger(__name__)


class _Agent(Struct):
    agent: str = ""


class _Head(Struct):
    data: _Agent


_head_decoder = msgspec.json.Decoder(_Head)


class SlowAgents:
    """The group reader of one group (`ports.backbone.GroupReader`)."""

    batches_in_hand_max = BATCHES_IN_HAND_MAX

    def __init__(
        self, find: Find, outside: Outside, serves: Callable[[SlowAgent | None], bool] = lambda _: True
    ) -> None:
        """`serves` says which agents this group answers for."""
        self._find = find
        self._outside = outside
        self._serves = serves
        self._gates: dict[str, tuple[int, asyncio.Semaphore]] = {}

    async def take(self, topic: str, partition: int, records: Sequence[Record]) -> None:
        """Let the agents decide on a batch, side by side. What the log raises is raised once all of them are done:
        then the batch comes again, and what was learnt is known."""
        mine = [record for record in records if self._is_mine(record)]
        self._outside.counts.waiting += len(mine)
        try:
            done = await asyncio.gather(*(self._answer(record) for record in mine), return_exceptions=True)
        finally:
            self._outside.counts.waiting -= len(mine)
        for error in done:
            if error is not None:
                raise error

    def _is_mine(self, record: Record) -> bool:
        try:
            return self._serves(self._find(_head_decoder.decode(record.value).data.agent))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return self._serves(None)

    async def _answer(self, record: Record) -> None:
        try:
            context = decode_context(record.value)
        except InvalidMessage as exc:
            # Only Setpoint writes contexts, and whoever waits for this one is asked anew after a while.
            place = f"{record.topic}/{record.partition}/{record.offset}"
            _log.error("a context cannot be read, so nobody was asked", extra={"record": place, "why": str(exc)})
            return
        decisions, code, problem = await self._decided(context, record)
        fact_ms = ms_of(context.event.occurred_at)
        proposed = Proposed(
            # It comes back into the loop, so that agents which hear of answers cannot go round for ever.
            lineage=context.lineage.returning("proposed", trail_step(context.agent, context.subject.id, "")),
            subject=context.subject.id,
            occurred_ms=context.now_ms,
            context_id=context.lineage.message_id,
            agent=context.agent,
            agent_version=context.agent_version,
            decisions=tuple(replace(decision, fact_ms=fact_ms) for decision in decisions),
            problem=problem,
            code=code,
        )
        proposed, raw = _acceptable(proposed)
        await self._outside.append([Output(topics.EVENTS, record.key, raw, record.partition)])
        became = proposed.code or ("decision" if proposed.decisions else "none")
        self._outside.counts.answered(context.agent, became)

    async def _decided(self, context: Context, record: Record) -> tuple[tuple[Decision, ...], str, str]:
        """Its decisions, or the code and the sentence of why there are none."""
        agent = self._find(context.agent)
        if agent is None:
            return (), "not_in_force", "the agent is no longer in force"
        async with self._gate(agent):
            waited_ms = self._outside.clock.now_ms() - record.recorded_ms
            if waited_ms >= SLOW_ANSWER_MAX_MS:
                return (), "too_late", f"the context waited for {waited_ms} ms; its subject waits no longer"
            journal = ContextJournal(context, record, self._outside)
            # Who decides is who is in force now, whoever was when the context was sent.
            answer = await _within_its_time(agent, replace(context, agent_version=agent.version, journal=journal))
        if journal.broken is not None:
            raise journal.broken
        return answer

    def _gate(self, agent: SlowAgent) -> asyncio.Semaphore:
        in_flight_max = getattr(agent, "in_flight_max", IN_FLIGHT_MAX)
        found = self._gates.get(agent.name)
        if found is None or found[0] != in_flight_max:
            found = self._gates[agent.name] = in_flight_max, asyncio.Semaphore(in_flight_max)
        return found[1]


async def _within_its_time(agent: SlowAgent, context: Context) -> tuple[tuple[Decision, ...], str, str]:
    timeout_s = getattr(agent, "decide_timeout_s", DECIDE_TIMEOUT_S)
    deciding: asyncio.Future[Any] = asyncio.ensure_future(_asked(agent.decide(context)))
    deciding.add_done_callback(_heard)
    try:
        done, _ = await asyncio.wait([deciding], timeout=timeout_s)
    finally:
        # An agent that does not heed it is left to itself: what it says later, nobody hears.
        deciding.cancel()
    if not done:
        return (), "timeout", f"no answer within {timeout_s:g} s"
    failure = deciding.exception()
    if isinstance(failure, NoDecision):
        return (), code_of(failure.code), failure.detail[:PROBLEM_CHARS_MAX]
    if failure is not None:
        return (), "agent_failed", f"{type(failure).__name__}: {failure}"[:PROBLEM_CHARS_MAX]
    return _checked(deciding.result(), context)


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except SystemExit as exc:
        raise RuntimeError(f"it wanted to leave the process: {exc}") from exc


def _heard(deciding: "asyncio.Future[Any]") -> None:
    """What an agent raises after its time is of no interest, and no complaint of the event loop either."""
    if not deciding.cancelled():
        deciding.exception()


def _checked(answer: Any, context: Context) -> tuple[tuple[Decision, ...], str, str]:
    """The decisions as the log will hold them. What would not be taken in there is refused here, with its reason."""
    try:
        if not isinstance(answer, list | tuple) or len(answer) > DECISIONS_PER_EVENT_MAX:
            raise ValueError("the answer is no short sequence of decisions")
        if not all(_is_own(decision, context) for decision in answer):
            raise ValueError("the answer holds something that was not built with context.propose")
        for decision in answer:
            check_target(decision.subject)
        if len({decision.lineage.message_id for decision in answer}) < len(answer):
            raise ValueError("two decisions have the same nth")
        return tuple(as_recorded(decision, "") for decision in answer), "", ""
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError, InvalidMessage) as exc:
        return (), "agent_nonsense", str(exc)[:PROBLEM_CHARS_MAX]


def _acceptable(proposed: Proposed) -> tuple[Proposed, bytes]:
    """The answer with its bytes, as the loop will take it in; one that it would refuse is no answer."""
    raw = encode(proposed)
    try:
        decode_event(raw, proposed.occurred_ms)
    except InvalidMessage as exc:
        problem = f"{exc.code}: {exc.detail}"[:PROBLEM_CHARS_MAX]
        proposed = replace(proposed, decisions=(), code="agent_nonsense", problem=problem)
        raw = encode(proposed)
    return proposed, raw


def _is_own(decision: object, context: Context) -> bool:
    return (
        isinstance(decision, Decision)
        and decision.agent == context.agent
        and decision.lineage.causation_id == context.event.lineage.message_id
    )
