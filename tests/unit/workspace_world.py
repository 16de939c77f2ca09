"""A sound workspace to spoil, and the judges that reading it asks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Literal

import msgspec
import pytest

from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.workspace.reading import Workspace, read_workspace
from control_plane.workspace.tools import CheckTools, Data, Modules, PolicyTests
from tests.builders import TOOLS

SOUND: Mapping[str, str] = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "intents/restart.yaml": """
        intent: restart_service
        subject_kind: service
        executor: shop
        parameters: {type: object, properties: {grace: {type: string}}, additionalProperties: false}
        """,
    "rows/health.yaml": """
        row: health
        on: [process.measured]
        fields:
          rss_mb: {last: data.rss_mb}
        """,
    "agents/memory_guard.yaml": """
        rule: memory_guard
        version: 1.0.0
        on: process.measured
        when: data.rss_mb > 400.0
        reads: [health]
        propose: {intent: restart_service, because: "{data.rss_mb} MB"}
        expects: {where: rows.health.rss_mb < 100.0, within: 5s}
        """,
    "executors/shop.yaml": "executor: shop\nkind: http\nurl: http://127.0.0.1:9000/\n",
}


RULE_TEXT = dedent(SOUND["agents/memory_guard.yaml"]).lstrip("\n")


class HttpKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An executor's keys, as an executor might declare them."""

    url: str
    method: Literal["POST", "PUT"] = "POST"
    attempts: int = 1


class NoKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An executor that needs nothing."""

    says: str = ""


class ProbeKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trigger's keys."""

    interval: str


def fake_check(modules: Modules) -> Sequence[Flaw]:
    """Knows one thing about Rego: a module begins with its package."""
    return [
        Flaw(file=file, line=1, column=1, problem="this module has no package", cure="Begin it with package.")
        for file, text in modules.items()
        if "package" not in text
    ]


def fake_test(modules: Modules, tests: Modules, data: Data) -> PolicyTests:
    """Fails every test that holds the word `fails`; covers every rule but those that hold the word `rare`."""
    if broken := fake_check(tests):
        raise InvalidWorkspace(broken)
    failed = [
        Flaw(file=file, line=3, column=1, problem="test_it failed", cure="Mend the policy or the test.")
        for file, text in tests.items()
        if "fails" in text
    ]
    uncovered = [
        Flaw(file=file, line=2, column=1, problem="no test covers this rule", cure="Write one.")
        for file, text in modules.items()
        if "rare" in text
    ]
    return PolicyTests(failed=tuple(failed), uncovered=tuple(uncovered))


CHECK_TOOLS = CheckTools(
    compiling=TOOLS,
    executors={"http": HttpKeys, "dry_run": NoKeys},
    triggers={"process_probe": ProbeKeys},
    check_policies=fake_check,
    test_policies=fake_test,
)


def write(root: Path, files: Mapping[str, str | bytes | None]) -> Path:
    """A sound workspace with some files changed; None takes a file out."""
    for path, text in {**SOUND, **files}.items():
        if text is None:
            continue
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text if isinstance(text, bytes) else dedent(text).lstrip("\n").encode())
    return root


def read(root: Path, files: Mapping[str, str | bytes | None] | None = None) -> Workspace:
    """The workspace that these files make."""
    return read_workspace(write(root, files or {}), CHECK_TOOLS)


def flaws_of(root: Path, files: Mapping[str, str | bytes | None]) -> list[str]:
    """Every flaw that these files have, as it is shown."""
    with pytest.raises(InvalidWorkspace) as raised:
        read(root, files)
    return [str(flaw) for flaw in raised.value.flaws]
