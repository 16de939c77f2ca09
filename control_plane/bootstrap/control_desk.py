"""The controls of a running service: published at its start and by an apply, followed, and put to work as a whole.

What is wanted stands on the control topics and nowhere else. A change that cannot be put to work is refused before
anything is published; this process then goes on with the last good controls.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from control_plane.bootstrap.ends import Change as EndChange
from control_plane.bootstrap.ends import End
from control_plane.catalogue import ControlItem, Controls, ControlSet
from control_plane.errors import ContinuityBroken, DataDamaged, InvalidWorkspace, PolicyEngineUnavailable
from control_plane.messages import Command, Event, topics
from control_plane.messages.cancellation import Cancellation
from control_plane.messages.wire import encode_event
from control_plane.ports.backbone import Backbone, Output
from control_plane.ports.clock import Clock
from control_plane.ports.policy_engine import PolicySet
from control_plane.workspace.control_log import (
    ControlLog,
    encode_cancellation,
    encode_started_with,
    outputs_to_publish,
)
from control_plane.workspace.diffing import Applied, Change, Moved, changes_between
from control_plane.workspace.restoring import checked
from control_plane.workspace.schema_evolution import narrowed_schemas
from control_plane.workspace.tools import CheckTools

ADOPTION_WAIT_S = 10.0
"""How long triggers wait for the partitions of this process before they change all the same."""

ADOPTION_POLL_S = 0.005

_log = logging.getLogger(__name__)


class Beginning(Struct, frozen=True, kw_only=True):
    """What a start found in force, and what it did about it. `overtaken` is what the folder would change, had it not
    been overtaken by an apply."""

    before: str | None
    revision: str
    changes: tuple[Change, ...] = ()
    overtaken: tuple[Change, ...] = ()


class ControlDesk:
    """One process's part in its service's controls."""

    def __init__(
        self,
        log: ControlLog,
        *,
        backbone: Backbone,
        clock: Clock,
        check_tools: Callable[[], CheckTools],
        load_policies: Callable[[PolicySet], None],
        owned: Callable[[], Mapping[int, str]],
        change_policies: Callable[[PolicySet], Awaitable[None]] | None = None,
    ) -> None:
        """`owned` are the partitions of this process with the revisions that they have adopted; `load_policies` makes
        policies ready and raises InvalidWorkspace. `change_policies` does so while a service runs: it may take its time
        and also raise PolicyEngineUnavailable."""
        self.log = log
        self.wanted = ""
        """The revision that every partition of this process should follow."""
        self.problem = ""
        """Why this process does not follow what is wanted of the service."""
        self.ends: list[End] = []
        self.adopt: Callable[[], Awaitable[None]] = _when_the_caretaker_looks
        """Has the partitions of this process adopt what is wanted, now rather than when they are next looked at."""
        self._backbone = backbone
        self._clock = clock
        self._check_tools = check_tools
        self._load_policies = load_policies
        self._change_policies = change_policies or self._load_at_once
        self._owned = owned
        self._settled = ""
        self._refused = ""
        self._changing = asyncio.Lock()

    @property
    def items(self) -> Sequence[ControlItem]:
        """What is in force."""
        return self.log.control_set(self.wanted).items

    def versions(self, kind: str) -> Mapping[str, Sequence[ControlItem]]:
        """Every version of every item of a kind, in force or not."""
        return self.log.versions_of(kind)

    def in_force(self) -> Controls:
        """What the door judges by: the newest controls that every partition of this process has adopted."""
        if self._settled != self.wanted and self._is_adopted():
            self._settled = self.wanted
        return self.log.at(self._settled)

    async def begin(self, folder: ControlSet, *, publishes: bool, has_loop: bool) -> Beginning:
        """At the start. What a folder declares is published by whoever is started on it (`publishes`) unless the folder
        has not changed since the last start: then what was applied since stays in force. A log that holds no controls
        gets them from the loop."""
        before = self.log.wanted
        edited = self.log.started_with != folder.revision
        if publishes and (before is None or edited):
            if before is not None:
                _refuse_narrower(self.log.control_set(before).items, folder.items)
            await self._publish(folder, [encode_started_with(folder.revision)])
        elif before is None and has_loop:
            await self._publish(folder)
        elif before is None:
            self._note_here(outputs_to_publish(folder, self.log))
        self.wanted = self._settled = self.log.wanted or folder.revision
        controls = self.log.control_set(self.wanted)
        # Compiled now, so that the first decision does not wait for it.
        self._load_policies(self.log.at(self.wanted).policies)
        old = () if before is None else self.log.control_set(before).items
        return Beginning(
            before=before,
            revision=self.wanted,
            changes=changes_between(old, controls.items),
            overtaken=changes_between(controls.items, folder.items) if publishes else (),
        )

    async def apply(self, items: Sequence[ControlItem], expected: str) -> Applied | Moved:
        """Publish these items if `expected` is what is in force. Raises InvalidWorkspace, BackboneUnavailable,
        StorageFull: then nothing has changed."""
        async with self._changing:
            if expected != self.wanted:
                return Moved(self.wanted)
            control_set = await asyncio.to_thread(self._checked, items)
            if isinstance(control_set, InvalidWorkspace):
                raise control_set
            before = self.log.control_set(expected)
            _refuse_narrower(before.items, control_set.items)
            if control_set.revision != before.revision:
                await self._change_to(control_set, self._publish)
            changes = changes_between(before.items, control_set.items)
            return Applied(before=before.revision, revision=control_set.revision, changes=changes)

    def _checked(self, items: Sequence[ControlItem]) -> ControlSet | InvalidWorkspace:
        """What keeps them from being put to work is given and not raised: a traceback would carry the policy engine's
        objects, which belong to this thread, to another one."""
        try:
            return checked(items, self._check_tools())
        except InvalidWorkspace as exc:
            return InvalidWorkspace(exc.flaws)

    async def heed(self) -> None:
        """Change over to what another process has published."""
        async with self._changing:
            wanted = self.log.wanted
            if wanted is None or wanted in (self.wanted, self._refused):
                return
            try:
                await self._change_to(self.log.control_set(wanted), _published_already)
                self.problem = ""
            except (InvalidWorkspace, ContinuityBroken, DataDamaged) as exc:
                self._refused = wanted
                self.problem = f"the controls {wanted} cannot be put to work here: {exc}"
                _log.error("this process goes on with its last good controls", extra={"reason": self.problem})
            except PolicyEngineUnavailable as exc:
                # Heeded again in a moment: unlike what is wrong, what is away comes back.
                self.problem = f"the controls {wanted} cannot be put to work here yet: {exc}"

    async def cancel(self, wish: Cancellation, event: Event) -> None:
        """Have a command not begun: for the executors ahead of their backlog, and for its flow as an event."""
        record = encode_cancellation(wish)
        await self._backbone.append([record, Output(topics.EVENTS, event.subject.encode(), encode_event(event))])
        self._note_here([record])

    def halted(self, command: Command) -> str | None:
        """Why a command must not be carried out, if so."""
        wish = self.log.cancellations.get(command.lineage.message_id)
        return None if wish is None else wish.reason

    async def _change_to(self, controls: ControlSet, publish: Callable[[ControlSet], Awaitable[None]]) -> None:
        compiled = await asyncio.to_thread(self.log.compiled, controls)
        changes: list[EndChange] = []
        try:
            for end in self.ends:
                changes.append(await end.prepare(controls))
            # The loop stands still while policies are made ready, so those that are ready already are not made again.
            if compiled.policies.revision != self.log.at(self.wanted).policies.revision:
                await self._change_policies(compiled.policies)
            await publish(controls)
        except BaseException:
            for change in changes:
                await change.discard()
            raise
        self.log.keep(compiled)
        for change in changes:
            await change.before()
        self.wanted = controls.revision
        await self.adopt()
        await self._until_adopted()
        for change in changes:
            await change.after()

    async def _publish(self, controls: ControlSet, beside: Sequence[Output] = ()) -> None:
        """Items first: only the set's one record puts them in force, so nothing ever is by half."""
        outputs = outputs_to_publish(controls, self.log)
        items = [output for output in outputs if output.topic != topics.CONTROL_SETS]
        for part in (items, [*beside, *outputs[len(items) :]]):
            if part:
                positions = await self._backbone.append(part)
                for output, position in zip(part, positions, strict=True):
                    self.log.note(output.topic, output.key, output.value, position.offset)

    async def _load_at_once(self, policies: PolicySet) -> None:
        self._load_policies(policies)

    def _note_here(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self.log.note(output.topic, output.key, output.value)

    async def _until_adopted(self) -> None:
        try:
            async with asyncio.timeout(ADOPTION_WAIT_S):
                while not self._is_adopted():
                    await self._clock.sleep(ADOPTION_POLL_S)
        except TimeoutError:
            _log.warning("partitions are slow to adopt controls", extra={"revision": self.wanted})

    def _is_adopted(self) -> bool:
        return all(revision == self.wanted for revision in self._owned().values())


def _refuse_narrower(before: Sequence[ControlItem], after: Sequence[ControlItem]) -> None:
    """Raises InvalidWorkspace where a schema would no longer take what it takes now: events of it are on their way."""
    flaws = narrowed_schemas(before, after)
    if flaws:
        raise InvalidWorkspace(flaws)


async def _when_the_caretaker_looks() -> None:
    """There is no hurry, or nothing to adopt."""


async def _published_already(_controls: ControlSet) -> None:
    """Another process did."""
