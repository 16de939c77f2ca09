"""Judges one log and one world. Takes nobody's word: not the service's answers, not its counters."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_plane.messages import Command, Decision, Effect, Event, Verdict, topics
from control_plane.messages.event import EFFECT_JUDGED
from control_plane.messages.wire import decode, decode_event
from control_plane.ports.backbone import Record
from control_plane.ports.log_reader import LogReader
from tests.kill.workload import KG_LIMIT, RULE, SCANNED, WEIGHED
from tests.kill.world import read_effects

TOPICS = topics.KEYED_BY_SUBJECT
EXAMPLES_SHOWN_MAX = 5


@dataclass
class Findings:
    """What was counted, and what is wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def wrong(self, promise: str, what: str, cases: Iterable[object]) -> None:
        """Note a violation, with a few of its cases."""
        found = list(cases)
        if found:
            self.violations.append(f"{promise}: {len(found)} {what}, such as {found[:EXAMPLES_SHOWN_MAX]}")

    def add(self, others: "Findings") -> None:
        """What was found elsewhere, or on another log."""
        self.counts.update(others.counts)
        self.violations += others.violations


class History:
    """All that the log holds, each message once, with how often it stands there."""

    def __init__(self, reader: LogReader) -> None:
        self.records: dict[str, list[Record]] = {
            topic: [r for p in range(reader.partitions(topic)) for r in reader.read(topic, p)] for topic in TOPICS
        }
        self.bodies: dict[tuple[str, str], set[bytes]] = defaultdict(set)
        self.events: dict[str, Event] = {}
        self.event_copies: Counter[str] = Counter()
        for record in self.records[topics.EVENTS]:
            event = decode_event(record.value, record.recorded_ms)
            self.events[event.lineage.message_id] = event
            self.event_copies[event.lineage.message_id] += 1
        self.decisions = self._internal(topics.DECISIONS, Decision)
        self.verdicts = self._internal(topics.VERDICTS, Verdict)
        self.commands = self._internal(topics.COMMANDS, Command)
        self.effects = self._internal(topics.EFFECTS, Effect)

    def first_copies(self) -> Iterator[tuple[Record, Event]]:
        """Each event where it stands first, in the order of its partition."""
        met: set[str] = set()
        for record in self.records[topics.EVENTS]:
            event = decode_event(record.value, record.recorded_ms)
            if event.lineage.message_id not in met:
                met.add(event.lineage.message_id)
                yield record, event

    def _internal(self, topic: str, message_type: type) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for record in self.records[topic]:
            message = decode(record.value, message_type)
            found[message.lineage.message_id] = message
            self.bodies[topic, message.lineage.message_id].add(record.value)
        return found


FORESEEN = frozenset({"shipper", RULE})
"""Agents of which each decision can be told from the events alone, without knowing how rules wait."""


def check(reader: LogReader, effects_file: Path, acknowledged: set[str]) -> Findings:
    """I1 to I4 of the promises, and that copies are byte-equal."""
    findings = Findings()
    history = History(reader)
    _check_copies(history, findings)
    _check_inputs(history, acknowledged, findings)
    _check_world(history, effects_file, findings)
    _check_verdicts(history, findings)
    _check_effects(history, findings)
    _check_causation(history, findings)
    return findings


def _check_copies(history: History, findings: Findings) -> None:
    findings.wrong(
        "copies", "ids whose copies differ", [key for key, bodies in history.bodies.items() if len(bodies) > 1]
    )
    copies = sum(len(records) for records in history.records.values()) - len(history.events) - len(history.bodies)
    findings.counts["copies"] = copies


def _check_inputs(history: History, acknowledged: set[str], findings: Findings) -> None:
    """Each acknowledged input is on the log, and each that asked for an act was decided on exactly once."""
    findings.counts["acknowledged"] = len(acknowledged)
    findings.wrong("I1", "dead letters", [record.value[:200] for record in history.records[topics.DEAD_LETTERS]])
    findings.wrong("I1", "acknowledged inputs that the log does not hold", acknowledged - history.events.keys())
    foreseen = [decision for decision in history.decisions.values() if decision.agent in FORESEEN]
    decided = Counter(decision.lineage.causation_id for decision in foreseen)
    wanted = _asking_for_an_act(history)
    findings.counts["decisions"] = len(history.decisions)
    findings.counts["decisions of rules that wait or count"] = len(history.decisions) - len(foreseen)
    # What these decide when is the replay's to judge; here only that nothing was decided twice.
    each = Counter((d.agent, d.subject, d.lineage.causation_id) for d in history.decisions.values())
    findings.wrong("I1", "agents that decided twice on one event", [key for key, n in each.items() if n > 1])
    findings.wrong("I1", "inputs that were never decided on", wanted - decided.keys())
    findings.wrong("I1", "inputs that were decided on twice", [id for id, n in decided.items() if n > 1])
    findings.wrong("I1", "decisions on what asked for none", decided.keys() - wanted)
    ruled = Counter(verdict.decision_id for verdict in history.verdicts.values())
    findings.wrong("I1", "decisions without exactly one verdict", [id for id in history.decisions if ruled[id] != 1])
    ended = Counter(
        str(event.data["command_id"]) for event in history.events.values() if event.type.startswith("command.")
    )
    findings.wrong("I1", "commands without exactly one outcome", [id for id in history.commands if ended[id] != 1])
    findings.counts.update(event.type for event in history.events.values() if event.type.startswith("command."))


