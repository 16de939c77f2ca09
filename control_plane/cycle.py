"""The whole loop in memory, in one screen: read this first.

    event -> row -> agents -> decision -> guards, policy -> verdict -> command -> executor -> outcome -> event ...

Nothing here is durable and nothing waits: it is the loop as it is meant. `control_plane.partition` drives the same
`step` exactly, on a log.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from control_plane.catalogue import Controls
from control_plane.causality import Lineage
from control_plane.causality.lineage import trail_step
from control_plane.errors import InvalidMessage
from control_plane.loop.arrival import Arrival
from control_plane.loop.intake import check_event
from control_plane.loop.step import AgentFailure, Ask, Done, Said, step
from control_plane.messages import Command, Effect, Event, Outcome, Proposed, Question, Ruling
from control_plane.messages.event import TICK
from control_plane.messages.outcome import Status
from control_plane.messages.wire import decode_event, encode, utc
from control_plane.partition.fleets import FleetSums, KnownFleets
from control_plane.partition.told import Told
from state.rows import Row

Rule = Callable[[Question], Ruling]
Execute = Callable[[Command], Status]


class Cycle:
    """A loop with its rows. `rule` answers for the policy engine, `execute` for the executors."""

    def __init__(self, controls: Controls, rule: Rule, execute: Execute) -> None:
        self.controls = controls
        self.rows: dict[str, Row] = {}
        self.refused: list[InvalidMessage] = []
        self.failures: list[AgentFailure] = []
        self.heard: dict[str, int] = {}
        self._fleets = FleetSums(0, controls.fleets)
        self._rule = rule
        self._execute = execute
        self._offset = 0

    def feed(self, event: Event, now_ms: int) -> Iterator[Said | Outcome]:
        """Take an event round the loop, and all that comes back from it, at log time `now_ms`."""
        waiting = deque([event])
        while waiting:
            for message in self._fold(waiting.popleft(), now_ms):
                yield message
                if isinstance(message, Command):
                    outcome = self._outcome(message, now_ms)
                    yield outcome
                    waiting.append(decode_event(encode(outcome), now_ms))
                if isinstance(message, Effect | Proposed):
                    waiting.append(decode_event(encode(message), now_ms))

    def tick(self, now_ms: int) -> Iterator[Said | Outcome]:
        """Let time pass on every row that waits for it."""
        for subject, row in sorted(self.rows.items()):
            due_ms = row.due_ms()
            if due_ms is not None and due_ms <= now_ms:
                yield from self.feed(_tick(row, subject), now_ms)

    def _fold(self, event: Event, now_ms: int) -> tuple[Said, ...]:
        self._offset += 1
        try:
            if event.type != TICK:
                check_event(event, now_ms, self.controls)
                self.heard[event.lineage.source] = now_ms
        except InvalidMessage as refused:
            self.refused.append(refused)
            return ()
        row = self.rows.get(event.subject, Row(subject=event.subject))
        fleets = KnownFleets(self._fleets, Told.alone(), now_ms)
        done = self._answered(step(self.controls, row, Arrival(event, self._offset, now_ms, fleets, self.heard)))
        self.rows[event.subject] = done.row
        self._fleets.count(self._offset, event.subject, done.row.standing)
        self._fleets.acknowledged(self._offset)
        self.failures += done.failures
        return done.said

    def _answered(self, result: Done | Ask) -> Done:
        while isinstance(result, Ask):
            answers: Mapping[str, Ruling] = {question.id: self._rule(question) for question in result.questions}
            result = result.resume(answers)
        return result

    def _outcome(self, command: Command, now_ms: int) -> Outcome:
        return Outcome(
            lineage=command.lineage.returning("outcome", trail_step(command.agent, command.subject, command.intent)),
            subject=command.subject,
            occurred_ms=now_ms,
            command_id=command.lineage.message_id,
            decision_id=command.decision_id,
            agent=command.agent,
            intent=command.intent,
            action_class=command.action_class,
            executor=command.executor,
            status=self._execute(command),
            attempts=1,
        )


def _tick(row: Row, subject: str) -> Event:
    due_ms = row.due_ms() or 0
    return Event(
        lineage=Lineage.root("clock", f"{subject}/{due_ms}"), type=TICK, subject=subject, occurred_at=utc(due_ms)
    )
