"""Whatever crashes, and wherever: the log and the rows are those of one clean fold. And the judge would notice."""

import re
from collections import Counter
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from control_plane.adapters.memory import Lane, Order
from control_plane.adapters.memory.log import Committed
from control_plane.messages import topics
from control_plane.partition import Partitions
from control_plane.partition.rows import PartitionRows, Touched
from control_plane.ports.backbone import LOOP_GROUP, Commit, Record
from control_plane.replay import render, replay, state_hash
from state.rows import HeldOutput, Row
from tests.builders import ScriptedEngine
from tests.property.judge import violations
from tests.property.world import CONTROLS, PARTITIONS, World, ruling_on

SEEDS_PER_ORDER = 160
REPLAYED_SEEDS = 15
SEEDS_OF_A_SABOTAGE = 40
SEEDS_WITH_CUTS = 60


async def wrong_after(seed: int, order: Order, **parts: type) -> tuple[list[str], Counter[str]]:
    world = World(seed, order, **parts)
    await world.run()
    return violations(world.log, CONTROLS, ruling_on, exactly_once=order == "atomic"), world.happened


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_what_is_written_under_crashes_is_one_clean_fold_of_the_log(order: Order) -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEEDS_PER_ORDER):
        wrong, befell = await wrong_after(seed, order)
        assert not wrong, f"seed {seed}, {order}: {wrong[:10]}"
        happened += befell
    by_tick = ("tick", "told", "silence_guard", "pace_guard")
    # What slow agents learn is no output of a partition.
    said = [topic for topic in topics.KEYED_BY_SUBJECT if topic != topics.TOOLS]
    for what in ("crash", "duplicate", "poison", "huge", *by_tick, *said):
        assert happened[what] > 20, f"the runs were too quiet: {what} happened {happened[what]} times"


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_it_is_so_too_where_batches_are_cut_because_rows_or_commits_are_full(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.partition.rows.COMMIT_BYTES_MAX", 12_000)
    monkeypatch.setattr("control_plane.partition.rows.HELD_BYTES_MAX", 4_000)
    cuts = 0

    class Cutting(Partitions):
        async def take(self, partition: int, records: Sequence[Record]) -> Commit:
            nonlocal cuts
            commit = await super().take(partition, records)
            cuts += commit.next_offset <= records[-1].offset
            return commit

    for seed in range(SEEDS_WITH_CUTS):
        wrong, _ = await wrong_after(seed, order, owner=Cutting)
        # A record that is handed over again may be buried again: it has no row to say that it was.
        wrong = [sentence for sentence in wrong if not re.search(r"^dead_letters.* twice$", sentence)]
        assert not wrong, f"seed {seed}, {order}: {wrong[:10]}"
    assert cuts > 100, f"the runs were too quiet: only {cuts} batches were cut"


@pytest.mark.parametrize("order", ["atomic", "stepwise"])
async def test_a_replay_of_such_a_log_is_equal_whatever_the_batches_and_has_the_state_of_the_live_rows(
    order: Order,
) -> None:
    for seed in range(REPLAYED_SEEDS):
        world = World(seed, order)
        await world.run()
        ends = {number: world.log.bounds(topics.EVENTS, number)[1] for number in range(PARTITIONS)}

        reports = [
            await replay(world.log, CONTROLS, ScriptedEngine(ruling_on), committed=ends, batch_records=size)
            for size in (1, 7, 200)
        ]

        for report in reports:
            assert report.equal, f"seed {seed}, {order}: {render(report)}"
        stored = [(number, *row) for number in range(PARTITIONS) for row in world.log.rows[number].items()]
        assert {report.recorded_hash for report in reports} == {report.replayed_hash for report in reports}
        assert {report.state_hash for report in reports} == {state_hash(stored)}


async def found_by_the_judge(order: Order, **parts: type) -> Counter[str]:
    """What the judge says of a loop from which something was taken out: how often each kind of fault."""
    found: Counter[str] = Counter()
    for seed in range(SEEDS_OF_A_SABOTAGE):
        wrong, _ = await wrong_after(seed, order, **parts)
        found += Counter(sentence.rpartition(": ")[2] for sentence in wrong)
    return found


async def test_without_the_applied_offset_the_judge_finds_rows_and_outputs_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    touch = PartitionRows.touch

    def touch_as_if_new(rows: PartitionRows, touched: dict[str, Touched], subject: str) -> Touched:
        found = touch(rows, touched, subject)
        found.row = replace(found.row, applied=-1)
        return found

    monkeypatch.setattr(PartitionRows, "touch", touch_as_if_new)

    found = await found_by_the_judge("stepwise")

    assert found["not the clean fold"] > 0
    assert found["missing"] > 0


async def test_without_held_outputs_the_judge_finds_some_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    put_back = PartitionRows.replace

    def hold_nothing(
        rows: PartitionRows, touched: Touched, row: Row, encoded: bytes, outputs: Sequence[HeldOutput]
    ) -> None:
        put_back(rows, touched, row, encoded, ())

    monkeypatch.setattr(PartitionRows, "replace", hold_nothing)

    assert (await found_by_the_judge("stepwise"))["missing"] > 0


async def test_with_outputs_before_rows_the_judge_finds_copies_that_differ() -> None:
    """An engine that failed may answer when it is asked again: then the verdict that left first stands corrected."""

    class OutputsFirst(Lane):
        def write_row(self) -> bool:
            return False if self.write_output() else super().write_row()

        def write_output(self) -> bool:
            waiting = next((found for found in self._in_flight if found.outputs_left()), None)
            if waiting is None:
                return False
            self._log.append([waiting.commit.outputs[waiting.outputs]])
            waiting.outputs += 1
            return True

    assert (await found_by_the_judge("stepwise", lane=OutputsFirst))["copies differ"] > 0


async def test_with_the_offset_before_outputs_the_judge_finds_some_missing() -> None:
    class OffsetFirst(Lane):
        def write_output(self) -> bool:
            """Offset first, then the outputs all at once: a crash between the two loses them."""
            oldest = self._in_flight[0] if self._in_flight else None
            if oldest is None or oldest.rows_left():
                return False
            if not self._offset_is_out(oldest.commit.next_offset):
                self._commit_offset(oldest.commit)
                return True
            return super().write_output()

        def _offset_is_out(self, next_offset: int) -> bool:
            return self._log.start_of(LOOP_GROUP, self.partition).next_offset >= next_offset

        def _commit_offset(self, commit: Commit) -> None:
            done = Committed(commit.next_offset, commit.mark)
            self._log.committed[LOOP_GROUP, topics.EVENTS, self.partition] = done

    assert (await found_by_the_judge("stepwise", lane=OffsetFirst))["missing"] > 0
