"""What somebody sends is judged as files would be, and leads nowhere else."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.bootstrap.workshop import check_tools, load_workspace
from control_plane.catalogue import ControlItem
from control_plane.errors import InvalidWorkspace
from control_plane.workspace import restoring
from control_plane.workspace.creating import create_workspace
from control_plane.workspace.declarations import canonical
from control_plane.workspace.ends import executors_in, triggers_in
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.restoring import as_yaml, checked
from control_plane.workspace.yaml_tree import read_yaml
from tests import builders
from tests.unit.service_world import written

TOOLS = check_tools()
PYTHON_EXECUTOR = """\
from control_plane.sdk import Attempt, Executor, Found


class Lever(Executor):
    name = "lever"

    async def execute(self, command):
        return Attempt(result="succeeded")

    async def reconcile(self, command):
        return Found(state="unknown")
"""


def flaws_of(*items: ControlItem) -> list[str]:
    with pytest.raises(InvalidWorkspace) as caught:
        checked(items, TOOLS)
    return [str(flaw) for flaw in caught.value.flaws]


@pytest.mark.parametrize("example", ["minimal", "incident"])
def test_a_workspace_that_may_start_is_the_same_when_it_was_sent(example: str, tmp_path: Path) -> None:
    create_workspace(tmp_path / "w", example)
    loaded = load_workspace(tmp_path / "w")

    found = checked(loaded.controls.items, TOOLS)

    assert found == loaded.controls


def test_executors_and_triggers_come_out_of_the_items_as_they_stood_in_the_files(tmp_path: Path) -> None:
    intent = "intent: pull\nsubject_kind: machine\nexecutor: lever\n"
    folder = written(tmp_path / "w", **{"executors/lever.py": PYTHON_EXECUTOR, "intents/pull.yaml": intent})
    loaded = load_workspace(folder)

    found = checked(loaded.controls.items, TOOLS)

    by_name = {definition["name"]: definition for definition in loaded.executors}
    assert executors_in(found, ("dry_run",)) == by_name
    assert sorted(by_name) == ["dry_run", "lever"]
    assert triggers_in(found) == {}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
        max_leaves=10,
    )
)
@settings(deadline=None, max_examples=300)
def test_json_is_read_as_yaml_with_the_same_value_or_not_at_all(value: Any) -> None:
    text = canonical({"value": value})

    documents = read_yaml("file", as_yaml(text), Flaws())

    if documents is not None:
        assert canonical(documents[0].plain()) == text


@pytest.mark.parametrize(
    "name",
    ["../../etc/cron", "/etc/passwd", "a/../b", ".hidden", "__init__", "", "a\0b", "a\nb", "a\\b", "x" * 300, "a//b"],
)
@pytest.mark.parametrize("kind", ["policy", "rule", "agent", "schema", "executor"])
def test_a_name_that_is_no_name_of_ours_never_becomes_a_path(
    kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_may_be_written(*_: Any) -> Any:
        raise AssertionError("a folder was made")

    monkeypatch.setattr(restoring, "TemporaryDirectory", nothing_may_be_written)

    [flaw] = flaws_of(ControlItem(kind, name, "{}"))

    assert "cannot be called that" in flaw


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (ControlItem("spell", "x", "{}"), "no kind of item 'spell'"),
        (ControlItem("rule", "a/b", "{}"), "cannot be called that"),
        (ControlItem("rule", "x", '{"rule": "y"}'), "agents/x.yaml:1"),
        (ControlItem("rule", "x", "rule: [unclosed"), "no YAML"),
        (ControlItem("intent", "x", "null"), "do not stay the same"),
        (ControlItem("policy", "permits/x", "package {"), "policies/permits/x.rego"),
        (ControlItem("policy_data", "x", "{"), "no JSON"),
        (ControlItem("schema", "a.b", "[]"), "a schema is a JSON object"),
        (ControlItem("agent", "x", "import nothing_of_this_name"), "cannot be loaded"),
        (ControlItem("row", "x", " " * 1_000_001), "more than 1000000 bytes"),
        (ControlItem("policy", "x_test", "package x"), "do not stay the same"),
        (builders.item("intent", "y", json.loads(builders.intent().body)), "do not stay the same"),
    ],
)
def test_what_no_folder_could_hold_is_refused(item: ControlItem, said: str) -> None:
    assert said in "\n".join(flaws_of(item))


def test_an_item_that_is_there_twice_is_refused() -> None:
    assert "twice" in flaws_of(builders.row(), builders.row(on=["x"]))[0]


def test_there_is_a_limit_to_how_many_items_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "ITEMS_MAX", 2)

    assert "more than 2" in flaws_of(builders.row("a"), builders.row("b"), builders.row("c"))[0]


@given(
    st.binary(max_size=60),
    st.sampled_from(["rule", "intent", "row", "fleet", "executor", "trigger", "schema", "policy_data"]),
)
@settings(deadline=None, max_examples=60)
def test_any_bytes_are_refused_with_flaws_and_nothing_else(raw: bytes, kind: str) -> None:
    text = raw.decode(errors="replace")
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        assert flaws_of(ControlItem(kind, "x", text))
