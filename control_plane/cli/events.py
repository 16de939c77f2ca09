"""Commands about events: send them, follow them."""

import sys
import time
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from control_plane.cli.exits import BAD_USAGE, CANNOT_REACH, CommandError, group_of
from control_plane.cli.output import AsJson, put, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption

SOURCE: Final = "setpoint-cli"
RECONNECT_S: Final = 30.0
"""How long a stream that broke off is tried again."""

RECONNECT_PAUSE_S: Final = 0.5


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = group_of("CloudEvents in and out.")
    group.command("send")(send)
    group.command("tail")(tail)
    app.add_typer(group, name="events")


def send(
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE|-]", help="One event, an array, or an event a line; - is stdin.")
    ] = None,
    type: Annotated[str | None, typer.Option(help="Without a file: the type of one event.")] = None,
    subject: Annotated[str | None, typer.Option(help="Its subject, kind/name.")] = None,
    data: Annotated[str | None, typer.Option(help="Its data, a JSON object.")] = None,
    source: Annotated[str, typer.Option(help="Its source.")] = SOURCE,
    id: Annotated[str | None, typer.Option(help="Its id; the same id again is folded once.")] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Send CloudEvents; done once all of them are durable.

    Next: setpoint decisions list
    """
    from control_plane.cli.client import service
    from control_plane.cli.event_files import batches, one_event, read_events

    if file is None and not (type and subject):
        raise CommandError("there is nothing to send. Name a FILE, or give --type and --subject.", BAD_USAGE)
    if file is not None and (type or subject or data or id):
        raise CommandError("give a FILE, or --type, --subject, --data and --id; not both.", BAD_USAGE)
    if file is None:
        events = [one_event(type=type, subject=subject, source=source, id=id or uuid.uuid4().hex, data=data)]
    else:
        events = read_events(file)
    accepted: list[dict[str, Any]] = []
    with service(url, workspace) as client:
        for batch in batches(events):
            accepted += _send_batch(client, batch, before=len(accepted))
    if as_json:
        put_json(accepted)
    else:
        put(f"{len(accepted)} {'event' if len(accepted) == 1 else 'events'} accepted")


def tail(
    type: Annotated[str | None, typer.Option(help="Only this type.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only this subject.")] = None,
    after: Annotated[int | None, typer.Option(min=0, help="Begin after this sequence; 0 begins at the first.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="End after so many.")] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Follow events as they are recorded, until Ctrl-C.

    With --json one CloudEvent a line, fit for: setpoint events send -
    """
    import json

    from control_plane.cli.client import service

    shown = 0
    with service(url, workspace) as client:
        for body in _followed(client, after, type=type, subject=subject):
            put(body if as_json else _line(json.loads(body)))
            sys.stdout.flush()
            shown += 1
            if shown == count:
                return


def _send_batch(client: Any, batch: list[bytes], *, before: int) -> list[dict[str, Any]]:
    from control_plane.api.cloudevents import BATCH, STRUCTURED

    try:
        if len(batch) == 1:
            answer = client.post("/v1/events", batch[0], STRUCTURED)
        else:
            answer = client.post("/v1/events", b"[" + b",".join(batch) + b"]", BATCH)
    except CommandError as exc:
        if not before and len(batch) == 1:
            raise
        place = f"counted from event {before + 1} on: " if before else ""
        done = f"{before} events before were accepted, none from there on" if before else "none was accepted"
        raise CommandError(f"{place}{exc} ({done})", exc.code) from exc
    accepted: list[dict[str, Any]] = answer["accepted"]
    return accepted


def _followed(client: Any, after: int | None, **filters: str | None) -> Iterator[str]:
    """The bodies of events as they come. A stream that breaks off is resumed where it was."""
    import httpx

    last, broken_since = after, None
    while True:
        try:
            headers = {} if last is None else {"Last-Event-ID": str(last)}
            with client.stream("/v1/events/stream", headers, **filters) as lines:
                broken_since = None
                for sequence, body in _events_in(lines):
                    last = sequence
                    yield body
        except httpx.TransportError:
            if broken_since is None and last is None:
                raise
        now = time.monotonic()
        broken_since = broken_since or now
        if now - broken_since > RECONNECT_S:
            raise CommandError(
                f"the stream broke off and could not be resumed within {RECONNECT_S:.0f} s. Go on with: "
                f"setpoint events tail --after {last or 0}",
                CANNOT_REACH,
            )
        time.sleep(RECONNECT_PAUSE_S)


def _events_in(lines: Iterator[str]) -> Iterator[tuple[int, str]]:
    """Server-sent events: (id, data) each."""
    sequence, data = 0, []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            sequence = int(value)
        elif name == "data":
            data.append(value)
        elif not line and data:
            yield sequence, "\n".join(data)
            data = []


def _line(event: dict[str, Any]) -> str:
    import json

    from control_plane.cli.output import printable

    data = json.dumps(event.get("data"), ensure_ascii=False)
    return printable(f"{event.get('time', '-')}  {event.get('type')}  {event.get('subject')}  {data}")
