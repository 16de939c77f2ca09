"""Commands about policies: what they rule on a saved input, where such inputs come from, and their tests."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError, group_of
from control_plane.cli.output import AsJson, paint, printable, put, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption

STDIN: Final = "-"
ANSWERS: Final = ("allow", "deny", "escalate")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = group_of("What policies rule, and on what.")
    group.command("eval")(evaluate)
    group.command("input")(saved_input)
    app.add_typer(group, name="policy")


def evaluate(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A saved input as JSON; - is stdin.")],
    workspace: WorkspaceOption = HERE,
    expect: Annotated[str | None, typer.Option(help="allow, deny or escalate: exit code 1 when it is another.")] = None,
    as_json: AsJson = False,
) -> None:
    """The ruling of a workspace's policies on a saved input.

    Works without a service, on the files as they are now: change a policy and look again.

    Next: setpoint policy input ID > denied.json
    """
    if expect is not None and expect not in ANSWERS:
        raise CommandError(
            f"--expect {expect}: there is no such answer. Choose one of: {', '.join(ANSWERS)}", BAD_USAGE
        )
    ruling = _ruling(_read(file), workspace)
    if as_json:
        put_json(ruling)
    else:
        _put_ruling(ruling)
    if expect is not None and ruling["answer"] != expect:
        raise CommandError(f"the ruling is {ruling['answer']}, and {expect} was expected.", FOUND_WRONG)


def saved_input(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a decision.")],
    url: Url = None,
    workspace: WorkspaceOption = HERE,
) -> None:
    """What policy was asked about a decision, to be saved and asked again.

    Next: setpoint policy eval FILE
    """
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        verdict = client.get(f"/v1/decisions/{id}")["verdict"]
    if verdict is None:
        raise CommandError(f"the decision {id} is not ruled on yet. Try again in a moment.", FOUND_WRONG)
    if verdict["policy_input"] is None:
        raise CommandError(
            f"policy was not asked about {id}: the guard {verdict['stage']} stopped it before. "
            f"See: setpoint explain {id}",
            FOUND_WRONG,
        )
    put_json(verdict["policy_input"])


def _read(file: str) -> Mapping[str, Any]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
        found = json.loads(text)
    except OSError as exc:
        raise CommandError(f"{file} cannot be read: {exc.strerror}. Nothing was asked.", BAD_USAGE) from exc
    except ValueError as exc:
        raise CommandError(f"{file} is no JSON: {exc}. Nothing was asked.", BAD_USAGE) from exc
    if not isinstance(found, dict):
        raise CommandError(f"{file} is no JSON object. Save one with: setpoint policy input ID", BAD_USAGE)
    return found


def _ruling(asked: Mapping[str, Any], workspace: Path) -> dict[str, Any]:
    import asyncio

    import msgspec

    from control_plane.bootstrap.workshop import rule_on

    plain: dict[str, Any] = msgspec.to_builtins(asyncio.run(rule_on(workspace, dict(asked))))
    return {"problem": None, **plain}


def _put_ruling(ruling: Mapping[str, Any]) -> None:
    put(f"{paint(ruling['answer'], ruling['answer'])} under policies {ruling['revision'][:12]}")
    for reason in ruling["reasons"]:
        put(printable(f"  {reason['code']}: {reason['msg']} ({reason.get('by', '')})"))
    if ruling["problem"]:
        put(printable(f"  the engine could not rule: {ruling['problem']}"))
