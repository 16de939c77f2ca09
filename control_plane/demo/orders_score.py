"""What the orders demo came to: counted by the warehouse and from the log, never from the service's own word."""

from collections import Counter
from collections.abc import Mapping, Sequence

from control_plane.demo.history import History
from control_plane.demo.orders_plan import SENTENCES, Order
from control_plane.demo.scorecard import FaultReport, LeftAlone, ReplayReport, Scorecard, card_of, seconds, time_of
from control_plane.demo.warehouse import Warehouse


def score_orders(
    *,
    seed: int,
    began_at: float,
    orders: Sequence[Order],
    troubled_at: Mapping[str, float],
    warehouse: Warehouse,
    history: History,
    replay: ReplayReport,
    interrupted: str = "",
) -> Scorecard:
    """Count everything, and say whether the demo shows what it should."""
    done = Counter((deed.order, deed.intent) for deed in warehouse.deeds)
    asked = {command.lineage.message_id for command in history.commands}
    unasked = [deed for deed in warehouse.deeds if deed.key not in asked]
    duplicates = sum(count - 1 for count in done.values()) + len(unasked)
    finished = {outcome.command_id for outcome in history.outcomes}
    lost = len(asked - finished) + sum(order.fails and not done[order.name, order.needs] for order in orders)
    problems = [
        *([interrupted] if interrupted else []),
        *_not_as_planned(orders, warehouse, history),
        *([f"{duplicates} things were done twice, or unasked"] if duplicates else []),
        *([f"{lost} things were lost"] if lost else []),
        *([] if replay.equal else ["the replay differs from the log"]),
    ]
    return card_of(
        "orders",
        seed=seed,
        began_at=began_at,
        faults=tuple(_fault_report(order, troubled_at, history) for order in orders if order.fails),
        left_alone=tuple(_left_alone(order, began_at, history) for order in orders if not order.fails),
        history=history,
        duplicates=duplicates,
        lost=lost,
        replay=replay,
        problems=problems,
    )


def _not_as_planned(orders: Sequence[Order], warehouse: Warehouse, history: History) -> list[str]:
    problems = []
    for order in orders:
        subject = f"order/{order.name}"
        deeds = [deed.intent for deed in warehouse.deeds if deed.order == order.name]
        effects = [effect.effect for effect in history.effects if effect.subject == subject]
        if order.fails and (order.needs not in deeds or effects != ["effective"]):
            problems.append(f"{subject} needed {order.needs}; done was {deeds}, judged {effects}")
        if order.fails and not _did_fail(order, warehouse, history):
            problems.append(f"the warehouse did not fail on {subject}, so this showed nothing")
        if not order.fails and deeds:
            problems.append(f"{subject} was acted on, although {SENTENCES[order.kind]}")
        answers = [verdict.answer for verdict in history.verdicts if verdict.subject == subject]
        if order.kind == "big_refund" and answers != ["escalate"]:
            problems.append(f"{subject} should wait for people; its verdicts are {answers}")
    return problems


def _did_fail(order: Order, warehouse: Warehouse, history: History) -> bool:
    """Whether the warehouse stood in the way as planned. Of connections that it refused only the attempts tell."""
    if order.kind != "refused":
        return warehouse.failed.get(order.name) == order.kind
    return any(found.subject == f"order/{order.name}" and found.attempts > 1 for found in history.outcomes)


def _fault_report(order: Order, troubled_at: Mapping[str, float], history: History) -> FaultReport:
    subject, began_s = f"order/{order.name}", troubled_at.get(order.name, 0.0)
    decided_ms = min((found.occurred_ms for found in history.decisions if found.subject == subject), default=None)
    succeeded = [found for found in history.outcomes if found.subject == subject and found.status == "succeeded"]
    done_ms = min((found.occurred_ms for found in succeeded), default=None)
    return FaultReport(
        kind=order.kind,
        subject=subject,
        injected_at=time_of(began_s),
        detected_s=None if decided_ms is None else seconds(decided_ms / 1000 - began_s),
        repaired_s=None if done_ms is None else seconds(done_ms / 1000 - began_s),
        effect=next((effect.effect for effect in history.effects if effect.subject == subject), None),
    )


def _left_alone(order: Order, began_at: float, history: History) -> LeftAlone:
    subject = f"order/{order.name}"
    return LeftAlone(
        kind=order.kind,
        subject=subject,
        injected_at=time_of(began_at),
        commands=sum(command.subject == subject for command in history.commands),
    )
