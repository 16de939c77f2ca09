"""The parts of the incident demo: what is broken, counted and told. Its whole run has a test of its own."""

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from control_plane.causality import Lineage
from control_plane.demo.history import History
from control_plane.demo.plan import FAULTS, SPIKES, Fault, draw_faults
from control_plane.demo.ports import PORT_FIRST, PORT_LAST, free_ports
from control_plane.demo.scorecard import InjectedFault, ReplayReport, Scorecard, count_duplicates, count_lost, score
from control_plane.demo.story import Line, Story
from control_plane.demo.view import View
from control_plane.demo.workers import Look, Start, Workers, end_all
from control_plane.loop.step import Done
from control_plane.messages import Command, Decision, Effect, Event, Expectation, Outcome, Reason, Verdict
from control_plane.messages.outcome import Status
from control_plane.messages.wire import decode_event, encode, utc
from state.rows import Row

NAMES = ("web-1", "web-2", "web-3", "web-4")
NOW_S = 1_767_225_600.0
WEB_1 = "service/web-1"
EQUAL = ReplayReport(equal=True, messages=4, recorded_hash="a", replayed_hash="a")
UNEQUAL = ReplayReport(equal=False, messages=4, recorded_hash="a", replayed_hash="b")


def lineage(name: str) -> Lineage:
    return Lineage.root("test", name)


def a_decision(subject: str = WEB_1, at_s: float = NOW_S + 1) -> Decision:
    return Decision(
        lineage=lineage(f"decision/{subject}"),
        subject=subject,
        occurred_ms=int(at_s * 1000),
        agent="crash_guard",
        agent_version="1.0.0",
        intent="restart_service",
        parameters={},
        confidence=1.0,
        because="no answer for 0.6 s",
        expects=Expectation(where="rows.service_health.up", within_ms=1000),
    )


def a_verdict(subject: str = WEB_1, answer: str = "allow", code: str = "routine") -> Verdict:
    return Verdict(
        lineage=lineage(f"verdict/{subject}"),
        subject=subject,
        occurred_ms=int(NOW_S * 1000),
        decision_id=f"decision/{subject}",
        agent="crash_guard",
        intent="restart_service",
        answer=answer,  # type: ignore[arg-type]
        stage="policy",
        reasons=(Reason(code, "as the rules say", "test"),),
        controls_revision="r",
    )


def a_command(subject: str = WEB_1, command_id: str = "c1") -> Command:
    return Command(
        lineage=lineage(command_id),
        subject=subject,
        occurred_ms=int(NOW_S * 1000),
        decision_id=f"decision/{subject}",
        agent="crash_guard",
        intent="restart_service",
        parameters={},
        executor="supervised_process",
        action_class="lifecycle",
        idempotent=False,
        deadline_ms=int(NOW_S * 1000) + 1000,
    )


def an_outcome(subject: str = WEB_1, command_id: str = "c1", status: Status = "succeeded") -> Outcome:
    return Outcome(
        lineage=lineage(f"outcome/{command_id}"),
        subject=subject,
        occurred_ms=int(NOW_S * 1000) + 1500,
        command_id=command_id,
        decision_id=f"decision/{subject}",
        agent="crash_guard",
        intent="restart_service",
        action_class="lifecycle",
        executor="supervised_process",
        status=status,
        attempts=1,
        detail="started, pid 7",
    )


def an_effect(subject: str = WEB_1, command_id: str = "c1") -> Effect:
    return Effect(
        lineage=lineage(f"effect/{command_id}"),
        subject=subject,
        occurred_ms=int(NOW_S * 1000) + 4000,
        decision_id=f"decision/{subject}",
        command_id=command_id,
        agent="crash_guard",
        intent="restart_service",
        effect="effective",
        samples=5,
        because="it holds",
    )


def a_history(
    *, commands: Sequence[Command] = (), outcomes: Sequence[Outcome] = (), decisions: Sequence[Decision] = ()
) -> History:
    return History(tuple(decisions), (a_verdict(),), tuple(commands), tuple(outcomes), (an_effect(),))


def first_starts() -> list[Start]:
    return [Start(name, 100 + at, "", NOW_S) for at, name in enumerate(NAMES)]


def a_card(
    injected: Sequence[InjectedFault], history: History, starts: Sequence[Start], replay: ReplayReport = EQUAL
) -> Scorecard:
    return score(seed=7, began_at=NOW_S - 2, injected=injected, history=history, starts=starts, replay=replay)


CRASH = InjectedFault(
    fault=Fault("crash", "web-1", 0.3), injected_at=NOW_S, repaired_at=NOW_S + 1.75, process=(100, 200)
)
SPIKE = InjectedFault(fault=Fault("slow_spike", "web-2", 1.0), injected_at=NOW_S + 1)
REPAIRED = a_history(commands=[a_command()], outcomes=[an_outcome()], decisions=[a_decision()])
RESTARTED = [*first_starts(), Start("web-1", 200, "c1", NOW_S + 1.5)]


