"""What a model said, parsed into a proposal or refused. Pure; the only way from a model's text to a decision.

Its text is judged by the schema that was asked for, then by the grant, then by the intent's own schema. It cannot name
a subject, an agent or an executor: there is no place for them.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
from msgspec import Struct

from agents.llm.schema import (
    BECAUSE_CHARS_MAX,
    NONE,
    answer_schema,
    form,
    nothing,
    whole,
    with_absent,
    without_absent,
)
from control_plane.sdk import GrantedIntent, NoDecision, SchemaLanguage, SchemaViolation, Validator

ANSWER_CHARS_MAX: Final = 16_000
"""Longest text that is looked at."""

NESTING_MAX: Final = 16
DETAIL_CHARS_MAX: Final = 200
INTEGER_MAX: Final = 2**53
"""Beyond it a number means one thing here and another where it is executed."""


class Proposal(Struct, frozen=True, kw_only=True):
    """What a model proposes. The subject is that of the context, always."""

    intent: str
    parameters: dict[str, Any]
    confidence: float
    because: str


class AnswerForm:
    """The answers that may be given about one kind of subject."""

    def __init__(self, granted: Mapping[str, GrantedIntent], schemas: SchemaLanguage) -> None:
        """Raises SchemaUnfit and SchemaInvalid."""
        self.granted = dict(granted)
        self.schema = answer_schema(granted)
        self._forms: dict[str, Validator] = {NONE: schemas.compile(whole(nothing()))}
        self._forms.update({name: schemas.compile(whole(form(name, each))) for name, each in granted.items()})
        self._parameters = {name: schemas.compile(intent.parameters) for name, intent in granted.items()}

    def proposal(self, answer: Mapping[str, Any]) -> Proposal | None:
        """What the model proposes, None when nothing. Raises NoDecision with the code of what is wrong."""
        said = self._decision(_text_of(answer))
        intent = said["intent"]
        if intent == NONE:
            return None
        parameters = without_absent(said["parameters"], self.granted[intent].parameters)
        try:
            self._parameters[intent].check(parameters)
        except SchemaViolation as exc:
            _refuse("wrong_schema", f"the parameters do not fit the intent {intent}: {exc.detail}")
        return Proposal(
            intent=intent,
            parameters=parameters,
            confidence=float(said["confidence"]),
            because=_sentence(said["because"]),
        )

    def _decision(self, text: str) -> dict[str, Any]:
        value = _decoded(text)
        decision = value.get("decision") if isinstance(value, dict) else None
        intent = decision.get("intent") if isinstance(decision, dict) else None
        if not isinstance(decision, dict) or not isinstance(intent, str):
            _refuse("wrong_schema", "the answer does not have the form that was asked for: no decision with an intent")
        if intent not in self._forms:
            _refuse("outside_grant", f"the model proposed {intent!r}, which the agent may not")
        if intent in self.granted and "parameters" in decision:
            decision["parameters"] = with_absent(decision["parameters"], self.granted[intent].parameters)
        try:
            self._forms[intent].check(value)
        except SchemaViolation as exc:
            _refuse("wrong_schema", f"the answer does not have the form that was asked for: {exc.field}: {exc.detail}")
        return decision


def _text_of(answer: Mapping[str, Any]) -> str:
    """The text of an answer that was finished."""
    if answer.get("refusal"):
        _refuse("refused", f"the model refused: {answer['refusal']}")
    finished = answer.get("finish_reason")
    if finished == "length":
        _refuse("cut_off", "the answer was cut off at its longest")
    if finished == "content_filter":
        _refuse("filtered", "the server held the answer back")
    if finished not in ("stop", ""):
        _refuse("unfinished", f"the model ended with {finished!r}")
    text = answer.get("content")
    if not isinstance(text, str) or not text.strip():
        _refuse("empty", "the model said nothing")
    if len(text) > ANSWER_CHARS_MAX:
        _refuse("too_large", f"the answer has {len(text)} characters, more than {ANSWER_CHARS_MAX}")
    return text


def _decoded(text: str) -> Any:
    try:
        value = msgspec.json.decode(text.encode())
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as exc:
        _refuse("no_json", f"the answer is no JSON: {exc}")
    problem = _unfit(value)
    if problem is not None:
        _refuse("wrong_schema", problem)
    return value


def _unfit(value: Any) -> str | None:
    """What the log, a row or an executor could not carry."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > NESTING_MAX:
            return f"the answer is nested more than {NESTING_MAX} deep"
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
            elif isinstance(each, float) and not math.isfinite(each):
                return "the answer holds a number without end"
            elif isinstance(each, int) and abs(each) > INTEGER_MAX:
                return "the answer holds a whole number that is too large"
        level = below
    return None


def _sentence(text: str) -> str:
    """One printable line."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:BECAUSE_CHARS_MAX]


def _refuse(code: str, detail: str) -> NoReturn:
    raise NoDecision(code, json.dumps(detail, ensure_ascii=True)[1:-1][:DETAIL_CHARS_MAX])
