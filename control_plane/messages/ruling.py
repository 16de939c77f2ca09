"""What the policy engine is asked, and what it answers. Neither is a message: both are kept inside the verdict."""

from typing import Any, Literal

from msgspec import Struct

Answer = Literal["allow", "deny", "escalate"]


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why: a code for metrics and diffs, a sentence for people, and who said so (a guard or a policy package)."""

    code: str
    msg: str
    by: str = ""


class Question(Struct, frozen=True, kw_only=True):
    """One decision put to the policy engine. `id` is the decision's message id; `input` is all that Rego may read."""

    id: str
    input: dict[str, Any]


class Ruling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The engine's answer. `problem` is set when it could not rule (time-out, error): such a ruling is always `deny`,
    and replay takes it from the record, since a fault cannot be derived again."""

    answer: Answer
    reasons: tuple[Reason, ...]
    revision: str = ""
    problem: str | None = None

    @classmethod
    def none(cls, problem: str, revision: str = "") -> "Ruling":
        """No ruling was to be had, and no ruling means no command."""
        reason = Reason("no_ruling", f"the policy engine gave no ruling: {problem}", "policy_engine")
        return cls(answer="deny", reasons=(reason,), revision=revision, problem=problem)
