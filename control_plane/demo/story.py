"""What happens, told line by line while it happens. Telemetry is told only where it changes for a service.

Tells what it is told: it decides nothing, and the scorecard does not rest on it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from control_plane.demo.plan import SENTENCES, Fault
from control_plane.loop.step import Done
from control_plane.messages import Command, Context, DeadLetter, Decision, Effect, Event, Outcome, Verdict
from control_plane.messages.event import OUTCOME_PREFIX
from control_plane.messages.wire import outcome_of

SLOW_MS: Final = 200.0
HEAVY_MB: Final = 100.0
"""From here on a change is worth telling; what is done about it, the workspace decides."""


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the story, about one service."""

    at_s: float
    step: str
    service: str
    text: str


class Story:
    """Follows the loop as an observer, and knows what is still open."""

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self.open_commands: set[str] = set()
        self.open_effects: set[str] = set()
        self.commanded: set[str] = set()
        """Services that a command was given for."""
        self._tell = tell
        self._began_s = time.monotonic()
        self._known: dict[tuple[str, str], str] = {}
        self._refused: set[tuple[str, str, str]] = set()
        self._expected: dict[str, bool] = {}

    @property
    def is_open(self) -> bool:
        """Whether a command or an effect has yet to be heard of."""
        return bool(self.open_commands or self.open_effects)

    def say(self, step: str, service: str, text: str) -> None:
        """Tell something that is not the loop's doing."""
        self._tell(Line(time.monotonic() - self._began_s, step, service, text))

    def broken(self, fault: Fault) -> None:
        """Tell what the demo has done to a service."""
        self.say("broken", fault.service, f"{SENTENCES[fault.kind]} (the loop is not told)")

    def stepped(self, event: Event, done: Done) -> None:
        """What the loop made of one event."""
        self._sensed(event, _service(event.subject))
        if event.type.startswith(OUTCOME_PREFIX):
            self._outcome(outcome_of(event), _service(event.subject))
        for message in done.said:
            if isinstance(message, Context):
                continue
            # Not the event's: a tick is about a partition, and steps the rows that waited for it.
            service = _service(message.subject)
            if isinstance(message, Decision):
                self._expected[message.lineage.message_id] = message.expects is not None
            elif isinstance(message, Verdict):
                self._verdict(message, [m for m in done.said if isinstance(m, Decision)], service)
            elif isinstance(message, Command):
                self._command(message, service)
            elif isinstance(message, Effect):
                self.open_effects.discard(message.command_id)
                self.say("effect", service, f"{message.effect}: {message.because}")

    def dead_lettered(self, letter: DeadLetter) -> None:
        """What the loop could not use."""
        self.say("refused", _service(letter.subject), f"{letter.code}: {letter.detail}")

    def _verdict(self, verdict: Verdict, decisions: list[Decision], service: str) -> None:
        decision = next(found for found in decisions if found.lineage.message_id == verdict.decision_id)
        reasons = "; ".join(f"{reason.msg} ({reason.code})" for reason in verdict.reasons)
        if verdict.answer == "allow":
            self._proposed(decision, service)
            self.say("allowed", service, reasons)
            return
        # The same refusal again tells nothing new.
        refusal = (service, decision.agent, verdict.reasons[0].code if verdict.reasons else "")
        if refusal not in self._refused:
            self._refused.add(refusal)
            self._proposed(decision, service)
            self.say("denied" if verdict.answer == "deny" else verdict.answer, service, reasons)

    def _proposed(self, decision: Decision, service: str) -> None:
        self.say("proposed", service, f"{decision.agent} wants {decision.intent}: {decision.because}")

    def _command(self, command: Command, service: str) -> None:
        command_id = command.lineage.message_id
        self.open_commands.add(command_id)
        self.commanded.add(service)
        if self._expected.get(command.decision_id):
            self.open_effects.add(command_id)
        self.say("command", service, f"{command.intent} by {command.executor}, command {command_id[:8]}")

    def _outcome(self, outcome: Outcome, service: str) -> None:
        self.open_commands.discard(outcome.command_id)
        if outcome.status != "succeeded":
            self.open_effects.discard(outcome.command_id)
        self.say("outcome", service, f"{outcome.status}{': ' + outcome.detail if outcome.detail else ''}")

    def _sensed(self, event: Event, service: str) -> None:
        for aspect, state, text in _sightings(event.data):
            before = self._known.get((service, aspect), "well")
            self._known[service, aspect] = state
            if state != before:
                self.say("seen", service, text)


def _service(subject: str) -> str:
    return subject.partition("/")[2]


def _sightings(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What an event says of each aspect of a service: the aspect, its state, and a sentence."""
    found = []
    if "up" in data and not data["up"]:
        found.append(("answers", "down", f"no answer: {data.get('error', data.get('status'))}"))
    elif "latency_ms" in data:
        slow = data["latency_ms"] > SLOW_MS
        found.append(("answers", "slow" if slow else "well", f"answers in {data['latency_ms']:.0f} ms"))
    if "rss_mb" in data:
        heavy = data["rss_mb"] > HEAVY_MB
        found.append(("memory", "heavy" if heavy else "well", f"takes {data['rss_mb']:.0f} MB"))
    return found
