"""The rules and the agent of the incident workspace, as `setpoint init DIR --example incident` writes it."""

from importlib.resources import files
from pathlib import Path
from typing import cast

import pytest

from control_plane.catalogue import ControlItem
from control_plane.sdk import Agent
from control_plane.sdk.testing import Loop
from control_plane.workspace.python_agents import load_agent

INCIDENT = Path(str(files("control_plane.workspace") / "examples" / "incident"))
WEB_1 = "service/web-1"
WELL_MS = 4.0


@pytest.fixture
def loop() -> Loop:
    source = (INCIDENT / "agents" / "latency_guard.py").read_text()
    guard = cast(Agent, load_agent(ControlItem("agent", "latency_guard", source)))
    return Loop(guard, declarations=sorted(INCIDENT.glob("[ira]*/*.yaml")))


def watch(
    loop: Loop,
    for_s: float,
    *,
    latency_ms: float | None = WELL_MS,
    rss_mb: float = 22.0,
    uptime_s: float = 60.0,
    every_ms: int = 200,
) -> None:
    """What the probes say, five times a second. Without a latency the service does not answer."""
    for _ in range(round(for_s * 1000 / every_ms)):
        measured = {"pid": 7, "rss_mb": rss_mb, "cpu_percent": 1.0, "uptime_s": uptime_s}
        up = {"up": True, "status": 200, "latency_ms": latency_ms}
        loop.send("service.probed", WEB_1, up if latency_ms is not None else {"up": False, "error": "refused"})
        loop.send("process.measured", WEB_1, measured)
        loop.wait(f"{every_ms}ms")


def test_a_service_that_is_well_is_left_alone(loop: Loop) -> None:
    watch(loop, 30.0)

    assert loop.decisions == []


def test_a_service_that_stops_answering_is_restarted_within_a_second(loop: Loop) -> None:
    watch(loop, 3.0)

    watch(loop, 1.0, latency_ms=None)

    (decision,) = loop.decisions
    assert (decision.agent, decision.because) == ("crash_guard", "no answer for 0.6 s: refused")
    assert len(loop.commands) == 1


def test_a_leak_is_ended_by_a_restart_and_the_effect_is_seen(loop: Loop) -> None:
    watch(loop, 3.0)
    watch(loop, 1.6, rss_mb=200.5)
    watch(loop, 3.0)

    assert [decision.because for decision in loop.decisions] == ["200.5 MB in memory, more than 120 MB for 1.2 s"]
    assert [effect.effect for effect in loop.effects] == ["effective"]


def test_a_service_that_is_slow_for_two_seconds_is_restarted_by_the_python_agent(loop: Loop) -> None:
    watch(loop, 3.0)
    for latency_ms in (260.0, 300.0, 350.0):
        watch(loop, 0.8, latency_ms=latency_ms)

    decision = loop.decisions[0]
    assert decision.agent == "latency_guard"
    assert decision.because.startswith("answers take 299 ms on average and never less than 260 ms for 2 s")


def test_a_service_that_is_so_slow_that_it_is_asked_once_a_second_is_restarted(loop: Loop) -> None:
    watch(loop, 3.0)
    watch(loop, 4.0, latency_ms=810.0, every_ms=1_000)

    assert {decision.agent for decision in loop.decisions} == {"latency_guard"}


def test_a_slow_service_that_recovers_by_itself_is_left_alone(loop: Loop) -> None:
    watch(loop, 3.0)
    for latency_ms in (900.0, 700.0, 500.0, 300.0, 250.0, 210.0):
        watch(loop, 0.6, latency_ms=latency_ms)

    assert loop.decisions == []


def test_a_slow_service_that_has_just_been_started_is_given_time(loop: Loop) -> None:
    watch(loop, 4.0, latency_ms=300.0, uptime_s=2.0)

    assert loop.decisions == []


@pytest.mark.parametrize("spike", [{"latency_ms": 310.0}, {"rss_mb": 182.0}, {"latency_ms": None}])
def test_a_spike_of_half_a_second_is_left_alone(loop: Loop, spike: dict[str, float]) -> None:
    watch(loop, 3.0)
    watch(loop, 0.6, **spike)
    watch(loop, 5.0)

    assert loop.decisions == []


def test_a_restart_that_does_not_help_is_judged_and_not_repeated_at_once(loop: Loop) -> None:
    watch(loop, 3.0)
    watch(loop, 4.4, rss_mb=200.0)

    assert [effect.effect for effect in loop.effects] == ["ineffective"]
    assert len(loop.commands) == 1
