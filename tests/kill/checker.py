"""Judges one log and one world. Takes nobody's word: not the service's answers, not its counters."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from control_plane.causality import Lineage
from control_plane.messages import topics
from control_plane.messages.event import EFFECT_JUDGED, OUTCOME_PREFIX
from control_plane.ports.log_reader import LogReader
from tests.kill.history import Findings, History
from tests.kill.scene import Deed, Load, Scene

HOPS_MAX = 16
STEPS_MAX = HOPS_MAX * 8
"""Messages from one to its root: more than a round of the loop has, for each round."""


def check(reader: LogReader, scene: Scene, load: Load) -> Findings:
    """I1 to I4 and I8 of the promises, what the scene itself demands, and that copies are byte-equal."""
    findings = Findings()
    acknowledged = set(load.acknowledged)
    history = History(reader)
    _check_copies(history, findings)
    _check_inputs(history, acknowledged, findings)
    _check_world(history, scene.deeds(), findings)
    _check_verdicts(history, findings)
    _check_effects(history, findings)
    _check_causation(history, findings)
    _check_order(history, load.order, findings)
    scene.check(history, findings)
    return findings


def _check_copies(history: History, findings: Findings) -> None:
    findings.wrong(
        "copies", "ids whose copies differ", [key for key, bodies in history.bodies.items() if len(bodies) > 1]
    )
    copies = sum(len(records) for records in history.records.values()) - len(history.events) - len(history.bodies)
    findings.counts["copies"] = copies


def _check_inputs(history: History, acknowledged: set[str], findings: Findings) -> None:
    """Each acknowledged input is on the log, and what was decided and commanded came to one end."""
    findings.counts["acknowledged"] = len(acknowledged)
    findings.wrong("I1", "dead letters", [record.value[:200] for record in history.records[topics.DEAD_LETTERS]])
    findings.wrong("I1", "acknowledged inputs that the log does not hold", acknowledged - history.events.keys())
    # What rules decide when is the scene's and the replay's to judge; here only that nothing was decided twice.
    each = Counter((d.agent, d.subject, d.lineage.causation_id) for d in history.decisions.values())
    findings.counts["decisions"] = len(history.decisions)
    findings.wrong("I1", "agents that decided twice on one event", [key for key, n in each.items() if n > 1])
    ruled = Counter(verdict.decision_id for verdict in history.verdicts.values())
    findings.wrong("I1", "decisions without exactly one verdict", [id for id in history.decisions if ruled[id] != 1])
    ended = Counter(
        str(event.data["command_id"]) for event in history.events.values() if event.type.startswith(OUTCOME_PREFIX)
    )
    findings.wrong("I1", "commands without exactly one outcome", [id for id in history.commands if ended[id] != 1])
    findings.counts.update(event.type for event in history.events.values() if event.type.startswith(OUTCOME_PREFIX))


def _check_world(history: History, deeds: Iterable[Deed], findings: Findings) -> None:
    """Effects in the world are the distinct allowed command ids, one each, with what was allowed."""
    effects = list(deeds)
    times = Counter(effect.key for effect in effects)
    findings.counts["commands"] = len(history.commands)
    findings.counts["effects in the world"] = len(effects)
    findings.wrong("I2", "commands done twice", [key for key, n in times.items() if n > 1])
    findings.wrong("I2", "effects of no command", times.keys() - history.commands.keys())
    succeeded = {
        str(event.data["command_id"]) for event in history.events.values() if event.type == "command.succeeded"
    }
    findings.wrong("I2", "commands that succeeded without an effect", succeeded - times.keys())
    findings.wrong("I2", "effects of commands that did not succeed", times.keys() - succeeded)
    found = [(effect, history.commands.get(effect.key)) for effect in effects]
    other = [effect for effect, command in found if command is not None and not effect.is_of(command)]
    findings.wrong("I2", "effects other than what was allowed", other)


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
    """Each act that succeeded and was to bring something about is judged once, and nothing else is."""
    judged = Counter(effect.command_id for effect in history.effects.values())
    succeeded = {str(e.data["command_id"]) for e in history.events.values() if e.type == "command.succeeded"}
    expected = {id for id in succeeded if _expects(history, id)}
    findings.wrong("I1", "effects that were never judged", expected - judged.keys())
    findings.wrong("I1", "effects of what expected none", judged.keys() - expected)
    findings.wrong("I1", "commands whose effect was judged twice", [id for id, n in judged.items() if n > 1])
    heard = {str(event.data["command_id"]) for event in history.events.values() if event.type == EFFECT_JUDGED}
    findings.wrong("I1", "effects that did not come back", judged.keys() - heard)
    findings.counts.update(f"effect {effect.effect}" for effect in history.effects.values())


def _expects(history: History, command_id: str) -> bool:
    command = history.commands.get(command_id)
    decision = history.decisions.get(command.decision_id) if command is not None else None
    return decision is not None and decision.expects is not None


def _check_causation(history: History, findings: Findings) -> None:
    lineages = {found.lineage.message_id: found.lineage for found in history.messages()}
    derived = [found for found in lineages.values() if found.causation_id is not None]
    orphans = [found for found in derived if found.causation_id not in lineages]
    findings.wrong("I4", "messages whose parent is not on the log", orphans)
    findings.wrong("I4", "flows beyond the hop limit", [found for found in derived if found.hop_count > HOPS_MAX])
    findings.wrong("I4", "messages that have no root", [found for found in derived if not _ends(found, lineages)])


def _ends(lineage: Lineage, lineages: dict[str, Lineage]) -> bool:
    """Whether going from parent to parent comes to an end; where the log lacks one, that is said elsewhere."""
    at: Lineage | None = lineage
    for _ in range(STEPS_MAX):
        if at is None or at.causation_id is None:
            return True
        at = lineages.get(at.causation_id)
    return False


def _check_order(history: History, sent: list[str], findings: Findings) -> None:
    """What is on the log of a subject stands in the order in which it was sent, and so does what followed from it."""
    nth = {message_id: n for n, message_id in enumerate(sent)}
    facts = [(event.subject, nth[id]) for id, event in history.events.items() if id in nth]
    findings.wrong("I8", "subjects whose facts are out of order", _out_of_order(facts))
    at = {id: (place.partition, place.offset) for id, place in history.first_places.items()}
    brought = {decision.lineage.message_id: id for id, answer in history.answers() for decision in answer.decisions}
    for name, messages in (("decisions", history.decisions), ("commands", history.commands)):
        # A cause that the log lacks is a finding of its own, and while the log still grows none at all.
        known = ((found.subject, at.get(_cause(history, id, brought))) for id, found in messages.items())
        causes = [(subject, place) for subject, place in known if place is not None]
        findings.wrong("I8", f"subjects whose {name} are out of order", _out_of_order(causes))


def _cause(history: History, message_id: str, brought: Mapping[str, str]) -> str:
    """The event that a decision or a command follows from, or was brought by if somebody took his time; empty when the
    log was read before its decision stood there."""
    command = history.commands.get(message_id)
    decision_id = command.decision_id if command is not None else message_id
    decision = history.decisions.get(decision_id)
    return brought.get(decision_id) or str(decision.lineage.causation_id) if decision is not None else ""


def _out_of_order(found: Iterable[tuple[str, Any]]) -> list[str]:
    by_subject: dict[str, list[Any]] = defaultdict(list)
    for subject, place in found:
        by_subject[subject].append(place)
    return [subject for subject, places in by_subject.items() if any(b < a for a, b in pairwise(places))]
