"""What a ledger promises, on every database."""

import pytest
import sqlalchemy as sa

from control_plane.adapters.sql import Database, SqlLedger
from control_plane.messages.wire import encode
from control_plane.ports.ledger import Begin, Conclusion, Entry, Release, Taking
from tests.contract.ledger.commands import a_command, a_taking

NOW = 10_000
LEASE_S = 30.0
LAPSED = NOW + 30_001


@pytest.fixture
async def ledger(database: Database) -> SqlLedger:
    return await another_owner(database)


async def another_owner(database: Database, now_ms: int = NOW, *, sole: bool = False) -> SqlLedger:
    opened = SqlLedger(database, lease_s=LEASE_S, sole=sole)
    await opened.start(now_ms)
    return opened


def concluded(command_id: str = "c1", status: str = "succeeded", finished_ms: int = 20_000) -> Conclusion:
    return Conclusion(
        command_id=command_id, status=status, detail="restarted", attempts=1, begun_ms=11_000, finished_ms=finished_ms
    )


def ids(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.command.lineage.message_id for entry in entries]


async def test_a_batch_is_taken_and_leased_in_order(ledger: SqlLedger) -> None:
    taken = await ledger.take(
        [a_taking("c1", "service/a"), a_taking("c2", "service/b"), a_taking("c3", "service/a")], now_ms=NOW
    )

    assert ids(taken.leased) == ["c1", "c2", "c3"]
    assert (taken.waiting, taken.known, taken.stale) == (0, 0, 0)


async def test_a_known_id_is_ignored_and_counted(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)

    again = await ledger.take([a_taking("c1"), a_taking("c2"), a_taking("c2")], now_ms=NOW)

    assert ids(again.leased) == ["c2"]
    assert again.known == 2


