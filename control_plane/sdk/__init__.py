"""All that the author of an agent or an executor needs; nothing else of ours may be imported there."""

from control_plane.catalogue.definitions import Duration, RateCondition, RuleInForce
from control_plane.durations import parse_duration_ms
from control_plane.messages import Command, Context, Decision, Event, Expectation, Outcome, Subject
from control_plane.messages.wire import ms_of
from control_plane.ports.agent import Silence
from control_plane.ports.executor import Attempt, Found
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions, Program
from control_plane.sdk.agent import Agent, SlowAgent
from control_plane.sdk.executor import Executor

__all__ = [
    "Agent",
    "Attempt",
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
    "Outcome",
    "Program",
    "RateCondition",
    "RuleInForce",
    "Silence",
    "SlowAgent",
    "Subject",
    "ms_of",
    "parse_duration_ms",
]
