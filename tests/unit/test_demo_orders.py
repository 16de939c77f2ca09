"""The orders demo: as a user runs it, and the parts that it rests on."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from control_plane.bootstrap.workshop import load_workspace
from control_plane.demo.history import History
from control_plane.demo.orders_plan import FAILURES, draw_orders, facts_of
from control_plane.demo.orders_score import score_orders
from control_plane.demo.ports import free_ports
from control_plane.demo.scorecard import ReplayReport, Scorecard
from control_plane.demo.warehouse import Deed, Warehouse
from control_plane.workspace.creating import create_workspace

DEMO = [sys.executable, "-c", "from control_plane.cli.main import main; main()", "demo", "orders"]
EQUAL = ReplayReport(equal=True, messages=0, recorded_hash="a", replayed_hash="a")
NOTHING = History(decisions=(), verdicts=(), commands=(), outcomes=(), effects=())


def test_what_is_needed_is_done_once_however_the_warehouse_fails_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*DEMO, "--json", "--seed", "11", "--data", str(tmp_path / "orders")],
        capture_output=True,
        text=True,
        timeout=100,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    card = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1, "exactly one object, and nothing else"
    assert sorted(fault["kind"] for fault in card["faults"]) == sorted(FAILURES)
    assert {fault["effect"] for fault in card["faults"]} == {"effective"}
    assert {found["kind"]: found["commands"] for found in card["left_alone"]} == {
        "big_refund": 0, "spread_out": 0, "told_again": 0, "packed": 0,
    }  # fmt: skip
    assert card["verdicts"] == {"allow": 5, "deny": 0, "escalate": 1}
    assert (card["duplicates"], card["lost"], card["replay"]["equal"]) == (0, 0, True)


def test_the_example_holds_no_line_of_python_and_nothing_to_warn_of(tmp_path: Path) -> None:
    folder = create_workspace(tmp_path / "orders", "orders")

    assert list(folder.rglob("*.py")) == []
    assert load_workspace(folder).warnings == ()


@pytest.mark.parametrize("seed", range(20))
def test_every_seed_has_each_failure_once_and_late_and_repeated_facts(seed: int) -> None:
    orders = draw_orders(seed)
    facts = facts_of(orders)

    assert sorted(order.kind for order in orders if order.fails) == sorted(FAILURES)
    assert len({order.name for order in orders}) == len(orders)
    assert max(Counter(fact.id for fact in facts).values()) > 1, "some are told again"
    assert any(fact.ago_s > 60 for fact in facts), "some are late"
    assert draw_orders(seed) == orders


@pytest.fixture
async def warehouse() -> Warehouse:
    async def nobody(deeds: list[Deed], told: int) -> None:
        """Nobody listens."""

    return Warehouse(free_ports(1)[0], nobody)


async def test_the_warehouse_fails_as_it_is_told_and_counts_what_it_did(warehouse: Warehouse) -> None:
    await warehouse.open()
    url = f"http://127.0.0.1:{warehouse._port}"
    for order, failure in (("A", "throttled"), ("B", "broken"), ("C", "answer_lost"), ("D", "hangs")):
        warehouse.fail_on(order, failure)

    async with httpx.AsyncClient(trust_env=False, verify=False, timeout=0.3) as client:

        async def asked(order: str) -> int | str:
            try:
                answer = await client.post(f"{url}/orders/{order}/hold_order", headers={"Idempotency-Key": order})
            except httpx.HTTPError as exc:
                return type(exc).__name__
            return answer.status_code

        said = {order: [await asked(order)] for order in "ABCD"}
        said["A"].append(await asked("A"))
        said["B"] += [await asked("B"), await asked("B")]
        known = {key: (await client.get(f"{url}/done/{key}")).status_code for key in "ABCDE"}
        warehouse.refuse()
        refused = await asked("E")
    await warehouse.close()

    assert said["C"][0] in ("ReadError", "RemoteProtocolError"), "a reset, or an end without an answer"
    assert said == {"A": [429, 200], "B": [503, 503, 200], "C": said["C"], "D": ["ReadTimeout"]}
    assert Counter(deed.order for deed in warehouse.deeds) == {"A": 1, "B": 1, "C": 1, "D": 1}
    assert known == {"A": 200, "B": 200, "C": 200, "D": 200, "E": 404}
    assert refused == "ConnectError"


def card_of(warehouse: Warehouse, **changes: object) -> Scorecard:
    given = {
        "seed": 1,
        "began_at": 0.0,
        "orders": draw_orders(1),
        "troubled_at": {},
        "warehouse": warehouse,
        "history": NOTHING,
        "replay": EQUAL,
    }
    return score_orders(**(given | changes))  # type: ignore[arg-type]


async def test_a_deed_that_nobody_asked_for_counts_as_done_twice(warehouse: Warehouse) -> None:
    alone = next(order for order in draw_orders(1) if order.kind == "packed")
    warehouse.deeds.append(Deed("unasked", alone.name, "hold_order"))

    card = card_of(warehouse)

    assert card.duplicates == 1
    assert any(f"order/{alone.name} was acted on" in problem for problem in card.problems)


async def test_orders_that_needed_something_and_got_nothing_are_lost(warehouse: Warehouse) -> None:
    card = card_of(warehouse)

    assert not card.ok
    assert card.lost == len(FAILURES)


async def test_a_replay_that_differs_makes_it_bad(warehouse: Warehouse) -> None:
    unequal = ReplayReport(equal=False, messages=0, recorded_hash="a", replayed_hash="b")

    card = card_of(warehouse, orders=(), replay=unequal)

    assert card.problems == ("the replay differs from the log",)


async def test_a_warehouse_that_did_not_fail_showed_nothing(warehouse: Warehouse) -> None:
    troubled = next(order for order in draw_orders(1) if order.kind == "throttled")

    card = card_of(warehouse, orders=(replace(troubled, facts=()),))

    assert any("did not fail" in problem for problem in card.problems)
