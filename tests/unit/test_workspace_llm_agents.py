"""Files of agents that ask a language model: what is wrong is said with its place and the cure."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from control_plane.bootstrap.workshop import check_tools, compile_tools
from control_plane.catalogue import ControlItem, ControlSet
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.workspace.compiling import compile_controls
from control_plane.workspace.diffing import changes_between
from control_plane.workspace.reading import Workspace, read_workspace
from control_plane.workspace.restoring import checked

ADVISOR = """\
llm: advisor
version: 1.0.0
on: process.measured
when: data.rss_mb > 400.0
reads: [health]
intents: [restart_service]
goal: Keep services answering.
prompt: advisor
model: {name: small, url: "https://models.example/v1", key_env: MODEL_KEY, prices: {input: 0.15, output: 0.6}}
budget: {tokens_per_hour: 50000, cost_per_day: 2.0}
still_when: rows.health.rss_mb > 400.0
expects: {where: rows.health.rss_mb < 100.0, within: 5s}
"""
SOUND: Mapping[str, str] = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "intents/restart.yaml": """
        intent: restart_service
        subject_kind: service
        executor: dry_run
        parameters: {type: object, properties: {grace: {type: string}}, additionalProperties: false}
        """,
    "rows/health.yaml": "row: health\non: [process.measured]\nfields: {rss_mb: {last: data.rss_mb}}\n",
    "agents/advisor.yaml": ADVISOR,
    "prompts/advisor.md": "{{subject.id}} uses\n{{ rows.health.rss_mb }} MB: {{data}}\n",
}


def read(root: Path, **changes: str | None) -> Workspace:
    """The workspace with other files; `agents__advisor_yaml` is not needed: names are paths."""
    for path, text in {**SOUND, **changes}.items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(dedent(text).lstrip("\n"), encoding="utf-8")
    return read_workspace(root, check_tools(), builtin_policies=False)


def flaws(root: Path, **changes: str | None) -> list[Flaw]:
    with pytest.raises(InvalidWorkspace) as raised:
        read(root, **changes)
    return list(raised.value.flaws)


def changed(old: str, new: str) -> dict[str, str]:
    assert ADVISOR.count(old) == 1, old
    return {"agents/advisor.yaml": ADVISOR.replace(old, new)}


def test_a_sound_one_is_compiled_with_its_prompt_and_its_intents(tmp_path: Path) -> None:
    workspace = read(tmp_path)

    controls = compile_controls(workspace.controls, compile_tools())

    (found,) = controls.agents
    assert (found.agent.name, found.slow, found.asks_every_ms) == ("advisor", True, 60_000)
    assert found.gate is not None
    assert {item.kind for item in workspace.controls.items} >= {"llm", "prompt"}
    assert [warning.problem for warning in workspace.warnings if "advisor" in warning.file] == []


def test_a_change_of_the_prompt_is_a_change_that_is_shown_as_text(tmp_path: Path) -> None:
    before = read(tmp_path).controls
    after = read(tmp_path, **{"prompts/advisor.md": "{{data}}, what now?\n"}).controls

    (change,) = changes_between(before.items, after.items)

    assert change.title == "prompt advisor"
    assert "+{{data}}, what now?" in change.lines()


def test_its_items_become_files_again(tmp_path: Path) -> None:
    items = read(tmp_path).controls.items

    assert checked(items, check_tools()) == ControlSet.of(items)
    with pytest.raises(InvalidWorkspace, match=r"there is no prompts/advisor\.md"):
        checked([item for item in items if item.kind != "prompt"], check_tools())
    with pytest.raises(InvalidWorkspace):
        checked([*items, ControlItem("prompt", "unused", "{{data}}")], check_tools())


@pytest.mark.parametrize(
    ("old", "new", "place", "problem", "cure"),
    [
        (
            "intents: [restart_service]",
            "intents: [restart_servce]",
            "6:11",
            "which nothing declares",
            "Did you mean restart_service?",
        ),
        ("intents: [restart_service]", "intents: []", "6:10", "intents is empty", "at least one"),
        ("[restart_service]", "[restart_service, restart_service]", "6:10", "lists restart_service twice", "Take one"),
        ("prompt: advisor", "prompt: advisr", "8:9", "there is no prompts/advisr.md", "Did you mean advisor?"),
        ("prompt: advisor", "prompt: ../secret", "8:9", "prompt cannot be '../secret'", "Lower case"),
        ("reads: [health]", "reads: [helth]", "5:9", "which nothing declares", "Did you mean health?"),
        ("when: data.rss_mb > 400.0", "when: data.rss_mb >", "4:", "when is no expression", "CEL"),
        ("when: data.rss_mb > 400.0", "when: rows.other.x > 1", "4:12", "reads the row other", "Declare it"),
        (
            "still_when: rows.health.rss_mb > 400.0",
            "still_when: data.rss_mb > 1",
            "11:13",
            "reads data, which is not there",
            "may read rows",
        ),
        (
            "still_when: rows.health.rss_mb > 400.0",
            "still_when: rows.health.rss > 1",
            "11:25",
            "no field rss",
            "Did you mean rss_mb?",
        ),
        ("where: rows.health.rss_mb < 100.0", "where: rows.health.r < 1", "12:30", "no field r", ""),
        ("on: process.measured", "on: measured", "3:5", "on cannot be 'measured'", "Past tense"),
        ("on: process.measured", "on: decision.proposed", "3:5", "its own answers are such events", "Let a rule"),
        ("on: process.measured", "on: clock.tick", "3:5", "which no agent is shown", "timer"),
        ("goal: Keep services answering.", "goal: ''", "7:7", "goal cannot be ''", "Text"),
        ("name: small, ", "", "9:8", "name is missing", "Add `name:`"),
        ('"https://models.example/v1"', "models.example", "9:", "url cannot be 'models.example'", "http"),
        ("key_env: MODEL_KEY", "key_env: sk-secret", "9:", "key_env cannot be", "environment variable"),
        ("name: small,", "name: small, api: graphql,", "9:", "api cannot be 'graphql'", "one of chat, responses"),
        ("name: small,", "name: small, temperature: 7,", "9:", "temperature cannot be 7", "0.0 to 2.0"),
        ("name: small,", "name: small, extra: {stream: true},", "9:", "extra cannot set stream", "Take it out"),
        (", prices: {input: 0.15, output: 0.6}", "", "10:", "nothing says what tokens cost", "Add prices"),
        ("{tokens_per_hour: 50000, cost_per_day: 2.0}", "{}", "10:9", "the budget limits nothing", "tokens_per_hour"),
        ("budget: {tokens_per_hour: 50000, cost_per_day: 2.0}\n", "", "1:1", "budget is missing", "Add `budget:`"),
        ("tokens_per_hour: 50000", "tokens_per_hour: many", "10:", "tokens_per_hour cannot be 'many'", "whole number"),
        ("version: 1.0.0", "version: 1.0.0\ntimeout: 10m", "3:10", "timeout cannot be 10m", "120s"),
        ("version: 1.0.0", "version: 1.0.0\ntimeout: 0s", "3:10", "timeout cannot be 0s", "120s"),
        ("version: 1.0.0", "version: 1.0.0\nonce_within: 48h", "3:14", "once_within cannot be 48h", "24h"),
        ("version: 1.0.0", "version: 1.0.0\nin_flight_max: 0", "3:16", "in_flight_max cannot be 0", "1 to 64"),
        (
            "version: 1.0.0",
            "version: 1.0.0\npersonality: nice",
            "3:1",
            "there is no key personality",
            "Did you mean persona?",
        ),
        ("version: 1.0.0", "version: 1.0.0\npropose: {}", "3:1", "there is no key propose", ""),
        ("llm: advisor", "llm: Advisor", "1:6", "llm cannot be called 'Advisor'", "lower case"),
        ("llm: advisor", "lm: advisor", "1:1", "does not say which rule", "rule"),
    ],
)
def test_a_wrong_agent_is_refused_with_its_place_and_the_cure(
    tmp_path: Path, old: str, new: str, place: str, problem: str, cure: str
) -> None:
    found = flaws(tmp_path, **changed(old, new))

    said = "\n".join(str(flaw) for flaw in found)
    assert any(f"agents/advisor.yaml:{place}" in str(flaw) and problem in str(flaw) for flaw in found), said
    assert cure in said


@pytest.mark.parametrize(
    ("prompt", "place", "problem"),
    [
        ("", "", "the prompt says nothing"),
        ("x" * 32_001 + "{{data}}", "", "more than 32000"),
        ("{{data.rss_mb +}}", ":1:", "is no expression"),
        ("one\n  {{rows.health.r}}", ":2:", "has no field r"),
        ("{{rows.other.x}}", ":1:", "reads the row other, which nothing declares"),
        ("{{reference.sites[data.x].a}}", ":1:", "which is unknown"),
        ("{{secrets}}", ":1:3", "reads secrets, which is unknown"),
        ("{{data}} and {{data", ":1:14", "{{ stands alone"),
        ("data}} and {{data}}", ":1:5", "}} stands alone"),
    ],
)
def test_a_wrong_prompt_is_refused_with_its_place(tmp_path: Path, prompt: str, place: str, problem: str) -> None:
    said = "\n".join(str(flaw) for flaw in flaws(tmp_path, **{"prompts/advisor.md": prompt}))

    assert f"prompts/advisor.md{place}" in said
    assert problem in said


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("{type: object}", "it takes whatever keys there are"),
        ("{type: object, properties: {a: {$ref: '#/x'}}}", "says no type"),
        ("{type: object, properties: {a: {type: string, not: {}}}}", "can be held to not"),
    ],
)
def test_an_intent_whose_parameters_no_answer_can_be_held_to_is_not_granted(
    tmp_path: Path, parameters: str, problem: str
) -> None:
    intent = f"intent: restart_service\nsubject_kind: service\nexecutor: dry_run\nparameters: {parameters}\n"

    said = "\n".join(str(flaw) for flaw in flaws(tmp_path, **{"intents/restart.yaml": intent}))

    assert "agents/advisor.yaml:6:10: the agent advisor cannot be used: restart_service.parameters" in said
    assert problem in said


def test_names_are_one_agents_only(tmp_path: Path) -> None:
    rule = "rule: advisor\nversion: 1.0.0\non: process.measured\npropose: {intent: restart_service, because: x}\n"
    twice = {"agents/a_rule.yaml": rule, "agents/again.yaml": ADVISOR}

    said = "\n".join(str(flaw) for flaw in flaws(tmp_path, **twice))

    assert "an agent advisor is declared in agents/a_rule.yaml already" in said
    assert "llm advisor is declared a second time" in said


def test_rules_and_models_stand_in_one_file_if_somebody_likes(tmp_path: Path) -> None:
    rule = "rule: guard\nversion: 1.0.0\non: process.measured\npropose: {intent: restart_service, because: x}\n"

    workspace = read(tmp_path, **{"agents/advisor.yaml": f"{rule}---\n{ADVISOR}"})

    assert {(item.kind, item.name) for item in workspace.controls.items} >= {("rule", "guard"), ("llm", "advisor")}


def test_what_looks_odd_is_warned_of(tmp_path: Path) -> None:
    workspace = read(
        tmp_path,
        **changed("https://models.example/v1", "http://models.example/v1"),
        **{"prompts/advisor.md": "What now?", "prompts/advice.md": "{{data}}", "prompts/note.txt": "x"},
    )

    said = "\n".join(str(warning) for warning in workspace.warnings)
    assert "the key in MODEL_KEY goes to models.example without encryption" in said
    assert "prompts/advisor.md: the prompt shows nothing of the event" in said
    assert "prompts/advice.md: no agent names this prompt. Did you mean advisor?" in said
    assert "prompts/note.txt: this file is not read" in said