@pytest.mark.parametrize("seed", range(50))
def test_every_seed_breaks_three_services_and_lets_one_heal_itself(seed: int) -> None:
    plan = draw_faults(seed, NAMES)

    assert sorted(fault.kind for fault in plan if fault.is_real) == sorted(FAULTS)
    assert next(fault.kind for fault in plan if not fault.is_real) in SPIKES
    assert sorted(fault.service for fault in plan) == sorted(NAMES)
    assert [fault.at_s for fault in plan] == sorted(fault.at_s for fault in plan)
    assert plan[-1].at_s < 6
    assert plan == draw_faults(seed, NAMES)


def test_seeds_draw_different_incidents() -> None:
    assert len({draw_faults(seed, NAMES) for seed in range(50)}) == 50
    assert {draw_faults(seed, NAMES)[0].service for seed in range(50)} == set(NAMES)
    assert {draw_faults(seed, NAMES)[0].kind for seed in range(50)} >= set(FAULTS)


def test_a_repair_that_was_seen_makes_the_demo_good() -> None:
    card = a_card([CRASH, SPIKE], REPAIRED, RESTARTED)

    assert card.ok
    assert card.problems == ()
    assert (card.duplicates, card.lost, card.first_action_s) == (0, 0, 3.5)
    (fault,) = card.faults
    assert (fault.subject, fault.detected_s, fault.repaired_s, fault.effect) == (WEB_1, 1.0, 1.75, "effective")
    assert [(found.subject, found.commands) for found in card.left_alone] == [("service/web-2", 0)]
    assert card.verdicts == {"allow": 1, "deny": 0, "escalate": 0}


def test_a_fault_that_nobody_repaired_makes_it_bad() -> None:
    broken = InjectedFault(fault=Fault("leak", "web-3", 0.3), injected_at=NOW_S)

    card = a_card([CRASH, SPIKE, broken], REPAIRED, RESTARTED)

    assert not card.ok
    assert card.problems == ("service/web-3 was not repaired: it takes ever more memory",)


def test_touching_the_spike_makes_it_bad() -> None:
    touched = a_command("service/web-2", "c2")
    history = a_history(commands=[a_command(), touched], outcomes=[an_outcome(), an_outcome("service/web-2", "c2")])
    starts = [*RESTARTED, Start("web-2", 300, "c2", NOW_S + 2)]

    card = a_card([CRASH, SPIKE], history, starts)

    assert card.problems == (
        "service/web-2 was acted on, although it is slow for half a second, and recovers by itself",
    )


def test_a_replay_that_differs_makes_it_bad() -> None:
    assert a_card([CRASH], REPAIRED, RESTARTED, UNEQUAL).problems == ("the replay differs from the log",)


@pytest.mark.parametrize(
    ("further", "duplicates"),
    [
        ([], 0),
        ([Start("web-1", 300, "c1", NOW_S)], 1),
        ([Start("web-1", 300, "c1", NOW_S), Start("web-1", 301, "c1", NOW_S)], 2),
        ([Start("web-1", 300, "", NOW_S)], 1),
        ([Start("web-1", 300, "unknown", NOW_S)], 1),
    ],
)
def test_every_start_that_no_command_accounts_for_was_one_too_many(further: list[Start], duplicates: int) -> None:
    assert count_duplicates(REPAIRED, [*RESTARTED, *further]) == duplicates


def test_a_command_without_an_outcome_and_a_success_without_a_start_are_lost() -> None:
    unfinished = a_history(commands=[a_command()])
    untrue = a_history(commands=[a_command()], outcomes=[an_outcome()])
    failed = a_history(commands=[a_command()], outcomes=[an_outcome(status="failed")])

    assert count_lost(unfinished, first_starts()) == 1
    assert count_lost(untrue, first_starts()) == 1
    assert count_lost(failed, first_starts()) == 0


