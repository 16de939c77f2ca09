"""What an event is about: `kind/name` on the wire, an object in expressions and policies."""

from functools import lru_cache

from msgspec import Struct

from control_plane.errors import InvalidMessage

SUBJECT_BYTES_MAX = 256

OWN_SUBJECT_KIND = "partition/"
"""Begins the subjects of Setpoint's own: what its ticks, adoptions and summaries are about."""

SUBJECTS_REMEMBERED_MAX = 4_096
"""Subjects that are not taken apart again when they come soon after."""


class Subject(Struct, frozen=True):
    """A subject taken apart: `service/web-1` has kind `service`, name `web-1` and id `service/web-1`."""

    kind: str
    name: str
    id: str

    @classmethod
    def parse(cls, text: str | None) -> "Subject":
        """Take a subject apart. Raises InvalidMessage when it is missing, too long or not `kind/name`."""
        if not text:
            raise InvalidMessage(
                "subject_missing",
                "the event has no subject",
                field="subject",
                cure="Set it to kind/name, as in service/web-1.",
            )
        if len(text.encode()) > SUBJECT_BYTES_MAX:
            raise InvalidMessage(
                "subject_too_long",
                f"the subject is longer than {SUBJECT_BYTES_MAX} bytes",
                field="subject",
                cure="Shorten it and keep details in data.",
            )
        return _parsed(text)


@lru_cache(maxsize=SUBJECTS_REMEMBERED_MAX)
def _parsed(text: str) -> Subject:
    kind, slash, name = text.partition("/")
    if not (kind and slash and name):
        raise InvalidMessage(
            "subject_malformed",
            f"the subject {text!r} is not kind/name",
            field="subject",
            cure="Write it as kind/name, as in service/web-1.",
        )
    return Subject(kind, name, text)


def check_target(subject: str) -> None:
    """Raises InvalidMessage when a decision cannot be about this."""
    Subject.parse(subject)
    if subject.startswith(OWN_SUBJECT_KIND):
        raise InvalidMessage(
            "subject_reserved",
            "subjects of the kind partition are Setpoint's own: nothing is done to them",
            field="subject",
            cure="Choose another kind.",
        )
