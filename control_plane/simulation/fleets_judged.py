"""I5 for fleets: never more of one acted on at once than its intent allows.

Exact only where there is one partition: with several, each knows of the others what it was last told.
"""

from control_plane.catalogue.fleets import SMALL_FLEET_BELOW
from control_plane.messages.event import SUBJECT_REGISTERED, SUBJECT_RETIRED
from control_plane.simulation.history import Findings, History
from control_plane.simulation.ports import Subject
from control_plane.simulation.running import Ran


def judge_fleets(ran: Ran, history: History, subject: Subject, findings: Findings) -> None:
    """Walk along the partition, with who exists and on whom a command is live."""
    if ran.plan.setting.partitions != 1 or not subject.controls.at(subject.sets[0].revision).fleets:
        return
    # By offset; on one tick subjects are stepped in the order of their names.
    happened: list[tuple[int, int, str, str, str]] = []
    for copies in history.events.values():
        event = copies[0].event
        if event.type in (SUBJECT_REGISTERED, SUBJECT_RETIRED):
            happened.append((copies[0].offset, 0, event.subject, event.type, event.subject))
    for found in history.outcomes.values():
        placed, outcome = found[0]
        happened.append((placed.offset, 1, outcome.subject, "back", outcome.command_id))
    for command_id, command in history.commands.items():
        given_at = history.given_at(command)
        if given_at is not None and command_id not in ran.stale:
            happened.append((given_at.offset, 2, command.subject, "given", command_id))
    _walk(sorted(happened), history, subject, findings)


def _walk(
    happened: list[tuple[int, int, str, str, str]], history: History, subject: Subject, findings: Findings
) -> None:
    members: dict[str, None] = {}
    live: dict[str, str] = {}
    wrong = []
    for _, _, _, what, about in happened:
        if what == SUBJECT_REGISTERED:
            members[about] = None
        elif what == SUBJECT_RETIRED:
            members.pop(about, None)
        elif what == "back":
            live.pop(about, None)
        else:
            command = history.commands[about]
            controls = subject.controls.at(command.controls_revision)
            share_max = controls.intents[command.intent].limits.fleet_share_max
            for fleet in controls.fleets.of(command.subject) if share_max is not None else ():
                size = sum(1 for member in members if any(f.name == fleet.name for f in controls.fleets.of(member)))
                others = {one for one in live.values() if one != command.subject and one in members}
                others = {one for one in others if any(f.name == fleet.name for f in controls.fleets.of(one))}
                small = size < SMALL_FLEET_BELOW
                if (small and others) or (not small and (len(others) + 1) / size > (share_max or 0)):
                    wrong.append(f"{about}: {len(others) + 1} of {size} in {fleet.name}")
            live[about] = command.subject
    findings.wrong("I5", "commands that act on too much of a fleet", wrong)
