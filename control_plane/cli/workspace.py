"""Commands about a workspace's files: init, check, schema, config show. None of them needs a service."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError, group_of
from control_plane.cli.output import AsFormat, AsJson, Format, format_of, hint, put, put_columns, put_json
from control_plane.cli.places import HERE, WorkspaceArgument, WorkspaceOption, settings_of

if TYPE_CHECKING:
    from control_plane.errors import Flaw
    from control_plane.workspace.reading import Workspace


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("init")(init)
    app.command("check")(check)
    app.command("schema")(schema)
    config = group_of("Settings, as they are in force.")
    config.command("show")(config_show)
    app.add_typer(config, name="config")


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write; it must be new or empty.")],
    example: Annotated[str, typer.Option(help="Which example to begin with.")] = "minimal",
) -> None:
    """Write a workspace that runs at once. Next: setpoint up DIR"""
    from control_plane.workspace.creating import create_workspace

    create_workspace(folder, example)
    put(f"wrote {folder}, the example {example}")
    hint(f"next: setpoint up {folder}")


def check(workspace: WorkspaceArgument = HERE, as_json: AsJson = False) -> None:
    """Judge a workspace without starting it.

    Says everything that is wrong, with file, line and cure; exit code 1 if anything is.

    Next: setpoint up [WORKSPACE]
    """
    from control_plane.bootstrap.workshop import load_workspace
    from control_plane.errors import InvalidWorkspace

    flaws: list[Flaw] = []
    found: Workspace | None = None
    judge = ""
    try:
        found = load_workspace(workspace)
        flaws += _settings_flaws(found)
        judge, refused = _judged_by_opa(found)
        flaws += refused
    except InvalidWorkspace as exc:
        flaws += exc.flaws
    if as_json:
        _put_checked_json(found, flaws, judge)
    else:
        _put_checked(workspace, found, flaws, judge)
    if flaws:
        raise typer.Exit(FOUND_WRONG)


def schema(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="What the schema is of; without it, the kinds are listed.")
    ] = None,
) -> None:
    """Print the JSON Schema of a kind of file, for editors."""
    from control_plane.bootstrap.workshop import check_tools
    from control_plane.workspace.file_schemas import file_schemas

    tools = check_tools()
    schemas = file_schemas(tools.executors, tools.triggers)
    if kind is None:
        for name in sorted(schemas):
            put(name)
    elif kind in schemas:
        put_json(schemas[kind])
    else:
        known = ", ".join(sorted(schemas))
        raise CommandError(f"there is no schema of {kind!r}. There are: {known}", BAD_USAGE)


def config_show(workspace: WorkspaceOption = HERE, as_json: AsJson = False, output: AsFormat = Format.COLUMNS) -> None:
    """Every setting with its value and where that came from."""
    from control_plane.settings import SETTINGS, unknown_variables

    settings = settings_of(workspace)
    chosen = format_of(as_json, output)
    if chosen is Format.JSON:
        put_json(
            [{"name": one.name, "value": one.value, "origin": one.origin, "help": one.help} for one in settings.given]
        )
        return
    wide = chosen is Format.WIDE
    variables = {setting.name: setting.variable for setting in SETTINGS}
    rows = [
        (one.name, one.value, one.origin, *((variables[one.name], one.help) if wide else ())) for one in settings.given
    ]
    put_columns(("SETTING", "VALUE", "FROM", *(("VARIABLE", "SETS") if wide else ())), rows, wide=True)
    for name, nearest in unknown_variables(os.environ):
        hint(f"{name} is no setting" + (f"; did you mean {nearest}?" if nearest else ""))


def _settings_flaws(found: "Workspace") -> "list[Flaw]":
    """What is wrong with the values in setpoint.yaml, each where it stands."""
    from control_plane.errors import Flaw, InvalidSettings
    from control_plane.settings import FILE, Settings

    try:
        Settings.load(found.root, found.settings)
    except InvalidSettings as exc:
        flaws = []
        for text in str(exc).splitlines():
            name, _, rest = text.partition(": ")
            problem, _, cure = rest.partition(". ")
            line, column = found.locate(name)
            flaws.append(Flaw(file=FILE, line=line, column=column, problem=f"{name}: {problem}", cure=cure))
        return flaws
    return []


def _judged_by_opa(found: "Workspace") -> "tuple[str, Sequence[Flaw]]":
    """Who else has judged the policies, and what it found: types and unused names, which nothing in here looks for."""
    from control_plane.adapters.opa.program import opa_at_hand, strict_flaws, version_of

    program = opa_at_hand()
    if program is None:
        return "", ()
    modules = {f"policies/{item.name}.rego": item.body for item in found.controls.of_kind("policy")}
    return f"opa {version_of(program)}", strict_flaws(program, modules)


def summary(found: "Workspace") -> dict[str, int]:
    """How much of each kind a workspace declares."""
    kinds = ("intent", "row", "fleet", "rule", "agent", "schema")
    counts = {f"{kind}s": len(found.controls.of_kind(kind)) for kind in kinds}
    counts["agents"] += len(found.controls.of_kind("llm"))
    counts["tables"] = len(found.controls.of_kind("reference"))
    counts["policies"] = len(found.controls.of_kind("policy"))
    counts["executors"] = len(found.executors)
    counts["triggers"] = len(found.triggers)
    return counts


def summary_text(found: "Workspace") -> str:
    """The same in words, as far as there is any."""
    said = []
    for name, count in summary(found).items():
        single = "policy" if name == "policies" else name.removesuffix("s")
        said += [f"{count} {single if count == 1 else name}"] if count else []
    return ", ".join(said) or "nothing"


def _put_checked(workspace: Path, found: "Workspace | None", flaws: "list[Flaw]", judge: str) -> None:
    for flaw in flaws:
        put(str(flaw))
    for warning in found.warnings if found else ():
        put(f"warning: {warning}")
    if flaws:
        put(f"{len(flaws)} {'flaw' if len(flaws) == 1 else 'flaws'}; it would not start")
    elif found is not None:
        put(f"ok: {summary_text(found)}; revision {found.controls.revision}")
        put(
            f"policies were judged here and by {judge}" if judge else "policies were judged here; no opa is on the PATH"
        )
        hint(f"next: setpoint up {workspace}")


def _put_checked_json(found: "Workspace | None", flaws: "list[Flaw]", judge: str) -> None:
    answer: dict[str, Any] = {"ok": not flaws, "flaws": [_plain(flaw) for flaw in flaws]}
    if found is not None:
        answer["warnings"] = [_plain(flaw) for flaw in found.warnings]
        answer["revision"] = found.controls.revision
        answer["declares"] = summary(found)
        answer["policies_judged_by"] = ["setpoint", judge] if judge else ["setpoint"]
    put_json(answer)


def _plain(flaw: "Flaw") -> dict[str, Any]:
    return {
        "file": flaw.file,
        "line": flaw.line,
        "column": flaw.column,
        "problem": flaw.problem,
        "cure": flaw.cure,
    }