def _asking_for_an_act(history: History) -> set[str]:
    """Scans that say so; and each weight above the limit that does not follow another one, for rules fire at edges."""
    wanted, heavy = set(), set()
    for _, event in history.first_copies():
        if event.type == SCANNED and event.data["ship"]:
            wanted.add(event.lineage.message_id)
        if event.type == WEIGHED and event.data["kg"] <= KG_LIMIT:
            heavy.discard(event.subject)
        elif event.type == WEIGHED and event.subject not in heavy:
            heavy.add(event.subject)
            wanted.add(event.lineage.message_id)
    return wanted


def _check_world(history: History, effects_file: Path, findings: Findings) -> None:
    """Effects in the world are the distinct allowed command ids, one each, with what was allowed."""
    effects = read_effects(effects_file)
    times = Counter(effect["key"] for effect in effects)
    findings.counts["commands"] = len(history.commands)
    findings.counts["effects in the world"] = len(effects)
    findings.wrong("I2", "commands done twice", [key for key, n in times.items() if n > 1])
    findings.wrong("I2", "effects of no command", times.keys() - history.commands.keys())
    succeeded = {
        str(event.data["command_id"]) for event in history.events.values() if event.type == "command.succeeded"
    }
    findings.wrong("I2", "commands that succeeded without an effect", succeeded - times.keys())
    findings.wrong("I2", "effects of commands that did not succeed", times.keys() - succeeded)
    for effect in effects:
        command = history.commands.get(effect["key"])
        if command is not None and command.parameters != effect["body"]:
            findings.wrong("I2", "effects with other parameters than were allowed", [effect])


def _check_verdicts(history: History, findings: Findings) -> None:
    allowed = {
        verdict.lineage.message_id: verdict for verdict in history.verdicts.values() if verdict.answer == "allow"
    }
    released = Counter(command.lineage.causation_id for command in history.commands.values())
    findings.wrong("I3", "commands without an allow", [id for id in released if id not in allowed])
    findings.wrong("I3", "allows without exactly one command", [id for id in allowed if released[id] != 1])
    findings.wrong("I3", "allows that name no policy revision", [v for v in allowed.values() if not v.policy_revision])
    findings.counts.update(f"verdict {v.answer} ({v.reasons[0].code})" for v in history.verdicts.values())


def _check_effects(history: History, findings: Findings) -> None:
    """Each inspection that succeeded is judged once, when its window closes, and nothing else is."""
    judged = Counter(effect.command_id for effect in history.effects.values())
    succeeded = {str(e.data["command_id"]) for e in history.events.values() if e.type == "command.succeeded"}
    expected = {id for id in succeeded if history.commands[id].agent == RULE}
    findings.wrong("I1", "effects that were never judged", expected - judged.keys())
    findings.wrong("I1", "effects of what expected none", judged.keys() - expected)
    findings.wrong("I1", "commands whose effect was judged twice", [id for id, n in judged.items() if n > 1])
    heard = {str(event.data["command_id"]) for event in history.events.values() if event.type == EFFECT_JUDGED}
    findings.wrong("I1", "effects that did not come back", judged.keys() - heard)
    findings.counts.update(f"effect {effect.effect}" for effect in history.effects.values())


def _check_causation(history: History, findings: Findings) -> None:
    known = set(history.events) | set(history.decisions) | set(history.verdicts) | set(history.commands)
    messages = [*history.decisions.values(), *history.verdicts.values(), *history.commands.values()]
    messages += [*history.effects.values()]
    messages += [event for event in history.events.values() if event.type.startswith("command.")]
    findings.wrong(
        "I4", "messages whose parent is not on the log", [m for m in messages if m.lineage.causation_id not in known]
    )
    findings.wrong("I4", "flows beyond the hop limit", [m for m in messages if m.lineage.hop_count > 16])
