"""The shop of the orders example, day after day: facts by webhook, some late, some twice, and a warehouse that fails.

It runs in a thread of the harness, so it goes on while the service is dead.
"""

import asyncio
import contextlib
import heapq
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, groupby
from typing import Any

import httpx

from control_plane.demo.orders_plan import Order, draw_orders
from control_plane.demo.warehouse import Deed, Warehouse
from tests.kill.workload import KEY

DAY_S = 0.8
"""A new day, with nine orders, begins that often; it lasts some two seconds."""
BEHIND_S = 0.3
SAID_AGAIN_SHARE = 0.2
SAID_AGAIN_AFTER_S = 3.0
REFUSES_FOR_S = 0.5
TOLD_FOR_S = 3.0
"""How long the warehouse goes on telling what it did."""


@dataclass(order=True)
class Due:
    """Something that is to happen: facts to send, already as they will be sent, or trouble to make."""

    at_s: float
    n: int
    body: bytes = field(default=b"", compare=False)
    facts: Sequence[str] = field(default=(), compare=False)
    trouble: Order | None = field(default=None, compare=False)


class Shop:
    """Sends one request after the other, each until it is acknowledged (`scene.Load`)."""

    def __init__(self, url: str, seed: int, port: int) -> None:
        self.acknowledged: set[str] = set()
        self.order: list[str] = []
        self.orders: dict[str, Order] = {}
        self.said: Counter[str] = Counter()
        """How often each fact was sent; what nobody answered counts once."""
        self.refusals = 0
        self.warehouse = Warehouse(port, self._report)
        self._hook = f"{url}/hooks/shop"
        self._random = random.Random(seed)
        self._seed = seed
        self._due: list[Due] = []
        self._numbers = count()
        self._days = 0
        self._next_day_s = 0.0
        self._done_at: dict[str, float] = {}
        self._stop, self._given_up = threading.Event(), threading.Event()
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        """Open the warehouse and begin to send."""
        self._thread.start()

    def until_acknowledged(self, more: int, timeout_s: float = 60.0) -> None:
        """Return once so many more facts are acknowledged."""
        wanted = len(self.acknowledged) + more
        with self._grown:
            in_time = self._grown.wait_for(lambda: len(self.acknowledged) >= wanted, timeout_s)
        assert in_time, f"the service did not take {more} facts within {timeout_s:g} s"

    def stop(self, timeout_s: float = 60.0) -> None:
        """Begin no new day, and return once all facts of those that began are acknowledged."""
        self._stop.set()
        with self._grown:
            in_time = self._grown.wait_for(lambda: set(self.order) <= self.acknowledged and not self._due, timeout_s)
        assert in_time, "the last facts were never acknowledged: the service is not up"

    def give_up(self) -> None:
        """Close the warehouse, whatever is open: the end, or a run that failed."""
        self._given_up.set()
        if self._thread.is_alive():
            self._thread.join()

    async def _run(self) -> None:
        await self.warehouse.open()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        try:
            async with httpx.AsyncClient(headers=headers, timeout=10.0, trust_env=False) as client:
                while not self._given_up.is_set():
                    await self._next(client)
        finally:
            await self.warehouse.close()

    async def _next(self, client: httpx.AsyncClient) -> None:
        now_s = time.monotonic()
        if not self._stop.is_set() and now_s >= self._next_day_s and not self._is_behind(now_s):
            self._begin_day(now_s)
        if not self._due or self._due[0].at_s > now_s:
            # Nothing is due: the shop has no other clock than this.
            await asyncio.sleep(0.01)
            return
        due = self._due[0]
        if due.trouble is not None:
            await self._trouble(due.trouble)
        else:
            await self._send(client, due)
        with self._grown:
            # What was planned meanwhile is due later.
            heapq.heappop(self._due)
            self._grown.notify_all()

    def _is_behind(self, now_s: float) -> bool:
        """Whether facts wait that should have been sent: a shop that opens all the same never catches up."""
        return bool(self._due) and now_s - self._due[0].at_s > BEHIND_S

    def _begin_day(self, now_s: float) -> None:
        self._days += 1
        self._next_day_s = now_s + DAY_S
        for order in draw_orders(self._seed * 10_000 + self._days, f"{self._days}-"):
            self.orders[order.name] = order
            if order.fails:
                self._plan(now_s + order.trouble_s, trouble=order)
            # What is told at one moment is told in one request.
            for at_s, facts in groupby(sorted(order.facts, key=lambda fact: fact.at_s), lambda fact: fact.at_s):
                told = [fact.told(_moment(at_s - fact.ago_s)) for fact in facts]
                self._say(now_s + at_s, told)

    def _say(self, at_s: float, told: Sequence[dict[str, Any]]) -> None:
        body, facts = json.dumps({"facts": told}).encode(), [fact["id"] for fact in told]
        self._plan(at_s, body=body, facts=facts)
        if self._random.random() < SAID_AGAIN_SHARE:
            self._plan(at_s + self._random.uniform(0.0, SAID_AGAIN_AFTER_S), body=body, facts=facts)

    def _plan(self, at_s: float, **what: Any) -> None:
        heapq.heappush(self._due, Due(at_s, next(self._numbers), **what))

    async def _send(self, client: httpx.AsyncClient, due: Due) -> None:
        self.order += [id for id in dict.fromkeys(due.facts) if id not in self.said]
        self.said.update(due.facts)
        while not self._given_up.is_set():
            with contextlib.suppress(httpx.HTTPError):
                answer = await client.post(self._hook, content=due.body)
                if answer.status_code == 202:
                    self.acknowledged.update(one["id"] for one in answer.json()["accepted"])
                    return
                assert answer.status_code >= 500, f"{answer.status_code} {answer.text}"
            # The service is down; nothing tells when it listens again but asking.
            await asyncio.sleep(0.05)

    async def _trouble(self, order: Order) -> None:
        if order.kind != "refused":
            self.warehouse.fail_on(order.name, order.kind)
            return
        self.refusals += 1
        self.warehouse.refuse()
        await asyncio.sleep(REFUSES_FOR_S)
        await self.warehouse.listen()

    async def _report(self, deeds: Sequence[Deed], told: int) -> None:
        """What the warehouse did lately, as new facts each time."""
        now_s = time.monotonic()
        lately = [deed for deed in deeds if now_s - self._done_at.setdefault(deed.key, now_s) < TOLD_FOR_S]
        facts = [(f"{deed.key}-{told}", deed) for deed in lately]
        at = _moment(0.0)
        told_now = [
            {"id": id, "about": "order", "what": deed.what, "order": deed.order, "at": at} for id, deed in facts
        ]
        if told_now:
            self._say(now_s, told_now)


def _moment(offset_s: float) -> str:
    return datetime.fromtimestamp(time.time() + offset_s, UTC).isoformat().replace("+00:00", "Z")
