"""What refers to what: intents and their executors, rules and their rows, agents and their intents.

Each document had its shape checked before. A name is only called unknown when everything that could declare it was
read.
"""

from collections.abc import Collection
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from control_plane.catalogue import ControlItem
from control_plane.catalogue.definitions import EventType, IntentDefinition, RuleDefinition
from control_plane.ports.agent import Agent
from control_plane.ports.expressions import ExpressionInvalid, Expressions
from control_plane.ports.schemas import SchemaInvalid, SchemaViolation
from control_plane.workspace.circles import Hearer, hearer_of, of_actions, warn_of_circles
from control_plane.workspace.compiling import llm_in_force
from control_plane.workspace.declarations import Declared, Documents, is_name
from control_plane.workspace.expression_checks import ExpressionChecks, FieldsOfRows
from control_plane.workspace.flaws import Flaws, did_you_mean, shown
from control_plane.workspace.llm_agents import Prompts, check_llm, check_prompt
from control_plane.workspace.python_agents import slow_flaw
from control_plane.workspace.python_files import line_with, raised_at
from control_plane.workspace.row_checks import check_rows
from control_plane.workspace.rule_checks import check_rule, readable, warn_of_no_repeat, warn_of_stale_rows
from control_plane.workspace.tools import CheckTools
from control_plane.workspace.yaml_tree import Node

ON_EVENT = frozenset({"data", "rows", "subject", "event"})
"""What can be read while an event is on its way through the loop."""

FLEETS_MAX = 64
"""Every partition tells all others of each."""

LATER = frozenset({"rows", "subject"})
"""What can be read when an effect is judged: the event that led to the action is long gone."""


