"""A workspace that is sound: what comes out of it, and what it does not depend on."""

from pathlib import Path

import jsonschema_rs
import msgspec
import pytest
import yaml

from control_plane.bootstrap.workshop import load_workspace
from control_plane.errors import InvalidWorkspace
from control_plane.workspace.compiling import compile_controls
from control_plane.workspace.creating import create_workspace, example_names
from control_plane.workspace.file_schemas import file_schemas
from control_plane.workspace.policies import built_in_policies
from control_plane.workspace.reading import read_workspace
from control_plane.workspace.settings_file import read_settings
from tests.builders import TOOLS
from tests.unit.workspace_world import CHECK_TOOLS, RULE_TEXT, flaws_of, read, write


def test_a_workspace_becomes_controls_that_compile(tmp_path: Path) -> None:
    workspace = read(tmp_path)

    controls = compile_controls(workspace.controls, TOOLS)

    assert set(controls.intents) == {"restart_service"}
    assert set(controls.projections) == {"health"}
    assert [found.agent.name for found in controls.agents] == ["memory_guard"]
    assert {item.kind for item in workspace.controls.items} >= {"intent", "row", "rule", "executor"}


def test_comments_order_and_form_make_no_new_version(tmp_path: Path) -> None:
    plain = "row: health\non: [process.measured]\nfields: {rss_mb: {last: data.rss_mb}}\n"
    other = "# A comment.\nfields:\n  rss_mb:\n    last: 'data.rss_mb'\n'on':\n  - process.measured\nrow: health\n"

    first = read(tmp_path / "a", {"rows/health.yaml": plain})
    second = read(tmp_path / "b", {"rows/health.yaml": other})

    assert first.controls.revision == second.controls.revision


def test_all_flaws_are_named_at_once_by_file_and_line(tmp_path: Path) -> None:
    flaws = flaws_of(
        tmp_path,
        {
            "rows/more.yaml": "row: more\n---\nrow: evenmore\non: [a.b]\nfields: {x: {last: data.}}\n",
            "schemas/a.b.json": "{",
            "agents/broken.py": "import nowhere\n",
            "executors/more.yaml": "executor: more\nkind: htp\n",
        },
    )

    assert [flaw.split(": ")[0] for flaw in flaws] == [
        "agents/broken.py:1:1",
        "executors/more.yaml:2:7",
        "rows/more.yaml:1:1",
        "rows/more.yaml:1:1",
        "rows/more.yaml:5:25",
        "schemas/a.b.json",
    ]


def test_a_file_that_cannot_be_read_does_not_make_its_names_unknown(tmp_path: Path) -> None:
    flaws = flaws_of(tmp_path, {"rows/health.yaml": "row: [", "intents/restart.yaml": b"\xff"})

    assert [flaw.split(": ")[0] for flaw in flaws] == ["intents/restart.yaml:1:1", "rows/health.yaml:2:1"]


def test_a_document_with_flaws_does_not_make_its_name_unknown(tmp_path: Path) -> None:
    flaws = flaws_of(tmp_path, {"rows/health.yaml": "row: health\non: [process.measured]\nfields: {}\n"})

    assert [flaw.split(": ")[0] for flaw in flaws] == ["rows/health.yaml:3:9"]


def test_a_rule_lists_the_rows_that_it_reads(tmp_path: Path) -> None:
    text = RULE_TEXT.replace("reads: [health]\n", "").replace("data.rss_mb > 400.0", "rows.health.rss_mb > 400.0")

    assert flaws_of(tmp_path, {"agents/memory_guard.yaml": text}) == [
        "agents/memory_guard.yaml:4:12: when reads the row health, but reads does not list it. Add health to reads."
    ]


def test_hundreds_of_flaws_are_counted_and_not_all_shown(tmp_path: Path) -> None:
    flaws = flaws_of(tmp_path, {"rows/more.yaml": "---\nrow: 1\n" * 300})

    assert len(flaws) == 201
    assert flaws[-1] == "workspace: 100 more flaws are not shown. Mend those above first."


def test_executors_and_triggers_keep_their_own_keys(tmp_path: Path) -> None:
    workspace = read(tmp_path, {"triggers/probes.yaml": "trigger: probes\nkind: process_probe\ninterval: 1s\n"})

    assert workspace.executors == (
        {"name": "shop", "kind": "http", "file": "executors/shop.yaml", "url": "http://127.0.0.1:9000/"},
    )
    assert workspace.triggers == (
        {"name": "probes", "kind": "process_probe", "file": "triggers/probes.yaml", "interval": "1s"},
    )


def test_an_executor_that_needs_no_keys_needs_no_declaration(tmp_path: Path) -> None:
    intent = "intent: note\nsubject_kind: service\nexecutor: dry_run\n"

    workspace = read(tmp_path, {"intents/note.yaml": intent})

    assert {"name": "dry_run", "kind": "dry_run", "file": ""} in workspace.executors


