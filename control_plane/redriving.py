"""May a dead letter's record go back to the loop, and as what? Pure: appends nothing.

Asks of the record what the loop will ask: what has not been mended is refused here, with the reason, rather than buried
again. The loop has the last word all the same, because it alone knows the row.
"""

from collections.abc import Callable
from typing import Final

from control_plane.catalogue import Controls
from control_plane.errors import InvalidMessage
from control_plane.loop.intake import admit, check_event
from control_plane.messages import DeadLetter, Event, topics
from control_plane.messages.dead_letter import marked
from control_plane.messages.event import OF_THE_OWNER
from control_plane.messages.showing import event_of, showing_of
from control_plane.messages.wire import decode_event, encode_event
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

    The event keeps its source and its id, so it is folded once however often it goes back. One that an agent failed on
    was folded: it is shown again, to that agent alone.
    """
    _check_origin(letter)
    if letter.agent is not None:
        raw = marked(encode_event(_shown_again(letter, letter.agent, now_ms, controls)), letter)
    elif letter.topic.startswith(TRIGGER_PREFIX):
        raw = marked(map_again(letter), letter)
        admit(raw, now_ms, controls)
    else:
        raw = marked(letter.record, letter)
    event = decode_event(raw, now_ms)
    check_event(event, now_ms, controls)
    return Output(topics.EVENTS, event.subject.encode(), raw)


def _shown_again(letter: DeadLetter, agent: str, now_ms: int, controls: Controls) -> Event:
    event = event_of(letter, agent, now_ms)
    shown, found = showing_of(event).event, controls.agent(agent)
    if shown.type in OF_THE_OWNER:
        raise InvalidMessage(
            "moment_over",
            f"{agent} failed when time had passed, and that moment is over",
            cure="Mend the agent: it is woken again when its time comes. Then discard the letter.",
        )
    if found is None or shown.type not in found.agent.listens_to:
        raise InvalidMessage(
            "agent_unknown",
            f"no agent {agent} that listens to {shown.type} is in force, so nobody could be shown the event again",
            cure=f"Apply a workspace that has {agent}, or discard the letter.",
        )
    return event


def _check_origin(letter: DeadLetter) -> None:
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
