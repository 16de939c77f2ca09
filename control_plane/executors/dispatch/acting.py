"""What happens to commands that are held: begun, acted on, finished, published, each stage in groups.

`loop.execution` says what comes next; here it is done.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from control_plane.executors.dispatch import calls
from control_plane.executors.dispatch.bounds import DispatchBounds
from control_plane.executors.dispatch.counters import DispatchCounters
from control_plane.executors.dispatch.stage import Patience, Stage
from control_plane.executors.dispatch.work import Gate, Lanes, Work
from control_plane.loop.execution import (
    Act,
    Conclude,
    Look,
    Terms,
    Wait,
    after_attempt,
    after_look,
    before_acting,
    concluded,
    outcome_of,
)
from control_plane.messages import Command, Outcome
from control_plane.messages.outcome import Status
from control_plane.ports.clock import Clock
from control_plane.ports.executor import Executor
from control_plane.ports.ledger import Begin, Conclusion, Entry, Ledger, Release

Publish = Callable[[Sequence[Outcome]], Awaitable[None]]
Halted = Callable[[Command], str | None]
FaultPoint = Callable[[str], None]


class Acting:
    """Everything between the ledger's lease and the outcome on the log."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        clock: Clock,
        publish: Publish,
        halted: Halted,
        fault_point: FaultPoint,
        bounds: DispatchBounds,
        counters: DispatchCounters,
        patience: Patience,
        subject_free: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._publish = publish
        self._halted = halted
        self._fault_point = fault_point
        self._bounds = bounds
        self._counters = counters
        self._patience = patience
        self._subject_free = subject_free
        self._gates = {name: self._new_gate(executor) for name, executor in executors.items()}
        self._lanes = Lanes()
        self._held: set[str] = set()
        self._calls: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._failed: asyncio.Future[None] | None = None
        self._begin = Stage(self._begin_all, bounds.batch_max)
        self._release = Stage(self._release_all, bounds.batch_max)
        self._finish = Stage(self._finish_all, bounds.batch_max)
        self._outbox = Stage(self._publish_all, bounds.batch_max)
        self._settle = Stage(self._settle_all, bounds.batch_max)

    @property
    def held_count(self) -> int:
        """Commands in memory."""
        return len(self._held)

    def start(self, failed: "asyncio.Future[None]") -> None:
        """Have the stages run; what stops them goes to `failed`."""
        self._failed = failed
        for stage in (self._begin, self._release, self._finish, self._outbox, self._settle):
            self.spawn(stage.run())

    def admit(self, entry: Entry) -> bool:
        """Carry out a command that this owner holds; False when that is under way already."""
        command_id = entry.command.lineage.message_id
        if command_id in self._held:
            return False
        self._hold(command_id)
        work = Work(entry, self._gates.get(entry.command.executor))
        if self._lanes.join(work):
            self._go_on(work)
        return True

    def publish_again(self, outcome: Outcome) -> None:
        """Publish an outcome of which nobody knows whether it stands in the log, unless it is under way here."""
        if outcome.command_id not in self._held:
            self._hold(outcome.command_id)
            self._outbox.put(outcome)

    def use(self, executors: Mapping[str, Executor]) -> None:
        """Call these from now on. Calls under way end on the executor that they began on; it is stopped after them."""
        before, self._gates = (
            self._gates,
            {
                name: gate
                if (gate := self._gates.get(name)) is not None and gate.executor is executor
                else self._new_gate(executor)
                for name, executor in executors.items()
            },
        )
        for name, gate in before.items():
            if self._gates.get(name) is not gate:
                for work in gate.retire(self._stop_of(gate.executor)):
                    self._go_on(work)

    def has_begun(self, command: Command) -> bool | None:
        """Whether an attempt at a command may have been made; None when the command is not in memory."""
        work = self._lanes.find(command.subject, command.lineage.message_id)
        return None if work is None else work.attempts > 0 or work.doubtful

    def spawn(self, running: Coroutine[Any, Any, None]) -> None:
        """Run something as long as dispatch runs; whatever it raises stops dispatch."""
        task = asyncio.create_task(running)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Begin nothing more; let calls end, then stages."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):  # What is still under way is reconciled at the next start.
            async with asyncio.timeout(self._bounds.stop_grace_s):
                await self._begin.idle()
                while self._calls:
                    await asyncio.wait(self._calls)
        await _end(self._calls)
        with contextlib.suppress(TimeoutError):  # Ledger or log are away; what was written stays in the outbox.
            async with asyncio.timeout(self._bounds.stop_grace_s):
                for stage in (self._release, self._finish, self._outbox, self._settle):
                    await stage.idle()
        await _end(self._tasks)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._calls.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)

    def _hold(self, command_id: str) -> None:
        self._held.add(command_id)
        self._counters.held = len(self._held)

    def _let_go(self, command_id: str) -> None:
        self._held.discard(command_id)
        self._counters.held = len(self._held)

    def _stop_of(self, executor: Executor) -> Callable[[], None]:
        return lambda: self.spawn(calls.stop(executor))

    def _new_gate(self, executor: Executor) -> Gate:
        return Gate(executor, _terms(executor, self._bounds), self._enter)

    def _go_on(self, work: Work) -> None:
        """It is this one's turn, or its time has come."""
        # Executors may have changed while it waited.
        work.gate = self._gates.get(work.command.executor)
        if work.gate is None:
            status: Status = "unknown" if work.doubtful else "refused"
            self._conclude(work, Conclude(status, f"no executor {work.command.executor} is known here"))
        else:
            work.gate.ask(work)

    def _enter(self, work: Work) -> None:
        if self._stopping:
            return
        if work.to_look:
            self._call(self._look(work))
        else:
            self._begin.put(work)

    def _call(self, running: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(running)
        self._calls.add(task)
        task.add_done_callback(self._ended)

    async def _begin_all(self, batch: list[Work]) -> None:
        now_ms = self._clock.now_ms()
        going = [] if self._stopping else [work for work in batch if self._may_act(work, now_ms)]
        if not going:
            return
        begins = [Begin(command_id=work.command_id, attempt=work.attempts + 1, begun_ms=now_ms) for work in going]
        held = await self._patience.until_done(lambda: self._ledger.begin(begins))
        for work in going:
            if work.command_id in held:
                self._call(self._attempt(work, now_ms))
            else:
                _gate(work).leave()
                self._lose(work)

    def _may_act(self, work: Work, now_ms: int) -> bool:
        """Judge at this instant; what may not be done leaves its place and goes where it must."""
        step = before_acting(work.standing(), _gate(work).terms, now_ms, self._halted(work.command))
        if isinstance(step, Act):
            return True
        _gate(work).leave()
        self._follow(work, step, now_ms)
        return False

    async def _attempt(self, work: Work, begun_ms: int) -> None:
        gate = _gate(work)
        self._fault_point("command.begun")
        now_ms = self._clock.now_ms()
        if now_ms - begun_ms > self._bounds.begun_age_s_max * 1000:
            self._begin.put(work)
            return
        if not self._may_act(work, now_ms):
            return
        work.attempts += 1
        work.begun_ms = begun_ms
        attempt = await calls.attempt(gate, work.command, self._counters)
        self._fault_point("command.acted")
        now_ms = self._clock.now_ms()
        gate.leave()
        work.attempt_over_ms = now_ms
        step = after_attempt(work.standing(), attempt, gate.terms, now_ms)
        work.doubtful = not (isinstance(step, Wait) and step.nothing_done)
        self._follow(work, step, now_ms)

    async def _look(self, work: Work) -> None:
        gate = _gate(work)
        work.to_look = False
        found = await calls.look(gate, work.command, self._counters)
        now_ms = self._clock.now_ms()
        gate.leave()
        work.first_look_ms = work.first_look_ms or now_ms
        work.looks += 1
        step = after_look(work.standing(), found, gate.terms, now_ms)
        work.doubtful = not isinstance(step, Wait)
        self._follow(work, step, now_ms)

    def _follow(self, work: Work, step: Wait | Look | Conclude, now_ms: int) -> None:
        if isinstance(step, Conclude):
            self._conclude(work, step)
        elif isinstance(step, Look):
            work.to_look = True
            self._later(work, step.at_ms - now_ms)
        else:
            work.looks = work.first_look_ms = 0
            if step.nothing_done:
                self._release.put((work, step.until_ms))
            else:
                self._later(work, step.until_ms - now_ms)

    def _later(self, work: Work, after_ms: int) -> None:
        if after_ms <= 0:
            self._go_on(work)
        else:
            self.spawn(self._sleep_and_go_on(work, after_ms))

    async def _sleep_and_go_on(self, work: Work, after_ms: int) -> None:
        await self._clock.sleep(after_ms / 1000)
        self._go_on(work)

    def _conclude(self, work: Work, conclude: Conclude) -> None:
        self._finish.put((work, concluded(work.standing(), conclude, self._clock.now_ms())))

    async def _release_all(self, batch: list[tuple[Work, int]]) -> None:
        """Note that nothing was done, and only then have the next attempt begun."""
        releases = [Release(command_id=w.command_id, attempts=w.attempts, due_ms=due_ms) for w, due_ms in batch]
        await self._patience.until_done(lambda: self._ledger.release(releases))
        now_ms = self._clock.now_ms()
        for work, due_ms in batch:
            self._later(work, due_ms - now_ms)

    async def _finish_all(self, batch: list[tuple[Work, Conclusion]]) -> None:
        conclusions = [conclusion for _, conclusion in batch]
        written = await self._patience.until_done(lambda: self._ledger.finish(conclusions))
        self._fault_point("outcome.written")
        outcomes = self._counters.outcomes
        for work, conclusion in batch:
            if conclusion.command_id not in written:
                self._lose(work)
                continue
            outcomes[conclusion.status] = outcomes.get(conclusion.status, 0) + 1
            self._outbox.put(outcome_of(work.command, conclusion))
            self._next(work)

    async def _publish_all(self, batch: list[Outcome]) -> None:
        await self._patience.until_done(lambda: self._publish(batch))
        self._fault_point("outcome.published")
        self._counters.published += len(batch)
        for outcome in batch:
            self._settle.put(outcome.command_id)

    async def _settle_all(self, batch: list[str]) -> None:
        await self._patience.until_done(lambda: self._ledger.published(batch))
        for command_id in batch:
            self._let_go(command_id)
        self._subject_free()

    def _lose(self, work: Work) -> None:
        """Another owner has it."""
        self._counters.lost += 1
        self._let_go(work.command_id)
        self._next(work)

    def _next(self, work: Work) -> None:
        following = self._lanes.leave(work)
        if following is not None:
            self._go_on(following)
        else:
            self._subject_free()


def _gate(work: Work) -> Gate:
    assert work.gate is not None, "a command without an executor is refused before it gets here"
    return work.gate


def _terms(executor: Executor, bounds: DispatchBounds) -> Terms:
    return Terms(
        attempt_timeout_ms=int(executor.attempt_timeout_s * 1000),
        settle_ms=int(executor.settle_s * 1000),
        attempts_max=executor.attempts_max,
        backoff_ms=int(executor.backoff_s * 1000),
        reconcile_for_ms=int(bounds.reconcile_for_s * 1000),
    )


async def _end(tasks: "set[asyncio.Task[None]]") -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    if ending:
        await asyncio.wait(ending)
