"""What is wrong in executors is named by file and line before anything starts, whatever only their kind knows of it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from control_plane.bootstrap.workshop import check_tools
from control_plane.errors import InvalidWorkspace
from control_plane.workspace.reading import Workspace, read_workspace
from tests.unit.workspace_world import write

SHOP = "executors/shop.yaml"
SOUND = "executor: shop\nkind: http\nrequest: {url: http://127.0.0.1:9000/orders}\n"
PYTHON = """
    from control_plane.sdk import Attempt, Command, Executor, Found


    class Lamp(Executor):
        name = "lamp"
        attempt_timeout_s = 2.0

        async def execute(self, command: Command) -> Attempt:
            return Attempt(result="succeeded", detail="it shines")

        async def reconcile(self, command: Command) -> Found:
            return Found(state="absent")
    """


def read(root: Path, files: Mapping[str, str | None]) -> Workspace:
    return read_workspace(write(root, {SHOP: SOUND, **files}), check_tools())


def flaws_of(root: Path, files: Mapping[str, str | None]) -> list[str]:
    with pytest.raises(InvalidWorkspace) as raised:
        read(root, files)
    return [str(flaw) for flaw in raised.value.flaws]


WRONG = {
    "a target that depends on the command": (
        "executor: shop\nkind: http\nrequest:\n  url: http://h{subject}/x",
        "4:8: who is called must not depend on the command. Write the host out, no user.",
    ),
    "a place that stands for nothing": (
        "executor: shop\nkind: http\nrequest:\n  url: http://h/{nobody}",
        "4:8: {nobody} stands for nothing. Known: subject,",
    ),
    "no URL at all": ("executor: shop\nkind: http\nrequest:\n  url: 'http://[h/'", "4:8: 'http://[h/' is no URL"),
    "an expression that is none": (
        "executor: shop\nkind: http\nrequest: {url: http://h/}\n"
        "reconcile:\n  url: http://h/\n  done_when: status ==\n  absent_when: status == 404",
        "6:14: 'status ==' is no expression",
    ),
    "an argument with half a brace": (
        "executor: shop\nkind: command\nargv:\n  - ls\n  - '{subject'",
        "5:5: '{subject' has a brace without its partner. Write {name}, both braces.",
    ),
    "a process without a program": (
        "executor: shop\nkind: supervised_process\nprocesses:\n  web-1: {port: 80}",
        "4:10: it has no argv. Give it one, or one for all processes.",
    ),
    "a process without its port": (
        "executor: shop\nkind: supervised_process\nargv: [x, '{port}']\nprocesses:\n  web.1: {}",
        "5:10: argv names {port}, and there is none. Give it a port.",
    ),
}


@pytest.mark.parametrize(("text", "flaw"), WRONG.values(), ids=WRONG)
def test_a_definition_that_cannot_be_built_is_named_by_file_and_line(tmp_path: Path, text: str, flaw: str) -> None:
    (found,) = flaws_of(tmp_path, {SHOP: text})

    assert found.startswith(f"{SHOP}:{flaw}")


def test_all_that_is_wrong_in_all_executors_is_named_at_once(tmp_path: Path) -> None:
    found = flaws_of(
        tmp_path,
        {
            SHOP: "executor: shop\nkind: http\nrequest: {url: 'http://a@h/'}\n"
            "reconcile: {url: 'http://h/{x}', done_when: row.x, absent_when: ')'}",
            "executors/tool.yaml": "executor: tool\nkind: command\nargv: ['{x}', '{y}']",
        },
    )

    assert [flaw.partition(": ")[0] for flaw in found] == [
        "executors/shop.yaml:3:16",
        "executors/shop.yaml:4:18",
        "executors/shop.yaml:4:45",
        "executors/shop.yaml:4:65",
        "executors/tool.yaml:3:8",
        "executors/tool.yaml:3:15",
    ]


def test_a_secret_that_is_not_set_here_is_a_warning_because_the_file_may_be_right(tmp_path: Path) -> None:
    text = SOUND + "signature: {header: X-Sig, secret_env: NOT_SET_ANYWHERE}\n"

    workspace = read(tmp_path, {SHOP: text})

    assert [str(warning) for warning in workspace.warnings if warning.file == SHOP] == [
        f"{SHOP}:4:40: the environment has no NOT_SET_ANYWHERE. Set NOT_SET_ANYWHERE before the start."
    ]


def test_a_python_executor_is_read_and_an_intent_may_name_it(tmp_path: Path) -> None:
    intent = "intent: light_lamp\nsubject_kind: service\nexecutor: lamp\n"

    workspace = read(tmp_path, {"executors/light.py": PYTHON, "intents/light.yaml": intent})

    (found,) = [found for found in workspace.executors if found["kind"] == "python"]
    assert (found["name"], found["file"]) == ("lamp", "executors/light.py")
    assert not [warning for warning in workspace.warnings if warning.file.startswith("executors/")]
    assert ("executor", "lamp") in {(item.kind, item.name) for item in workspace.controls.items}


def test_a_python_executor_that_changes_is_a_new_revision(tmp_path: Path) -> None:
    before = read(tmp_path / "a", {"executors/light.py": PYTHON}).controls.revision
    after = read(tmp_path / "b", {"executors/light.py": PYTHON.replace("it shines", "it glows")}).controls.revision

    assert before != after


WRONG_PYTHON = {
    "no Python": (PYTHON.replace("return Attempt(", "return Attempt(("), ":9:25: this is no Python"),
    "no executor": ("x = 1", ": declares 0 executors; a file holds exactly one."),
    "two executors": (
        PYTHON + "\n\n    class Other(Lamp):\n        pass\n",
        ": declares 2 executors; a file holds exactly one.",
    ),
    "no reconcile": (PYTHON.partition("        async def reconcile")[0], ":4:1: Lamp does not say how to reconcile."),
    "one that cannot wait": (
        PYTHON.replace("async def execute", "def execute"),
        ":8:5: Lamp.execute is no `async def`.",
    ),
    "no name": (PYTHON.replace('name = "lamp"', "pass"), ":4:1: Lamp does not set name."),
    "a name of another form": (
        PYTHON.replace('"lamp"', '"The Lamp"'),
        ":5:5: the executor's name 'The Lamp' is no name.",
    ),
    "a time that is none": (
        PYTHON.replace("= 2.0", '= "soon"'),
        ":6:5: attempt_timeout_s is 'soon'. Write a number of seconds above 0, at most 3600.",
    ),
    "no attempts": (
        PYTHON.replace("attempt_timeout_s = 2.0", "attempts_max = 0"),
        ":6:5: attempts_max is 0. Write a whole number from 1 to 20.",
    ),
    "one that raises when it is loaded": (
        PYTHON.replace('name = "lamp"', 'name = {}["lamp"]'),
        ":5:1: it cannot be loaded: KeyError: 'lamp'.",
    ),
    "one that leaves": (
        PYTHON.replace('name = "lamp"', "raise SystemExit(3)"),
        ":5:1: it cannot be loaded: SystemExit: 3.",
    ),
    "one that asks for arguments": (
        PYTHON.replace("attempt_timeout_s = 2.0", "def __init__(self, url): ..."),
        ": it cannot be loaded: TypeError:",
    ),
    "the name of another": (
        PYTHON.replace('"lamp"', '"shop"'),
        ":5:5: an executor shop is declared in executors/shop.yaml already. Rename one of them.",
    ),
}


@pytest.mark.parametrize(("text", "flaw"), WRONG_PYTHON.values(), ids=WRONG_PYTHON)
def test_a_wrong_python_executor_is_named_by_file_and_line(tmp_path: Path, text: str, flaw: str) -> None:
    found = flaws_of(tmp_path, {"executors/light.py": text})

    assert [one for one in found if one.startswith(f"executors/light.py{flaw}")], found


def test_an_intent_of_an_executor_that_cannot_be_loaded_is_not_blamed(tmp_path: Path) -> None:
    intent = "intent: light_lamp\nsubject_kind: service\nexecutor: lamp\n"

    found = flaws_of(tmp_path, {"executors/light.py": "nonsense(", "intents/light.yaml": intent})

    assert [flaw.partition(":")[0] for flaw in found] == ["executors/light.py"]


def test_two_python_executors_of_one_name_are_told_apart(tmp_path: Path) -> None:
    found = flaws_of(tmp_path, {"executors/one.py": PYTHON, "executors/two.py": PYTHON})

    assert found == [
        "executors/two.py:5:5: an executor lamp is declared in executors/one.py already. Rename one of them."
    ]
