"""One kind of action, as it is in force. What is not in the catalogue cannot be proposed."""

from typing import Any

from msgspec import Struct

from control_plane.catalogue.definitions import IntentDefinition
from control_plane.durations import parse_duration_ms
from control_plane.ports.schemas import SchemaLanguage, Validator


class Limits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of an intent; what is absent does not limit."""

    per_subject_max: int | None = None
    per_subject_window_ms: int = 0
    cooldown_ms: int = 0
    fleet_share_max: float | None = None

    def as_input(self) -> dict[str, Any]:
        """As policies read them: `input.intent.limits`."""
        found: dict[str, Any] = {}
        if self.per_subject_max is not None:
            found["per_subject"] = {"max": self.per_subject_max, "window_ms": self.per_subject_window_ms}
        if self.cooldown_ms:
            found["cooldown_ms"] = self.cooldown_ms
        if self.fleet_share_max is not None:
            found["fleet_share_max"] = self.fleet_share_max
        return found


class Intent(Struct, frozen=True, kw_only=True):
    """A catalogue entry. Durations are milliseconds."""

    name: str
    description: str
    subject_kind: str
    parameters: Validator
    executor: str
    action_class: str
    idempotent: bool
    reversible: bool
    deadline_ms: int
    context_age_max_ms: int
    limits: Limits

    @classmethod
    def of(cls, definition: IntentDefinition, schemas: SchemaLanguage) -> "Intent":
        """The entry that a definition declares. Raises SchemaInvalid when its parameters are no JSON Schema."""
        return cls(
            name=definition.intent,
            description=definition.description,
            subject_kind=definition.subject_kind,
            parameters=schemas.compile(definition.parameters),
            executor=definition.executor,
            action_class=definition.action_class or definition.intent,
            idempotent=definition.idempotent,
            reversible=definition.reversible,
            deadline_ms=parse_duration_ms(definition.deadline),
            context_age_max_ms=parse_duration_ms(definition.context_age_max),
            limits=_limits(definition),
        )

    def as_input(self) -> dict[str, Any]:
        """As policies read it: `input.intent`."""
        return {
            "name": self.name,
            "description": self.description,
            "subject_kind": self.subject_kind,
            "action_class": self.action_class,
            "idempotent": self.idempotent,
            "reversible": self.reversible,
            "deadline_ms": self.deadline_ms,
            "limits": self.limits.as_input(),
        }


def _limits(definition: IntentDefinition) -> Limits:
    declared = definition.limits
    per_subject = declared.per_subject
    return Limits(
        per_subject_max=per_subject.max if per_subject else None,
        per_subject_window_ms=parse_duration_ms(per_subject.window) if per_subject else 0,
        cooldown_ms=parse_duration_ms(declared.cooldown) if declared.cooldown else 0,
        fleet_share_max=declared.fleet_share_max,
    )
