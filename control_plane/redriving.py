"""May a dead letter's record go back to the loop, and as what? Pure: appends nothing.

Asks of the record what the loop will ask: what has not been mended is refused here, with the reason, rather than buried
again. The loop has the last word all the same, because it alone knows the row.
"""

from collections.abc import Callable
from typing import Final

from control_plane.catalogue import Controls
from control_plane.errors import InvalidMessage
from control_plane.loop.intake import admit, check_event
from control_plane.messages import DeadLetter, topics
from control_plane.messages.dead_letter import marked
from control_plane.messages.wire import decode_event
from control_plane.ports.backbone import Output

TRIGGER_PREFIX: Final = "trigger/"
"""What the letters of triggers name instead of a topic: the source of the trigger's events."""

MapAgain = Callable[[DeadLetter], bytes]
"""What a trigger makes of a letter's record now. Raises InvalidMessage."""


def no_trigger(letter: DeadLetter) -> bytes:
    """What maps again where no triggers are declared. Raises InvalidMessage."""
    name = letter.topic.removeprefix(TRIGGER_PREFIX)
    raise InvalidMessage(
        "trigger_unknown",
        f"no trigger is called {name!r}, so nobody knows what to make of its record",
        cure=f"Declare {name} in triggers/ again, or send what it meant as an event and discard the letter.",
    )


def redriven(letter: DeadLetter, now_ms: int, controls: Controls, map_again: MapAgain) -> Output:
    """The record as it goes back onto the log. Raises InvalidMessage with the reason why it must not, and the cure.

    The event keeps its source and its id, so it is folded once however often it goes back.
    """
    _check_origin(letter)
    if letter.topic.startswith(TRIGGER_PREFIX):
        raw = marked(map_again(letter), letter)
        event = admit(raw, now_ms, controls)
    else:
        raw = marked(letter.record, letter)
        event = decode_event(raw, now_ms)
        check_event(event, now_ms, controls)
    return Output(topics.EVENTS, event.subject.encode(), raw)


def _check_origin(letter: DeadLetter) -> None:
    if letter.agent is not None:
        raise InvalidMessage(
            "folded_already",
            f"the event was folded, and every agent but {letter.agent} has decided on it; it is not folded twice",
            cure="Mend the agent: it is shown what comes next. Then discard the letter.",
        )
    if letter.topic == topics.COMMANDS:
        raise InvalidMessage(
            "command_not_redriven",
            "a command is released by a verdict on its moment, and that moment is over",
            cure="Let the agent decide anew, or propose it yourself with: setpoint propose",
        )
    if letter.topic != topics.EVENTS and not letter.topic.startswith(TRIGGER_PREFIX):
        raise InvalidMessage(
            "origin_unknown",
            f"nothing says what becomes of a record of {letter.topic}",
            cure="Send what it was meant to say as an event, then discard the letter.",
        )
    if not letter.is_whole:
        raise InvalidMessage(
            "record_cut",
            f"the letter holds {len(letter.record)} of {letter.record_bytes} bytes: more than an event may have",
            cure="Send a smaller event that refers to the rest, then discard the letter.",
        )
