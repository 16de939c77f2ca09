"""Hands a simulation the real parts: policy engine, expressions, rules, executors role, and a compiled workspace."""

import multiprocessing
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

from control_plane.adapters.regorus import RegorusEngine
from control_plane.bootstrap.workshop import check_tools, compile_tools, load_workspace
from control_plane.catalogue import ControlItem, Controls, ControlSet
from control_plane.errors import ContinuityBroken, InvalidMessage
from control_plane.executors import Dispatch
from control_plane.executors.dispatch import DispatchBounds
from control_plane.messages import Command, Outcome
from control_plane.ports.backbone import Record
from control_plane.ports.clock import Clock
from control_plane.ports.executor import Executor
from control_plane.ports.ledger import Ledger
from control_plane.simulation.campaign import Bench, Result
from control_plane.simulation.engine import PatientEngine
from control_plane.simulation.ports import Parts, Subject
from control_plane.workspace.checking import undeclared_executors
from control_plane.workspace.compiling import compile_controls
from control_plane.workspace.creating import EXAMPLES_PACKAGE
from control_plane.workspace.ends import executors_in

BUILT_IN: Final = ("minimal", "incident", "orders")
"""Examples that seeds go through in turn where no workspace is named, with the ground that is made for it."""

SEEDS_PER_TASK: Final = 5

_LATER = ControlItem("policy_data", "simulation", '{"revision": 2}')
"""What makes the second revision: it changes nothing but names."""


def real_parts() -> Parts:
    """One engine for all: it holds nothing but compiled policies, and compiling takes time."""
    engine = PatientEngine(RegorusEngine())
    return Parts(engine=lambda: engine, dispatch=_dispatch)


def subject_of(root: Path, name: str) -> Subject:
    """A workspace, compiled. Raises InvalidWorkspace."""
    first = load_workspace(root).controls
    sets = (first, ControlSet.of([*first.items, _LATER]))
    names = sorted(executors_in(first, undeclared_executors(check_tools())))
    return Subject(name=name, sets=sets, controls=_Compiled(sets), executors=tuple(names))


def bench_of(root: Path | None) -> Bench:
    """What seeds are run on: a workspace, or the built-in ones. Raises InvalidWorkspace."""
    if root is not None:
        return Bench([subject_of(root, str(root))], real_parts())
    with as_file(files("control_plane.simulation") / "ground") as ground:
        subjects = [subject_of(ground, "ground")]
    with as_file(files(EXAMPLES_PACKAGE) / "examples") as examples:
        subjects += [subject_of(examples / name, name) for name in BUILT_IN]
    return Bench(subjects, real_parts())


def results_of(root: Path | None, seeds: Sequence[int], jobs: int) -> Iterator[Result]:
    """Each seed's result, as it comes, from so many processes."""
    bench = bench_of(root)
    bench.look_around()
    if jobs == 1 or len(seeds) <= SEEDS_PER_TASK:
        yield from (bench.run(seed) for seed in seeds)
        return
    tasks = [seeds[at : at + SEEDS_PER_TASK] for at in range(0, len(seeds), SEEDS_PER_TASK)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare, initargs=(root,)) as pool:
        waiting: set[Future[list[Result]]] = set()
        try:
            for task in tasks:
                waiting.add(pool.submit(_run, task))
                if len(waiting) > 2 * jobs:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield from future.result()
            for future in waiting:
                yield from future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_bench: list[Bench] = []


def _prepare(root: Path | None) -> None:
    """In a process of its own. Who started it is told to stop, and stops it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _bench.append(bench_of(root))


def _run(seeds: Sequence[int]) -> list[Result]:
    return [_bench[0].run(seed) for seed in seeds]


class _Compiled:
    """The ControlsSource port over sets that are known beforehand."""

    def __init__(self, sets: Sequence[ControlSet]) -> None:
        self._sets = {found.revision: found for found in sets}
        self._compiled: dict[str, Controls] = {}

    def at(self, revision: str) -> Controls:
        """The controls of a revision, compiled once."""
        if revision not in self._sets:
            raise ContinuityBroken(f"there is no revision {revision!r}. Nothing was judged.")
        if revision not in self._compiled:
            # Without a limit: how long an agent takes must not depend on the machine.
            self._compiled[revision] = compile_controls(self._sets[revision], compile_tools(limited=False))
        return self._compiled[revision]


def _dispatch(
    *,
    ledger: Ledger,
    executors: Mapping[str, Executor],
    clock: Clock,
    publish: Callable[[Sequence[Outcome]], Awaitable[None]],
    dead_letter: Callable[[Record, InvalidMessage], Awaitable[None]],
    halted: Callable[[Command], str | None],
    bounds: Mapping[str, Any],
) -> Dispatch:
    return Dispatch(
        ledger=ledger,
        executors=executors,
        clock=clock,
        publish=publish,
        dead_letter=dead_letter,
        halted=halted,
        bounds=DispatchBounds(**bounds),
    )
