"""Agents that ask a language model: does what they declare make sense, and does what it names exist?

Each has its shape already; what its keys mean stands in `docs/llm-agents.md`.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from control_plane.catalogue import ControlItem
from control_plane.catalogue.llm import LlmDefinition
from control_plane.durations import parse_duration_ms
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.ports.agent import ASKS_EVERY_MAX_MS
from control_plane.workspace.compiling import PROMPT
from control_plane.workspace.declarations import Declared, Documents
from control_plane.workspace.expression_checks import ExpressionChecks
from control_plane.workspace.files import Folder, SourceFile
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.rule_checks import Complaint, check_types
from control_plane.workspace.yaml_tree import Node

PROMPT_CHARS_MAX: Final = 32_000
TIMEOUT_MAX_MS: Final = 120_000
"""A subject waits for an answer for five minutes at most, and other contexts may stand in front of it."""

OURS_IN_REQUESTS: Final = frozenset(
    {
        "model", "messages", "input", "instructions", "response_format", "text", "stream", "tools", "tool_choice", "n",
        "functions", "function_call", "store", "temperature", "conversation", "previous_response_id", "background",
    }
)  # fmt: skip
"""What `extra` may not say, because it would undo what the agent is held to."""

_HOLE: Final = re.compile(r"\{\{\s*(.+?)\s*\}\}", re.DOTALL)
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

Prompts = Mapping[str, SourceFile]


def read_prompts(folder: Folder) -> Prompts:
    """The files in `prompts/`, by the name that agents call them."""
    return {source.stem: source for source in folder.in_folder("prompts", ".md")}


def prompt_items(documents: Documents, prompts: Prompts, flaws: Flaws) -> list[ControlItem]:
    """The prompts that agents name, as they travel; others are warned about."""
    named = {llm.prompt for _, llm in documents.llms.sound()}
    if documents.llms.complete and len(documents.llms.sound()) == len(documents.llms.by_name):
        for name in sorted(set(prompts) - named):
            cure = did_you_mean(name, named, "Name it in an agent, or take it out.")
            flaws.warn(prompts[name].path, None, "no agent names this prompt", cure)
    return [ControlItem(PROMPT, name, prompts[name].text) for name in sorted(named & set(prompts))]


def check_llm(found: Declared[LlmDefinition], llm: LlmDefinition, flaws: Flaws) -> None:
    """Add every flaw of one agent that its own keys show."""
    heard = [llm.on] if isinstance(llm.on, str) else llm.on
    complaints = [
        *check_types(found.node, llm.llm, heard),
        *_hears_itself(found.node, llm),
        *_times(found.node, llm),
        *_money(found.node, llm),
    ]
    for place, problem, cure in (*complaints, *_model(found.node, llm)):
        flaws.add(found.file, place, problem, cure)
    url = urlsplit(llm.model.url)
    if url.scheme == "http" and llm.model.key_env and url.hostname not in _LOOPBACK:
        problem = f"the key in {llm.model.key_env} goes to {url.hostname} without encryption"
        flaws.warn(found.file, found.node.get("model", "url"), problem, "Use https.")


def check_prompt(
    found: Declared[LlmDefinition], llm: LlmDefinition, prompts: Prompts, checks: ExpressionChecks, flaws: Flaws
) -> None:
    """Is the prompt there, and does everything exist that it reads? `checks` are those of the prompt's file."""
    source = prompts.get(llm.prompt)
    if source is None:
        problem = f"there is no prompts/{llm.prompt}.md"
        flaws.add(found.file, found.node.get("prompt"), problem, did_you_mean(llm.prompt, prompts, "Write it."))
        return
    if len(source.text) > PROMPT_CHARS_MAX:
        problem = f"the prompt has {len(source.text)} characters, more than {PROMPT_CHARS_MAX}"
        flaws.add(source.path, None, problem, "Make it shorter.")
    elif not source.text.strip():
        flaws.add(source.path, None, "the prompt says nothing", "Write what the model is to look at.")
    holes = list(_HOLE.finditer(source.text))
    for hole in holes:
        place = place_in(source.text, hole.start(1))
        checks.check("the prompt", Node(place.line, place.column, hole.group(1)), _ON_EVENT, llm.reads)
    for stray in re.finditer(r"\{\{|\}\}", _HOLE.sub(lambda hole: " " * len(hole.group()), source.text)):
        place = place_in(source.text, stray.start())
        flaws.add(source.path, place, f"{stray.group()} stands alone", "Write {{ expression }}.")
    if not holes and source.text.strip():
        problem = "the prompt shows nothing of the event and its rows: the answer would always be the same"
        flaws.warn(source.path, None, problem, "Write {{data}}, for one.")


_ON_EVENT: Final = frozenset({"data", "rows", "subject", "event"})


def place_in(text: str, at: int) -> Node:
    """The place of a character of a file. Columns count letters, from 1."""
    return Node(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at), None)


def _hears_itself(node: Node, llm: LlmDefinition) -> Iterator[Complaint]:
    if DECISION_PROPOSED in ([llm.on] if isinstance(llm.on, str) else llm.on):
        problem = f"{llm.llm} listens to {DECISION_PROPOSED}, and its own answers are such events"
        yield _at(node, "on"), problem, "Let a rule listen to them."


def _times(node: Node, llm: LlmDefinition) -> Iterator[Complaint]:
    timeout_ms = parse_duration_ms(llm.timeout)
    if not 0 < timeout_ms <= TIMEOUT_MAX_MS:
        yield _at(node, "timeout"), f"timeout cannot be {llm.timeout}", f"Write 1ms to {TIMEOUT_MAX_MS // 1000}s."
    if parse_duration_ms(llm.once_within) > ASKS_EVERY_MAX_MS:
        yield _at(node, "once_within"), f"once_within cannot be {llm.once_within}", "Write 24h or less."


def _money(node: Node, llm: LlmDefinition) -> Iterator[Complaint]:
    budget = llm.budget
    if budget.tokens_per_hour is None and budget.cost_per_day is None:
        yield _at(node, "budget"), "the budget limits nothing", "Set tokens_per_hour, cost_per_day or both."
    if budget.cost_per_day is not None and llm.model.prices is None:
        problem = "what a day may cost is limited, and nothing says what tokens cost"
        yield _at(node, "budget", "cost_per_day"), problem, "Add prices to model: input and output, per million tokens."


def _model(node: Node, llm: LlmDefinition) -> Iterator[Complaint]:
    for key in sorted(OURS_IN_REQUESTS.intersection(llm.model.extra)):
        yield _at(node, "model", "extra"), f"extra cannot set {key}: the agent sets it itself", "Take it out."
    for name in sorted({name for name in llm.intents if llm.intents.count(name) > 1}):
        yield _at(node, "intents"), f"intents lists {name} twice", "Take one of them out."
    if not llm.version.strip():
        yield _at(node, "version"), "the version says nothing", "Write one, as in 1.0.0."


def listened_to(documents: Documents) -> Collection[str]:
    """Event types that these agents are there for."""
    return {t for _, llm in documents.llms.sound() for t in ((llm.on,) if isinstance(llm.on, str) else llm.on)}


def _at(node: Node, *path: str) -> Node:
    return node.get(*path) or node
