"""The ledger of simulations keeps the promises of the ledgers in SQL: it runs their contract suite."""

from typing import Any

import pytest

from control_plane.errors import LedgerUnavailable
from control_plane.simulation.ledger import Books, SimulatedLedger, WiredLedger
from tests.contract.ledger import test_ledger as contract
from tests.contract.ledger.commands import a_taking

OF_SQL = {"test_what_an_answer_gave_that_was_lost_is_given_again"}
"""What reaches into a database; the wire's own test is below."""

TESTS = sorted(name for name in vars(contract) if name.startswith("test_") and name not in OF_SQL)


class _AsOpened(SimulatedLedger):
    """Opened as the suite opens one."""

    def __init__(self, books: Any, *, lease_s: float = 30.0, sole: bool = False) -> None:
        super().__init__(books, lease_s=lease_s, sole=sole)


@pytest.mark.parametrize("name", TESTS)
async def test_the_contract_of_ledgers_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "SqlLedger", _AsOpened)
    books = Books()
    test = getattr(contract, name)
    wanted = test.__code__.co_varnames[: test.__code__.co_argcount]
    given: dict[str, Any] = {"database": books}
    if "ledger" in wanted:
        given["ledger"] = await contract.another_owner(books)  # type: ignore[arg-type]
    if not set(wanted) <= set(given):
        pytest.fail(f"{name} asks for {sorted(set(wanted) - set(given))}, which only a database has; name it in OF_SQL")

    await test(**{name: given[name] for name in wanted})


async def test_what_an_answer_gave_that_was_lost_on_the_wire_is_given_again() -> None:
    lost = ["ledger.take", "ledger.pending"]

    async def call(name: str, act: Any) -> Any:
        answer = act()
        if name in lost:
            lost.remove(name)
            raise LedgerUnavailable("the answer was lost. Try again.")
        return answer

    ledger = WiredLedger(SimulatedLedger(Books()), call)
    await ledger.start(0)
    with pytest.raises(LedgerUnavailable):
        await ledger.take([a_taking("c1")], now_ms=0)

    leased = await ledger.lease(now_ms=0, entries_max=10)
    once_more = await ledger.lease(now_ms=0, entries_max=10)

    assert [entry.command.lineage.message_id for entry in leased.entries] == ["c1"]
    assert once_more.entries == ()


async def test_an_answer_that_is_lost_while_leasing_is_not_forgotten() -> None:
    """What the lease saw may be older than what was lost."""
    ledger: WiredLedger

    async def call(name: str, act: Any) -> Any:
        answer = act()
        if name == "ledger.lease" and not taken:
            taken.append(name)
            with pytest.raises(LedgerUnavailable):
                await ledger.take([a_taking("c1")], now_ms=0)
        if name == "ledger.take":
            raise LedgerUnavailable("the answer was lost. Try again.")
        return answer

    taken: list[str] = []
    ledger = WiredLedger(SimulatedLedger(Books()), call)
    await ledger.start(0)
    before = await ledger.lease(now_ms=0, entries_max=10)
    after = await ledger.lease(now_ms=0, entries_max=10)

    assert before.entries == ()
    assert [entry.command.lineage.message_id for entry in after.entries] == ["c1"]
