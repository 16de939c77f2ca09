"""A whole service on a log, and a stranger who writes straight onto it; and what the log says in the end."""

import asyncio
import gc
import uuid
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from aiokafka import AIOKafkaProducer

from control_plane.adapters.faust import open_log_reader
from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_workspace
from control_plane.messages import Command, DeadLetter, topics
from control_plane.messages.wire import decode
from control_plane.ports.backbone import RECORD_BYTES_MAX, Output
from control_plane.settings import Settings
from control_plane.workspace.reading import Workspace
from tests.poison.kinds import TYPE

KEY = "poison-key-0123456789"
PARTITIONS = 2
PATIENCE_S = 60.0
POLL_S = 0.1

FILES: dict[str, str] = {
    "setpoint.yaml": "apiVersion: setpoint/v1\nlisten: 127.0.0.1:0\npartitions: {partitions}\nbackbone: {backbone}\n",
    "intents/slow_down.yaml": (
        "intent: slow_down\nsubject_kind: machine\nexecutor: dry_run\nidempotent: true\ncontext_age_max: 24h\n"
        # What a killed worker had leased is another's only once the lease has lapsed: by then 30 s are over.
        "deadline: 10m\n"
    ),
    "rows/heat.yaml": f"row: heat\non: [{TYPE}]\nfields:\n  celsius: {{last: data.celsius}}\n",
    "agents/heat_guard.yaml": (
        f"rule: heat_guard\nversion: 1.0.0\non: {TYPE}\nwhen: data.celsius > 90.0\n"
        'propose: {intent: slow_down, because: "too hot"}\n'
    ),
    "policies/permits/slowing.rego": """\
package setpoint.permits.slowing

allow contains {"code": "slowing", "msg": "slowing down is harmless"} if input.decision.intent == "slow_down"
""",
    f"schemas/{TYPE}.json": (
        '{"type": "object", "required": ["celsius"], "properties": {"celsius": {"type": "number"}}}'
    ),
}
"""Machines that are slowed down when they are hot. What they send has a schema."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """Where the log took a record."""

    partition: int
    offset: int


@dataclass(kw_only=True)
class Found:
    """What the log holds. Letters by where their record stood, commands by subject, and how many outcomes of each."""

    letters: dict[tuple[int, int], set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    commands: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    outcomes: Counter[str] = field(default_factory=Counter)
    outcome_ids: set[str] = field(default_factory=set)

    @property
    def buried(self) -> int:
        """Letters, each once."""
        return sum(len(found) for found in self.letters.values())


@dataclass(kw_only=True)
class House:
    """One log. `begin` and `end` bracket a life of the service on it."""

    root: Path
    url: str
    files: dict[str, str] = field(default_factory=lambda: dict(FILES))

    @classmethod
    def on(cls, kind: str, root: Path, kafka_address: str = "") -> "House":
        """An empty log of a kind."""
        if kind == "kafka":
            return cls(root=root, url=f"kafka://{kafka_address}?prefix=p{uuid.uuid4().hex[:10]}-")
        atomic = "false" if kind.endswith("not-atomic") else "true"
        return cls(root=root, url=f"embedded://{root / 'log'}?atomic={atomic}")

    @property
    def is_kafka(self) -> bool:
        return self.url.startswith("kafka://")

    def write(self, **changes: str) -> None:
        """The workspace, with other files."""
        self.files |= changes
        for path, text in self.files.items():
            file = self.root / "workspace" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            filled = text.replace("{partitions}", str(PARTITIONS)).replace("{backbone}", self.url)
            file.write_text(filled)

    def load(self) -> Workspace:
        """The workspace, read and checked. What a policy engine held for that is freed at once: it belongs to this
        thread, and whoever else collects garbage must not find it."""
        loaded = load_workspace(self.root / "workspace")
        gc.collect()
        return loaded

    @asynccontextmanager
    async def alive(self) -> AsyncIterator["Life"]:
        """A service that works, and the stranger beside it."""
        self.write()
        loaded = self.load()
        settings = Settings.load(self.root / "workspace", loaded.settings, {"SETPOINT_API_KEY": KEY})
        settings.data_dir.mkdir(exist_ok=True)
        service = Service(settings, loaded)
        await service.start()
        work = asyncio.create_task(service.run())
        life = Life(self, service)
        try:
            async with self._stranger(service) as life.sending:
                yield life
            if work.done():
                work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await service.stop()
            life.forget()
            del service, work
            gc.collect()

    @asynccontextmanager
    async def _stranger(self, service: Service) -> AsyncIterator[Callable[..., Any]]:
        """Somebody who knows the log and not us. An embedded log has no door but ours."""
        if not self.is_kafka:

            async def append(key: bytes | None, value: bytes, partition: int | None) -> Sent:
                (place,) = await service.backbone.append([Output(topics.EVENTS, key or b"", value, partition)])
                return Sent(partition=place.partition, offset=place.offset)

            yield append
            return
        address = KafkaAddress.parse(self.url)
        producer = AIOKafkaProducer(
            bootstrap_servers=list(address.servers), max_request_size=RECORD_BYTES_MAX, linger_ms=2
        )
        await producer.start()

        async def produce(key: bytes | None, value: bytes, partition: int | None) -> Sent:
            # To Kafka's own clients, what is empty is often nothing at all.
            topic = address.prefix + topics.EVENTS
            place = await producer.send_and_wait(topic, value or None, key=key, partition=partition)
            return Sent(partition=place.partition, offset=place.offset)

        try:
            yield produce
        finally:
            await producer.stop()


class Onlooker:
    """Reads a log from outside, on from where it was; blocking. Nothing is read twice."""

    def __init__(self, url: str) -> None:
        self.found = Found()
        self._url = url
        self._next: dict[tuple[str, int], int] = {}

    def look(self) -> Found:
        """What stands on the log by now."""
        with closing(open_log_reader(self._url)) as reader:
            for topic in (topics.DEAD_LETTERS, topics.COMMANDS, topics.EVENTS):
                for partition in range(reader.partitions(topic)):
                    for record in reader.read(topic, partition, self._next.get((topic, partition), 0)):
                        _note(self.found, topic, record.value)
                        self._next[topic, partition] = record.offset + 1
        return self.found


class Life:
    """One life of the service."""

    def __init__(self, house: House, service: Service) -> None:
        self.house = house
        self.service = service
        self.sending: Callable[..., Any]
        self._onlooker = Onlooker(house.url)

    def forget(self) -> None:
        """Hold nothing of the service any longer."""
        del self.service, self.sending

    async def send(self, value: bytes, *, key: bytes | None, partition: int | None = None) -> Sent:
        """Write a record straight onto `events.v1`."""
        sent: Sent = await self.sending(key, value, partition)
        return sent

    async def until(self, holds: Callable[[Found], bool], patience_s: float = PATIENCE_S) -> Found:
        """What the log says once it says enough, or when patience ends."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + patience_s
        while True:
            found = await asyncio.to_thread(self._onlooker.look)
            if holds(found) or loop.time() > ends:
                return found
            await asyncio.sleep(POLL_S)

    async def apply(self, **changes: str) -> None:
        """Put other files in force."""
        self.house.write(**changes)
        desk = self.service.desk
        await desk.apply(self.house.load().controls.items, desk.wanted)
        async with asyncio.timeout(PATIENCE_S), self.client() as client:
            while not (await client.get("/v1/controls?items=false")).json()["adopted"]:  # noqa: ASYNC110 - as a client
                await asyncio.sleep(POLL_S)

    def client(self) -> httpx.AsyncClient:
        """REST."""
        assert self.service.rest is not None
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(base_url=self.service.rest.url, headers=headers, timeout=60.0)


class _Outcome(msgspec.Struct):
    id: str = ""
    subject: str = ""


_outcome = msgspec.json.Decoder(_Outcome)


def _note(found: Found, topic: str, value: bytes) -> None:
    if topic == topics.COMMANDS:
        command = decode(value, Command)
        found.commands[command.subject].add(command.lineage.message_id)
    elif topic == topics.DEAD_LETTERS and b'"setpoint.dead_letter"' in value:
        letter = decode(value, DeadLetter)
        found.letters[letter.partition, letter.offset].add((letter.lineage.message_id, letter.code))
    elif topic == topics.EVENTS and b'"command.succeeded"' in value and b'"source":"setpoint"' in value:
        outcome = _outcome.decode(value)
        # Whoever dies before it knows that an outcome is out says the same one again.
        if outcome.id not in found.outcome_ids:
            found.outcome_ids.add(outcome.id)
            found.outcomes[outcome.subject] += 1


def subjects(count: int, name: str) -> Sequence[str]:
    """So many machines."""
    return [f"machine/{name}-{n}" for n in range(count)]
