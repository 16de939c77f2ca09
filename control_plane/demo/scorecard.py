"""What a demo came to: counted from the log and from the world, never from the service's own word."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

from control_plane.demo.history import History
from control_plane.demo.plan import SENTENCES, Fault
from control_plane.demo.workers import Start


class InjectedFault(Struct, frozen=True, kw_only=True):
    """One fault and what was seen of it. Times are seconds since the epoch; `repaired_at` by looking at the process.

    `process` is the pid before and the one after, where there is one.
    """

    fault: Fault
    injected_at: float
    repaired_at: float | None = None
    process: tuple[int | None, int | None] = (None, None)


class FaultReport(Struct, frozen=True, kw_only=True):
    """One real fault in the scorecard. What never happened is null."""

    kind: str
    subject: str
    injected_at: datetime
    detected_s: float | None
    repaired_s: float | None
    effect: str | None


class LeftAlone(Struct, frozen=True, kw_only=True):
    """The red herring, and what was done about it all the same: nothing, if all is well."""

    kind: str
    subject: str
    injected_at: datetime
    commands: int


class ReplayReport(Struct, frozen=True, kw_only=True):
    """Whether the log, run through the loop once more, gave the same bytes."""

    equal: bool
    messages: int
    recorded_hash: str
    replayed_hash: str


class Scorecard(Struct, frozen=True, kw_only=True):
    """The end of a demo, as `--json` prints it. `problems` says why `ok` is false."""

    demo: str
    ok: bool
    seed: int
    first_action_s: float | None
    faults: tuple[FaultReport, ...]
    left_alone: tuple[LeftAlone, ...]
    decisions: int
    verdicts: dict[str, int]
    commands: int
    outcomes: dict[str, int]
    effects: dict[str, int]
    duplicates: int
    lost: int
    replay: ReplayReport
    problems: tuple[str, ...]


def score(
    *,
    seed: int,
    began_at: float,
    injected: Sequence[InjectedFault],
    history: History,
    starts: Sequence[Start],
    replay: ReplayReport,
    interrupted: str = "",
) -> Scorecard:
    """Count everything, and say whether the demo shows what it should."""
    reports = tuple(_fault_report(found, history) for found in injected if found.fault.is_real)
    left_alone = tuple(_left_alone(found, history) for found in injected if not found.fault.is_real)
    duplicates, lost = count_duplicates(history, starts), count_lost(history, starts)
    problems = [
        *([interrupted] if interrupted else []),
        *(
            f"{report.subject} was not repaired: {SENTENCES[report.kind]}"
            for report in reports
            if not report.repaired_s
        ),
        *(f"{found.subject} was acted on, although {SENTENCES[found.kind]}" for found in left_alone if found.commands),
        *([f"{duplicates} things were done twice"] if duplicates else []),
        *([f"{lost} things were lost"] if lost else []),
        *([] if replay.equal else ["the replay differs from the log"]),
    ]
    return card_of(
        "incident",
        seed=seed,
        began_at=began_at,
        faults=reports,
        left_alone=left_alone,
        history=history,
        duplicates=duplicates,
        lost=lost,
        replay=replay,
        problems=problems,
    )


def card_of(
    demo: str,
    *,
    seed: int,
    began_at: float,
    faults: tuple[FaultReport, ...],
    left_alone: tuple[LeftAlone, ...],
    history: History,
    duplicates: int,
    lost: int,
    replay: ReplayReport,
    problems: Sequence[str],
) -> Scorecard:
    """The scorecard of any demo: what the demo counted itself, and beside it what the log holds."""
    return Scorecard(
        demo=demo,
        ok=not problems,
        seed=seed,
        first_action_s=_first_action_s(history, began_at),
        faults=faults,
        left_alone=left_alone,
        decisions=len(history.decisions),
        verdicts={answer: history.answers()[answer] for answer in ("allow", "deny", "escalate")},
        commands=len(history.commands),
        outcomes=dict(sorted(Counter(outcome.status for outcome in history.outcomes).items())),
        effects=dict(sorted(Counter(effect.effect for effect in history.effects).items())),
        duplicates=duplicates,
        lost=lost,
        replay=replay,
        problems=tuple(problems),
    )


def count_duplicates(history: History, starts: Sequence[Start]) -> int:
    """Starts beyond the one that each command may cause, and starts that nobody asked for."""
    asked = {command.lineage.message_id for command in history.commands}
    # The first start of each service has no command; it, too, may happen only once.
    caused = Counter(start.command_id or f"first/{start.name}" for start in starts)
    repeated = sum(count - 1 for count in caused.values())
    return repeated + sum(start.command_id not in asked for start in starts if start.command_id)


def count_lost(history: History, starts: Sequence[Start]) -> int:
    """Commands without an outcome, and successes without a start in the world."""
    finished = {outcome.command_id for outcome in history.outcomes}
    succeeded = {outcome.command_id for outcome in history.outcomes if outcome.status == "succeeded"}
    started = {start.command_id for start in starts}
    unfinished = [command for command in history.commands if command.lineage.message_id not in finished]
    return len(unfinished) + len(succeeded - started)


def _fault_report(found: InjectedFault, history: History) -> FaultReport:
    subject = f"service/{found.fault.service}"
    proposed_ms = [decision.occurred_ms for decision in history.decisions if decision.subject == subject]
    detected_ms = min((ms for ms in proposed_ms if ms / 1000 >= found.injected_at), default=None)
    return FaultReport(
        kind=found.fault.kind,
        subject=subject,
        injected_at=time_of(found.injected_at),
        detected_s=None if detected_ms is None else seconds(detected_ms / 1000 - found.injected_at),
        repaired_s=None if found.repaired_at is None else seconds(found.repaired_at - found.injected_at),
        effect=next((effect.effect for effect in history.effects if effect.subject == subject), None),
    )


def _left_alone(found: InjectedFault, history: History) -> LeftAlone:
    subject = f"service/{found.fault.service}"
    return LeftAlone(
        kind=found.fault.kind,
        subject=subject,
        injected_at=time_of(found.injected_at),
        commands=sum(command.subject == subject for command in history.commands),
    )


def _first_action_s(history: History, began_at: float) -> float | None:
    done_ms = [outcome.occurred_ms for outcome in history.outcomes if outcome.status == "succeeded"]
    return seconds(min(done_ms) / 1000 - began_at) if done_ms else None


def seconds(duration_s: float) -> float:
    """Rounded as scorecards show it."""
    return round(duration_s, 3)


def time_of(at_s: float) -> datetime:
    """Seconds since the epoch as a time."""
    return datetime.fromtimestamp(round(at_s, 3), UTC)
