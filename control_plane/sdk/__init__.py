"""All that the author of an agent or an executor needs; nothing else of ours may be imported there."""

from control_plane.catalogue.definitions import Duration, RateCondition, RuleInForce
from control_plane.catalogue.llm import GrantedIntent, LlmInForce
from control_plane.durations import parse_duration_ms
from control_plane.messages import Command, Context, Decision, Event, Expectation, Outcome, Subject, Usage
from control_plane.messages.wire import ms_of
from control_plane.ports.agent import NoDecision, Silence
from control_plane.ports.executor import Attempt, Found
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions, Program
from control_plane.ports.journal import Answer, Budget, Journal, Tool, ToolFailed
from control_plane.ports.schemas import SchemaInvalid, SchemaLanguage, SchemaViolation, Validator
from control_plane.sdk.agent import Agent, SlowAgent
from control_plane.sdk.executor import Executor

__all__ = [
    "Agent",
    "Answer",
    "Attempt",
    "Budget",
    "Command",
    "Context",
    "Decision",
    "Duration",
    "Event",
    "Executor",
    "Expectation",
    "ExpressionInvalid",
    "ExpressionMiss",
    "Expressions",
    "Found",
    "GrantedIntent",
    "Journal",
    "LlmInForce",
    "NoDecision",
    "Outcome",
    "Program",
    "RateCondition",
    "RuleInForce",
    "SchemaInvalid",
    "SchemaLanguage",
    "SchemaViolation",
    "Silence",
    "SlowAgent",
    "Subject",
    "Tool",
    "ToolFailed",
    "Usage",
    "Validator",
    "ms_of",
    "parse_duration_ms",
]