def test_built_in_policies_stand_beneath_the_own_ones(tmp_path: Path) -> None:
    own = "package setpoint.own\n"
    name, text = next(iter(built_in_policies().items()))

    with_both = read(tmp_path / "a", {"policies/permits/mine.rego": own})
    replaced = read(tmp_path / "b", {f"policies/{name}.rego": own})
    without = read(tmp_path / "c", {"setpoint.yaml": "policies: {builtin: false}\n"})

    assert _policies(with_both.controls.items) == {**built_in_policies(), "permits/mine": own}
    assert _policies(replaced.controls.items) == {**built_in_policies(), name: own}
    assert text != own
    assert _policies(without.controls.items) == {}


def test_the_caller_may_decide_on_the_built_in_policies(tmp_path: Path) -> None:
    root = write(tmp_path, {"setpoint.yaml": "policies: {builtin: false}\n"})

    assert _policies(read_workspace(root, CHECK_TOOLS, builtin_policies=True).controls.items) == built_in_policies()


def test_tests_of_policies_do_not_travel(tmp_path: Path) -> None:
    workspace = read(tmp_path, {"policies/own.rego": "package own\n", "policies/own_test.rego": "package own_test\n"})

    assert workspace.policy_tests == (("own_test", "package own_test\n"),)
    assert "own_test" not in _policies(workspace.controls.items)


def test_each_key_of_the_policy_data_is_one_item(tmp_path: Path) -> None:
    workspace = read(tmp_path, {"policies/data.yaml": "freeze: {hours: [2, 3]}\nowners: {web: ann}\n"})

    data = {item.name: item.body for item in workspace.controls.of_kind("policy_data")}
    assert data == {"freeze": '{"hours":[2,3]}', "owners": '{"web":"ann"}'}


def test_settings_know_their_place(tmp_path: Path) -> None:
    root = write(tmp_path, {"setpoint.yaml": "apiVersion: setpoint/v1\npolicies:\n  builtin: false\n"})

    settings = read_settings(root)

    assert settings.mapping == {"apiVersion": "setpoint/v1", "policies": {"builtin": False}}
    assert settings.locate("policies.builtin") == (3, 12)
    assert settings.locate("listen") == (0, 0)


def test_a_folder_without_settings_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(InvalidWorkspace, match=r"is no workspace: it has no setpoint\.yaml\. Write one with"):
        read_workspace(tmp_path, CHECK_TOOLS)


@pytest.mark.parametrize("example", example_names())
def test_an_example_is_sound_under_the_judges_of_the_real_service(tmp_path: Path, example: str) -> None:
    workspace = load_workspace(create_workspace(tmp_path / example, example))

    assert workspace.warnings == ()
    assert workspace.policy_tests


@pytest.mark.parametrize("example", example_names())
def test_an_example_is_written_whole_and_only_once(tmp_path: Path, example: str) -> None:
    folder = create_workspace(tmp_path / "new", example)

    assert read_settings(folder).mapping == {"apiVersion": "setpoint/v1"}
    with pytest.raises(InvalidWorkspace, match="the folder is not empty"):
        create_workspace(folder, example)


def test_an_example_goes_into_an_empty_folder_and_never_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    assert create_workspace(tmp_path / "deep" / "down").is_dir()
    with pytest.raises(InvalidWorkspace, match="there is a file of this name"):
        create_workspace(tmp_path / "file")
    with pytest.raises(InvalidWorkspace, match=r"there is no example incidnt\. Did you mean incident\?"):
        create_workspace(tmp_path / "other", "incidnt")
    assert not (tmp_path / "other").exists()


def test_the_schemas_of_files_say_what_reading_says(tmp_path: Path) -> None:
    schemas = file_schemas(CHECK_TOOLS.executors, CHECK_TOOLS.triggers)

    assert set(schemas) == {
        "intent",
        "row",
        "fleet",
        "rule",
        "llm",
        "reference",
        "settings",
        "executor/http",
        "executor/dry_run",
        "trigger/process_probe",
    }
    settings = jsonschema_rs.validator_for(schemas["settings"])
    assert settings.is_valid({"apiVersion": "setpoint/v1", "partitions": 8, "policies": {"builtin": False}})
    assert not settings.is_valid({"lsten": "127.0.0.1:7070"})
    rule = jsonschema_rs.validator_for(schemas["rule"])
    executor = jsonschema_rs.validator_for(schemas["executor/http"])
    assert rule.is_valid(yaml.safe_load(RULE_TEXT.replace("on: process", "'on': process")))
    assert not rule.is_valid({"rule": "x"})
    assert executor.is_valid({"executor": "shop", "kind": "http", "url": "x"})
    assert not executor.is_valid({"executor": "shop", "kind": "http", "url": "x", "mehtod": "PUT"})


def _policies(items: tuple[msgspec.Struct, ...]) -> dict[str, str]:
    return {item.name: item.body for item in items if item.kind == "policy"}  # type: ignore[attr-defined]
