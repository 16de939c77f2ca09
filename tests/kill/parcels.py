"""Parcels: a workspace of the harness's own, with all that can wait, count and be remembered, under one steady load."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from random import Random

from control_plane.messages import topics
from control_plane.messages.event import OUTCOME_PREFIX
from control_plane.messages.wire import decode_event
from tests.kill.history import Findings, History
from tests.kill.parcels_workspace import KG_LIMIT, RULE, SHARE_MAX, write_workspace
from tests.kill.scene import Deed, Weakness
from tests.kill.time_machine import decided_on
from tests.kill.workload import BELTS, DAMAGED, SCANNED, WEIGHED, Load
from tests.kill.world import read_effects


class Parcels:
    """The workspace, its load, and a target that loses answers (`scene.Scene`)."""

    foreseen = frozenset({"shipper", RULE})
    life_max_s = 2.5
    is_quiet = True

    def __init__(self, events_per_s: float = 150.0) -> None:
        self._effects = Path()
        self._events_per_s = events_per_s

    @contextmanager
    def playing(self, root: Path, workspace: Path, url: str, seed: int) -> Iterator[Load]:
        """The target is a process of its own; each effect is a line in a file."""
        self._effects = root / "effects.jsonl"
        command = [sys.executable, "-m", "tests.kill.world", str(self._effects), str(seed)]
        world = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        load = Load(url, seed, self._events_per_s)
        try:
            assert world.stdout is not None
            write_workspace(workspace, int(world.stdout.readline()))
            load.start()
            yield load
        finally:
            load.give_up()
            world.kill()
            world.wait()
            if world.stdout is not None:
                world.stdout.close()

    def deeds(self) -> list[Deed]:
        """What stands in the file."""
        found = read_effects(self._effects)
        return [Deed(key=one["key"], subject=one["subject"], parameters=one["body"]) for one in found]

    def check(self, history: History, findings: Findings) -> None:
        """Each event that asks for an act was decided on exactly once."""
        foreseen = [decision for decision in history.decisions.values() if decision.agent in self.foreseen]
        decided = Counter(decision.lineage.causation_id for decision in foreseen)
        wanted = _asking_for_an_act(history)
        findings.counts["decisions of rules that wait or count"] = len(history.decisions) - len(foreseen)
        findings.wrong("I1", "inputs that were never decided on", wanted - decided.keys())
        findings.wrong("I1", "inputs that were decided on twice", [id for id, n in decided.items() if n > 1])
        findings.wrong("I1", "decisions on what asked for none", decided.keys() - wanted)
        _check_slow_agent(history, findings)
        _check_share(history, findings)

    def weakness(self, history: History, rng: Random) -> Weakness:
        """The limit becomes a weight that was above it: what it decided follows from nothing any more."""
        weighed, _ = decided_on(WEIGHED, self.foreseen, history, rng)
        kg = decode_event(weighed.value, weighed.recorded_ms).data["kg"]
        return Weakness(rule=RULE, before=f"> {KG_LIMIT}", after=f"> {kg}", removed_type=SCANNED)


def _check_slow_agent(history: History, findings: Findings) -> None:
    """Whatever it was sent it has answered, and it was sent something of each subject that came to harm."""
    answered = {answer.context_id for _, answer in history.answers()}
    findings.counts["contexts"] = len(history.contexts)
    findings.wrong("I1", "contexts without an answer", history.contexts.keys() - answered)
    asked_about = {context.event.subject for context in history.contexts.values()}
    harmed = {event.subject for event in history.events.values() if event.type == DAMAGED}
    findings.wrong("I1", "subjects that it was never asked about", harmed - asked_about)


def _check_share(history: History, findings: Findings) -> None:
    """Never more belts at once than the share, but for one for each further partition that could not know."""
    ended_ms = {
        str(event.data["command_id"]): history.first_places[id].recorded_ms
        for id, event in history.events.items()
        if event.type.startswith(OUTCOME_PREFIX)
    }
    begun = [id for id, command in history.commands.items() if command.intent == "restart_belt"]
    moments = [(history.first_places[id].recorded_ms, 1) for id in begun]
    moments += [(ended_ms[id], -1) for id in begun if id in ended_ms]
    # Of one that ends and one that begins in the same millisecond nobody knows the order.
    most = max(accumulate(change for _, change in sorted(moments)), default=0)
    partitions = len({record.partition for record in history.records[topics.EVENTS]})
    findings.counts["belts restarted"] = len(begun)
    findings.counts[f"logs with {most} belts at once"] = 1
    findings.wrong(
        "I5", "belts at once beyond the share", [most] if most > int(SHARE_MAX * BELTS) + partitions - 1 else []
    )


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
