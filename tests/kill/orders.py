"""The orders example as users get it, and its warehouse that fails in five ways, which nobody kills.

What should be done about an order is known from its plan, and what was done from the warehouse.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from control_plane.demo.orders_plan import Order
from control_plane.demo.ports import free_ports
from control_plane.messages import Decision
from control_plane.workspace.creating import create_workspace
from tests.kill.history import Findings, History
from tests.kill.scene import Deed, Weakness
from tests.kill.shop import Shop

EXAMPLE_PORT = "7200"
GUARDS = {"hold_order": "decline_guard", "expedite_order": "packing_guard", "refund_order": "refund_guard"}
TOGETHER_MS = 1_500
"""Facts that stand no further apart on the log were not torn apart by a kill. The example hurries an order that was not
packed for 2 s, and declined payments leave its window 3 s after they came at the earliest."""

FRESH_MS = 50_000
"""What happened a minute ago is not acted on, unless an intent says otherwise; and time passes until it is ruled on."""


class Orders:
    """The example, its shop and its warehouse (`scene.Scene`)."""

    foreseen = frozenset({"refund_guard"})
    life_max_s = 2.5
    is_quiet = True

    @contextmanager
    def playing(self, root: Path, workspace: Path, url: str, seed: int) -> Iterator[Shop]:
        """The example as it is, but for the warehouse's port."""
        (port,) = free_ports(1)
        create_workspace(workspace, "orders")
        executor = workspace / "executors/warehouse.yaml"
        executor.write_text(executor.read_text().replace(EXAMPLE_PORT, str(port)))
        self._shop = Shop(url, seed, port)
        self._shop.start()
        try:
            yield self._shop
        finally:
            self._shop.give_up()

    def deeds(self) -> list[Deed]:
        """What the warehouse did, by its own count."""
        done = list(self._shop.warehouse.deeds)
        return [Deed(key=deed.key, subject=f"order/{deed.order}", intent=deed.intent) for deed in done]

    def check(self, history: History, findings: Findings) -> None:
        """Each order that needed something was decided on once, and nothing else was decided on any of them."""
        decided = defaultdict(list)
        for decision in history.decisions.values():
            decided[decision.subject].append(decision.intent)
        torn, wrong = 0, []
        for order in list(self._shop.orders.values()):
            found, expected = decided[f"order/{order.name}"], _expected(order, history)
            torn += bool(expected.allowed)
            if Counter(found) - Counter(expected.allowed) != Counter(expected.wanted):
                wrong.append((order.name, order.kind, found))
        findings.wrong("I1", "orders that were decided on otherwise", wrong)
        findings.wrong("I3", "decisions of an agent that none such makes", _of_others(history))
        findings.wrong("I3", "answers that the policies do not give", self._misjudged(history))
        findings.counts["orders torn apart by kills"] = torn
        self._count(findings)

    def _misjudged(self, history: History) -> list[tuple[str, str, str]]:
        """Big refunds wait for people; everything else is allowed, unless the order has something else under way, or
        what was told of it is too old to act on."""
        found = []
        for verdict in history.verdicts.values():
            decision = history.decisions.get(verdict.decision_id)
            if decision is None:
                continue  # The log was read before its decision stood there; it still grows.
            order = self._shop.orders[decision.subject.removeprefix("order/")]
            waits = order.kind == "big_refund" and decision.intent == "refund_order"
            may_be_denied = _packed_late(order, history) or _is_old(decision, history)
            fitting = ("escalate",) if waits else ("allow", "deny") if may_be_denied else ("allow",)
            if verdict.answer not in fitting:
                found.append((decision.subject, decision.intent, verdict.answer))
        return found

    def _count(self, findings: Findings) -> None:
        findings.counts["orders"] = len(self._shop.orders)
        findings.counts["facts said again"] = sum(self._shop.said.values()) - len(self._shop.said)
        failed = Counter(self._shop.warehouse.failed.values())
        findings.counts.update({f"warehouse {kind}": n for kind, n in failed.items()})
        findings.counts["warehouse refused"] = self._shop.refusals

    def weakness(self, history: History, rng: Random) -> Weakness:
        """Refunds go to those who did not pay."""
        return Weakness(rule="refund_guard", before="data.paid", after="!data.paid", removed_type="order.cancelled")


@dataclass(frozen=True, slots=True)
class Expected:
    """Intents that must have been decided on, once each, and those that may have been because a kill came between."""

    wanted: tuple[str, ...]
    allowed: tuple[str, ...]


def _expected(order: Order, history: History) -> Expected:
    """From its plan; and from the log only how long its facts took to get there."""
    needs = "refund_order" if order.kind == "big_refund" else order.needs
    wanted, allowed = [needs] if needs else [], []
    declined_ms = _recorded_ms(order, "declined", history)
    if needs == "hold_order" and max(declined_ms, default=0) - min(declined_ms, default=0) > TOGETHER_MS:
        wanted, allowed = [], [needs]
    if _packed_late(order, history):
        allowed.append("expedite_order")
    return Expected(tuple(wanted), tuple(allowed))


def _packed_late(order: Order, history: History) -> bool:
    """Whether it was packed, and the service heard of it when it may have hurried already."""
    if order.needs == "expedite_order":
        return False
    placed_ms, packed_ms = _recorded_ms(order, "placed", history), _recorded_ms(order, "packed", history)
    return not placed_ms or not packed_ms or packed_ms[0] - placed_ms[0] > TOGETHER_MS


def _is_old(decision: Decision, history: History) -> bool:
    cause = history.events.get(str(decision.lineage.causation_id))
    if cause is None:
        return False
    recorded_ms = history.first_places[cause.lineage.message_id].recorded_ms
    return recorded_ms - cause.occurred_at.timestamp() * 1000 > FRESH_MS


def _recorded_ms(order: Order, what: str, history: History) -> list[int]:
    """When the facts of a kind came to the log."""
    ids = {fact.id for fact in order.facts if fact.what == what}
    return [history.first_places[id].recorded_ms for id in sorted(ids) if id in history.first_places]


def _of_others(history: History) -> list[tuple[str, str]]:
    return [(d.agent, d.intent) for d in history.decisions.values() if GUARDS.get(d.intent) != d.agent]
