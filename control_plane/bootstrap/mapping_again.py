"""Dead letters of triggers, mapped by what is in force now. Needs no trigger that runs: only its definition."""

from collections.abc import Callable

from control_plane.adapters.cel import CelExpressions
from control_plane.catalogue import ControlSet
from control_plane.messages import DeadLetter
from control_plane.redriving import TRIGGER_PREFIX, MapAgain, no_trigger
from control_plane.triggers import event_again
from control_plane.workspace.ends import triggers_in


def mapping_again(controls: Callable[[], ControlSet]) -> MapAgain:
    """`ApiPorts.map_again` over the controls that are in force when a letter is redriven."""
    expressions = CelExpressions()

    def map_again(letter: DeadLetter) -> bytes:
        definition = triggers_in(controls()).get(letter.topic.removeprefix(TRIGGER_PREFIX))
        return no_trigger(letter) if definition is None else event_again(definition, letter, expressions)

    return map_again