async def test_a_lower_epoch_is_dropped_without_a_trace(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1", epoch=4)], now_ms=NOW)

    stale = await ledger.take([a_taking("c2", epoch=3)], now_ms=NOW)
    same_id_from_the_owner = await ledger.take([a_taking("c2", epoch=5)], now_ms=NOW)

    assert (stale.leased, stale.stale) == ((), 1)
    assert ids(same_id_from_the_owner.leased) == ["c2"]


async def test_epochs_of_other_partitions_do_not_count(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1", partition=0, epoch=4)], now_ms=NOW)

    other = await ledger.take([a_taking("c2", partition=1, epoch=1)], now_ms=NOW)

    assert ids(other.leased) == ["c2"]


async def test_a_known_id_is_recognised_before_its_epoch_is_judged(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1", epoch=4)], now_ms=NOW)

    again = await ledger.take([a_taking("c1", epoch=3)], now_ms=NOW)

    assert (again.known, again.stale) == (1, 0)


async def test_a_known_id_tells_of_its_owners_epoch_as_well(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1", epoch=4)], now_ms=NOW)
    await ledger.take([a_taking("c1", epoch=6)], now_ms=NOW)

    stale = await ledger.take([a_taking("c2", epoch=5)], now_ms=NOW)

    assert (stale.leased, stale.stale) == ((), 1)


async def test_the_epoch_counts_within_a_batch_too(ledger: SqlLedger) -> None:
    taken = await ledger.take([a_taking("c1", epoch=4), a_taking("c2", epoch=3)], now_ms=NOW)

    assert ids(taken.leased) == ["c1"]
    assert taken.stale == 1


async def test_only_what_is_held_can_be_begun(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    stranger = await another_owner(database)

    assert await stranger.begin([Begin(command_id="c1", attempt=1, begun_ms=11_000)]) == frozenset()
    assert await ledger.begin([Begin(command_id="c1", attempt=1, begun_ms=11_000)]) == {"c1"}


async def test_nothing_is_begun_behind_a_command_that_another_owner_took_over(
    ledger: SqlLedger, database: Database
) -> None:
    await ledger.take([a_taking("c1"), a_taking("c2")], now_ms=NOW)
    heir = await another_owner(database)
    await heir.lease(now_ms=LAPSED, entries_max=10)
    await ledger.renew(LAPSED)

    begun = await ledger.begin([Begin(command_id="c2", attempt=1, begun_ms=LAPSED)])
    await heir.finish([concluded("c1")])
    leased = await heir.lease(now_ms=LAPSED, entries_max=10)

    assert begun == frozenset()
    assert ids(leased.entries) == ["c2"]


async def test_beginning_and_finishing_can_be_repeated_after_a_lost_answer(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1"), a_taking("c2", "service/b")], now_ms=NOW)
    begins = [Begin(command_id=c, attempt=1, begun_ms=11_000) for c in ("c1", "c2")]

    assert await ledger.begin(begins) == await ledger.begin(begins) == {"c1", "c2"}
    assert await ledger.finish([concluded("c1")]) == await ledger.finish([concluded("c1")]) == {"c1"}


async def test_the_first_conclusion_stands(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    await ledger.finish([concluded("c1", "succeeded")])

    assert await ledger.finish([concluded("c1", "failed")]) == frozenset()


async def test_a_finished_command_cannot_be_begun(ledger: SqlLedger) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    await ledger.finish([concluded("c1")])

    assert await ledger.begin([Begin(command_id="c1", attempt=2, begun_ms=12_000)]) == frozenset()


async def test_what_a_dead_owner_began_is_leased_as_begun_once_its_lease_lapsed(
    ledger: SqlLedger, database: Database
) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    await ledger.begin([Begin(command_id="c1", attempt=1, begun_ms=11_000)])
    heir = await another_owner(database)

    too_early = await heir.lease(now_ms=NOW + 1, entries_max=10)
    leased = await heir.lease(now_ms=LAPSED, entries_max=10)

    assert too_early.entries == ()
    assert leased.entries == (Entry(command=a_command("c1"), attempts=1, begun=True, begun_ms=11_000),)


async def test_an_owner_that_renews_keeps_what_it_holds(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    await ledger.renew(NOW + 20_000)
    other = await another_owner(database)

    assert (await other.lease(now_ms=LAPSED, entries_max=10)).entries == ()


async def test_an_owner_that_lost_a_command_can_neither_begin_nor_finish_it(
    ledger: SqlLedger, database: Database
) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    heir = await another_owner(database)
    await heir.lease(now_ms=LAPSED, entries_max=10)

    assert await ledger.begin([Begin(command_id="c1", attempt=1, begun_ms=LAPSED)]) == frozenset()
    assert await ledger.finish([concluded("c1")]) == frozenset()
    assert await heir.finish([concluded("c1")]) == {"c1"}


async def test_a_sole_owner_waits_for_nobody(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)

    heir = await another_owner(database, sole=True)

    assert ids((await heir.lease(now_ms=NOW, entries_max=10)).entries) == ["c1"]


async def test_an_owner_that_stopped_leaves_its_commands_to_others_at_once(
    ledger: SqlLedger, database: Database
) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    other = await another_owner(database)

    await ledger.stop()

    assert ids((await other.lease(now_ms=NOW, entries_max=10)).entries) == ["c1"]


async def test_a_subject_in_somebody_elses_hands_waits(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1", "service/a")], now_ms=NOW)
    other = await another_owner(database)

    taken = await other.take([a_taking("c2", "service/a"), a_taking("c3", "service/b")], now_ms=NOW)
    leased_while_busy = await other.lease(now_ms=NOW, entries_max=10)
    await ledger.finish([concluded("c1")])
    leased_after = await other.lease(now_ms=NOW, entries_max=10)

    assert (ids(taken.leased), taken.waiting) == (["c3"], 1)
    assert (leased_while_busy.entries, leased_while_busy.more) == ((), True)
    assert (ids(leased_after.entries), leased_after.more) == (["c2"], False)


async def test_what_was_taken_without_leasing_is_leased_one_per_subject_in_order(ledger: SqlLedger) -> None:
    batch = [a_taking("c1", "service/a"), a_taking("c2", "service/a"), a_taking("c3", "service/b")]
    taken = await ledger.take(batch, now_ms=NOW, lease=False)

    first = await ledger.lease(now_ms=NOW, entries_max=10)
    meanwhile = await ledger.lease(now_ms=NOW, entries_max=10)
    await ledger.finish([concluded("c1")])
    then = await ledger.lease(now_ms=NOW, entries_max=10)

    assert (taken.leased, taken.waiting) == ((), 3)
    assert (ids(first.entries), first.more) == (["c1", "c3"], True)
    assert meanwhile.entries == ()
    assert (ids(then.entries), then.more) == (["c2"], False)


async def test_leasing_is_bounded(ledger: SqlLedger) -> None:
    await ledger.take([a_taking(f"c{n}", f"service/{n}") for n in range(5)], now_ms=NOW, lease=False)

    leased = await ledger.lease(now_ms=NOW, entries_max=2)

    assert (ids(leased.entries), leased.more) == (["c0", "c1"], True)


async def test_a_released_command_is_not_due_before_its_time(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    await ledger.begin([Begin(command_id="c1", attempt=1, begun_ms=NOW)])
    await ledger.release([Release(command_id="c1", attempts=1, due_ms=LAPSED + 5_000)])
    heir = await another_owner(database)

    early = await heir.lease(now_ms=LAPSED + 4_999, entries_max=10)
    due = await heir.lease(now_ms=LAPSED + 5_000, entries_max=10)

    assert (early.entries, early.more) == ((), True)
    assert due.entries == (Entry(command=a_command("c1"), attempts=1, begun=False, begun_ms=NOW),)


async def test_an_outcome_left_unpublished_is_another_owners_to_publish(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1", "service/a"), a_taking("c2", "service/b")], now_ms=NOW)
    await ledger.finish([concluded("c2"), concluded("c1")])
    await ledger.published(["c2"])
    heir = await another_owner(database, sole=True)

    (pending,) = await heir.pending(now_ms=NOW, outcomes_max=10)
    await heir.published(["c1"])

    assert pending.command == a_command("c1", "service/a")
    assert pending.conclusion == concluded("c1")
    assert await (await another_owner(database, sole=True)).pending(now_ms=NOW, outcomes_max=10) == []


async def test_outcomes_of_a_living_owner_are_left_to_it(ledger: SqlLedger, database: Database) -> None:
    await ledger.take([a_taking("c1")], now_ms=NOW)
    await ledger.finish([concluded("c1")])
    other = await another_owner(database)

    assert await other.pending(now_ms=NOW, outcomes_max=10) == []


async def test_only_old_published_commands_are_forgotten(ledger: SqlLedger) -> None:
    await ledger.take([a_taking(f"c{n}", f"service/{n}") for n in range(4)], now_ms=NOW)
    await ledger.take([a_taking("young", "service/young")], now_ms=NOW + 1)
    finished = ["c0", "c1", "c2", "young"]
    await ledger.finish([concluded(c) for c in finished])
    await ledger.published(["c0", "c1", "young"])

    forgotten = await ledger.prune(before_ms=NOW + 1, entries_max=100)
    again = await ledger.take(
        [a_taking(f"c{n}", f"service/{n}") for n in range(4)] + [a_taking("young")], now_ms=NOW + 2
    )

    assert forgotten == 2
    assert ids(again.leased) == ["c0", "c1"]
    assert again.known == 3


async def test_forgetting_is_bounded(ledger: SqlLedger) -> None:
    await ledger.take([a_taking(f"c{n}", f"service/{n}") for n in range(4)], now_ms=NOW)
    await ledger.finish([concluded(f"c{n}") for n in range(4)])
    await ledger.published([f"c{n}" for n in range(4)])

    assert await ledger.prune(before_ms=NOW + 1, entries_max=3) == 3


async def test_bytes_of_a_command_come_back_as_the_same_command(ledger: SqlLedger, database: Database) -> None:
    odd = a_command("ünï ' \" \\ \u2028 c1", "service/häß", parameters={"text": "a\x00b\n{}:batch"})
    await ledger.take([Taking(command=odd, body=encode(odd), partition=0, offset=0)], now_ms=NOW)
    leased = await (await another_owner(database, sole=True)).lease(now_ms=NOW, entries_max=10)

    assert [entry.command for entry in leased.entries] == [odd]


async def test_what_an_answer_gave_that_was_lost_is_given_again(ledger: SqlLedger, database: Database) -> None:
    await database.write(_break_the_next_answer_of(database))
    with pytest.raises(Exception, match="lost"):
        await ledger.take([a_taking("c1")], now_ms=NOW)

    again = await ledger.take([a_taking("c1")], now_ms=NOW)
    leased = await ledger.lease(now_ms=NOW, entries_max=10)

    assert (again.leased, again.known) == ((), 1)
    assert ids(leased.entries) == ["c1"]


def _break_the_next_answer_of(database: Database):
    """The next transaction is committed, but whoever waits for it hears that the connection was lost."""
    runner = database._runner
    run = runner.run

    async def once(work):
        runner.run = run
        await run(work)
        raise sa.exc.OperationalError("commit", None, Exception("connection lost"))

    def arm(_connection) -> None:
        runner.run = once

    return arm
