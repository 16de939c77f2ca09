"""Do policies and catalogue know of one another? An intent that no permit names is never allowed; a permit for an
intent that does not exist most likely misspells one.
"""

from collections.abc import Sequence

from control_plane.workspace.declarations import Documents
from control_plane.workspace.flaws import Flaws, did_you_mean
from control_plane.workspace.policies import Policies
from control_plane.workspace.tools import CheckTools, PermitRule


def warn_of_permits(documents: Documents, policies: Policies, tools: CheckTools, flaws: Flaws) -> None:
    """Warn of intents that no permit allows, and of permits for intents that are not in the catalogue."""
    intents = documents.intents
    if not intents.complete:
        return
    rules = tools.permit_rules({policies.file_of(name): text for name, text in policies.modules.items()})
    if all(rule.intents is not None for rule in rules):
        _unpermitted(documents, rules, flaws)
    built_in = {policies.file_of(name) for name in policies.built_in}
    for rule in rules:
        if rule.file in built_in:
            continue  # It speaks of an intent that a workspace may have or not.
        for name in sorted((rule.intents or frozenset()) - set(intents.by_name)):
            cure = did_you_mean(name, intents.by_name, f"Declare {name} in intents/, or take the permit out.")
            flaws.warn(rule.file, rule, f"this permit allows the intent {name}, which nothing declares", cure)


def _unpermitted(documents: Documents, rules: Sequence[PermitRule], flaws: Flaws) -> None:
    permitted = frozenset().union(*[rule.intents or frozenset() for rule in rules])
    for name, found in documents.intents.by_name.items():
        if name not in permitted:
            problem = f"no permit names the intent {name}, so every decision for it will be denied"
            flaws.warn(found.file, found.node.get("intent"), problem, f"Write one in policies/permits/{name}.rego.")
