"""What a trigger could make no event of, mapped once more by what the trigger says now. Publishes nothing.

The event has the id that it would have had: the same thing gives the same one, however often it goes back.
"""

from control_plane.errors import InvalidMessage
from control_plane.messages import DeadLetter
from control_plane.triggers.formats import Format
from control_plane.triggers.mapping import EventMapping
from control_plane.triggers.reading import json_value
from control_plane.triggers.sorting import Arrived, Place, mapped
from control_plane.triggers.tools import Declared


def map_again(declared: Declared, form: Format, mapping: EventMapping, letter: DeadLetter) -> bytes:
    """The bytes of the event. Raises InvalidMessage."""
    raw = mapped(form, mapping, _as_it_came(letter))
    if raw is None:
        raise InvalidMessage(
            "passed_by",
            f"`when` of the trigger {declared.name} leaves it out by now",
            cure="Discard the letter, or change `when`.",
        )
    return raw


def _as_it_came(letter: DeadLetter) -> Arrived:
    brought = letter.brought
    if brought is None:
        raise InvalidMessage(
            "not_taken_apart",
            f"the trigger could not take it apart ({letter.code}), so there is nothing to map",
            cure="Have the sender send it again as the trigger wants it, then discard the letter.",
        )
    if brought.beside is None:
        raise InvalidMessage(
            "record_cut",
            "what came beside it was too much to be kept, so it cannot be mapped as it was",
            cure="Have the sender send it again, then discard the letter.",
        )
    value = json_value(letter.record, "the record")
    return Arrived(
        raw=letter.record,
        value=value,
        place=Place(words="the letter", identity=brought.identity, partition=letter.partition, offset=letter.offset),
        beside={**brought.beside, **dict.fromkeys(brought.as_value, value)},
        places={"item": ""},
    )
