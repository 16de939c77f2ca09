"""Judges a log by `setpoint replay`: equal as it is, and found out once somebody has laid hands on it.

A tampering is made on a copy that is written anew, with checksums that are right; the last one in the files themselves,
where a checksum must catch it.
"""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from control_plane.adapters.faust import open_log_reader
from control_plane.bootstrap.workshop import compile_tools
from control_plane.catalogue import ControlItem, ControlSet
from control_plane.messages import Verdict, topics
from control_plane.messages.event import CONTROLS_ADOPTED
from control_plane.messages.wire import decode
from control_plane.ports.backbone import Position, Record
from control_plane.ports.log_reader import LogReader
from control_plane.workspace.control_log import ControlLog
from tests.kill.history import Findings, History
from tests.kill.outside import live_state
from tests.kill.scene import Scene, Weakness
from tests.tampering import Change, ChangedLog, carelessly_forged, flip_on_disk, flipped, forged, without, written_anew

REPLAYS_AT_ONCE = 2
OUTPUT_CHARS_MAX = 2_000


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """How `setpoint replay --json` ended."""

    code: int
    report: dict[str, Any]
    said: str

    @property
    def differs(self) -> bool:
        """Whether it went through, and something was not the same."""
        return self.code == 1 and self.report.get("equal") is False

    def shows(self, topic: str, message_id: str = "") -> bool:
        """Whether a difference on this topic is shown; of one message, if it is named."""
        shown = [found for found in self.report.get("differences", ()) if found["topic"] == topic]
        return self.differs and any(message_id in ("", found["message_id"]) for found in shown)

    def refuses(self, because: str) -> bool:
        """Whether it would not replay such a log, and said why."""
        return self.code == 1 and not self.report and because in self.said


Found = Callable[[Replayed], bool]


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """What somebody did to a log, and how a replay must find it."""

    name: str
    change: Change
    found: Found


def judge_replays(url: str, scene: Scene, place: Path, seed: int) -> Findings:
    """I7 and R2 of the promises on one log, and that a replay would see it if they did not hold."""
    findings = Findings()
    with closing(open_log_reader(url)) as reader:
        original = replay(url)
        findings.counts["replays equal"] += original.code == 0
        findings.wrong("I7", "replays that differ", [original.said] if original.code else [])
        if not original.code:
            _check_state(reader, original, findings)
            _tamper(reader, scene, original, place, random.Random(seed), findings)
    return findings


def replay(url: str) -> Replayed:
    """Run the command as a person would."""
    command = [sys.executable, "-m", "control_plane.cli.main", "replay", "--backbone", url, "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    report = msgspec.json.decode(ended.stdout) if ended.stdout else {}
    return Replayed(code=ended.returncode, report=report, said=ended.stdout[:OUTPUT_CHARS_MAX] + ended.stderr)


def _check_state(reader: LogReader, original: Replayed, findings: Findings) -> None:
    live, folded = live_state(reader), original.report["state_hash"]
    wrong = [] if live == folded else [f"live {live}, folded {folded}"]
    findings.wrong("R2", "states that are not the clean fold of the log", wrong)


def _tamper(
    reader: LogReader, scene: Scene, original: Replayed, place: Path, rng: random.Random, findings: Findings
) -> None:
    history = History(reader)
    untouched = written_anew(reader, place / "untouched")
    damaged = written_anew(reader, place / "damaged")
    flip_on_disk(damaged, _ids(history.records[topics.VERDICTS], rng))
    tamperings = list(_tamperings(reader, scene, history, rng))
    forgeries = [written_anew(ChangedLog(reader, one.change), place / str(n)) for n, one in enumerate(tamperings)]
    with ThreadPoolExecutor(REPLAYS_AT_ONCE) as pool:
        copied, caught, *replays = pool.map(_replay_at, [untouched, damaged, *forgeries])
    same = copied.report == original.report
    findings.wrong("I7", "untouched copies that replay otherwise", [] if same else [copied.said])
    _note("byte flipped on disk", caught, lambda replayed: replayed.refuses("damaged"), findings)
    for tampering, replayed in zip(tamperings, replays, strict=True):
        _note(tampering.name, replayed, tampering.found, findings)


def _replay_at(path: Path) -> Replayed:
    return replay(f"embedded://{path}")


def _note(name: str, replayed: Replayed, found: Found, findings: Findings) -> None:
    seen = found(replayed)
    findings.counts["tamperings"] += 1
    findings.counts["tamperings found"] += seen
    findings.wrong("I7", "tamperings that a replay did not find", [] if seen else [f"{name}: {replayed.said}"])


def _tamperings(reader: LogReader, scene: Scene, history: History, rng: random.Random) -> Iterator[Tampering]:
    weak = scene.weakness(history, rng)
    # A ruling that failed is taken from the record, so nothing but the record says what it was.
    ruled = [r for r in history.records[topics.VERDICTS] if decode(r.value, Verdict).problem is None]
    verdict = rng.choice(ruled)
    yield Tampering(
        name="bit flipped in a verdict",
        change=flipped(_place(verdict), rng.randrange(len(verdict.value)), rng.randrange(8)),
        found=lambda replayed: replayed.shows(topics.VERDICTS),
    )
    yield Tampering(
        name="rule changed in the control topic",
        change=carelessly_forged(topics.AGENTS, weak.before, weak.after),
        found=lambda replayed: replayed.refuses("is not what was published"),
    )
    controls = _adopted_controls(reader, history)
    yield Tampering(
        name="rule changed and all digests with it",
        change=forged(controls, _with_other_rule(controls, weak)),
        # At least one decision of that rule follows from nothing any more.
        found=lambda replayed: replayed.differs and replayed.report["counts"].get("extra", 0) > 0,
    )
    event, decision_id = decided_on(weak.removed_type, scene.foreseen, history, rng)
    yield Tampering(
        name="event removed",
        change=without(_place(event)),
        found=lambda replayed: replayed.shows(topics.DECISIONS, decision_id),
    )


def _adopted_controls(reader: LogReader, history: History) -> ControlSet:
    revisions = {str(e.data["revision"]) for e in history.events.values() if e.type == CONTROLS_ADOPTED}
    assert len(revisions) == 1, f"the workspace never changes, and yet was adopted as {sorted(revisions)}"
    return ControlLog.from_reader(reader, compile_tools()).control_set(revisions.pop())


def _with_other_rule(controls: ControlSet, weak: Weakness) -> ControlSet:
    changed = [
        ControlItem(item.kind, item.name, item.body.replace(weak.before, weak.after))
        if (item.kind, item.name) == ("rule", weak.rule)
        else item
        for item in controls.items
    ]
    return ControlSet.of(changed)


def decided_on(event_type: str, foreseen: Set[str], history: History, rng: random.Random) -> tuple[Record, str]:
    """An event that stands on the log once, and a decision of one of these agents that followed from it."""
    decision_ids = {
        decision.lineage.causation_id: id for id, decision in history.decisions.items() if decision.agent in foreseen
    }
    found = [
        (record, decision_ids[event.lineage.message_id])
        for record, event in history.first_copies()
        if event.type == event_type
        and event.lineage.message_id in decision_ids
        and history.event_copies[event.lineage.message_id] == 1
    ]
    return rng.choice(found)


def _place(record: Record) -> Position:
    return Position(record.topic, record.partition, record.offset)


def _ids(records: Sequence[Record], rng: random.Random) -> list[bytes]:
    """What stands in the files of some records and nowhere else, in an order of chance."""
    return [decode(record.value, Verdict).lineage.message_id.encode() for record in rng.sample(records, len(records))]
