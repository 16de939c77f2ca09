"""The command simulate: many seeded runs of the real loop in a simulated world, and what they showed."""

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, INTERRUPTED, CommandError
from control_plane.cli.output import AsJson, put, put_json

if TYPE_CHECKING:
    from control_plane.simulation.campaign import Result, Tally
    from control_plane.simulation.trace import Line

STORY_LINES_MAX = 60
SHRINK_S = 20.0
STORIES_MAX = 3
"""Of more seeds that fail only the numbers are said."""

PROGRESS_EVERY_S = 5.0


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    workspace: Annotated[
        Path | None,
        typer.Argument(metavar="[WORKSPACE]", help="Folder with setpoint.yaml.", show_default="the built-in examples"),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many runs.")] = 200,
    first_seed: Annotated[int, typer.Option(min=0, help="The first run's seed; each has the next one.")] = 1,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes at once.", show_default="one per core")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first broken promise.")] = False,
    shrink: Annotated[float, typer.Option(min=0.0, help="Seconds for making a story short; 0 tells none.")] = SHRINK_S,
    trace: Annotated[bool, typer.Option("--trace", help="Print what happened in each run, and its hash.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the real loop in a world where everything goes wrong.

    Time is virtual and all chance comes from the seed: crashes, lost answers, pauses, wrong clocks, policy engine,
    database and log away, poison and repeated events. After each run the log and the world are judged. Exit code 1 on a
    broken promise, a run without a command, or a fault that never struck.
    """
    if workspace is not None and not workspace.is_dir():
        raise CommandError(f"{workspace} is no folder. Nothing was run. Name the workspace's.", BAD_USAGE)
    from control_plane.bootstrap.simulated import results_of
    from control_plane.simulation.campaign import Tally

    numbers = range(first_seed, first_seed + seeds)
    tally, began_s, interrupted = Tally(seeds), time.monotonic(), False
    try:
        results = results_of(workspace, numbers, 1 if trace else jobs or os.cpu_count() or 1)
        _collect(tally, _traced(results, as_json) if trace else results, began_s, fail_fast)
    except KeyboardInterrupt:
        interrupted = True
    found = {**tally.as_json(), "duration_s": round(time.monotonic() - began_s, 1), "interrupted": interrupted}
    stories = [] if interrupted or not shrink else _stories(workspace, tally, shrink)
    if as_json:
        put_json({**found, "stories": stories})
    else:
        _put(tally, found, stories)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if not tally.ok:
        raise typer.Exit(FOUND_WRONG)


def _collect(tally: "Tally", results: "Iterable[Result]", began_s: float, fail_fast: bool) -> None:
    """Add them up, and say where the run is now and then."""
    said_s = began_s
    for result in results:
        tally.add(result)
        now_s = time.monotonic()
        if now_s - said_s > PROGRESS_EVERY_S or (result.violations and len(tally.failed) <= STORIES_MAX):
            said_s = now_s
            start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
            line = f"{tally.seeds} of {tally.wanted} seeds, {tally.commands} commands, {len(tally.failed)} failed"
            sys.stderr.write(f"{start}{line}{end}")
            sys.stderr.flush()
        if fail_fast and tally.failed:
            break
    if sys.stderr.isatty() and said_s > began_s:
        sys.stderr.write("\r\x1b[K")


def _traced(results: "Iterable[Result]", as_json: bool) -> "Iterable[Result]":
    for result in results:
        if not as_json:
            put(f"seed {result.seed} on {result.workspace}: trace {result.hash}, {result.commands} commands")
        else:
            sys.stderr.write(f"seed {result.seed}: trace {result.hash}\n")
        yield result


def _stories(workspace: Path | None, tally: "Tally", within_s: float) -> list[dict[str, Any]]:
    """Of the first seeds that failed, the shortest story that still breaks the same promise."""
    if not tally.failed:
        return []
    from control_plane.bootstrap.simulated import bench_of
    from control_plane.simulation.shrinking import shrunk
    from control_plane.simulation.trace import story

    bench, told = bench_of(workspace), []
    for result in sorted(tally.failed, key=lambda one: one.seed)[:STORIES_MAX]:
        broken = {(v.promise, v.what) for v in result.violations}

        def breaks(plan: Any, seed: int = result.seed, broken: set[tuple[str, str]] = broken) -> bool:
            return any((v.promise, v.what) in broken for v in bench.judged(seed, plan)[1])

        plan = bench.plan(result.seed)
        short = shrunk(plan, breaks, within_s=within_s)
        ran, violations, _ = bench.judged(result.seed, short)
        told.append(
            {
                "seed": result.seed,
                "workspace": result.workspace,
                "hash": result.hash,
                "broken": [v.text() for v in violations],
                "parts": [plan.size, short.size],
                "story": story(_relevant(ran.trace.lines, violations), STORY_LINES_MAX),
                "repeat": _repeat(workspace, result.seed),
            }
        )
    return told


def _relevant(lines: "list[Line]", violations: Any) -> "list[Line]":
    """What concerns the subjects that a promise was broken to, and what concerns everybody."""
    subjects = {subject for violation in violations for subject in violation.subjects}
    return [line for line in lines if not line.about or not subjects or line.about in subjects]


def _repeat(workspace: Path | None, seed: int) -> str:
    named = "" if workspace is None else f" {workspace}"
    return f"setpoint simulate{named} --seeds 1 --first-seed {seed} --trace"


def _put(tally: "Tally", found: dict[str, Any], stories: list[dict[str, Any]]) -> None:
    for one in stories:
        before, after = one["parts"]
        put(f"seed {one['seed']} on {one['workspace']} broke a promise (from {before} parts to {after}):")
        for line in (*one["broken"], *one["story"]):
            put(f"  {line}")
        put(f"  repeat it: {one['repeat']}")
    for violation in found["violations"][len(stories) :] if len(tally.failed) > len(stories) else ():
        put(f"seed {violation['seed']} on {violation['workspace']}: {violation['what']}")
    for seed in found["wasted"]:
        put(f"seed {seed} commanded nothing: it showed nothing. Give rules or permits something that can happen.")
    if found["never_struck"]:
        put(f"these faults never struck: {', '.join(found['never_struck'])}")
    struck = f"{sum(tally.faults.values())} faults of {len(tally.faults)} kinds"
    put(
        f"{'interrupted after ' if found['interrupted'] else ''}{tally.seeds} seeds in {found['duration_s']} s: "
        f"{len(found['violations'])} violations; {tally.commands} commands, {tally.counts['effects']} effects, "
        f"{tally.counts['events']} events, {tally.counts['copies']} copies; {struck}"
    )
