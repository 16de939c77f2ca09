"""Is what the decision rests on still fresh enough for this intent?"""

from control_plane.governance.case import Case
from control_plane.messages import Reason
from control_plane.messages.wire import ms_of

BY = "guard.freshness"


def check(case: Case) -> Reason | None:
    """Refuses a decision on an old event or on parts of the row that nothing has fed for long."""
    age_max_ms = case.catalogued.context_age_max_ms
    fact_ms = case.decision.fact_ms
    # What comes from outside the step comes as a new event, and rests on an older one.
    event_age_ms = case.now_ms - (ms_of(case.event.occurred_at) if fact_ms is None else fact_ms)
    if event_age_ms > age_max_ms:
        return Reason("stale_event", f"the event is {event_age_ms} ms old; the intent allows {age_max_ms} ms", BY)
    context_age_ms = case.now_ms - case.decision.occurred_ms
    if context_age_ms > age_max_ms:
        return Reason(
            "stale_context", f"the agent looked {context_age_ms} ms ago; the intent allows {age_max_ms} ms", BY
        )
    for part, age_ms in case.ages_ms.items():
        if age_ms > age_max_ms:
            return Reason("stale_row", f"{part} was last fed {age_ms} ms ago; the intent allows {age_max_ms} ms", BY)
    return None
