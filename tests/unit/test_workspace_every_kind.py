"""Every kind of file against what can be wrong with any file, by the judges of the real service: each time the file is
named, with its place, what is wrong and the cure.

What only one kind can have wrong stands in the tables of that kind; together each has ten wrong files at the least.
"""

import shutil
from collections.abc import Callable, Mapping, Sized
from pathlib import Path

import pytest

from control_plane.bootstrap.workshop import load_workspace
from control_plane.errors import InvalidWorkspace
from control_plane.workspace.creating import create_workspace
from tests.unit import (
    test_workspace_executors,
    test_workspace_flaws,
    test_workspace_fleets,
    test_workspace_llm_agents,
    test_workspace_other_files,
    test_workspace_policies,
    test_workspace_reference,
    test_workspace_rows,
    test_workspace_triggers,
)

AGENT = """\
from control_plane.sdk import Agent


class Scout(Agent):
    name = "scout"
    version = "1.0.0"
    listens_to = ("machine.measured",)
    reads = ()
    intents = ("slow_down",)

    def decide(self, context):
        return ()
"""
EXECUTOR = """\
from control_plane.sdk import Executor


class Press(Executor):
    name = "press"

    async def execute(self, command, attempt):
        raise NotImplementedError

    async def reconcile(self, command):
        raise NotImplementedError
"""
TARGET = """\
executor: plant
kind: http
request: {url: "http://127.0.0.1:9/{subject}"}
reconcile: {url: "http://127.0.0.1:9/{command_id}", done_when: status < 300, absent_when: status > 400}
"""
TIMER = "trigger: nightly\nkind: timer\nevery: 1h\nevent: {type: machine.measured, subject: '\"machine/m-1\"'}\n"
ADVISOR = """\
llm: advisor
version: 1.0.0
on: machine.measured
intents: [slow_down]
goal: Keep machines cool.
prompt: advisor
model: {name: small, url: "https://models.example/v1"}
budget: {tokens_per_hour: 50000}
"""
HOT = "rule: too_hot\nversion: 1.0.0\non: machine.measured\npropose: {intent: slow_down, because: it is hot}\n"
GUARDRAIL = """\
package setpoint.guardrails.own

deny contains {"code": "nothing", "msg": "nothing is wanted"} if not input.decision.intent
"""
SITES = "reference: sites\nkey: site\nrows:\n  - {site: riga, region: north}\n"

YAML: Mapping[str, tuple[str, str]] = {
    "settings": ("setpoint.yaml", "apiVersion: setpoint/v1\n"),
    "intent": ("intents/stop.yaml", "intent: stop\nsubject_kind: machine\nexecutor: dry_run\n"),
    "row": ("rows/heat.yaml", "row: heat\non: [machine.measured]\nfields: {celsius: {last: data.celsius}}\n"),
    "rule": ("agents/too_hot.yaml", HOT),
    "llm": ("agents/advisor.yaml", ADVISOR),
    "fleet": ("fleets/presses.yaml", 'fleet: presses\nmembers: subject.kind == "machine"\n'),
    "reference": ("reference/sites.yaml", SITES),
    "executor": ("executors/plant.yaml", TARGET),
    "trigger": ("triggers/nightly.yaml", TIMER),
    "policy data": ("policies/data.yaml", "limits: {hot_c: 90}\n"),
}
OTHERS: Mapping[str, tuple[str, str]] = {
    "reference csv": ("reference/plants.csv", "plant,region\nriga,north\n"),
    "python agent": ("agents/scout.py", AGENT),
    "python executor": ("executors/press.py", EXECUTOR),
    "policy": ("policies/guardrails/own.rego", GUARDRAIL),
    "policy test": ("policies/guardrails/own_test.rego", "package setpoint.guardrails.own_test\n\ntest_it if true\n"),
    "prompt": ("prompts/advisor.md", "{{data}}\n"),
    "schema": ("schemas/machine.measured.json", '{"type": "object"}\n'),
}
FILES = {**YAML, **OTHERS}

Damage = tuple[Callable[[str], bytes], str]

ANY_FILE: Mapping[str, Damage] = {
    "binary": (lambda _: b"\x89PNG\r\n\x1a\n\x00\x00\xff", "3:1: it is no text: it holds a zero byte. Save it as text"),
    "no UTF-8": (lambda text: text.encode() + b"# \xff\xfe", "{after}:3: it is no text in UTF-8. Save it as UTF-8"),
    "ten megabytes": (lambda text: text.encode() + b"#" * 10_000_000, " it has more than 1000000 bytes. Divide it"),
}
ANY_YAML: Mapping[str, Damage] = {
    "an anchor in itself": (
        lambda text: f"{text}more: &a [*a]".encode(),
        "{after}:11: *a refers to nothing before it, or to itself. Write the value out instead.",
    ),
    "a tab": (lambda text: f"{text}more:\n\t- 1".encode(), "{after_next}:1: a tab stands where YAML wants spaces."),
    "a key twice": (
        lambda text: f"{text}{text.splitlines()[0]}\n".encode(),
        "{after}:1: the key {head} stands here a second time; it is on line 1 already. Take one of them out.",
    ),
    "nested too deep": (lambda _: b"[" * 5_000, "1:33: values are nested more than 32 deep. Make it flatter."),
    "an open bracket": (lambda text: f"{text}more: [1\n".encode(), "{after_next}:1: this is no YAML: did not find"),
    "a list": (lambda _: b"- a\n- b\n", "1:1: {no_mapping}"),
    "text": (lambda _: b"hello\n", "1:1: {no_mapping}"),
}
NO_MAPPING: Mapping[str, str] = {
    "settings": "settings are one mapping. Write `key: value` lines, once.",
    "reference": "",
    "policy data": "policy data is no mapping. Write `name: value`; Rego reads it as data.name.",
}
"""What is said of others: that they do not say what they declare."""

