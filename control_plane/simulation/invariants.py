"""The promises, judged from outside after a run: what went in, what the world saw, what the log holds.

I1 each input comes to one end. I2 effects are the distinct allowed commands. I3 a command has one allow under policies
that were in force. I4 causes are closed, without circles, within the hop limit. I5 limits hold in every window. I7 a
replay says the same bytes. I8 order per subject.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable

from control_plane.catalogue import Controls
from control_plane.causality.lineage import HOP_COUNT_MAX, trail_step
from control_plane.messages import Command, Question, topics
from control_plane.messages.event import TICK
from control_plane.messages.wire import ms_of
from control_plane.ports.backbone import LOOP_GROUP
from control_plane.replay import render, replay, state_hash
from control_plane.simulation.fleets_judged import judge_fleets
from control_plane.simulation.history import Findings, History
from control_plane.simulation.ledger import at_once
from control_plane.simulation.ports import Parts, Subject
from control_plane.simulation.running import Ran


def judge(ran: Ran, subject: Subject, parts: Parts) -> Findings:
    """All of them."""
    findings = Findings()
    findings.wrong("I1", "runs that do not come to rest", [ran.restless] if ran.restless else [])
    findings.wrong("bug", "errors that nobody expected", ran.problems)
    findings.wrong("R4", "logs that were cut or wiped, and nobody noticed", [ran.unnoticed] if ran.unnoticed else [])
    history = History(ran.log)
    by_subject = _in_order(history, ran.stale)
    _copies(history, findings)
    _inputs(ran, history, findings)
    _decisions(history, ran, findings)
    _world(ran, history, findings)
    _rulings(history, subject, parts, ran.stale, findings)
    _causation(history, findings)
    _limits(by_subject, subject, findings)
    _one_at_a_time(by_subject, history, findings)
    _fresh(history, subject, ran.stale, findings)
    judge_fleets(ran, history, subject, findings)
    _order(by_subject, history, ran, findings)
    _replayed(ran, subject, parts, findings)
    findings.counts["commands"] = len(history.commands) - len(ran.stale)
    findings.counts["events"] = len(history.events)
    findings.counts["effects"] = len(ran.world.effects)
    return findings


def _in_order(history: History, stale: frozenset[str]) -> dict[str, list[Command]]:
    """The commands of each subject, as they were given."""
    found: defaultdict[str, list[Command]] = defaultdict(list)
    for command_id, command in history.commands.items():
        if command_id not in stale:
            found[command.subject].append(command)
    return dict(found)


def _copies(history: History, findings: Findings) -> None:
    unequal = [f"{topic} {message_id}" for (topic, message_id), bodies in history.bodies.items() if len(bodies) > 1]
    findings.wrong("copies", "messages whose copies differ", unequal)
    records = sum(len(found) for found in history.records.values())
    findings.counts["copies"] = records - len(history.bodies) - len(history.events)


def _inputs(ran: Ran, history: History, findings: Findings) -> None:
    """What was acknowledged is there, and what must not be folded is a dead letter, nothing else is."""
    findings.counts["acknowledged"] = len(ran.acknowledged)
    findings.wrong("I1", "acknowledged inputs that the log does not hold", ran.acknowledged - history.by_id.keys())
    buried = {(found.partition, found.offset): found for found in history.letters.values() if found.agent is None}
    poison = {one.value for one in ran.plan.inputs if not one.good and not one.late_ms}
    places = [(r.partition, r.offset) for r in history.records[topics.EVENTS] if r.value in poison]
    findings.wrong("I1", "poisonous records without a dead letter", [place for place in places if place not in buried])
    good = {(p.partition, p.offset) for id in ran.acknowledged for p in history.by_id.get(id, ())}
    wrongly = [f"{place} {buried[place].code}" for place in good if place in buried]
    findings.wrong("I1", "good inputs that became dead letters", wrongly)


def _decisions(history: History, ran: Ran, findings: Findings) -> None:
    """Each decision has one verdict, each allow one command, each command one outcome."""
    ruled = Counter(verdict.decision_id for verdict in history.verdicts.values())
    findings.wrong("I1", "decisions without exactly one verdict", [id for id in history.decisions if ruled[id] != 1])
    released = Counter(c.lineage.causation_id for id, c in history.commands.items() if id not in ran.stale)
    allowed = [id for id, verdict in history.verdicts.items() if verdict.answer == "allow"]
    findings.wrong("I1", "allows without exactly one command", [id for id in allowed if released[id] != 1])
    ended = [id for id in history.commands if id not in ran.stale and len(history.outcomes.get(id, ())) != 1]
    findings.wrong("I1", "commands without exactly one outcome", ended, [history.commands[id].subject for id in ended])
    for found in history.outcomes.values():
        findings.counts[f"outcome {found[0][1].status}"] += 1


def _world(ran: Ran, history: History, findings: Findings) -> None:
    times = Counter(effect.key for effect in ran.world.effects)
    commands = {id: command for id, command in history.commands.items() if id not in ran.stale}
    subject_of = {effect.key: effect.subject for effect in ran.world.effects}

    def wrong(what: str, keys: Iterable[str]) -> None:
        found = list(keys)
        findings.wrong("I2", what, found, [subject_of[key] for key in found if key in subject_of])

    wrong("commands done twice", [key for key, count in times.items() if count > 1])
    wrong("effects of commands that an owner of the past gave", times.keys() & ran.stale)
    wrong("effects of no command", times.keys() - commands.keys() - ran.stale)
    status = {id: found[0][1].status for id, found in history.outcomes.items()}
    wrong(
        "commands that succeeded without an effect",
        [id for id, s in status.items() if s == "succeeded" and not times[id]],
    )
    undone = ("failed", "expired", "refused")
    wrong("effects of commands that are said not to be done", [id for id in times if status.get(id) in undone])
    late = [one for one in ran.world.asked if one.by_clock_ms >= one.command.deadline_ms]
    wrong("attempts after the deadline", [one.command.lineage.message_id for one in late])
    cancelled = [
        one.command.lineage.message_id
        for one in ran.world.asked
        if one.at_us > ran.cancelled.get(one.command.lineage.message_id, one.at_us)
    ]
    wrong("attempts at commands that were taken back", cancelled)


def _rulings(history: History, subject: Subject, parts: Parts, stale: frozenset[str], findings: Findings) -> None:
    """Each command follows from one allow, which the policies that it names give on what they were asked."""
    revisions = {found.revision for found in subject.sets}
    engine, wrong = parts.engine(), []
    for id, command in history.commands.items():
        verdict = history.verdicts.get(command.lineage.causation_id or "")
        if id in stale:
            continue
        if verdict is None or verdict.answer != "allow" or verdict.decision_id != command.decision_id:
            wrong.append(f"{id} without an allow")
        elif verdict.controls_revision not in revisions:
            wrong.append(f"{id} under controls {verdict.controls_revision!r}, which never were")
        elif verdict.policy_input is None or verdict.problem is not None:
            wrong.append(f"{id} without a ruling: {verdict.problem}")
        else:
            policies = subject.controls.at(verdict.controls_revision).policies
            again = at_once(engine.rule(Question(id=verdict.decision_id, input=verdict.policy_input), policies))
            if again.answer != "allow" or verdict.policy_revision != policies.revision:
                wrong.append(f"{id} is allowed, and the policies {policies.revision} say {again.answer}")
    findings.wrong("I3", "commands without one allow under policies in force", wrong)
    findings.counts.update(f"verdict {verdict.answer}" for verdict in history.verdicts.values())


def _causation(history: History, findings: Findings) -> None:
    lineages = list(history.lineages())
    known = {lineage.message_id for _, lineage in lineages} | history.by_id.keys()
    orphans = [lineage.message_id for _, lineage in lineages if lineage.causation_id not in known]
    findings.wrong("I4", "messages whose cause is not on the log", orphans)
    far = [lineage.message_id for _, lineage in lineages if lineage.hop_count > HOP_COUNT_MAX]
    findings.wrong("I4", "flows beyond the hop limit", far)
    causes = {lineage.message_id: lineage.causation_id for _, lineage in lineages}
    findings.wrong("I4", "messages that are their own ancestors", [id for id in causes if _is_circular(id, causes)])
    own = [c for c in history.commands.values() if trail_step(c.agent, c.subject, c.intent) in c.lineage.trail]
    findings.wrong("I4", "commands that follow from their own like", [c.lineage.message_id for c in own])


def _is_circular(message_id: str, causes: dict[str, str | None]) -> bool:
    at: str | None = message_id
    for _ in range(len(causes) + 1):
        at = causes.get(at) if at is not None else None
        if at is None:
            return False
        if at == message_id:
            return True
    return True


def _limits(by_subject: dict[str, list[Command]], subject: Subject, findings: Findings) -> None:
    too_often, too_soon = [], []
    for commands in by_subject.values():
        for at, command in enumerate(commands):
            limits = _controls(command, subject).intents[command.intent].limits
            now_ms = command.occurred_ms
            before = [other for other in commands[:at] if other.intent == command.intent]
            within = [o for o in before if o.occurred_ms > now_ms - limits.per_subject_window_ms]
            if limits.per_subject_max is not None and len(within) >= limits.per_subject_max:
                too_often.append(command)
            if any(now_ms - other.occurred_ms < limits.cooldown_ms for other in before):
                too_soon.append(command)
    for what, found in (("commands above a frequency limit", too_often), ("commands within a cool-down", too_soon)):
        findings.wrong("I5", what, [c.lineage.message_id for c in found], [c.subject for c in found])


def _one_at_a_time(by_subject: dict[str, list[Command]], history: History, findings: Findings) -> None:
    """Between a command and its outcome no other of its class is given on the subject."""
    wrong = []
    for commands in by_subject.values():
        for at, command in enumerate(commands):
            place = history.given_at(command)
            for other in commands[:at]:
                back = next((placed for placed, _ in history.outcomes.get(other.lineage.message_id, ())), None)
                if (
                    place
                    and other.action_class == command.action_class
                    and (back is None or back.offset > place.offset)
                ):
                    wrong.append(command)
    findings.wrong(
        "I5",
        "commands beside a live one of their class",
        [c.lineage.message_id for c in wrong],
        [c.subject for c in wrong],
    )


def _fresh(history: History, subject: Subject, stale: frozenset[str], findings: Findings) -> None:
    """Nothing is done on an event that is older than the intent allows."""
    wrong = []
    for id, command in history.commands.items():
        shown = history.shown(command)
        if id in stale or shown is None or shown.type == TICK:
            continue
        age_ms = command.occurred_ms - ms_of(shown.occurred_at)
        if age_ms > _controls(command, subject).intents[command.intent].context_age_max_ms:
            wrong.append(command)
    findings.wrong("I5", "commands on stale events", [c.lineage.message_id for c in wrong], [c.subject for c in wrong])


def _order(by_subject: dict[str, list[Command]], history: History, ran: Ran, findings: Findings) -> None:
    """Commands follow the order of their causes, effects that of their commands."""
    wrong = []
    for commands in by_subject.values():
        places = [place.offset for command in commands if (place := history.given_at(command)) is not None]
        if places != sorted(places):
            wrong.append(commands[0].subject)
    findings.wrong("I8", "subjects whose commands are not in the order of their causes", wrong, wrong)
    position = {c.lineage.message_id: at for found in by_subject.values() for at, c in enumerate(found)}
    last: dict[str, int] = {}
    disordered = []
    for effect in ran.world.effects:
        at = position.get(effect.key, -1)
        if at >= 0 and at < last.get(effect.subject, -1):
            disordered.append(effect.subject)
        last[effect.subject] = max(at, last.get(effect.subject, -1))
    findings.wrong("I8", "subjects whose effects are not in the order of their commands", disordered, disordered)


def _replayed(ran: Ran, subject: Subject, parts: Parts, findings: Findings) -> None:
    """The same versions say the same bytes, and come to the same rows."""
    if ran.restless:
        return
    committed = {
        partition: offset
        for partition in range(ran.log.partitions(topics.EVENTS))
        if (offset := ran.log.committed_offset(LOOP_GROUP, topics.EVENTS, partition)) is not None
    }
    report = asyncio.run(replay(ran.log, subject.controls, parts.engine(), committed=committed))
    # Of the messages of an owner of the past a replay knows nothing.
    foreign = {"extra": len(ran.stale)} if ran.stale else {}
    findings.wrong("I7", "replays that differ", [] if report.counts == foreign else [render(report)])
    live = [(number, *row) for number, rows in enumerate(ran.log.rows) for row in rows.items()]
    live_hash = state_hash(live)
    equal = live_hash == report.state_hash
    findings.wrong("I7", "states that are not the clean fold", [] if equal else [f"{live_hash}, {report.state_hash}"])


def _controls(command: Command, subject: Subject) -> Controls:
    return subject.controls.at(command.controls_revision)
