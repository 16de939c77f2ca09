"""One subject under one rule: events and ticks in, proposals out; the row is stored and read again in between."""

from typing import Any

from agents.rules import Rule
from control_plane.catalogue import Controls
from control_plane.loop import briefing
from control_plane.loop.arrival import Arrival
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import Decision, Event
from control_plane.messages.subject import Subject as Name
from control_plane.sdk import Context, Silence
from state.rows import Row, decode_row, encode_row
from tests import builders
from tests.builders import NOW_MS, WEB_1

HOT, COOL = 500.0, 1.0
SOURCE = "probe"


class Subject:
    """Milliseconds count from the first event. Policy allows nothing, so nothing is ever executed."""

    def __init__(self, *, limits: dict[str, str] | None = None, context_age_max: str = "1m", **rule: Any) -> None:
        intent = builders.intent(limits=limits or {}, context_age_max=context_age_max)
        self.controls: Controls = builders.controls(intent, builders.row(), builders.rule(**rule))
        self.row = Row(subject=WEB_1)
        self.missed = 0
        self._offset = 0
        self._heard: dict[str, int] = {}

    def measure(
        self, at_ms: int, rss: float | str | None, *, late_ms: int = 0, twice: bool = False, source: str = SOURCE
    ) -> list[Decision]:
        """What the rule proposes on an event that happened `late_ms` ago; with `twice` the record is in the log a
        second time; without an rss the field is missing."""
        event = builders.event(
            data={} if rss is None else {"rss": rss},
            message_id=f"e{self._offset}",
            at_ms=NOW_MS + at_ms - late_ms,
            source=source,
        )
        self._heard[source] = NOW_MS + at_ms
        said = self._take(event, at_ms)
        return said + self._take(event, at_ms) if twice else said

    def hear(self, at_ms: int, source: str = SOURCE) -> None:
        """The source says something of another subject."""
        self._heard[source] = NOW_MS + at_ms

    def tick(self, at_ms: int) -> list[Decision]:
        """What the rule proposes on a tick; nothing if the row does not wait for it."""
        due_ms = self.row.due_ms()
        if due_ms is None or due_ms > NOW_MS + at_ms:
            return []
        return self._take(builders.tick(at_ms=NOW_MS + at_ms), at_ms)

    def due_ms(self) -> int | None:
        """When the row next wants a tick."""
        due_ms = self.row.due_ms()
        return None if due_ms is None else due_ms - NOW_MS

    def state(self) -> str:
        return self._rule.state(self.row.own.get("memory_guard"), self.row.now_ms)

    def why_not(self, at_ms: int, rss: float | str | None = None, *, by_tick: bool = False) -> Silence | None:
        """Why the rule would stay silent on an event, or on a tick."""
        data = {} if rss is None else {"rss": rss}
        event = builders.tick(at_ms=NOW_MS + at_ms) if by_tick else builders.event(data=data, at_ms=NOW_MS + at_ms)
        return self._rule.why_not(self._context(event, at_ms))

    @property
    def _rule(self) -> Rule:
        (found,) = self.controls.agents
        assert isinstance(found.agent, Rule)
        return found.agent

    def _context(self, event: Event, at_ms: int) -> Context:
        (found,) = self.controls.agents
        row = decode_row(encode_row(self.row))
        now = Row(subject=WEB_1, now_ms=NOW_MS + at_ms, own=row.own, live=row.live, parts=row.parts)
        shared = briefing.brief(now, event, Name.parse(WEB_1), self.controls, self._heard)
        return briefing.context_for(found, now, shared)

    def _take(self, event: Event, at_ms: int) -> list[Decision]:
        self._offset += 1
        arrival = Arrival(event, self._offset, NOW_MS + at_ms, heard=dict(self._heard))
        done = answered(step(self.controls, self.row, arrival))
        assert not done.failures
        self.row = decode_row(encode_row(done.row))
        self.missed += done.missed
        return [message for message in done.said if isinstance(message, Decision)]


def answered(result: Done | Ask) -> Done:
    """The end of a step, with every question denied."""
    while isinstance(result, Ask):
        result = result.resume({question.id: builders.deny(question) for question in result.questions})
    return result
