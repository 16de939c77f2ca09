"""The same events for everybody who is measured."""

from control_plane.causality import Lineage
from control_plane.messages import Event, topics
from control_plane.messages.wire import encode_event, utc
from control_plane.ports.backbone import Output

SUBJECTS = 1_000


def events(count: int, deciding_share: float, now_ms: int, *, subjects: int = SUBJECTS, first: int = 0) -> list[Output]:
    """Events about so many subjects in turn, numbered from `first`, of which a share asks for an act, spread evenly.

    Those that ask have a subject of their own: a subject has one live command at a time, and the rest would be denied.
    """
    every = round(1 / deciding_share) if deciding_share else 0
    found = []
    for n in range(first, first + count):
        deciding = every > 0 and n % every == 0
        subject = f"parcel/own-{n}" if deciding else f"parcel/{n % subjects}"
        event = Event(
            lineage=Lineage.root("bench", f"scan-{n}"),
            type="parcel.scanned",
            subject=subject,
            occurred_at=utc(now_ms),
            data={"n": n, "ship": deciding, "weight_kg": n % 40, "site": f"site-{n % 7}"},
        )
        found.append(Output(topics.EVENTS, subject.encode(), encode_event(event)))
    return found
