"""An agent of the user's that thinks for too long is interrupted: it must not hold up its partition.

Works by an interval timer, so only in the main thread of a process and only on Python code; both hold for the loop.
"""

import signal
import threading

# The public one makes an enum of its answer, which takes longer than most agents need to decide.
from _signal import getsignal  # type: ignore[import-not-found]
from collections.abc import Sequence
from types import FrameType

from control_plane.messages import Context, Decision
from control_plane.ports.agent import Agent, AgentOverran

DECIDE_TIMEOUT_S = 0.25
"""How long one `decide` may take. What takes longer belongs into a slow agent, in a group of its own."""

_MAIN_THREAD = threading.main_thread().ident


class _TimeIsUp(BaseException):
    """Raised inside the agent; no `except Exception` of its own stops it."""


class TimeLimited:
    """An agent with a limit (`ports.agent.Agent`)."""

    def __init__(self, agent: Agent, decide_timeout_s: float = DECIDE_TIMEOUT_S) -> None:
        self.name = agent.name
        self.version = agent.version
        self.listens_to = tuple(agent.listens_to)
        self.reads = tuple(agent.reads)
        self.intents = tuple(agent.intents)
        self._agent = agent
        self._decide_timeout_s = decide_timeout_s

    def decide(self, context: Context) -> Sequence[Decision]:
        """What the agent decides. Raises AgentOverran, and whatever the agent raises."""
        if threading.get_ident() != _MAIN_THREAD:
            return self._agent.decide(context)
        if getsignal(signal.SIGALRM) is not _time_is_up:
            signal.signal(signal.SIGALRM, _time_is_up)
        signal.setitimer(signal.ITIMER_REAL, self._decide_timeout_s)
        try:
            return self._agent.decide(context)
        except _TimeIsUp:
            raise AgentOverran(f"decide took longer than {self._decide_timeout_s:g} s") from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _time_is_up(_signal: int, _frame: FrameType | None) -> None:
    raise _TimeIsUp
