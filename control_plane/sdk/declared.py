"""Controls for a loop in a test: out of agents, of YAML and Python files, or of a whole workspace.

Executors, triggers and policies are left out: the test answers for them. Nothing is checked as `setpoint check` does.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from agents.llm import LlmAgent
from agents.rules import Rule
from control_plane.adapters.cel import CelExpressions
from control_plane.adapters.jsonschema import JsonSchemas
from control_plane.catalogue import ControlItem, Controls, ControlSet
from control_plane.catalogue.definitions import RuleInForce
from control_plane.catalogue.llm import LlmInForce
from control_plane.catalogue.reference import REFERENCE
from control_plane.errors import InvalidWorkspace
from control_plane.ports.agent import Agent as AgentPort
from control_plane.sdk.agent import Agent, SlowAgent
from control_plane.workspace.compiling import Tools, compile_controls
from control_plane.workspace.declarations import canonical
from control_plane.workspace.files import YAML, SourceFile
from control_plane.workspace.flaws import Flaws
from control_plane.workspace.python_agents import load_agent
from control_plane.workspace.reference import CSV, Table, csv_table, yaml_table
from control_plane.workspace.yaml_tree import read_yaml

Declarations = str | Path | Sequence[str | Path]

HEADS = ("intent", "row", "fleet", "rule", "llm", "reference")
FOLDERS = ("intents", "rows", "fleets", "agents", "prompts", "schemas", "reference")
NO_PROMPTS: Mapping[str, str] = {}
KIND_OF_SUFFIX: Mapping[str, str] = {".py": "agent", ".json": "schema", ".md": "prompt"}


def controls_of(
    agents: Sequence[Agent | SlowAgent],
    declarations: Declarations,
    subject_kind: str,
    prompts: Mapping[str, str] = NO_PROMPTS,
) -> Controls:
    """The controls that these make together. Intents that are named and not declared have no limits."""
    expressions = CelExpressions()
    by_name: Mapping[str, Any] = {agent.name: agent for agent in agents}

    def rule(item: ControlItem) -> AgentPort:
        return Rule(msgspec.json.decode(item.body, type=RuleInForce), expressions)

    def llm(item: ControlItem) -> AgentPort:
        found: Any = LlmAgent(msgspec.json.decode(item.body, type=LlmInForce), expressions, JsonSchemas())
        return cast(AgentPort, found)

    def python(item: ControlItem) -> AgentPort:
        found: AgentPort = by_name[item.name] if item.name in by_name else load_agent(item)
        return found

    items = _items([declarations] if isinstance(declarations, str | Path) else declarations)
    items += [ControlItem("agent", name, "") for name in by_name]
    items += [ControlItem("prompt", name, text) for name, text in prompts.items()]
    tools = Tools(expressions=expressions, schemas=JsonSchemas(), agents={"rule": rule, "llm": llm, "agent": python})
    named = {intent for item in items if item.kind in tools.agents for intent in tools.agents[item.kind](item).intents}
    declared = {item.name for item in items if item.kind == "intent"}
    for intent in sorted(named - declared):
        body = canonical({"intent": intent, "subject_kind": subject_kind, "executor": "test"})
        items.append(ControlItem("intent", intent, body))
    return compile_controls(ControlSet.of(items), tools)


def _items(declarations: Sequence[str | Path]) -> list[ControlItem]:
    """Everything that is declared. Raises InvalidWorkspace when something is no YAML, or declares something else."""
    flaws, items = Flaws(), []
    for number, given in enumerate(declarations):
        for file in _files(given) if isinstance(given, Path) else ():
            items += _in_file(file, flaws)
        if isinstance(given, str):
            items += _read(f"declaration {number}", given, flaws)
    if len(flaws):
        raise InvalidWorkspace(tuple(flaws))
    return items


def _files(given: Path) -> Iterable[Path]:
    """The file, or those of a workspace that declare what a loop follows."""
    if not given.is_dir():
        return [given]
    found = [file for folder in FOLDERS for file in sorted(given.glob(f"{folder}/*"))]
    return [file for file in found if file.suffix in (*YAML, *KIND_OF_SUFFIX, CSV)]


def _in_file(file: Path, flaws: Flaws) -> list[ControlItem]:
    text, kind = file.read_text(encoding="utf-8"), KIND_OF_SUFFIX.get(file.suffix)
    if kind is not None:
        return [ControlItem(kind, file.stem, text)]
    if file.suffix == CSV:
        return _of(csv_table(SourceFile(str(file), text), flaws))
    return _read(str(file), text, flaws)


def _read(file: str, text: str, flaws: Flaws) -> list[ControlItem]:
    items = []
    for document in read_yaml(file, text, flaws) or ():
        named = [(head, document.text(head)) for head in HEADS if document.text(head)]
        if not named:
            problem = "it declares no intent, row, fleet, rule or table"
            flaws.add(file, document, problem, "Begin it with `intent: NAME`.")
        for head, name in named[:1]:
            of_table = head == REFERENCE
            item = ControlItem(head, name or "", canonical(document.plain()))
            items += _of(yaml_table(file, document, flaws)) if of_table else [item]
    return items


def _of(table: Table | None) -> list[ControlItem]:
    return [table.item] if table is not None else []
