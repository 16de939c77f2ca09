"""What flows through the loop. Frozen; each message names only earlier ones."""

from control_plane.messages.command import Command
from control_plane.messages.context import Context
from control_plane.messages.dead_letter import DeadLetter
from control_plane.messages.decision import Decision, Expectation
from control_plane.messages.effect import Effect
from control_plane.messages.event import Event
from control_plane.messages.outcome import Outcome
from control_plane.messages.proposed import Proposed
from control_plane.messages.resolution import Resolution
from control_plane.messages.ruling import Question, Reason, Ruling
from control_plane.messages.subject import Subject
from control_plane.messages.tool import Invocation, Learnt, Usage
from control_plane.messages.verdict import Verdict

__all__ = [
    "Command",
    "Context",
    "DeadLetter",
    "Decision",
    "Effect",
    "Event",
    "Expectation",
    "Invocation",
    "Learnt",
    "Outcome",
    "Proposed",
    "Question",
    "Reason",
    "Resolution",
    "Ruling",
    "Subject",
    "Usage",
    "Verdict",
]