class Checking:
    """All documents of a workspace, checked against one another."""

    def __init__(self, documents: Documents, tools: CheckTools, flaws: Flaws) -> None:
        self._documents = documents
        self._tools = tools
        self._flaws = flaws
        self._hearers: list[Hearer] = []

    def intents(self, executors: Collection[str] | None) -> None:
        """Every intent has an executor, and its parameters are a JSON Schema. `executors` are those that are declared;
        None when not all of them could be read: then any may exist."""
        for found, intent in self._documents.intents.sound():
            try:
                self._tools.compiling.schemas.compile(intent.parameters)
            except SchemaInvalid as exc:
                place = found.node.get("parameters") or found.node
                self._flaws.add(found.file, place, f"parameters are no JSON Schema: {exc}", "See json-schema.org.")
            known = {*(executors or ()), *undeclared_executors(self._tools)}
            if executors is not None and intent.executor not in known:
                cure = did_you_mean(intent.executor, known, f"Declare {intent.executor} in executors/.")
                problem = f"the intent {found.name} names the executor {intent.executor}, which nothing declares"
                self._flaws.add(found.file, found.node.get("executor"), problem, cure)

    def rows(self) -> None:
        """Every field is folded in one way, from what an event holds, and all of them have room in a row."""
        check_rows(self._documents.rows, self._tools.compiling.expressions, self._expressions, self._flaws)

    def fleets(self) -> None:
        """Every fleet says by the subject who is in it, and by its rows who is healthy."""
        fleets = self._documents.fleets
        for number, (found, _) in enumerate(fleets.sound(), start=1):
            if number > FLEETS_MAX:
                cure = "Join some of them."
                self._flaws.add(found.file, found.node, f"there are more than {FLEETS_MAX} fleets", cure)
            checks = self._expressions(found)
            checks.check("members", found.node.get("members"), {"subject"}, must_read="subject")
            checks.check("healthy", found.node.get("healthy"), LATER, must_read="rows")
        for intent, declared in self._documents.intents.sound():
            if declared.limits.fleet_share_max is not None and fleets.complete and not fleets.by_name:
                place = intent.node.get("limits", "fleet_share_max")
                problem = f"{intent.name} is limited to a share of a fleet, and no fleet is declared"
                self._flaws.warn(intent.file, place, problem, "Declare one in fleets/, or it will always be denied.")

    def rules(self) -> None:
        """Every rule compiles, reads what exists and proposes what may be done."""
        rows = {row.name: definition for row, definition in self._documents.rows.sound()}
        for found, rule in self._documents.rules.sound():
            before = len(self._flaws)
            self._rule_expressions(found, rule)
            self._known_rows(found.file, found.node.get("reads"), rule.reads)
            proposed = found.node.get("propose", "intent")
            intent = self._known_intent(found.file, proposed, found.name, rule.propose.intent)
            if intent is not None:
                self._parameters(found, intent, rule.propose.parameters)
            check_rule(found.file, found.node, rule, self._flaws)
            if intent is not None and intent.definition is not None:
                warn_of_stale_rows(found.file, found.node, rule, intent.definition, rows, self._flaws)
                warn_of_no_repeat(found.file, found.node, rule, intent.definition, self._flaws)
            hearer = hearer_of(rule, found.file, found.node.get("on"))
            self._hearers += [hearer] if hearer is not None else []
            if len(self._flaws) == before:
                self._built(found, found.item, found.node)

    def llms(self, prompts: Prompts, complete: bool) -> None:
        """Every agent that asks a model reads what exists, and its answers can be held to the intents it is granted.
        The prompts are `complete` when all of them could be read: else one that is missing may be there."""
        intents = {name: found.definition for name, found in self._documents.intents.by_name.items()}
        sound = {name: intent for name, intent in intents.items() if intent is not None}
        for found, llm in self._documents.llms.sound():
            before = len(self._flaws)
            checks = self._expressions(found, self._documents.fleets.by_name)
            checks.check("when", found.node.get("when"), ON_EVENT, llm.reads)
            for key in ("still_when", "where", "harm"):
                path = (key,) if key == "still_when" else ("expects", key)
                checks.check(key, found.node.get(*path), LATER, llm.reads if key == "still_when" else None)
            check_llm(found, llm, self._flaws)
            if complete or llm.prompt in prompts:
                check_prompt(found, llm, prompts, self._in_file(f"prompts/{llm.prompt}.md"), self._flaws)
            self._known_rows(found.file, found.node.get("reads"), llm.reads)
            for at, intent in enumerate(llm.intents):
                listed = found.node.get("intents")
                self._known_intent(found.file, listed.value[at] if listed else None, found.name, intent)
            if heard := of_actions([llm.on] if isinstance(llm.on, str) else llm.on):
                place, granted = found.node.get("on"), tuple(llm.intents)
                self._hearers.append(Hearer(name=llm.llm, file=found.file, place=place, heard=heard, intents=granted))
            if len(self._flaws) == before and set(llm.intents) <= set(sound) and llm.prompt in prompts:
                texts = {name: source.text for name, source in prompts.items()}
                self._built(found, llm_in_force(found.item, sound, texts), found.node.get("intents"))

    def agent(self, file: str, item: ControlItem) -> Agent | None:
        """Load one Python agent and check what it declares; None when it cannot be loaded."""
        try:
            agent = self._tools.compiling.agents[item.kind](item)
        except SyntaxError as exc:
            place = Node(exc.lineno or 0, exc.offset or 0, None)
            self._flaws.add(file, place, f"this is no Python: {exc.msg}", "Mend it there.")
            return None
        except (Exception, SystemExit) as exc:  # noqa: BLE001 - a user's file may raise anything while it is loaded
            problem = f"the agent cannot be loaded: {type(exc).__name__}: {exc}"
            self._flaws.add(file, raised_at(exc, file), problem, "Mend it so that it can be imported.")
            return None
        misdeclared = _misdeclared(agent) or slow_flaw(agent)
        if misdeclared is not None:
            where = line_with("listens_to", item.body) if "listens to" in misdeclared else None
            self._flaws.add(file, where, misdeclared, "See control_plane.sdk.Agent for what an agent declares.")
            return None
        self._known_rows(file, line_with("reads", item.body), agent.reads)
        for intent in agent.intents:
            self._known_intent(file, line_with("intents", item.body), agent.name, intent)
        if heard := of_actions(agent.listens_to):
            where = line_with("listens_to", item.body)
            self._hearers.append(
                Hearer(name=agent.name, file=file, place=where, heard=heard, intents=tuple(agent.intents))
            )
        return agent

    def circles(self) -> None:
        """Which of the rules and agents act on what follows from their own actions; after all of them were checked."""
        intents = {found.name: intent for found, intent in self._documents.intents.sound()}
        warn_of_circles(self._hearers, intents, self._flaws)

    def _rule_expressions(self, found: Declared[RuleDefinition], rule: RuleDefinition) -> None:
        checks, node = self._expressions(found, self._documents.fleets.by_name), found.node
        may_read = readable(rule, ON_EVENT, LATER)
        for key in ("when", "still_when"):
            checks.check(key, node.get(key), may_read[key], rule.reads)
        checks.check_holes("because", node.get("propose", "because"), may_read["because"], rule.reads)
        checks.check_holes("propose.subject", node.get("propose", "subject"), may_read["subject"], rule.reads)
        for key in ("where", "harm"):
            checks.check(key, node.get("expects", key), may_read[key])

    def _in_file(self, file: str) -> ExpressionChecks:
        """Checks of expressions that read what an agent is shown, and nothing else."""
        return ExpressionChecks(file, self._tools.compiling.expressions, self._fields_of_rows(), self._flaws)

    def _expressions(self, found: Declared[Any], fleets: Collection[str] | None = None) -> ExpressionChecks:
        expressions: Expressions = self._tools.compiling.expressions
        tables = self._documents.tables
        return ExpressionChecks(found.file, expressions, self._fields_of_rows(), self._flaws, tables, fleets)

    def _fields_of_rows(self) -> FieldsOfRows | None:
        rows = self._documents.rows
        if not rows.complete:
            return None
        return {
            name: tuple(found.definition.fields) if found.definition is not None else None
            for name, found in rows.by_name.items()
        }

    def _known_rows(self, file: str, place: Node | None, reads: Collection[str]) -> None:
        rows = self._documents.rows
        items = place.value if place is not None and isinstance(place.value, list) else []
        for at, row in enumerate(reads):
            if rows.complete and row not in rows.by_name:
                cure = did_you_mean(row, rows.by_name, f"Declare {row} in rows/.")
                where = items[at] if at < len(items) else place
                self._flaws.add(file, where, f"reads lists the row {row}, which nothing declares", cure)

    def _known_intent(self, file: str, place: Node | None, agent: str, name: str) -> Declared[IntentDefinition] | None:
        intents = self._documents.intents
        found = intents.by_name.get(name)
        if found is None and intents.complete:
            cure = did_you_mean(name, intents.by_name, f"Declare {name} in intents/.")
            self._flaws.add(file, place, f"{agent} proposes the intent {name}, which nothing declares", cure)
        return found

    def _parameters(
        self, found: Declared[RuleDefinition], intent: Declared[IntentDefinition], parameters: dict[str, Any]
    ) -> None:
        if intent.definition is None:
            return
        try:
            self._tools.compiling.schemas.compile(intent.definition.parameters).check(parameters)
        except SchemaInvalid:
            return  # Named where the intent is checked.
        except SchemaViolation as exc:
            path = exc.field.split(".") if exc.field else []
            node = found.node.get("propose", "parameters", *path) or found.node.get("propose", "parameters")
            problem = f"the parameters do not fit the intent {intent.name}: {exc.detail}"
            cure = f"Write them as {intent.file} declares them."
            self._flaws.add(found.file, node or found.node.get("propose"), problem, cure)

    def _built(self, found: Declared[Any], item: ControlItem, place: Node | None) -> None:
        what = "rule" if found.head == "rule" else "agent"
        try:
            self._tools.compiling.agents[item.kind](item)
        except (ValueError, ExpressionInvalid, SchemaInvalid) as exc:
            self._flaws.add(found.file, place, f"the {what} {found.name} cannot be used: {exc}", "Change it.")


