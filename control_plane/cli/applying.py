"""The command apply: a workspace's files put in force in a running service, shown as a diff first."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from control_plane.cli.exits import FOUND_WRONG, CommandError
from control_plane.cli.output import AsJson, hint, put, put_json, put_patch
from control_plane.cli.places import Url, settings_of

if TYPE_CHECKING:
    from control_plane.catalogue import ControlItem
    from control_plane.cli.client import Client
    from control_plane.workspace.diffing import Change
    from control_plane.workspace.reading import Workspace

ADOPTION_WAIT_S: Final = 30.0
ADOPTION_POLL_S: Final = 0.02
_HOW: Final[Mapping[str, str]] = {"added": "+", "changed": "~", "removed": "-"}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("apply")(apply)


def apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with setpoint.yaml.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Put a workspace in force in a running service.

    Checks it, shows what differs, and changes that as a whole or not at all, without a restart.

    Next: setpoint decisions list
    """
    from control_plane.bootstrap.workshop import load_workspace
    from control_plane.cli.client import service
    from control_plane.errors import InvalidWorkspace
    from control_plane.workspace.diffing import changes_between
    from control_plane.workspace.schema_evolution import narrowed_schemas

    loaded = load_workspace(folder, builtin_policies=settings_of(folder).policies_builtin)
    with service(url, folder) as client:
        in_force = client.get("/v1/controls")
        before = _items_of(in_force)
        changes = changes_between(before, loaded.controls.items)
        narrower = narrowed_schemas(before, loaded.controls.items)
        restart = _waits_for_restart(in_force["settings"], loaded)
        if not as_json:
            _put_changes(changes, restart)
        if narrower:
            raise InvalidWorkspace(narrower)
        took_s = None
        if changes and not dry_run:
            took_s = _applied(client, loaded, in_force["revision"])
    if as_json:
        put_json(_plain(in_force["revision"], loaded, changes, restart, took_s))
    elif took_s is not None:
        put(f"applied: revision {loaded.controls.revision}, adopted by every partition after {took_s * 1000:.0f} ms")
        hint("next: setpoint decisions list")
    elif changes:
        put(f"nothing was changed: this was a dry run. To do it: setpoint apply {folder}")


def _applied(client: "Client", loaded: "Workspace", expected: str) -> float:
    """Change what is in force; the seconds until every partition followed it. Raises CommandError."""
    import msgspec

    items = [{"kind": item.kind, "name": item.name, "body": item.body} for item in loaded.controls.items]
    began = time.monotonic()
    client.put("/v1/controls", msgspec.json.encode({"items": items}), {"If-Match": f'"{expected}"'})
    revision = loaded.controls.revision
    while True:
        found = client.get("/v1/controls", items="false")
        took_s = time.monotonic() - began
        if found["revision"] != revision:
            raise CommandError(
                f"revision {revision} was applied, and {found['revision']} came after it at once: somebody else "
                "applies, too. Look at what is in force with: setpoint apply --dry-run",
                FOUND_WRONG,
            )
        if found["adopted"]:
            return took_s
        if took_s > ADOPTION_WAIT_S:
            raise _not_adopted(found, revision)
        time.sleep(ADOPTION_POLL_S)


def _not_adopted(found: Mapping[str, Any], revision: str) -> CommandError:
    waiting = ", ".join(number for number, followed in found["partitions"].items() if followed != revision)
    return CommandError(
        f"revision {revision} is published, but after {ADOPTION_WAIT_S:.0f} s these partitions have not adopted it: "
        f"{waiting}. They will as soon as a process with the role loop owns them. Look with: setpoint doctor",
        FOUND_WRONG,
    )


def _items_of(in_force: Mapping[str, Any]) -> "list[ControlItem]":
    from control_plane.catalogue import ControlItem

    return [ControlItem(item["kind"], item["name"], item["body"]) for item in in_force["items"]]


def _waits_for_restart(started_with: Mapping[str, str], loaded: "Workspace") -> list[str]:
    """Settings whose value in `setpoint.yaml` is not the one that the service was started with."""
    here = loaded.settings_file.flat()
    return sorted(name for name in {*here, *started_with} if here.get(name) != started_with.get(name))


def _put_changes(changes: "Sequence[Change]", restart: Sequence[str]) -> None:
    from control_plane.workspace.diffing import summary_of

    for change in changes:
        put(f"{_HOW[change.how]} {change.title}")
        put_patch(change.lines())
    put(f"differs from what is in force: {summary_of(changes)}")
    for name in restart:
        put(f"takes force only at the next start: the setting {name}")


def _plain(
    before: str, loaded: "Workspace", changes: "Sequence[Change]", restart: Sequence[str], took_s: float | None
) -> dict[str, Any]:
    return {
        "before": before,
        "revision": loaded.controls.revision,
        "applied": took_s is not None,
        "adopted_after_s": None if took_s is None else round(took_s, 3),
        "changes": [
            {"kind": change.kind, "name": change.name, "how": change.how, "diff": change.lines()} for change in changes
        ],
        "at_next_start": [f"setting {name}" for name in restart],
    }
