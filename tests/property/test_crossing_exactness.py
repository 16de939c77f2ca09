"""What the agents of one subject want of another is ruled on once, whatever crashes and however often it is said."""

from collections import Counter, defaultdict

import pytest
from msgspec.structs import replace

from control_plane.adapters.memory import Order
from control_plane.messages import Context, Decision, Proposed, Verdict, topics
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.messages.proposed import Origin
from control_plane.messages.wire import decode, decode_event, proposed_of
from control_plane.ports.backbone import Output
from control_plane.replay import replay
from state.rows import Row
from tests import builders
from tests.builders import ScriptedEngine
from tests.property.judge import crossings, violations
from tests.property.world import PARTITIONS, World, ruling_on

SEEDS_PER_ORDER = 60
REPLAYED_SEEDS = 5

_BY_DATA = """return [
    context.propose("restart_service", because="its neighbour suffers", subject="service/db-" + str(n), nth=n)
    for n in range(int(context.event.data["rss"]) % 3)
]"""
_ITEMS = (
    builders.intent(limits={"per_subject": {"max": 3, "window": "10s"}}),
    builders.intent("notify"),
    builders.row(),
    builders.rule("own_guard", when="data.rss > 450.0"),
    builders.rule("silence_guard", absent="700ms", propose={"because": "silence", "subject": "service/watch"}),
    builders.agent("neighbour", _BY_DATA),
    builders.agent(
        "slow",
        "return ()",
        base="SlowAgent",
        intents=("notify", "restart_service"),
        listens_to=("service.asked",),
    ),
)  # fmt: skip
CONTROL_SET = builders.control_set(*_ITEMS)
CONTROLS = builders.ControlsAt(CONTROL_SET)


class Crossing(World):
    """A world whose agents speak of other subjects; what they say may stand on the log again, late and out of order."""

    control_sets = (CONTROL_SET,)
    controls = CONTROLS

    async def _act(self) -> None:
        await super()._act()
        if self._random.random() < 0.1:
            self._say_again()

    def _proposed(self, context: Context) -> Proposed:
        found = super()._proposed(context)
        elsewhere = context.propose("notify", because="slowly, of another", subject="service/db-0", nth=1)
        return replace(found, decisions=(*found.decisions, elsewhere))

    def _say_again(self) -> None:
        """As a worker does that was thrown out with outputs on their way."""
        partition = self._random.randrange(PARTITIONS)
        said = [r for r in self.log.read(topics.EVENTS, partition) if b'"origin":[' in r.value]
        if said:
            self.happened["said again"] += 1
            record = self._random.choice(said)
            self.log.append([Output(topics.EVENTS, record.key, record.value, partition)])


async def run(seed: int, order: Order) -> Crossing:
    world = Crossing(seed, order)
    await world.run()
    return world


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_each_proposal_to_another_subject_has_exactly_one_verdict(order: Order) -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEEDS_PER_ORDER):
        world = await run(seed, order)
        wrong = [*violations(world.log, CONTROLS, ruling_on, exactly_once=False), *ruled_on_otherwise(world)]
        assert not wrong, f"seed {seed}, {order}: {wrong[:10]}"
        happened += world.happened
        happened["crossed"] += len(crossings(world.log))
    for what in ("crash", "said again", "crossed", "duplicate", "silence_guard", "neighbour", "slow"):
        assert happened[what] > 50, f"the runs were too quiet: {what} happened {happened[what]} times"


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_a_replay_says_the_same_to_other_subjects(order: Order) -> None:
    for seed in range(REPLAYED_SEEDS):
        world = await run(seed, order)
        ends = {number: world.log.bounds(topics.EVENTS, number)[1] for number in range(PARTITIONS)}

        report = await replay(world.log, CONTROLS, ScriptedEngine(ruling_on), committed=ends)

        assert report.equal, f"seed {seed}: {report.differences[:3]}"


def ruled_on_otherwise(world: Crossing) -> list[str]:
    """Decisions that crossed and have no verdict, several, or one that stands elsewhere than with their subject. Counts
    only what is on the log."""
    wanted = {decision.lineage.message_id: decision.subject for decision in _crossed(world)}
    verdicts: dict[str, set[tuple[str, int, bytes]]] = defaultdict(set)
    for partition in range(PARTITIONS):
        for record in world.log.read(topics.VERDICTS, partition):
            verdict = decode(record.value, Verdict)
            verdicts[verdict.decision_id].add((verdict.subject, partition, record.value))
    wrong = [f"{id} on {subject} has no verdict" for id, subject in wanted.items() if id not in verdicts]
    for id in wanted.keys() & verdicts.keys():
        if len(verdicts[id]) > 1:
            wrong.append(f"{id} was ruled on {len(verdicts[id])} times")
        wrong += [f"{id} was ruled on elsewhere" for subject, *_ in verdicts[id] if subject != wanted[id]]
    return wrong


def _crossed(world: Crossing) -> list[Decision]:
    found = []
    for partition in range(PARTITIONS):
        for record in world.log.read(topics.EVENTS, partition):
            if b'"origin":[' in record.value:
                event = decode_event(record.value, record.recorded_ms)
                assert event.type == DECISION_PROPOSED
                found += proposed_of(event).decisions
    return found


SEEDS_OF_A_SABOTAGE = 20


def _forgetful(row: Row, origin: Origin) -> Row:
    return replace(row, origins={**row.origins, origin.partition: origin})


def _by_offset_alone(self: Origin, other: Origin) -> bool:
    return (self.generation, self.offset) > (other.generation, other.offset)


@pytest.mark.parametrize(
    ("place", "sabotage", "noticed"),
    [
        ("control_plane.loop.crossing.with_origin", _forgetful, "was ruled on"),
        ("control_plane.messages.proposed.Origin.is_after", _by_offset_alone, "has no verdict"),
    ],
)
async def test_a_row_that_forgets_where_proposals_came_from_is_noticed(
    monkeypatch: pytest.MonkeyPatch, place: str, sabotage: object, noticed: str
) -> None:
    monkeypatch.setattr(place, sabotage)

    wrong = [found for seed in range(SEEDS_OF_A_SABOTAGE) for found in ruled_on_otherwise(await run(seed, "stepwise"))]

    assert any(noticed in found for found in wrong)
