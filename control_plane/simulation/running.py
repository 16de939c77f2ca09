"""One plan, run: a house is put together, lives through all that was planned, and comes to rest.

Judges nothing. What it leaves behind, a log, a world and a trace, is for `invariants` to look at.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from control_plane.causality import digest
from control_plane.errors import InvalidMessage
from control_plane.messages import Command, topics
from control_plane.messages.wire import decode, decode_event, encode
from control_plane.ports.backbone import LOOP_GROUP, Output
from control_plane.simulation.backbone import Stage
from control_plane.simulation.coordinator import Coordinator
from control_plane.simulation.engine import Mood
from control_plane.simulation.event_loop import Process, Stuck, VirtualLoop
from control_plane.simulation.ledger import Books
from control_plane.simulation.log import EPOCH_HEADER, SimulatedLog
from control_plane.simulation.plan import Input, Plan, Spell
from control_plane.simulation.ports import Parts, Subject
from control_plane.simulation.trace import Trace
from control_plane.simulation.wire import Wire
from control_plane.simulation.worker import House, Worker
from control_plane.simulation.world import World

AFTERMATH_S: Final = 8.0
RESTART_S: Final = 0.6
REST_S_MAX: Final = 240.0
REST_POLL_S: Final = 0.5
PRODUCER_PAUSE_S: Final = 0.2


class Ran(Struct, frozen=True, kw_only=True):
    """What a run left behind. `acknowledged` are the good inputs that the log took; `restless` says why it did not come
    to rest; `stale` are the ids of commands that an owner of the past sent, `cancelled` those that a person took back,
    with when; `unnoticed` says what was done after the log had been cut or wiped."""

    plan: Plan
    log: SimulatedLog
    world: World
    trace: Trace
    acknowledged: frozenset[str]
    restless: str
    problems: tuple[str, ...]
    stale: frozenset[str]
    cancelled: dict[str, int]
    unnoticed: str


class Run:
    """One run of one plan."""

    def __init__(self, plan: Plan, subject: Subject, parts: Parts) -> None:
        setting = plan.setting
        self._plan = plan
        self._loop = VirtualLoop(Random(f"{setting.seed}/turns"))  # type: ignore[abstract]  # Who wants more is refused.
        self._trace = Trace(lambda: self._loop.now_us)
        self._unnoticed = ""
        self._log = SimulatedLog(self._log_ms, self._trace, partitions=setting.partitions)
        self._kept = self._log
        wire = Wire(self._loop, self._trace, Random(f"{setting.seed}/wire"), setting.latency_ms, plan.strikes)
        coordinator = Coordinator(self._trace, setting.session_s)
        self._wire = wire
        self._world = World(self._loop, self._trace, Random(f"{setting.seed}/world"), setting)
        self._wanted = subject.sets[0].revision
        self._later = subject.sets[1].revision
        self._mood = Mood()
        self._cancelled: dict[str, int] = {}
        self._stale: set[str] = set()
        self._acknowledged: set[str] = set()
        self._workers: list[Worker | None] = [None] * setting.workers
        self._house = House(
            stage=Stage(self._loop, self._log, wire, coordinator, self._trace, setting),
            subject=subject,
            parts=parts,
            world=self._world,
            books=Books(),
            mood=self._mood,
            random=Random(f"{setting.seed}/house"),
            wanted=lambda: self._wanted,
            halted=self._halted,
            alone=setting.workers == 1,
        )

    def run(self) -> Ran:
        """Live through it."""
        try:
            restless = self._loop.run(self._live())
        except Stuck as exc:
            restless = str(exc)
        return Ran(
            plan=self._plan,
            log=self._kept,
            world=self._world,
            trace=self._trace,
            acknowledged=frozenset(self._acknowledged),
            restless=restless,
            problems=tuple(self._loop.problems),
            stale=frozenset(self._stale),
            cancelled=self._cancelled,
            unnoticed=self._unnoticed,
        )

    async def _live(self) -> str:
        keepers = [asyncio.create_task(self._keep(number)) for number in range(len(self._workers))]
        await self._until_adopted()
        sending = [asyncio.create_task(self._send(one)) for one in self._plan.inputs]
        spells = [asyncio.create_task(self._cast(spell)) for spell in self._plan.spells]
        await asyncio.gather(*sending, *spells)
        await asyncio.sleep(max(0.0, self._plan.setting.active_ms / 1000 - self._loop.time()))
        self._wire.calm = True
        self._trace.note("world", "all faults are over")
        restless = await self._come_to_rest()
        self._kept = self._log.copied()
        if self._plan.setting.ending and not restless:
            await self._end_badly()
        for keeper in keepers:
            keeper.cancel()
        return restless

    async def _until_adopted(self) -> None:
        """The world is let in only once every partition follows some controls."""
        for partition in range(self._plan.setting.partitions):
            while not self._is_adopted(partition):  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.05)

    def _is_adopted(self, partition: int) -> bool:
        return any(b"controls.adopted" in record.value for record in self._log.read(topics.EVENTS, partition))

    async def _keep(self, number: int) -> None:
        """Start a worker again whenever it is gone, as a supervisor does."""
        life = 0
        while True:
            life += 1
            process = Process(f"worker-{number}", life)
            worker = self._workers[number] = Worker(self._house, process)
            self._trace.note(repr(process), "starts")
            self._loop.spawn(process, worker.run())
            while process.alive:  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.1)
            self._trace.note(repr(process), "is gone")
            await asyncio.sleep(RESTART_S)

    async def _send(self, one: Input) -> None:
        """A producer appends until it is told that the log has it, and sometimes once more."""
        await asyncio.sleep(one.at_ms / 1000)
        await self._append(one)
        for again_ms in one.again_ms:
            self._trace.fault("duplicate", "producer", one.key)
            asyncio.create_task(self._append_later(one, again_ms)) if again_ms else await self._append(one)
        if one.again_ms:
            await asyncio.sleep(max(one.again_ms) / 1000 + 0.1)

    async def _append_later(self, one: Input, after_ms: int) -> None:
        await asyncio.sleep(after_ms / 1000)
        await self._append(one)

    async def _append(self, one: Input) -> None:
        while "log" in self._wire.down:  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(PRODUCER_PAUSE_S)
        self._log.append([Output(topics.EVENTS, one.key.encode(), one.value)])
        if one.late_ms:
            self._trace.fault("late event" if one.late_ms > 0 else "event from ahead", "producer", one.key)
        if not one.good and not one.late_ms:
            self._trace.fault("poison", "producer")
        else:
            event = decode_event(one.value, 0)
            self._trace.note("producer", f"sends {event.type} {event.data} ({event.lineage.message_id})", event.subject)
        if one.good:
            self._acknowledged.add(decode_event(one.value, 0).lineage.message_id)

    async def _cast(self, spell: Spell) -> None:
        await asyncio.sleep(spell.at_ms / 1000)
        what = spell.what
        cast: dict[str, Callable[[Spell], None]] = {
            "kill": self._kill,
            "other controls": self._change_controls,
            "stale command": self._send_stale,
            "cancel": self._cancel,
        }
        if what in cast:
            cast[what](spell)
        elif what == "pause":
            await self._pause(spell)
        elif what == "skew":
            await self._skew(spell)
        elif what == "leave":
            await self._leave(spell)
        else:
            await self._outage(spell)

    def _kill(self, spell: Spell) -> None:
        worker = self._workers[spell.who]
        if worker is not None and worker.process.alive:
            self._trace.fault("kill", repr(worker.process))
            self._loop.kill(worker.process)

    async def _pause(self, spell: Spell) -> None:
        worker = self._workers[spell.who]
        if worker is None or not worker.process.alive or worker.process.paused:
            return
        self._trace.fault("pause", repr(worker.process), f"{spell.for_ms} ms")
        worker.process.paused = True
        await asyncio.sleep(spell.for_ms / 1000)
        self._trace.note(repr(worker.process), "wakes up")
        worker.process.paused = False

    async def _skew(self, spell: Spell) -> None:
        worker = self._workers[spell.who]
        if worker is None or not worker.process.alive:
            return
        kind = "clock ahead" if spell.by_ms > 0 else "clock behind"
        self._trace.fault(kind, repr(worker.process), f"{spell.by_ms} ms")
        worker.process.skew_ms = spell.by_ms
        await asyncio.sleep(spell.for_ms / 1000)
        worker.process.skew_ms = 0

    async def _leave(self, spell: Spell) -> None:
        worker = self._workers[spell.who]
        if worker is None or not worker.process.alive:
            return
        self._trace.fault("leaves", repr(worker.process))
        await asyncio.wait([self._loop.spawn(worker.process, worker.stop())], timeout=8.0)
        if worker.process.alive:
            self._loop.kill(worker.process)

    async def _outage(self, spell: Spell) -> None:
        what = spell.what
        if what in ("log down", "ledger down"):
            room = what.partition(" ")[0]
            self._trace.fault(what, "world", f"{spell.for_ms} ms")
            self._wire.down.add(room)
            await asyncio.sleep(spell.for_ms / 1000)
            self._wire.down.discard(room)
        elif what.startswith("targets"):
            self._trace.fault(what, "world", f"{spell.for_ms} ms")
            self._world.mood = what.partition(" ")[2].rstrip("s")
            await asyncio.sleep(spell.for_ms / 1000)
            self._world.mood = "fine"
        else:
            self._trace.note("world", f"{what} for {spell.for_ms} ms")
            self._mood.now = what
            await asyncio.sleep(spell.for_ms / 1000)
            self._mood.now = ""

    def _change_controls(self, _spell: Spell) -> None:
        self._trace.fault("other controls", "world")
        self._wanted = self._later

    def _send_stale(self, spell: Spell) -> None:
        """An owner of the past that nobody could shut out sends a command that its heir knows nothing of."""
        for partition in range(self._plan.setting.partitions):
            newest = [r for r in self._log.read(topics.COMMANDS, partition) if _epoch(r.headers) > 1]
            # Executors tell an owner of the past by having heard of a later one in a command that they took.
            heard = self._house.books.epochs.get(partition, 0)
            if newest and heard > 1:
                command = decode(newest[-1].value, Command)
                lineage = msgspec.structs.replace(
                    command.lineage, message_id=digest("stale", command.lineage.message_id)
                )
                stale = msgspec.structs.replace(command, lineage=lineage)
                self._stale.add(lineage.message_id)
                self._trace.fault("stale command", "world", lineage.message_id[:8])
                output = Output(topics.COMMANDS, command.subject.encode(), encode(stale), partition)
                self._log.append([output], epoch=heard - 1)
                return

    def _cancel(self, spell: Spell) -> None:
        """A person takes the newest command back."""
        for partition in range(self._plan.setting.partitions):
            records = list(self._log.read(topics.COMMANDS, partition))
            if records:
                command_id = decode(records[-1].value, Command).lineage.message_id
                self._trace.fault("cancel", "person", command_id[:8])
                self._cancelled.setdefault(command_id, self._loop.now_us)
                return

    def _halted(self, command: Command) -> str | None:
        return "a person took it back" if command.lineage.message_id in self._cancelled else None

    async def _come_to_rest(self) -> str:
        """Until every group has read all there is and every command has its outcome."""
        until_s = self._loop.time() + REST_S_MAX
        why = "it never began"
        while self._loop.time() < until_s:
            why = self._why_restless()
            if not why:
                return ""
            await asyncio.sleep(REST_POLL_S)
        return why

    async def _end_badly(self) -> None:
        """Records are taken away under a log that was applied; then everybody is started anew, and events come in."""
        ending = self._plan.setting.ending
        self._trace.fault(ending, "world")
        for worker in self._workers:
            if worker is not None and worker.process.alive:
                self._loop.kill(worker.process)
        before = self._said()
        for partition in range(self._plan.setting.partitions):
            end = self._log.bounds(topics.EVENTS, partition)[1]
            self._log.cut(partition, end if ending == "wiped" else max(1, end // 3))
            self._log.append(
                [Output(topics.EVENTS, one.key.encode(), one.value, partition) for one in self._plan.inputs if one.good]
            )
        await asyncio.sleep(AFTERMATH_S)
        if self._said() > before:
            self._unnoticed = f"{self._said() - before} messages were said after the log had been {ending}"

    def _said(self) -> int:
        """How many decisions and commands there are."""
        said = (topics.DECISIONS, topics.COMMANDS)
        return sum(self._log.bounds(topic, n)[1] for topic in said for n in range(self._plan.setting.partitions))

    def _why_restless(self) -> str:
        log = self._log
        groups = ((LOOP_GROUP, topics.EVENTS), ("executors", topics.COMMANDS), ("agents", topics.CONTEXTS))
        for group, topic in groups:
            for partition in range(log.partitions(topic)):
                end = log.bounds(topic, partition)[1]
                committed = log.committed_offset(group, topic, partition) or 0
                if committed < end:
                    return f"{group} has come to {committed} of {end} in {topic}/{partition}"
        open_commands = self._open_commands()
        return f"{len(open_commands)} commands have no outcome, such as {open_commands[0]}" if open_commands else ""

    def _open_commands(self) -> list[str]:
        wanted: dict[str, None] = {}
        for partition in range(self._log.partitions(topics.COMMANDS)):
            for record in self._log.read(topics.COMMANDS, partition):
                wanted.setdefault(decode(record.value, Command).lineage.message_id)
        for partition in range(self._log.partitions(topics.EVENTS)):
            for record in self._log.read(topics.EVENTS, partition):
                if b'"command_id"' in record.value:
                    try:
                        event = decode_event(record.value, 0)
                    except InvalidMessage:
                        continue
                    wanted.pop(str(event.data.get("command_id")), None)
        return [command_id for command_id in wanted if command_id not in self._stale]

    def _log_ms(self) -> int:
        setting = self._plan.setting
        now_ms = setting.start_ms + self._loop.now_us // 1000
        return now_ms - now_ms % setting.grain_ms


def _epoch(headers: tuple[tuple[str, bytes], ...]) -> int:
    return next((int(value) for name, value in headers if name == EPOCH_HEADER), 0)