def undeclared_executors(tools: CheckTools) -> tuple[str, ...]:
    """Kinds of executors that need no settings: an intent may name them without any declaration."""
    return tuple(kind for kind, shape in tools.executors.items() if not any(f.required for f in fields(shape)))


def _misdeclared(agent: Agent) -> str | None:
    """What an agent says of itself that it cannot mean."""
    for key in ("name", "version"):
        if not (isinstance(getattr(agent, key, None), str) and getattr(agent, key)):
            return f"the agent's {key} is no text"
    if not is_name(agent.name):
        return f"the agent's name {shown(agent.name)} is no name: lower case, digits and underscores"
    for key in ("listens_to", "reads", "intents"):
        value = getattr(agent, key, None)
        if not (isinstance(value, tuple) and all(isinstance(entry, str) for entry in value)):
            return f"{agent.name}: {key} is no tuple of texts; a tuple of one ends with a comma"
    for heard in agent.listens_to:
        if not _is(_TypeOnly, heard):
            return f"{agent.name} listens to {shown(heard)}, which is no event type"
    return None if agent.listens_to and agent.intents else f"{agent.name} listens to nothing, or proposes nothing"


def _is(shape: type[Struct], text: str) -> bool:
    try:
        msgspec.convert({"text": text}, shape)
    except msgspec.ValidationError:
        return False
    return True


class _TypeOnly(Struct):
    text: EventType