UNKNOWN_KEY = {kind: YAML[kind] for kind in YAML if kind not in ("settings", "policy data")}
"""Unknown settings are told by `control_plane.settings`; in policy data every key is a user's own."""

EMPTY: Mapping[str, str] = {
    "reference csv": "1:1: it has no header. Begin it with the names of its columns, the key first",
    "python agent": " the agent cannot be loaded: ValueError: agents/scout.py declares 0 agents",
    "python executor": " declares 0 executors; a file holds exactly one. See control_plane.sdk.Executor",
    "policy": "1:1: expecting `package`",
    "policy test": "1:1: expecting `package`",
    "schema": " this is no JSON",
}

TABLES: Mapping[str, Sized] = {
    "settings": test_workspace_other_files.SETTINGS_FILES,
    "intent": test_workspace_flaws.INTENTS,
    "row": test_workspace_rows.FIELDS,
    "rule": test_workspace_flaws.RULES,
    "fleet": test_workspace_fleets.WRONG,
    "llm": test_workspace_llm_agents.test_a_wrong_agent_is_refused_with_its_place_and_the_cure.pytestmark[0].args[1],
    "reference": test_workspace_reference.IN_YAML,
    "executor": test_workspace_other_files.EXECUTORS,
    "trigger": test_workspace_triggers.WRONG,
    "policy data": test_workspace_other_files.DATA_FILES,
    "reference csv": test_workspace_reference.CSV,
    "python agent": test_workspace_other_files.AGENTS,
    "python executor": test_workspace_executors.WRONG_PYTHON,
    "policy": test_workspace_policies.WRONG,
    "policy test": test_workspace_policies.WRONG_TESTS,
    "schema": test_workspace_other_files.SCHEMAS,
}
"""What is wrong in one kind only."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one file of every kind."""
    folder = create_workspace(tmp_path_factory.mktemp("sound") / "w")
    for path, text in FILES.values():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    load_workspace(folder)
    return folder


def flaws_of(sound: Path, root: Path, path: str, content: bytes) -> list[str]:
    """What is said of a workspace in which this file is another one."""
    folder = Path(shutil.copytree(sound, root / "w"))
    (folder / path).write_bytes(content)
    with pytest.raises(InvalidWorkspace) as refused:
        load_workspace(folder)
    return [str(flaw) for flaw in refused.value.flaws]


@pytest.mark.parametrize("damage", ANY_FILE)
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_text_of_ours_is_named_and_nothing_else_is(
    sound: Path, tmp_path: Path, kind: str, damage: str
) -> None:
    path, text = FILES[kind]
    change, said = ANY_FILE[damage]

    found = flaws_of(sound, tmp_path, path, change(text))

    assert len(found) == 1, found
    assert found[0].startswith(f"{path}:{said.format(after=len(text.splitlines()) + 1)}")


@pytest.mark.parametrize("damage", ANY_YAML)
@pytest.mark.parametrize("kind", YAML)
def test_what_is_no_yaml_of_ours_is_named(sound: Path, tmp_path: Path, kind: str, damage: str) -> None:
    path, text = YAML[kind]
    change, said = ANY_YAML[damage]
    head, lines = text.partition(":")[0], len(text.splitlines())
    begins = "rule" if head == "llm" else head
    no_mapping = NO_MAPPING.get(kind, f"this document is no {begins}. Begin it with `{begins}: NAME`.")

    found = flaws_of(sound, tmp_path, path, change(text))

    wanted = said.format(head=head, after=lines + 1, after_next=lines + 2, no_mapping=no_mapping)
    assert any(flaw.startswith(f"{path}:{wanted}") for flaw in found), found


@pytest.mark.parametrize("kind", UNKNOWN_KEY)
def test_a_key_that_nobody_knows_is_named(sound: Path, tmp_path: Path, kind: str) -> None:
    path, text = UNKNOWN_KEY[kind]

    found = flaws_of(sound, tmp_path, path, f"{text}nonsense: 1\n".encode())

    assert any(
        flaw.startswith(f"{path}:{len(text.splitlines()) + 1}:1: there is no key nonsense here.") for flaw in found
    ), found


@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_file_that_must_say_something_is_named(sound: Path, tmp_path: Path, kind: str) -> None:
    path, _ = OTHERS[kind]

    found = flaws_of(sound, tmp_path, path, b"")

    assert any(flaw.startswith(f"{path}:{EMPTY[kind]}") for flaw in found), found


@pytest.mark.parametrize("kind", [kind for kind in YAML if kind not in ("settings", "policy data")])
def test_an_empty_file_that_declares_nothing_is_warned_about(sound: Path, tmp_path: Path, kind: str) -> None:
    folder = Path(shutil.copytree(sound, tmp_path / "w"))
    path, text = YAML[kind]
    (folder / path).write_bytes(b"")

    said = [str(flaw) for flaw in load_workspace(folder).warnings]

    head = "rule" if kind == "llm" else text.partition(":")[0]
    assert f"{path}: this file declares nothing. Begin it with `{head}: NAME`, or take it out." in said


@pytest.mark.parametrize("kind", TABLES)
def test_every_kind_has_ten_wrong_files_at_the_least(kind: str) -> None:
    of_any = len(ANY_FILE) + (len(ANY_YAML) if kind in YAML else 0) + (kind in UNKNOWN_KEY) + (kind in EMPTY)

    assert of_any + len(TABLES[kind]) >= 10, f"{of_any} and {len(TABLES[kind])}"
    assert len(TABLES[kind]) >= 4, "what is wrong in its own way"
