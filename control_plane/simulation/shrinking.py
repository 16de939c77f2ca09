"""A plan that fails, made as short as it goes while it still breaks the same promise."""

import time
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from control_plane.simulation.plan import Input, Plan, Spell, Strike

Part = Input | Strike | Spell


def shrunk(plan: Plan, breaks: Callable[[Plan], bool], *, within_s: float) -> Plan:
    """Drop parts, in halves, quarters and so on, as long as the plan still `breaks`; stop when the time is over."""
    until_s = time.monotonic() + within_s
    size = max(1, plan.size // 2)
    while size and time.monotonic() < until_s:
        shorter = _without_some(plan, size, breaks, until_s)
        if shorter.size == plan.size:
            size //= 2
        plan = shorter
    return plan


def _without_some(plan: Plan, size: int, breaks: Callable[[Plan], bool], until_s: float) -> Plan:
    at = 0
    while at < plan.size and time.monotonic() < until_s:
        parts = _parts(plan)
        candidate = _of(plan, [*parts[:at], *parts[at + size :]])
        if breaks(candidate):
            plan = candidate
        else:
            at += size
    return plan


def _parts(plan: Plan) -> Sequence[Part]:
    """Faults first: a story with fewer of them is the clearer one."""
    return [*plan.spells, *plan.strikes, *plan.inputs]


def _of(plan: Plan, parts: Sequence[Part]) -> Plan:
    return replace(
        plan,
        inputs=tuple(part for part in parts if isinstance(part, Input)),
        strikes=tuple(part for part in parts if isinstance(part, Strike)),
        spells=tuple(part for part in parts if isinstance(part, Spell)),
    )
