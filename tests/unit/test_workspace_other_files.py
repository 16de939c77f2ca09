"""What is wrong in executors, triggers, Python agents, schemas, policies and settings is named as well."""

import os
from pathlib import Path
from textwrap import dedent, indent

import pytest

from tests.unit.workspace_world import flaws_of, read

SHOP, PROBES, AGENT = "executors/shop.yaml", "triggers/probes.yaml", "agents/scout.py"
SCHEMA, DATA, SETTINGS = "schemas/process.measured.json", "policies/data.yaml", "setpoint.yaml"

EXECUTORS = {
    "an unknown kind": (
        "executor: shop\nkind: htp\nurl: x",
        "2:7: there is no kind of executor htp. Did you mean http?",
    ),
    "no kind": (
        "executor: shop\nurl: x",
        "1:1: there is no kind of executor shop. Give it a kind. Known: dry_run, http.",
    ),
    "a missing key": ("executor: shop\nkind: http", "1:1: url is missing. Add `url:` with text."),
    "a misspelt key": (
        "executor: shop\nkind: http\nurl: x\nmehtod: PUT",
        "4:1: there is no key mehtod here. Did you mean method?",
    ),
    "another choice": (
        "executor: shop\nkind: http\nurl: x\nmethod: PATCH",
        "4:9: method cannot be 'PATCH'. Write one of POST, PUT.",
    ),
    "text for a number": (
        "executor: shop\nkind: http\nurl: x\nattempts: many",
        "4:11: attempts cannot be 'many'. Write a whole number.",
    ),
    "a name of another form": ("executor: my shop\nkind: http\nurl: x", "1:11: executor cannot be called 'my shop'."),
}

TRIGGERS = {
    "an unknown kind": (
        "trigger: probes\nkind: process_prob\ninterval: 1s",
        "2:7: there is no kind of trigger process_prob. Did you mean process_probe?",
    ),
    "a missing key": ("trigger: probes\nkind: process_probe", "1:1: interval is missing."),
    "a misspelt key": (
        "trigger: probes\nkind: process_probe\nintervall: 1s",
        "3:1: there is no key intervall here. Did you mean interval?",
    ),
    "nothing for a value": ("trigger: probes\nkind: process_probe\ninterval:", "3:10: interval is empty. Write text."),
    "no head": (
        "triger: probes\nkind: process_probe",
        "1:1: this document does not say which trigger it declares. Write `trigger:`",
    ),
    "the same name twice": (
        "trigger: p\nkind: process_probe\ninterval: 1s\n---\ntrigger: p\n",
        "5:1: trigger p is declared a second time; it is in triggers/probes.yaml:1 already.",
    ),
}

AGENTS = {
    "no Python": ("def x(:\n", "1:7: this is no Python: invalid syntax"),
    "an import of what is not there": (
        "import nowhere\n",
        "1:1: the agent cannot be loaded: ModuleNotFoundError: No module named 'nowhere'.",
    ),
    "a program that leaves": ("import sys\nsys.exit(1)\n", "2:1: the agent cannot be loaded: SystemExit: 1."),
    "no agent in it": ("x = 1\n", " the agent cannot be loaded: ValueError: agents/scout.py declares 0 agents"),
    "an agent without a version": (
        ("name = 'scout'", "listens_to = ('a.b',)", "intents = ('restart_service',)"),
        " the agent cannot be loaded: ValueError: agents/scout.py: Scout does not set version.",
    ),
    "text instead of a tuple": (
        ("name = 'scout'", "version = '1'", "listens_to = ('a.b')", "intents = ('restart_service',)"),
        " scout: listens_to is no tuple of texts; a tuple of one ends with a comma.",
    ),
    "an unknown intent": (
        ("name = 'scout'", "version = '1'", "listens_to = ('a.b',)", "intents = ('restart',)"),
        "6:5: scout proposes the intent restart, which nothing declares. Did you mean restart_service?",
    ),
    "an unknown row": (
        (
            "name = 'scout'",
            "version = '1'",
            "listens_to = ('a.b',)",
            "reads = ('helth',)",
            "intents = ('restart_service',)",
        ),
        "6:5: reads lists the row helth, which nothing declares. Did you mean health?",
    ),
    "the name of a rule": (
        ("name = 'memory_guard'", "version = '1'", "listens_to = ('a.b',)", "intents = ('restart_service',)"),
        " an agent memory_guard is declared in agents/memory_guard.yaml already. Rename one of them.",
    ),
    "a name that is no name": (
        ("name = 'My scout'", "version = '1'", "listens_to = ('a.b',)", "intents = ('restart_service',)"),
        " the agent's name 'My scout' is no name: lower case, digits and underscores.",
    ),
    "an event type that is none": (
        ("name = 'scout'", "version = '1'", "listens_to = ('a',)", "intents = ('restart_service',)"),
        "5:5: scout listens to 'a', which is no event type.",
    ),
}

