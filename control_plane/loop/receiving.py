"""How an event lands on its subject's row: what the row waited for is matched, anything else is taken once."""

from msgspec.structs import replace

from control_plane.catalogue import Controls
from control_plane.loop import crossing, feedback, folding
from control_plane.loop.arrival import Arrival
from control_plane.loop.judging import Wanted
from control_plane.messages import Event
from control_plane.messages.event import DECISION_PROPOSED, OUTCOME_PREFIX
from control_plane.messages.wire import effect_of, outcome_of, proposed_of
from state.rows import Row


def taken_in(row: Row, arrival: Arrival, controls: Controls) -> Row | str:
    """The row that has taken the event in, or the note that says why it was dropped."""
    event = arrival.event
    if feedback.returns(event):
        if event.type.startswith(OUTCOME_PREFIX):
            matched = feedback.with_outcome(row, outcome_of(event))
        elif event.type == DECISION_PROPOSED:
            proposed = proposed_of(event)
            if proposed.origin is not None and not crossing.is_full(row, proposed.origin):
                return crossing.with_origin(row, proposed.origin) or "duplicate"
            if proposed.by_person or proposed.origin is not None:
                return _foreign(row, arrival)
            found = controls.agent(proposed.agent)
            matched = feedback.with_answer(row, proposed, 0 if found is None else found.asks_every_ms)
        else:
            matched = feedback.with_effect_heard(row, effect_of(event))
        return "unmatched" if matched is None else matched
    return _foreign(row, arrival)


def _foreign(row: Row, arrival: Arrival) -> Row | str:
    """What nobody here waits for is taken once, by its source and id."""
    remembered = folding.remembered(row, arrival)
    return "duplicate" if remembered is None else remembered


def brought(event: Event, row: Row, controls: Controls) -> list[Wanted]:
    """The decisions that a slow agent's answer or a proposal carries, stamped with the controls that they are ruled
    under. A person, or an agent that was shown another subject, saw no row of this one, so nothing can have outdated
    it; what must hold stands in `still_when`."""
    if event.type != DECISION_PROPOSED:
        return []
    proposed = proposed_of(event)
    found = controls.agent(proposed.agent)
    if proposed.by_person or proposed.origin is not None:
        stamps = {"controls_revision": controls.revision, "action_version": row.action_version}
        return [(found, replace(decision, **stamps)) for decision in proposed.decisions]
    return [(found, replace(decision, controls_revision=controls.revision)) for decision in proposed.decisions]


def is_superseded(before: Row, event: Event) -> bool:
    """Whether an answer is to a context that its agent was sent a newer one after."""
    if event.type != DECISION_PROPOSED:
        return False
    asked = feedback.asked_with(before, proposed_of(event))
    return asked is not None and asked.state == "superseded"
