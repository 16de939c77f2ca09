"""Which orders there are and what happens to them, drawn from a seed. The loop is told nothing but the facts."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

FAILURES: Final = ("refused", "throttled", "broken", "answer_lost", "hangs")
"""How the warehouse fails on the orders that need it: one way for each."""

SENTENCES: Final = {
    "refused": "the warehouse takes no connection for a moment",
    "throttled": "the warehouse answers 429: not now",
    "broken": "the warehouse answers 503 twice, and does nothing",
    "answer_lost": "the warehouse does it, and its answer is lost",
    "hangs": "the warehouse does it, and never answers",
    "big_refund": "its refund is too big to be given without a person",
    "spread_out": "three payments were declined, but never three within 30 s; they are told late and at once",
    "told_again": "two payments were declined, and each is told three times",
    "packed": "it was packed in time",
}

PATIENCE_S: Final = 2.0
"""How long the example's rule waits for an order to be packed."""

BEFORE_S: Final = 0.15
"""How long before an order needs something its trouble begins."""

NEEDS: Final = ("hold_order", "hold_order", "hold_order", "expedite_order", "refund_order")
LETTERS: Final = "ABCDEFGH"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact about an order, so many seconds after the start; it happened `ago_s` before it is told."""

    at_s: float
    id: str
    about: str
    what: str
    order: str
    ago_s: float
    data: tuple[tuple[str, Any], ...] = ()

    def told(self, when: str) -> dict[str, Any]:
        """As the shop tells it."""
        named = {"id": self.id, "about": self.about, "what": self.what, "order": self.order, "at": when}
        return {**named, **dict(self.data)}


@dataclass(frozen=True, slots=True)
class Order:
    """One order: what should be done about it (nothing, where `needs` is empty), what stands in the way, its facts."""

    name: str
    kind: str
    needs: str
    facts: tuple[Fact, ...]
    trouble_s: float = 0.0
    """When what stands in the way begins, so many seconds after the start."""

    @property
    def fails(self) -> bool:
        """Whether the warehouse fails on it."""
        return self.kind in FAILURES


def draw_orders(seed: int, day: str = "") -> tuple[Order, ...]:
    """Five orders that need something, one whose refund waits for people, three that must be left alone. With `day` in
    front of their names, orders of many days stand beside one another."""
    drawn = random.Random(seed)
    names = [f"{day}{letter}-{drawn.randrange(10, 100)}" for letter in LETTERS + "K"]
    drawn.shuffle(names)
    failures = drawn.sample(FAILURES, len(FAILURES))
    orders = [_in_need(drawn, name, *pair) for name, *pair in zip(names, NEEDS, failures, strict=False)]
    others = names[len(NEEDS) :]
    for name, (kind, make) in zip(others, _NOT_TO_BE_DONE.items(), strict=True):
        orders.append(Order(name, kind, "", make(drawn, name)))
    return tuple(orders)


def facts_of(orders: Sequence[Order]) -> list[Fact]:
    """All facts in the order in which they are told."""
    return sorted((fact for order in orders for fact in order.facts), key=lambda fact: (fact.at_s, fact.id))


def _in_need(drawn: random.Random, name: str, needs: str, failure: str) -> Order:
    at_s = round(drawn.uniform(0.2, 1.5), 3)
    if needs == "expedite_order":
        return Order(name, failure, needs, (_placed(name, 0.1, 40),), 0.1 + PATIENCE_S - BEFORE_S)
    if needs == "refund_order":
        cancelled = _cancelled(name, at_s, drawn.randrange(20, 180))
        return Order(name, failure, needs, (*_done(name), cancelled), at_s - BEFORE_S)
    happened = [drawn.uniform(1, 9), drawn.uniform(10, 18), drawn.uniform(19, 27)]
    drawn.shuffle(happened)  # Told out of their order, and some of them twice.
    declined = [_declined(name, n, at_s, round(ago_s, 3)) for n, ago_s in enumerate(happened)]
    again = drawn.choice(declined)
    return Order(name, failure, needs, (*_done(name), *declined, again), at_s - BEFORE_S)


def _big_refund(drawn: random.Random, name: str) -> tuple[Fact, ...]:
    return (*_done(name), _cancelled(name, 0.4, drawn.randrange(500, 5_000)))


def _spread_out(drawn: random.Random, name: str) -> tuple[Fact, ...]:
    ago = (drawn.uniform(100, 110), drawn.uniform(60, 70), drawn.uniform(5, 15))
    return (*_done(name), *(_declined(name, n, 0.5, round(ago_s, 3)) for n, ago_s in enumerate(ago)))


def _told_again(drawn: random.Random, name: str) -> tuple[Fact, ...]:
    twice = [_declined(name, n, 0.6, round(drawn.uniform(1, 20), 3)) for n in range(2)]
    return (*_done(name), *(twice * 3))


def _packed(_drawn: random.Random, name: str) -> tuple[Fact, ...]:
    return (_placed(name, 0.1, 60), Fact(0.9, f"{name}-packed", "order", "packed", name, 0.0))


def _done(name: str) -> tuple[Fact, ...]:
    """Placed and packed long ago: only what comes then matters."""
    packed = Fact(0.0, f"{name}-packed", "order", "packed", name, 31.0)
    return (Fact(0.0, f"{name}-a-placed", "order", "placed", name, 32.0, (("amount_eur", 50),)), packed)


def _placed(name: str, at_s: float, amount_eur: int) -> Fact:
    return Fact(at_s, f"{name}-a-placed", "order", "placed", name, 0.0, (("amount_eur", amount_eur),))


def _declined(name: str, n: int, at_s: float, ago_s: float) -> Fact:
    data = (("card", f"card-{n}"), ("amount_eur", 50))
    return Fact(at_s, f"{name}-declined-{n}", "payment", "declined", name, ago_s, data)


def _cancelled(name: str, at_s: float, amount_eur: int) -> Fact:
    data = (("paid", True), ("amount_eur", amount_eur))
    return Fact(at_s, f"{name}-cancelled", "order", "cancelled", name, 0.0, data)


_NOT_TO_BE_DONE: Final = {
    "big_refund": _big_refund,
    "spread_out": _spread_out,
    "told_again": _told_again,
    "packed": _packed,
}