SCHEMAS = {
    "no JSON": ('{"type": "object",\n oops}', "2:2: this is no JSON"),
    "no object": ("[]", " a schema is a JSON object"),
    "no schema": ('{"type": "objekt"}', " this is no JSON Schema"),
    "an empty file": ("", " this is no JSON"),
    "a reference into the world": ('{"$ref": "https://example.com/x.json"}', " this is no JSON Schema"),
    "a key twice": (
        '{"type": "object", "properties": {"rss": {"type": "number"}, "rss": {"type": "string"}}}',
        " the key rss stands in one object a second time. Take one of them out.",
    ),
    "deep nesting": ('{"a":' * 5000 + "1" + "}" * 5000, " this is no JSON"),
}

DATA_FILES = {
    "a list": ("- a", "1:1: policy data is no mapping."),
    "text": ("hello", "1:1: policy data is no mapping."),
    "the root of policies": ("setpoint: {a: 1}", "1:1: policy data cannot be called setpoint here."),
    "no identifier": ("my-data: 1", "1:1: policy data cannot be called my-data here."),
    "a key twice": ("a: 1\na: 2", "2:1: the key a stands here a second time"),
    "no YAML": ("a: [", "2:1: this is no YAML"),
}

SETTINGS_FILES = {
    "a list": ("- a", "1:1: settings are one mapping."),
    "two documents": ("a: 1\n---\nb: 2", "3:1: settings are one mapping."),
    "a tab": ("a:\n\tb: 1", "2:1: a tab stands where YAML wants spaces."),
    "a key twice": ("listen: a\nlisten: b", "2:1: the key listen stands here a second time"),
    "no text": (b"listen: \xff\xfe", "1:9: it is no text in UTF-8."),
    "a zero byte": (b"a: 1\nb: \x00", "2:4: it is no text: it holds a zero byte."),
    "too much of it": ("# " + "x" * 1_000_000, " it has more than 1000000 bytes."),
}


@pytest.mark.parametrize(("text", "said"), EXECUTORS.values(), ids=list(EXECUTORS))
def test_a_wrong_executor_is_named(tmp_path: Path, text: str, said: str) -> None:
    _named(flaws_of(tmp_path, {SHOP: text}), f"{SHOP}:{said}")


@pytest.mark.parametrize(("text", "said"), TRIGGERS.values(), ids=list(TRIGGERS))
def test_a_wrong_trigger_is_named(tmp_path: Path, text: str, said: str) -> None:
    _named(flaws_of(tmp_path, {PROBES: text}), f"{PROBES}:{said}")


@pytest.mark.parametrize(("source", "said"), AGENTS.values(), ids=list(AGENTS))
def test_a_wrong_python_agent_is_named(tmp_path: Path, source: str | tuple[str, ...], said: str) -> None:
    _named(flaws_of(tmp_path, {AGENT: scout(source)}), f"{AGENT}:{said}")


@pytest.mark.parametrize(("text", "said"), SCHEMAS.values(), ids=list(SCHEMAS))
def test_a_wrong_schema_is_named(tmp_path: Path, text: str, said: str) -> None:
    _named(flaws_of(tmp_path, {SCHEMA: text}), f"{SCHEMA}:{said}")


@pytest.mark.parametrize(("text", "said"), DATA_FILES.values(), ids=list(DATA_FILES))
def test_wrong_policy_data_is_named(tmp_path: Path, text: str, said: str) -> None:
    _named(flaws_of(tmp_path, {DATA: text}), f"{DATA}:{said}")


@pytest.mark.parametrize(("text", "said"), SETTINGS_FILES.values(), ids=list(SETTINGS_FILES))
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    _named(flaws_of(tmp_path, {SETTINGS: text}), f"{SETTINGS}:{said}")


