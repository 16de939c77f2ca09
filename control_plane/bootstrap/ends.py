"""The ends of the loop in this process, executors and triggers, as controls change under a running service.

What is unchanged goes on untouched. What is new is made and opened before anything is published, so that what cannot be
opened refuses the whole change.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol

from control_plane.catalogue import ControlSet
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.executors import Dispatch
from control_plane.ports.executor import Executor
from control_plane.ports.webhooks import Webhook
from control_plane.triggers import Trigger
from control_plane.workspace.ends import Definition, executors_in, triggers_in

_log = logging.getLogger(__name__)


class Change(Protocol):
    """A change that is prepared. `before` comes ahead of the first decision under the new controls, `after` once every
    partition of this process has adopted them; `discard` instead of both."""

    async def before(self) -> None: ...

    async def after(self) -> None: ...

    async def discard(self) -> None: ...


class End(Protocol):
    """What has to change with the controls."""

    async def prepare(self, controls: ControlSet) -> Change:
        """Make and open what is new. Raises InvalidWorkspace; then nothing has changed."""


BuildExecutors = Callable[[Collection[Definition]], Mapping[str, Executor]]
"""Executors by name, not yet opened. Raises InvalidWorkspace."""


class ExecutorsEnd:
    """The executors of the role executors. `dispatch` is there once they were first opened."""

    def __init__(self, build: BuildExecutors, undeclared: Collection[str]) -> None:
        """`undeclared` are the kinds that intents may name without a declaration."""
        self.dispatch: Dispatch | None = None
        self._build = build
        self._undeclared = undeclared
        self._definitions: Mapping[str, Definition] = {}
        self._executors: dict[str, Executor] = {}

    def first(self, controls: ControlSet) -> Mapping[str, Executor]:
        """Those that a start begins with; dispatch opens them. Raises InvalidWorkspace."""
        self._definitions = executors_in(controls, self._undeclared)
        self._executors = dict(self._build(self._definitions.values()))
        return self._executors

    async def prepare(self, controls: ControlSet) -> Change:
        """Open the executors that are new, or declared otherwise than before."""
        definitions = executors_in(controls, self._undeclared)
        kept = {n: self._executors[n] for n, found in definitions.items() if self._definitions.get(n) == found}
        fresh = self._build([found for name, found in definitions.items() if name not in kept])
        opened: list[Executor] = []
        for name, executor in fresh.items():
            opened.append(executor)
            try:
                await executor.start()
            except Exception as exc:  # An executor may be the user's: whatever it raises refuses the change.
                await _close(opened)
                raise _flaw(definitions[name], f"cannot be opened: {type(exc).__name__}: {exc}") from exc
        return _ExecutorsChange(self, definitions, {**kept, **fresh}, opened)

    def knows(self, name: str) -> bool:
        """Whether an executor of this name is at work."""
        return name in self._executors

    async def have(self, name: str, controls: ControlSet) -> None:
        """Have an executor at work that earlier controls declare, until they change again. One that cannot be opened
        any more is left out, and its commands are refused."""
        found = executors_in(controls, self._undeclared).get(name)
        if found is None or name in self._executors:
            return
        try:
            executor = self._build([found])[name]
            await executor.start()
        except Exception:  # noqa: BLE001 - it may be the user's: whatever it raises leaves this one out, and no other
            _log.exception("an executor of earlier controls cannot be opened", extra={"executor": name})
            return
        self.use(self._definitions, {**self._executors, name: executor})

    def use(self, definitions: Mapping[str, Definition], executors: dict[str, Executor]) -> None:
        """From now on these."""
        assert self.dispatch is not None, "executors change only in a service that runs"
        self._definitions, self._executors = definitions, executors
        self.dispatch.use(executors)

    def with_others(self, executors: Mapping[str, Executor]) -> dict[str, Executor]:
        """These, and beside them those of now that have other names."""
        return {**self._executors, **executors}


class _ExecutorsChange:
    def __init__(
        self,
        end: ExecutorsEnd,
        definitions: Mapping[str, Definition],
        executors: dict[str, Executor],
        opened: list[Executor],
    ) -> None:
        self._end = end
        self._definitions = definitions
        self._executors = executors
        self._opened = opened

    async def before(self) -> None:
        """Commands that are allowed under the older controls still find their executors."""
        self._end.use(self._definitions, self._end.with_others(self._executors))

    async def after(self) -> None:
        self._end.use(self._definitions, self._executors)

    async def discard(self) -> None:
        await _close(self._opened)


BuildTrigger = Callable[[Definition], Awaitable[tuple[Trigger | None, Webhook | None]]]
"""What a definition stands for in this process: something that runs, or something that is served. Raises
InvalidWorkspace."""


class TriggersEnd:
    """What brings events in: triggers that run, and webhooks that REST serves. `failed` ends with what stopped one."""

    def __init__(self, build: BuildTrigger) -> None:
        self.webhooks: dict[str, Webhook] = {}
        """By name; changed in place."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._build = build
        self._definitions: Mapping[str, Definition] = {}
        self._running: dict[str, asyncio.Task[None]] = {}

    async def prepare(self, controls: ControlSet) -> Change:
        """Build the triggers that are new, or declared otherwise than before."""
        definitions = triggers_in(controls)
        changed = {name: found for name, found in definitions.items() if self._definitions.get(name) != found}
        built = {name: await self._build(found) for name, found in changed.items()}
        return _TriggersChange(self, definitions, built)

    async def change(
        self, definitions: Mapping[str, Definition], built: Mapping[str, tuple[Trigger | None, Webhook | None]]
    ) -> None:
        """Stop what went or changed, then begin what came. Positions are kept by name, so nothing is lost between."""
        gone = (self._definitions.keys() - definitions.keys()) | built.keys()
        await self._stop(gone)
        self._definitions = definitions
        for name, (trigger, webhook) in built.items():
            if trigger is not None:
                task = asyncio.create_task(trigger.run(), name=f"trigger {name}")
                task.add_done_callback(self._ended)
                self._running[name] = task
            if webhook is not None:
                self.webhooks[name] = webhook

    async def stop(self) -> None:
        """Stop all."""
        await self._stop(self._definitions.keys())
        if not self.failed.done():
            self.failed.set_result(None)

    async def _stop(self, names: Collection[str]) -> None:
        stopping = [task for name in names if (task := self._running.pop(name, None)) is not None]
        for name in names:
            self.webhooks.pop(name, None)
        for task in stopping:
            task.cancel()
        await asyncio.gather(*stopping, return_exceptions=True)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)


class _TriggersChange:
    def __init__(
        self,
        end: TriggersEnd,
        definitions: Mapping[str, Definition],
        built: Mapping[str, tuple[Trigger | None, Webhook | None]],
    ) -> None:
        self._end = end
        self._definitions = definitions
        self._built = built

    async def before(self) -> None:
        """Nothing: a new trigger's events may be of types that only the new controls know."""

    async def after(self) -> None:
        await self._end.change(self._definitions, self._built)

    async def discard(self) -> None:
        """Nothing was opened."""


async def _close(executors: Collection[Executor]) -> None:
    for executor in executors:
        try:
            await executor.stop()
        except Exception:  # noqa: BLE001 - an executor may be the user's; the others are closed all the same
            _log.exception("an executor that is not needed could not be stopped", extra={"executor": executor.name})


def _flaw(definition: Definition, problem: str) -> InvalidWorkspace:
    text = f"executor {definition['name']}: {problem}"
    return InvalidWorkspace(
        [Flaw(file=definition["file"], line=0, column=0, problem=text, cure="See to what it needs.")]
    )
