"""The orders demo: a shop's orders held, hurried and refunded by rules and policies alone, while the warehouse fails.

Facts come in through a webhook, late, shuffled and more than once. What was done is counted by the warehouse, not by
the service; it ends by itself.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from control_plane.demo.orders_plan import SENTENCES, Fact, Order, draw_orders, facts_of
from control_plane.demo.orders_score import score_orders
from control_plane.demo.ports import free_ports
from control_plane.demo.running import Run, read_again, service_of, serving, unless_failed
from control_plane.demo.scorecard import Scorecard
from control_plane.demo.story import Story
from control_plane.demo.telling import Teller
from control_plane.demo.warehouse import Deed, Warehouse
from control_plane.workspace.creating import create_workspace

PORT: Final = "7200"
"""Where the warehouse listens in the example."""

TIME_LIMIT_S: Final = 30.0
CALM_S: Final = 1.0
"""How long nothing may happen at the end: what must be left alone is left alone until then."""
LOOK_EVERY_S: Final = 0.05
REFUSES_FOR_S: Final = 0.4
"""How long the warehouse takes no connection after the command that is to find that."""


async def run_orders(run: Run) -> Scorecard:
    """Run the demo to its end, and count what came of it."""
    port = _prepared(run.folder)
    orders = draw_orders(run.seed)
    story = Story(run.tell)
    since_ms = int(time.time() * 1000)
    service = service_of(run)
    service.observe(story)
    async with serving(service) as failed, httpx.AsyncClient(trust_env=False, verify=False) as client:
        shop = _Shop(service, client, "shop")
        warehouse = Warehouse(port, shop.reported)
        await warehouse.open()
        story.say("start", "", f"{len(orders)} orders, and a warehouse that fails in five ways")
        day = _Day(orders, shop, warehouse, story)
        try:
            interrupted = await unless_failed(day.run(), failed)
        finally:
            await warehouse.close()
    history, replayed = await read_again(service.settings, since_ms)
    return score_orders(
        seed=run.seed,
        began_at=run.began_at,
        orders=orders,
        troubled_at=day.troubled_at,
        warehouse=warehouse,
        history=history,
        replay=replayed,
        interrupted=interrupted,
    )


class _Shop(Teller):
    """A shop's own system."""

    async def reported(self, deeds: Sequence[Deed], told: int) -> None:
        """The warehouse has told what it has done so far."""
        at = _now(0.0)
        facts = [(f"{deed.key}-{told}", deed) for deed in deeds]
        await self.tell(
            [{"id": id, "about": "order", "what": deed.what, "order": deed.order, "at": at} for id, deed in facts]
        )


class _Day:
    """Tells what happens as planned, and waits until all of it was dealt with or the time is over."""

    def __init__(self, orders: Sequence[Order], shop: _Shop, warehouse: Warehouse, story: Story) -> None:
        self.troubled_at: dict[str, float] = {}
        self._orders = orders
        self._shop = shop
        self._warehouse = warehouse
        self._story = story

    async def run(self) -> str:
        """Until the end; gives the reason when that is the time limit."""
        try:
            async with asyncio.timeout(TIME_LIMIT_S), asyncio.TaskGroup() as group:
                await self._happen(group)
                await self._until_over()
        except TimeoutError:
            return f"after {TIME_LIMIT_S:g} s not everything was over"
        except ExceptionGroup as failures:
            # What failed first has ended the rest; whoever runs this knows single errors.
            raise failures.exceptions[0] from failures
        self._story.say("end", "", "everything is judged; now the log is replayed")
        return ""

    async def _happen(self, group: asyncio.TaskGroup) -> None:
        """Facts and troubles, each at its time."""
        began_s = time.monotonic()
        facts: list[tuple[float, Fact | Order]] = [(fact.at_s, fact) for fact in facts_of(self._orders)]
        troubles = [(order.trouble_s, order) for order in self._orders if order.fails]
        for at_s, happens in sorted([*troubles, *facts], key=lambda found: found[0]):
            await asyncio.sleep(max(0.0, at_s - (time.monotonic() - began_s)))
            if isinstance(happens, Order):
                self._trouble(happens, group)
            else:
                await self._shop.tell([happens.told(_now(happens.ago_s))])

    def _trouble(self, order: Order, group: asyncio.TaskGroup) -> None:
        self.troubled_at[order.name] = time.time()
        if order.kind == "refused":
            self._warehouse.refuse()
            group.create_task(self._listen_again(order))
        else:
            self._warehouse.fail_on(order.name, order.kind)
        self._story.say("broken", order.name, f"{SENTENCES[order.kind]} (the loop is not told)")

    async def _listen_again(self, order: Order) -> None:
        """Once the order's command was given, and had time to find nobody there."""
        while order.name not in self._story.commanded:  # noqa: ASYNC110 - observed
            await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.sleep(REFUSES_FOR_S)
        await self._warehouse.listen()

    async def _until_over(self) -> None:
        """Wait until all that is needed was done and judged, and then a moment longer."""
        wanted = {order.name for order in self._orders if order.fails}
        while not wanted <= {deed.order for deed in self._warehouse.deeds} or self._story.is_open:  # noqa: ASYNC110 - observed
            await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.sleep(CALM_S)


def _now(ago_s: float) -> str:
    return datetime.fromtimestamp(time.time() - ago_s, UTC).isoformat().replace("+00:00", "Z")


def _prepared(folder: Path) -> int:
    """The example in the folder, its warehouse on a port that is free here."""
    create_workspace(folder, "orders")
    (port,) = free_ports(1)
    path = folder / "executors/warehouse.yaml"
    path.write_text(path.read_text().replace(PORT, str(port)))
    return port
