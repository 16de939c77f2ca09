"""Do policies, catalogue and tables know of one another? An intent that no permit names is never allowed; a permit for
an intent that does not exist most likely misspells one; and what reads a table that does not exist is undefined.
"""

import re
from collections.abc import Iterator, Sequence

from control_plane.catalogue.reference import REFERENCE
from control_plane.workspace.declarations import Documents
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.policies import Policies
from control_plane.workspace.tools import CheckTools, PermitRule
from control_plane.workspace.yaml_tree import Node

_SKIPPED = re.compile(r'#[^\n]*|"(?:\\.|[^"\\\n])*"|`[^`]*`')
_COMMENT = re.compile(r"#[^\n]*")
_OF_INTENTS = re.compile(r"\bintent\b|\bdata\.setpoint\.lib\b")
_TABLE = re.compile(rf"""\bdata\.{REFERENCE}(?:\.(?P<name>\w+)|\["(?P<quoted>\w+)"\])""")


def check_tables_read(documents: Documents, policies: Policies, flaws: Flaws) -> None:
    """Every table that a workspace's own policy reads is declared. One that is not is undefined in Rego, and a
    guardrail on what is undefined denies nothing."""
    tables = documents.tables
    if not tables.complete:
        return
    for module in sorted(policies.modules.keys() - policies.built_in):
        for name, place in _tables_read(policies.modules[module]):
            if name not in tables.by_name:
                problem = f"{module} reads the table {name}, which nothing declares"
                cure = did_you_mean(name, tables.by_name, f"Put {name} into reference/.")
                flaws.add(policies.file_of(module), place, problem, cure)


def _tables_read(text: str) -> Iterator[tuple[str, Node]]:
    """The tables that Rego names, with their places. Comments and texts name none."""
    passed_by = [found.span() for found in _SKIPPED.finditer(text)]
    for found in _TABLE.finditer(text):
        if not any(start <= found.start() < end for start, end in passed_by):
            group = "name" if found["name"] else "quoted"
            line_start = text.rfind("\n", 0, found.start(group)) + 1
            line, column = text.count("\n", 0, line_start) + 1, found.start(group) - line_start + 1
            yield found[group], Node(line, column, None)


def warn_of_permits(documents: Documents, policies: Policies, tools: CheckTools, flaws: Flaws) -> None:
    """Warn of intents that no permit allows, and of permits for intents that are not in the catalogue."""
    intents = documents.intents
    if not intents.complete:
        return
    texts = {policies.file_of(name): text for name, text in policies.modules.items()}
    rules = tools.permit_rules(texts)
    if all(rule.intents is not None for rule in rules):
        _unpermitted(documents, rules, flaws)
    built_in = {policies.file_of(name) for name in policies.built_in}
    for rule in rules:
        if rule.file in built_in:
            continue  # It speaks of an intent that a workspace may have or not.
        if rule.intents is None and not _may_ask_for_intents(texts.get(rule.file)):
            problem = "this permit does not look at the intent, so it allows every one, also those that come later"
            cure = 'Say which it means: input.decision.intent == "NAME".'
            flaws.warn(rule.file, rule, problem, cure)
        for name in sorted((rule.intents or frozenset()) - set(intents.by_name)):
            cure = did_you_mean(name, intents.by_name, f"Declare {name} in intents/, or take the permit out.")
            flaws.warn(rule.file, rule, f"this permit allows the intent {name}, which nothing declares", cure)


def _may_ask_for_intents(text: str | None) -> bool:
    """Whether a module speaks of intents, or of something that may do so for it; of one that nobody has, who knows."""
    return text is None or _OF_INTENTS.search(_COMMENT.sub("", text)) is not None


def _unpermitted(documents: Documents, rules: Sequence[PermitRule], flaws: Flaws) -> None:
    permitted = frozenset().union(*[rule.intents or frozenset() for rule in rules])
    for name, found in documents.intents.by_name.items():
        if name not in permitted:
            problem = f"no permit names the intent {name}, so every decision for it will be denied"
            flaws.warn(found.file, found.node.get("intent"), problem, f"Write one in policies/permits/{name}.rego.")
