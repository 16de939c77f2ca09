"""One partition of a fleet, with its owner: what tests of fleets stand on."""

import asyncio
import json
from typing import Any

from control_plane.adapters.memory import Lane, MemoryLog, Order, VirtualClock
from control_plane.messages import Command, Question, Ruling, topics
from control_plane.messages.outcome import Status
from control_plane.messages.summary import FleetCount
from control_plane.messages.wire import decode, encode
from control_plane.partition import Partitions
from control_plane.ports.backbone import Output
from control_plane.ports.policy_engine import PolicySet
from tests import builders

LIMITED = builders.intent(limits={"fleet_share_max": 0.4}, context_age_max="1h")
EAGER = builders.agent(
    "eager",
    'found = context.event.data.get("rss", 500.0)\n'
    'return [context.propose("restart_service", because="it may help")] if found > 300.0 else []',
)
PLAIN = builders.control_set(LIMITED, builders.row(), EAGER, builders.fleet())
JUDGED = builders.control_set(LIMITED, builders.row(), EAGER, builders.fleet(healthy="rows.health.rss < 400.0"))
CONTROLS = builders.ControlsAt(PLAIN, JUDGED)


class Unhurried:
    """An engine that is asked across subjects at once, and answers in any order."""

    concurrent = True

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        for _ in range(int(question.id[:1], 16) % 5):
            await asyncio.sleep(0)
        return builders.allow(question)


class World:
    """One partition of some, with its owner."""

    def __init__(
        self,
        controls: builders.ControlSet = PLAIN,
        *,
        partitions: int = 1,
        engine: Any = None,
        order: Order = "atomic",
    ) -> None:
        self.order = order
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock.now_ms)
        self.engine = engine or builders.ScriptedEngine()
        self.partitions = partitions
        self.controls = controls
        self._events = 0

    async def begin(self, *, members: int = 0, told: bool = True) -> "World":
        await self.take_over()
        self.send(builders.adopted(self.controls.revision))
        if told:
            self.tell()
        self.send(*[builders.registered(subject) for subject in subjects(members)])
        self.sick(*subjects(members), rss=1.0)
        await self.settle()
        return self

    async def take_over(self) -> None:
        """Another process owns the partition from here on."""
        self.owner = Partitions(engine=self.engine, controls=CONTROLS)
        self.lane = Lane(self.log, 0, self.owner, self.order)
        await self.lane.assign()

    def tell(self, **counts: int) -> None:
        """Tell of this partition, and of the last one, which counts so much of the fleet."""
        revision = CONTROLS.at(self.controls.revision).fleets.revisions["web"]
        count = FleetCount(**{"revision": revision, "size": 0, "healthy": 0, "in_flight": 0, "down": 0, **counts})
        here = self.owner.to_tell(0)
        of = {0: here.counts} if here is not None else {}
        of |= {self.partitions - 1: {"web": count}} if self.partitions > 1 else {}
        self.send(builders.summarised(of, partitions=self.partitions, at_ms=self.clock.now_ms()))

    def send(self, *events: builders.Event) -> None:
        self.log.append([builders.output(event, 0) for event in events])

    def sick(self, *names: str, rss: float = 500.0) -> None:
        """Events on which the agent wants to act."""
        for subject in names:
            self._events += 1
            found = builders.event(
                data={"rss": rss}, subject=subject, message_id=f"e{self._events}", at_ms=self.clock.now_ms()
            )
            self.send(found)

    def come_back(self, number: int = -1, status: Status = "succeeded") -> None:
        """The outcome of a command."""
        raw = list(self.log.read(topics.COMMANDS, 0))[number].value
        self.log.append([Output(topics.EVENTS, b"key", encode(builders.outcome(decode(raw, Command), status)), 0)])

    async def settle(self, records_max: int = 200) -> None:
        while await self.lane.take(records_max):
            while self.lane.advance():
                pass

    def commands(self) -> list[str]:
        return [json.loads(record.value)["subject"] for record in self.log.read(topics.COMMANDS, 0)]

    def last(self) -> tuple[str, str]:
        """Code and sentence of the last verdict."""
        verdict = json.loads(list(self.log.read(topics.VERDICTS, 0))[-1].value)["data"]
        return verdict["reasons"][0]["code"], verdict["reasons"][0]["msg"]

    async def proposed(self, subject: str) -> str:
        """The code of the verdict on one more proposal."""
        self.sick(subject)
        await self.settle()
        return self.last()[0]


def subjects(count: int) -> list[str]:
    return [f"service/web-{number}" for number in range(count)]
