"""An agent of the user's that loops is interrupted, whatever it catches itself."""

import signal

import pytest

from control_plane.adapters.system import TimeLimited
from control_plane.adapters.system.time_limit import AgentOverran


class Looping:
    name = "looping"
    version = "1"
    listens_to = ("thing.seen",)
    reads = ()
    intents = ()

    def decide(self, context):
        while True:
            try:
                sum(range(1_000))
            except Exception:  # noqa: BLE001 - just what an agent must not get away with
                continue


class Quick(Looping):
    def decide(self, context):
        return ["quick"]


def test_an_agent_that_loops_and_catches_everything_is_interrupted() -> None:
    with pytest.raises(AgentOverran, match=r"longer than 0\.05 s"):
        TimeLimited(Looping(), decide_timeout_s=0.05).decide(None)


def test_an_agent_in_time_is_left_alone_and_no_timer_stays_behind() -> None:
    assert TimeLimited(Quick(), decide_timeout_s=0.05).decide(None) == ["quick"]
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
