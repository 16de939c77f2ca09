"""However records come again, a decision sees the fleets as they were at its record; and never is more of one down than
its limit.

Every event proposes to act, so that nearly every verdict hangs on the fleets.
"""

from collections import Counter

import pytest
from msgspec.structs import replace

from control_plane.adapters.memory import Lane, Order
from control_plane.messages import Verdict, topics
from control_plane.messages.wire import decode
from control_plane.partition import partitions, told
from control_plane.partition.fleets import FleetSums
from control_plane.ports.backbone import BATCH_RECORDS_MAX
from control_plane.replay import render, replay, state_hash
from state.rows import Row, StandingAt, decode_partition_row, decode_row
from tests import builders
from tests.property.judge import violations
from tests.property.world import PARTITIONS, World, ruling_on

SEEDS_PER_ORDER = 60
REPLAYED_SEEDS = 10
SEEDS_OF_A_SABOTAGE = 60

_EAGER = builders.agent("eager", 'return [context.propose("restart_service", because="always")]')


_NUMBERS = builders.item("schema", "service.measured", {"properties": {"rss": {"type": "number"}}})
_WEB = builders.fleet(healthy="rows.health.rss < 450.0")


def _controls(*fleets: builders.ControlItem) -> builders.ControlSet:
    return builders.control_set(
        builders.intent(limits={"fleet_share_max": 0.7}, context_age_max="10m"),
        builders.row(),
        _NUMBERS,
        _EAGER,
        *fleets,
    )


class BackwardsLane(Lane):
    """Writes the rows of a commit in another order: the port promises none."""

    async def take(self, records_max: int = BATCH_RECORDS_MAX) -> bool:
        took = await super().take(records_max)
        if took:
            newest = self._in_flight[-1]
            newest.commit = replace(newest.commit, rows=newest.commit.rows[::-1])
        return took


class FleetWorld(World):
    """Its controls count other members, and call others healthy. It crashes often, in the midst of large batches."""

    control_sets = (
        _controls(_WEB),
        _controls(_WEB, builders.fleet("few", 'subject.name < "web-11"', healthy="rows.health.rss < 250.0")),
    )
    controls = builders.ControlsAt(*control_sets)

    subjects = tuple(f"service/web-{number}" for number in range(12))
    """Enough for a fleet of which a share says something, and few enough that each has a history."""

    def __init__(self, seed: int, order: Order) -> None:
        super().__init__(seed, order, lane=(Lane, BackwardsLane)[seed % 2])
        self._batch_max = 50
        self._crash_share = 0.15
        self._entered = False

    async def _act(self) -> None:
        if not self._entered:
            self._entered = True
            few = self._random.randrange(len(self.subjects) + 1)
            for subject in self.subjects[: self._random.choice((few, None))]:
                self.log.append([builders.output(builders.registered(subject))])
        if self._random.random() < 0.15:
            self._tell()
        await super()._act()

    def _send(self) -> None:
        if self._random.random() < 0.07:
            self._enter_or_leave()
        super()._send()

    def _enter_or_leave(self) -> None:
        self._events += 1
        changed = self._random.choice((builders.registered, builders.registered, builders.retired))
        found = changed(self._random.choice(self.subjects), message_id=f"e{self._events}", at_ms=self.clock.now_ms())
        self.log.append([builders.output(found)])

    def _tell(self) -> None:
        """The owner tells both partitions, or only one, as when it dies in between."""
        found = {number: self._partitions.to_tell(number) for number in range(PARTITIONS)}
        counts = {number: told.counts for number, told in found.items() if told is not None}
        for to in self._random.choice(((0, 1), (0, 1), (0,), (1,), ())):
            told = builders.summarised(counts, partitions=PARTITIONS, heard={"test": self.clock.now_ms()})
            self.log.append([builders.output(told, to)])


async def wrong_after(seed: int, order: Order) -> tuple[list[str], Counter[str]]:
    world = FleetWorld(seed, order)
    await world.run()
    said = [record.value for n in range(PARTITIONS) for record in world.log.read(topics.VERDICTS, n)]
    codes = Counter(decode(raw, Verdict).reasons[0].code for raw in said)
    return violations(world.log, FleetWorld.controls, ruling_on, exactly_once=order == "atomic"), codes


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_every_decision_sees_the_fleets_as_of_its_record_whatever_crashes(order: Order) -> None:
    codes: Counter[str] = Counter()
    for seed in range(SEEDS_PER_ORDER):
        wrong, said = await wrong_after(seed, order)
        assert not wrong, f"seed {seed}, {order}: {wrong[:10]}"
        codes += said
    for code in ("fleet_share", "fleet_untold", "fleet_busy", "fleet_share_unknown", "not_registered", "allow"):
        assert codes[code] > 10, f"the runs were too quiet: {code} was said {codes[code]} times"


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_a_replay_of_it_is_equal_whatever_the_batches(order: Order) -> None:
    for seed in range(REPLAYED_SEEDS):
        world = FleetWorld(seed, order)
        await world.run()
        ends = {number: world.log.bounds(topics.EVENTS, number)[1] for number in range(PARTITIONS)}

        for size in (1, 7, 200):
            engine = builders.ScriptedEngine(ruling_on)
            report = await replay(world.log, FleetWorld.controls, engine, committed=ends, batch_records=size)

            assert report.equal, f"seed {seed}, {order}: {render(report)}"
            stored = [(number, *row) for number in range(PARTITIONS) for row in world.log.rows[number].items()]
            assert report.state_hash == state_hash(stored)


async def found_by_the_judge() -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in range(SEEDS_OF_A_SABOTAGE):
        wrong, _ = await wrong_after(seed, "stepwise")
        found += Counter(sentence.rpartition(": ")[2] for sentence in wrong)
    return found


async def test_with_rows_that_are_ahead_counted_at_once_the_judge_finds_other_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counted_at_once(sums: FleetSums, subject: str, applied: int, standings: tuple[StandingAt, ...]) -> None:
        if standings:
            sums.count(standings[-1][0], subject, standings[-1][1])

    monkeypatch.setattr(FleetSums, "found", counted_at_once)

    assert (await found_by_the_judge())["other bytes"] > 0


async def test_with_what_was_told_later_the_judge_finds_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def newest(next_offset: int, stored: bytes | None, generation: int) -> Row | None:
        return None if stored is None else decode_row(decode_partition_row(stored)[-1])

    monkeypatch.setattr(told, "_as_of", newest)

    assert (await found_by_the_judge())["other bytes"] > 0


async def test_with_a_fault_among_what_others_hang_on_the_judge_finds_other_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partitions, "_end_with_fault", lambda *_: None)

    assert (await found_by_the_judge())["other bytes"] > 0


async def test_with_members_taken_at_once_the_judge_finds_other_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_chain_of", lambda held, event: event.subject if event else "")

    assert (await found_by_the_judge())["other bytes"] > 0
