"""What people do beside agents: propose, and cancel a command that has not begun."""

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError
from control_plane.cli.output import AsJson, hint, paint, printable, put, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption

if TYPE_CHECKING:
    from control_plane.cli.client import Client

VERDICT_WAIT_S: Final = 30.0
VERDICT_POLL_S: Final = 0.05


def add_to(app: typer.Typer) -> None:
    """Add the command; `commands cancel` is added where that group is."""
    app.command("propose")(propose)


def propose(
    intent: Annotated[str, typer.Argument(metavar="INTENT", help="What is to be done, as the catalogue calls it.")],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="To whom, kind/name.")],
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter; JSON where it is some, else text. Nested: a.b=1"),
    ] = None,
    because: Annotated[str, typer.Option(help="Why, in a sentence.")] = "",
    still_when: Annotated[str | None, typer.Option(help="CEL that must hold when it is ruled on.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key again proposes nothing new.")] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Propose an action, and wait for the verdict.

    The same rules hold as for agents. Exit code 0 only if it was allowed. Next: setpoint commands list
    """
    from control_plane.cli.client import service

    wish = {"intent": intent, "subject": subject, "parameters": _parameters(set_ or []), "because": because}
    if still_when is not None:
        wish["still_when"] = still_when
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    with service(url, workspace) as client:
        accepted = client.post("/v1/proposals", json.dumps(wish).encode(), "application/json", headers)
        decision = _decided(client, accepted["decision_id"])
    verdict = decision["verdict"]
    if as_json:
        put_json(decision)
    else:
        _put_verdict(decision)
    if verdict["answer"] != "allow":
        raise typer.Exit(FOUND_WRONG)


def cancel(
    id: Annotated[str, typer.Argument(metavar="ID")],
    because: Annotated[str, typer.Option(help="Why, in a sentence.")] = "",
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    as_json: AsJson = False,
) -> None:
    """Have a command refused that has not begun.

    One that has begun cannot be called back. Next: setpoint commands show ID
    """
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        body = json.dumps({"because": because}).encode()
        found = client.post(f"/v1/commands/{id}/cancel", body, "application/json")
    if as_json:
        put_json(found)
    elif found["state"] == "cancelled":
        put(f"cancelled: {printable(found['outcome']['detail'])}")
    else:
        put("requested: it has not begun, and will be refused when its turn comes")
        hint(f"next: setpoint commands show {id}")


def _parameters(settings: Sequence[str]) -> dict[str, Any]:
    """`a.b=1` as nested parameters. Raises CommandError."""
    found: dict[str, Any] = {}
    for text in settings:
        path, equals, value = text.partition("=")
        *outer, last = path.split(".")
        if not equals or not all((*outer, last)):
            raise CommandError(f"--set {text!r} is no KEY=VALUE. Nothing was sent.", BAD_USAGE)
        place = found
        for name in outer:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise CommandError(f"--set {text!r}: {name} has a value already. Nothing was sent.", BAD_USAGE)
        if last in place:
            raise CommandError(f"--set {text!r}: it is set twice. Nothing was sent.", BAD_USAGE)
        place[last] = _value(value)
    return found


def _value(text: str) -> Any:
    """JSON where it is some, otherwise the text itself."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> None:
    """NaN and Infinity are no JSON, though Python reads them."""
    raise ValueError(name)


def _decided(client: "Client", decision_id: str) -> dict[str, Any]:
    """The decision, once its verdict is recorded. Raises CommandError."""
    ends = time.monotonic() + VERDICT_WAIT_S
    while time.monotonic() < ends:
        found: dict[str, Any] | None = client.get_if_there(f"/v1/decisions/{decision_id}")
        if found is not None and found["verdict"] is not None:
            return found
        time.sleep(VERDICT_POLL_S)
    raise CommandError(
        f"it was proposed, but no verdict was recorded within {VERDICT_WAIT_S:.0f} s. Look later with: setpoint "
        f"decisions show {decision_id}; if it never comes, see GET /v1/dead-letters.",
        FOUND_WRONG,
    )


def _put_verdict(decision: dict[str, Any]) -> None:
    verdict, command = decision["verdict"], decision["command"]
    answer = verdict["answer"]
    put(f"{paint(answer, answer)} by {verdict['stage']}: {decision['intent']} on {printable(decision['subject'])}")
    for reason in verdict["reasons"]:
        by = f" ({reason['by']})" if reason["by"] else ""
        put(printable(f"  {reason['code']}: {reason['msg']}{by}"))
    put(f"decision {decision['id']}")
    if command is not None:
        put(f"command {command['id']}")
        hint(f"next: setpoint commands show {command['id']}")
    else:
        hint(f"next: setpoint decisions show {decision['id']}")
