"""A world in memory around the partitions, driven by one seed: producers, executors, time, and crashes at every step.

It knows the loop only through the backbone port. What it leaves behind is a log and rows for `judge` to look at.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from random import Random

from control_plane.adapters.memory import Lane, MemoryLog, Order, VirtualClock
from control_plane.causality import digest
from control_plane.messages import Command, Context, Decision, Outcome, Proposed, Question, Reason, Ruling, topics
from control_plane.messages.wire import decode, decode_context, encode
from control_plane.partition import Partitions
from control_plane.ports.backbone import Output, Record
from control_plane.ports.policy_engine import PolicySet
from tests import builders

PARTITIONS = 2
SUBJECTS = tuple(f"service/web-{number}" for number in range(5))
ACTIONS_PER_RUN = 150

_HEALTH = builders.row(
    fields={
        "rss": {"last": "data.rss"},
        **builders.NOTES,
        "measured": {"count": {"window": "10s"}},
        "peak": {"max": {"of": "data.rss", "window": "5s"}},
        "usual": {"quantile": {"of": "data.rss", "q": 0.5, "window": "5s"}},
        "different": {"distinct": {"of": "data.rss", "window": "5s"}},
    }
)
_EXPECTS = {"where": "rows.health.rss < 200.0", "harm": "rows.health.rss > 480.0", "within": "2s", "samples_min": 2}
_NOTIFY = {"intent": "notify"}
_SILENT = {"intent": "notify", "because": "nothing of {subject.name}"}


def _controls(threshold: float) -> tuple[builders.ControlItem, ...]:
    return (
        builders.intent(limits={"cooldown": "1s", "per_subject": {"max": 3, "window": "10s"}}),
        builders.intent("notify"),
        _HEALTH,
        builders.item("schema", "service.measured", {"type": "object", "properties": {"rss": {"type": "number"}}}),
        builders.rule(when=f"data.rss > {threshold}", reads=["health"], repeat_interval="1s", expects=_EXPECTS),
        builders.rule("slow_guard", when="data.rss > 250.0", **{"for": "500ms"}, keep_firing_for="1s"),
        builders.rule("count_guard", when="data.rss > 99.0", count={"min": 3, "window": "2s"}, propose=_NOTIFY),
        builders.rule("silence_guard", when="data.rss > 99.0", absent="700ms", propose=_SILENT),
        builders.rule("pace_guard", rate={"below": 3, "per": "2s"}, propose=_SILENT, once_within="5s"),
        builders.agent("moody", 'if context.event.data["rss"] % 7 == 0: raise RuntimeError("mood")\nreturn ()'),
        builders.agent("stranger", 'return [context.propose("notify", because="always")]'),
        builders.agent(
            "slow", "return ()", base="SlowAgent", reads=("health",), intents=("notify",), listens_to=("service.asked",)
        ),
    )  # fmt: skip


CONTROL_SETS = (builders.control_set(*_controls(400.0)), builders.control_set(*_controls(300.0)))
CONTROLS = builders.ControlsAt(*CONTROL_SETS)

POISON: tuple[bytes, ...] = (
    b"",
    b"no json",
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.measured","subject":"service/web-1","data":{"rss":NaN}}',
    b'{"specversion":"0.3","id":"p","source":"t","type":"service.measured","subject":"service/web-1"}',
    b'{"specversion":"1.0","source":"t","type":"service.measured","subject":"service/web-1"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.measured","subject":"web"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"clock.tick","subject":"partition/0"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"controls.adopted","subject":"partition/0"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.measured","subject":"service/a","data":{"rss":99999999999999999999}}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.measured","subject":"service/a","data":'
    + b'{"a":' * 70
    + b"1"
    + b"}" * 71,
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.unheard_of","subject":"service/web-1"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"decision.proposed","subject":"service/web-1"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.measured","subject":"service/web-1","data":{"rss":"much"}}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"service.measured","subject":"service/web-1","time":"2099-01-01T00:00:00Z"}',
)


def ruling_on(question: Question) -> Ruling:
    """What policy thinks, whoever asks and whenever."""
    answer = ("allow", "allow", "allow", "deny", "escalate")[int(digest(question.id)[:4], 16) % 5]
    return Ruling(answer=answer, reasons=(Reason(answer, "by its id", "test"),), revision="p1")  # type: ignore[arg-type]


class MoodyEngine:
    """Answers late and in any order, and sometimes not at all: asked again, it may answer differently."""

    def __init__(self, random: Random) -> None:
        self.concurrent = random.random() < 0.5
        self._random = random
        self._fault_share = random.choice((0.0, 0.1, 0.4))

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        for _ in range(self._random.randrange(4) if self.concurrent else 0):
            await asyncio.sleep(0)
        if self._random.random() < self._fault_share:
            return Ruling.none(self._random.choice(("time-out", "connection refused")), policies.revision)
        return ruling_on(question)


class World:
    """One run. `happened` counts what befell it, so that a test can tell that the runs were not idle."""

    control_sets = CONTROL_SETS
    controls = CONTROLS
    subjects = SUBJECTS

    def __init__(
        self, seed: int, order: Order, *, owner: type[Partitions] = Partitions, lane: type[Lane] = Lane
    ) -> None:
        self.order: Order = order
        self.clock = VirtualClock()
        self.log = MemoryLog(self.clock.now_ms, partitions=PARTITIONS)
        self.happened: Counter[str] = Counter()
        self._random = Random(seed)
        self._owner_type, self._lane_type = owner, lane
        self._engine = MoodyEngine(self._random)
        self._batch_max = self._random.choice((1, 3, 10, 50))
        self._crash_share = self._random.choice((0.0, 0.02, 0.1))
        self._events = 0
        self._sent: list[Output] = []
        self._seen: Counter[tuple[str, int]] = Counter()
        self._executed: dict[str, Outcome] = {}
        self._partitions: Partitions
        self._lanes: list[Lane]

    async def run(self) -> None:
        """Live, crash, and in the end let everything come to rest."""
        await self._start()
        for partition in range(PARTITIONS):
            self._adopt(partition)
        for _ in range(ACTIONS_PER_RUN):
            await self._act()
        await self._come_to_rest()

    async def _start(self) -> None:
        self._partitions = self._owner_type(engine=self._engine, controls=self.controls)
        self._lanes = [self._lane_type(self.log, n, self._partitions, self.order) for n in range(PARTITIONS)]
        for lane in self._lanes:
            await lane.assign()

    async def _act(self) -> None:
        random = self._random
        if random.random() < self._crash_share:
            self.happened["crash"] += 1
            await self._start()
            return
        lane = random.choice(self._lanes)
        action = random.choices(("send", "take", "write", "execute", "wait", "adopt"), (6, 4, 12, 2, 2, 0.3))[0]
        if action == "send":
            self._send()
        elif action == "take":
            await lane.take(random.randint(1, self._batch_max))
        elif action == "write":
            self._write(lane)
        elif action == "execute":
            self._execute()
            self._answer()
        elif action == "wait":
            self._wait()
        else:
            self._adopt(lane.partition)

    def _write(self, lane: Lane) -> None:
        """A few durable steps, in any order that the port allows."""
        if self.order == "atomic":
            lane.advance()
            return
        for _ in range(self._random.randint(1, 8)):
            step = self._random.choice((lane.write_row, lane.write_output, lane.write_offset))
            step()

    def _send(self) -> None:
        kind = self._random.random()
        if kind < 0.1 and self._sent:
            self.happened["duplicate"] += 1
            self.log.append([self._random.choice(self._sent[-40:])])
        elif kind < 0.15:
            self.happened["poison"] += 1
            self._append(self._random.choice(POISON))
        else:
            found = builders.output(self._measured())
            self._sent.append(found)
            self.log.append([found])

    def _measured(self) -> builders.Event:
        self._events += 1
        data: dict[str, object] = {"rss": float(self._random.randrange(500))}
        if self._random.random() < 0.01:
            self.happened["huge"] += 1
            data |= builders.HUGE
        return builders.event(
            self._random.choice(("service.measured", "service.measured", "service.asked")),
            data=data,
            subject=self._random.choice(self.subjects),
            message_id=f"e{self._events}",
            at_ms=self.clock.now_ms() - self._random.choice((0, 0, 0, 700, 90_000)),
        )

    def _execute(self) -> None:
        """Executors: each command once, by its id; an outcome may come back twice."""
        for partition in range(PARTITIONS):
            for record in self._unseen(topics.COMMANDS, partition):
                command = decode(record.value, Command)
                self._executed.setdefault(command.lineage.message_id, self._outcome(command))
                for _ in range(self._random.choice((1, 1, 2))):
                    self._append(encode(self._executed[command.lineage.message_id]), partition)

    def _answer(self) -> None:
        """Slow agents: they may answer a context twice, and differently each time; the first answer counts."""
        for partition in range(PARTITIONS):
            for record in self._unseen(topics.CONTEXTS, partition):
                context = decode_context(record.value)
                for _ in range(self._random.choice((1, 1, 2))):
                    self._append(encode(self._proposed(context)), partition)

    def _proposed(self, context: Context) -> Proposed:
        wanted = self._random.choice(("notify", "notify", "restart_service", None))
        decisions = (context.propose(wanted, because="slowly"),) if wanted else ()
        return Proposed(
            lineage=context.lineage.child("proposed"),
            subject=context.subject.id,
            occurred_ms=context.now_ms,
            context_id=context.lineage.message_id,
            agent=context.agent,
            agent_version=context.agent_version,
            decisions=decisions,
        )

    def _unseen(self, topic: str, partition: int) -> Iterator[Record]:
        """Records that no group beside the loop has read yet."""
        records = self.log.read(topic, partition, self._seen[topic, partition])
        self._seen[topic, partition] = self.log.bounds(topic, partition)[1]
        return records

    def _outcome(self, command: Command) -> Outcome:
        status = self._random.choice(("succeeded", "succeeded", "failed"))
        return builders.outcome(command, status, at_ms=self.clock.now_ms())  # type: ignore[arg-type]

    def _wait(self) -> None:
        """Time passes; the owner ticks when it sees that a row waits for it, and sometimes for nothing."""
        self.clock.advance(self._random.choice((10, 200, 1_500)))
        if self._random.random() < 0.5:
            self._tell_of_sources()
        for lane in self._lanes:
            due_ms = self._partitions.due_ms(lane.partition)
            if (due_ms is not None and due_ms <= self.clock.now_ms()) or self._random.random() < 0.2:
                self._tick(lane.partition)

    def _tick(self, partition: int) -> None:
        self.happened["tick"] += 1
        self.log.append([builders.output(builders.tick(partition, self.clock.now_ms()), partition)])

    def _tell_of_sources(self) -> None:
        """The owner tells each partition when the producers were last heard; of fleets it knows nothing."""
        self.happened["told"] += 1
        now_ms = self.clock.now_ms()
        for partition in range(PARTITIONS):
            told = builders.summarised(
                partitions=PARTITIONS, heard={"test": now_ms - 100}, partition=partition, at_ms=now_ms
            )
            self.log.append([builders.output(told, partition)])

    def _adopt(self, partition: int) -> None:
        revision = self._random.choice(self.control_sets).revision
        self.log.append([builders.output(builders.adopted(revision, partition, self.clock.now_ms()), partition)])

    def _append(self, value: bytes, partition: int | None = None) -> None:
        place = self._random.randrange(PARTITIONS) if partition is None else partition
        self.log.append([Output(topics.EVENTS, b"key", value, place)])

    async def _come_to_rest(self) -> None:
        """What was sent is taken, what was commanded is done, and the windows that are open then are judged."""
        await self._drain()
        self._execute()
        self._answer()
        await self._drain()
        self.clock.advance(10_000)
        for partition in range(PARTITIONS):
            self._tick(partition)
        await self._drain()
        self._count_topics()

    async def _drain(self) -> None:
        for lane in self._lanes:
            while lane.advance() or await lane.take():
                pass

    def _count_topics(self) -> None:
        self.happened += Counter(
            {topic: sum(self.log.bounds(topic, n)[1] for n in range(PARTITIONS)) for topic in topics.KEYED_BY_SUBJECT}
        )
        decisions = [r for n in range(PARTITIONS) for r in self.log.read(topics.DECISIONS, n)]
        self.happened += Counter(decode(record.value, Decision).agent for record in decisions)