class Told:
    """Hears a story."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def __call__(self, line: Line) -> None:
        self.lines.append(line)

    @property
    def steps(self) -> list[tuple[str, str]]:
        return [(line.step, line.service) for line in self.lines]


def sensed(story: Story, data: dict[str, object], event_type: str = "service.probed") -> None:
    event = Event(lineage=lineage("e"), type=event_type, subject=WEB_1, occurred_at=utc(int(NOW_S * 1000)), data=data)
    story.stepped(event, Done(Row(subject=WEB_1)))


def said(story: Story, *messages: Decision | Verdict | Command | Effect, about: str = WEB_1) -> None:
    event = Event(lineage=lineage("e"), type="service.probed", subject=about, occurred_at=utc(0), data={})
    story.stepped(event, Done(Row(subject=about), messages))


def test_telemetry_is_told_only_where_it_changes() -> None:
    told = Told()
    story = Story(told)

    for latency_ms in (3.0, 4.0, 350.0, 360.0, 5.0):
        sensed(story, {"up": True, "latency_ms": latency_ms})
    for _ in range(3):
        sensed(story, {"up": False, "error": "refused"})
    for rss_mb in (20.0, 200.0, 210.0, 20.0):
        sensed(story, {"rss_mb": rss_mb}, "process.measured")

    assert [line.text for line in told.lines] == [
        "answers in 350 ms",
        "answers in 5 ms",
        "no answer: refused",
        "takes 200 MB",
        "takes 20 MB",
    ]


def test_an_action_is_told_from_the_proposal_to_the_effect() -> None:
    told = Told()
    story = Story(told)

    said(story, a_decision(), a_verdict(), a_command())
    assert (story.open_commands, story.open_effects) == ({"c1"}, {"c1"})
    story.stepped(decode_event(encode(an_outcome()), 0), Done(Row(subject=WEB_1)))
    assert (story.open_commands, story.open_effects) == (set(), {"c1"})
    said(story, an_effect(), about="partition/2")

    assert told.steps == [(step, "web-1") for step in ("proposed", "allowed", "command", "outcome", "effect")]
    assert story.open_effects == set()


def test_no_effect_is_awaited_of_what_did_not_succeed() -> None:
    story = Story(Told())

    said(story, a_decision(), a_verdict(), a_command())
    story.stepped(decode_event(encode(an_outcome(status="failed")), 0), Done(Row(subject=WEB_1)))

    assert (story.open_commands, story.open_effects) == (set(), set())


def test_the_same_refusal_is_told_once() -> None:
    told = Told()
    story = Story(told)

    for code in ("cooldown", "cooldown", "too_often"):
        said(story, a_decision(), a_verdict(answer="deny", code=code))

    assert told.steps == [("proposed", "web-1"), ("denied", "web-1")] * 2


def test_the_end_is_shown_without_colour_where_there_is_no_terminal() -> None:
    written = io.StringIO()
    view = View(Console(file=written, highlight=False, soft_wrap=True, width=120))

    view.tell(Line(1.5, "allowed", "web-1", "routine"))
    view.show(a_card([CRASH, SPIKE], REPAIRED, RESTARTED))

    text = written.getvalue()
    assert "\x1b" not in text
    assert "   1.50 s  web-1   allowed    routine" in text
    assert "every fault was repaired" in text
    assert "slow_spike" in text
    assert "left alone" in text


def test_free_ports_are_different_and_below_those_of_outgoing_connections() -> None:
    ports = free_ports(20)

    assert len(set(ports)) == 20
    assert all(PORT_FIRST <= port <= PORT_LAST for port in ports)


def test_a_look_without_an_answer_is_not_well() -> None:
    assert Look(1, 20.0, 3.0).is_well
    assert not Look(1, 20.0, None).is_well
    assert not Look(1, 200.0, 3.0).is_well
    assert not Look(1, 20.0, 400.0).is_well
    assert not Look(None, None, None).is_well


async def test_services_are_looked_at_broken_and_ended(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    starts_file = tmp_path / "starts.jsonl"
    workers = Workers({"web-1": port}, starts_file)
    with as_file(files("control_plane.workspace") / "examples/incident/services/web.py") as script:
        options = [
            "--name",
            "web-1",
            "--port",
            str(port),
            "--starts",
            str(starts_file),
            "--while-pid",
            str(os.getpid()),
        ]
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), *options, env={"SETPOINT_COMMAND_ID": "c7"}
        )

        await workers.all_well()
        (start,) = workers.starts()
        await workers.break_it("web-1", "slow")
        slow = await workers.look("web-1")
        await workers.close()

    assert (start.name, start.pid, start.command_id) == ("web-1", process.pid, "c7")
    assert slow.pid == process.pid
    assert slow.latency_ms is not None
    assert slow.latency_ms > 200
    assert not psutil.pid_exists(process.pid)
    await process.wait()


def test_a_service_ends_with_the_process_that_it_is_tied_to(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with as_file(files("control_plane.workspace") / "examples/incident/services/web.py") as script:
        owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        options = ["--name", "web-1", "--port", str(port), "--while-pid", str(owner.pid)]
        service = subprocess.Popen([sys.executable, str(script), *options])
        owner.kill()
        owner.communicate(timeout=5)

        assert service.wait(timeout=20) == 0


def test_ending_all_touches_nobody_else(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()", str(tmp_path / "other")], stdin=subprocess.PIPE)
    ours = subprocess.Popen([sys.executable, "-c", "input()", str(tmp_path / "ours")], stdin=subprocess.PIPE)

    end_all(tmp_path / "ours")

    assert not psutil.pid_exists(ours.pid)
    assert psutil.Process(other.pid).is_running()
    other.communicate(b"\n", timeout=5)
    ours.communicate()


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path: Path) -> None:
    starts_file = tmp_path / "starts.jsonl"
    whole = json.dumps({"name": "web-1", "pid": 7, "command_id": "", "at": NOW_S})
    starts_file.write_text(whole + '\n{"name": "web-2", "pi')

    assert [start.pid for start in Workers({}, starts_file).starts()] == [7]
