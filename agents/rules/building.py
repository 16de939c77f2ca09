"""The condition that a rule's keys declare, out of those that there are."""

import math
from fractions import Fraction

from agents.rules.conditions import Absent, Condition, LastWord
from agents.rules.counting import Count, RateAbove, RateBelow
from control_plane.sdk import RateCondition, RuleInForce, parse_duration_ms


def condition_of(definition: RuleInForce) -> Condition:
    """What the rule waits for. Raises ValueError when it names more than one condition."""
    named = [key for key in ("count", "rate", "absent") if getattr(definition, key) is not None]
    if len(named) > 1:
        raise ValueError(f"{' and '.join(named)} exclude one another; write one rule for each")
    if definition.count is not None:
        return Count(definition.count.min, ms(definition.count.window))
    if definition.rate is not None:
        return _rate(definition.rate)
    if definition.absent is not None:
        return Absent(ms(definition.absent))
    return LastWord(ms(definition.context_age_max))


def ms(duration: str | None) -> int:
    """A duration in milliseconds; 0 for none."""
    return parse_duration_ms(duration) if duration else 0


def _rate(rate: RateCondition) -> Condition:
    if (rate.above is None) == (rate.below is None):
        raise ValueError("a rate is either above or below something; name one of the two")
    window_ms = ms(rate.window or rate.per)
    if rate.above is not None:
        return RateAbove(math.floor(_in_window(rate.above, window_ms, rate)), window_ms)
    assert rate.below is not None
    return RateBelow(math.ceil(_in_window(rate.below, window_ms, rate)), window_ms)


def _in_window(many: float, window_ms: int, rate: RateCondition) -> Fraction:
    """How many matches the window holds at that rate, exactly: 0.1 means a tenth, not the nearest binary number."""
    return Fraction(str(many)) * window_ms / ms(rate.per)
