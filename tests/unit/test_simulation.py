"""Simulation as a whole: a slice of seeds, one run for one seed, and what is told of a run that fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from control_plane.bootstrap.simulated import bench_of, results_of
from control_plane.cli.main import app
from control_plane.loop import execution
from control_plane.loop.execution import Conclude
from control_plane.simulation.campaign import FAULTS, SEEDS_TO_TELL, Result, Tally
from control_plane.simulation.shrinking import shrunk

ROOT = Path(__file__).resolve().parents[2]
SEEDS = int(os.environ.get("SETPOINT_TEST_SEEDS", "150"))


@pytest.mark.timeout(400)
def test_whatever_goes_wrong_every_promise_is_kept() -> None:
    tally = Tally(SEEDS)

    for result in results_of(None, range(1, SEEDS + 1), os.cpu_count() or 1):
        tally.add(result)

    assert not tally.failed, [(one.seed, one.workspace, v.text()) for one in tally.failed for v in one.violations]
    assert not tally.wasted, f"these seeds commanded nothing: {[one.seed for one in tally.wasted]}"
    assert tally.seeds == SEEDS


def traced(hash_seed: str) -> list[str]:
    """What four seeds on four workspaces come to, in a process of its own."""
    call = [sys.executable, "-m", "control_plane.cli.main", "simulate", "--seeds", "4", "--first-seed", "8", "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    ran = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return [line for line in ran.stdout.splitlines() if line.startswith("seed ")]


def test_one_seed_is_one_run_in_whatever_process() -> None:
    once, again = traced("1"), traced("4711")

    assert len(once) == 4
    assert len({line.partition("trace ")[2] for line in once}) == 4
    assert once == again


def test_a_run_that_fails_is_told_as_a_short_story_with_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    after_attempt = execution.after_attempt

    def credulous(standing, attempt, terms, now_ms):
        if attempt.result == "unknown":
            return Conclude("succeeded", "it will have worked")
        return after_attempt(standing, attempt, terms, now_ms)

    monkeypatch.setattr("control_plane.executors.dispatch.acting.after_attempt", credulous)

    ended = CliRunner().invoke(
        app, ["simulate", "--seeds", "40", "--jobs", "1", "--fail-fast", "--shrink", "2", "--json"]
    )

    told = json.loads(ended.stdout)
    assert ended.exit_code == 1
    assert "I2" in {found["promise"] for found in told["violations"]}
    (story,) = told["stories"]
    before, after = story["parts"]
    assert after < before
    assert f"--seeds 1 --first-seed {story['seed']}" in story["repeat"]
    assert story["story"]


def test_a_workspace_in_which_nothing_ever_acts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")

    ended = CliRunner().invoke(app, ["simulate", str(tmp_path), "--seeds", "1"])

    assert ended.exit_code == 1
    assert "none of them led to a command" in ended.stderr


def test_what_is_no_folder_is_bad_usage(tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["simulate", str(tmp_path / "nowhere")]).exit_code == 2


def a_result(seed: int, *, commands: int = 1, faults: tuple[str, ...] = FAULTS) -> Result:
    return Result(
        seed=seed,
        workspace="w",
        hash="",
        commands=commands,
        violations=(),
        faults=dict.fromkeys(faults, 1),
        counts={},
    )


def test_a_campaign_fails_by_a_seed_that_commands_nothing() -> None:
    tally = Tally(2)
    tally.add(a_result(1))
    assert tally.ok

    tally.add(a_result(2, commands=0))

    assert not tally.ok
    assert tally.as_json()["wasted"] == [2]


def test_a_long_campaign_fails_by_a_fault_that_never_struck() -> None:
    tally = Tally(SEEDS_TO_TELL)
    for seed in range(SEEDS_TO_TELL):
        assert tally.ok
        tally.add(a_result(seed, faults=FAULTS[1:]))

    assert not tally.ok
    assert tally.never_struck() == [FAULTS[0]]


def test_a_plan_is_made_as_short_as_what_it_breaks_needs() -> None:
    plan = bench_of(None).plan(3)
    needed = {plan.inputs[3], plan.spells[0]}

    short = shrunk(plan, lambda one: needed <= {*one.inputs, *one.strikes, *one.spells}, within_s=20.0)

    assert {*short.inputs, *short.strikes, *short.spells} == needed
