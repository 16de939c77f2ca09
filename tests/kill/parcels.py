"""Parcels: a workspace of the harness's own, with all that can wait, count and be remembered, under one steady load."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from control_plane.messages.wire import decode_event
from tests.kill.history import Findings, History
from tests.kill.scene import Deed, Weakness
from tests.kill.time_machine import decided_on
from tests.kill.workload import KG_LIMIT, RULE, SCANNED, WEIGHED, Load, write_workspace
from tests.kill.world import read_effects


class Parcels:
    """The workspace, its load, and a target that loses answers (`scene.Scene`)."""

    foreseen = frozenset({"shipper", RULE})

    def __init__(self) -> None:
        self._effects = Path()

    @contextmanager
    def playing(self, root: Path, workspace: Path, url: str, seed: int) -> Iterator[Load]:
        """The target is a process of its own; each effect is a line in a file."""
        self._effects = root / "effects.jsonl"
        command = [sys.executable, "-m", "tests.kill.world", str(self._effects), str(seed)]
        world = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        load = Load(url, seed)
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

    def weakness(self, history: History, rng: Random) -> Weakness:
        """The limit becomes a weight that was above it: what it decided follows from nothing any more."""
        weighed, _ = decided_on(WEIGHED, self.foreseen, history, rng)
        kg = decode_event(weighed.value, weighed.recorded_ms).data["kg"]
        return Weakness(rule=RULE, before=f"> {KG_LIMIT}", after=f"> {kg}", removed_type=SCANNED)


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
