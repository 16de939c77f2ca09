"""Is it in the catalogue, is the agent granted it, and does it fit the subject and the parameters?"""

from control_plane.governance.case import Case
from control_plane.messages import Reason
from control_plane.ports.schemas import SchemaViolation

BY = "guard.grant"


def check(case: Case) -> Reason | None:
    """Refuses what was never declared or never granted."""
    decision, intent = case.decision, case.intent
    if intent is None:
        return Reason("intent_unknown", f"no intent {decision.intent!r} is in the catalogue", BY)
    if decision.intent not in case.granted:
        return Reason("not_granted", f"{decision.agent} may not propose {decision.intent}", BY)
    if case.subject.kind != intent.subject_kind:
        return Reason(
            "subject_kind", f"{intent.name} is for subjects of kind {intent.subject_kind}, not {case.subject.kind}", BY
        )
    try:
        intent.parameters.check(decision.parameters)
    except SchemaViolation as exc:
        place = f"parameters.{exc.field}" if exc.field else "parameters"
        return Reason("parameters_invalid", f"{place}: {exc.detail}", BY)
    if case.invalid_expression is not None:
        return Reason("expression_invalid", f"the decision holds no valid expression: {case.invalid_expression}", BY)
    return None