def test_a_policy_that_does_not_compile_is_named_by_its_file(tmp_path: Path) -> None:
    flaws = flaws_of(tmp_path, {"policies/permits/own.rego": "allow := true"})

    assert flaws == ["policies/permits/own.rego:1:1: this module has no package. Begin it with package."]


def test_a_test_that_fails_stops_the_start(tmp_path: Path) -> None:
    files = {"policies/own.rego": "package setpoint.own\n", "policies/own_test.rego": "package own_test # fails\n"}

    assert flaws_of(tmp_path, files) == ["policies/own_test.rego:3:1: test_it failed. Mend the policy or the test."]


def test_a_test_that_does_not_compile_stops_the_start(tmp_path: Path) -> None:
    files = {"policies/own.rego": "package setpoint.own\n", "policies/own_test.rego": "broken"}

    assert flaws_of(tmp_path, files) == [
        "policies/own_test.rego:1:1: this module has no package. Begin it with package."
    ]


def test_a_rule_that_no_test_covers_is_warned_about(tmp_path: Path) -> None:
    files = {"policies/own.rego": "package setpoint.own # rare\n", "policies/own_test.rego": "package own_test\n"}

    assert [str(warning) for warning in read(tmp_path, files).warnings] == [
        "policies/own.rego:2:1: no test covers this rule. Write one."
    ]


def test_tests_are_not_run_on_policies_that_do_not_compile(tmp_path: Path) -> None:
    files = {"policies/own.rego": "allow := true", "policies/own_test.rego": "package own_test # fails\n"}

    assert [flaw.split(":")[0] for flaw in flaws_of(tmp_path, files)] == ["policies/own.rego"]


def test_a_schema_for_a_type_that_only_setpoint_publishes_is_refused(tmp_path: Path) -> None:
    flaws = flaws_of(tmp_path, {"schemas/effect.judged.json": "{}", "schemas/Probed.json": "{}"})

    assert (
        flaws[1]
        == "schemas/effect.judged.json: effect.judged is a type that only Setpoint publishes. Choose another type."
    )
    assert flaws[0].startswith("schemas/Probed.json: Probed is no event type.")


def test_a_misspelt_folder_is_pointed_at(tmp_path: Path) -> None:
    assert flaws_of(tmp_path, {"intent/x.yaml": "intent: x"}) == [
        "intent/: no folder of this name is read. Did you mean intents/? Rename it."
    ]


def test_a_file_with_another_ending_is_warned_about(tmp_path: Path) -> None:
    workspace = read(tmp_path, {"rows/notes.txt": "later", "policies/more.yaml": "a: 1", "rows/.hidden": "x"})

    assert [str(warning) for warning in workspace.warnings] == [
        "rows/notes.txt: this file is not read. In rows/ a file ends in .yaml or .yml.",
        "policies/more.yaml: this file is not read. Policy data belongs in policies/data.yaml.",
    ]


def test_an_agent_that_listens_to_outcomes_is_warned_about(tmp_path: Path) -> None:
    rule = "rule: again\nversion: 1.0.0\non: command.failed\npropose: {intent: restart_service, because: it failed}\n"

    (warning,) = read(tmp_path, {"agents/again.yaml": rule}).warnings

    assert str(warning).startswith("agents/again.yaml:3:5: again acts on what follows from its own action: ")


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir(parents=True)
    (tmp_path / "rows" / "lost.yaml").symlink_to(tmp_path / "nowhere.yaml")

    _named(flaws_of(tmp_path, {}), "rows/lost.yaml: it is no regular file. Put a file here, or take it out.")


def test_a_pipe_in_place_of_a_file_does_not_stop_the_reading(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir(parents=True)
    os.mkfifo(tmp_path / "rows" / "pipe.yaml")

    _named(flaws_of(tmp_path, {}), "rows/pipe.yaml: it is no regular file.")


def scout(source: str | tuple[str, ...]) -> str:
    """Python text as it is, or an agent with these attributes from line 3 on."""
    if isinstance(source, str):
        return source
    attributes = indent("\n".join(source), "    ")
    return dedent(
        """\
        from control_plane.sdk import Agent
        class Scout(Agent):
        {attributes}
            def decide(self, context):
                return []
        """
    ).format(attributes=attributes)


def _named(flaws: list[str], said: str) -> None:
    assert any(flaw.startswith(said) for flaw in flaws), flaws
