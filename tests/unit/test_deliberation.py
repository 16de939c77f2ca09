"""Agents are the code of users: whatever one answers or raises is contained, and what is judged is what is recorded."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.catalogue import AgentInForce
from control_plane.loop.deliberation import BECAUSE_CHARS_MAX, OVERRAN, PROPOSAL_BYTES_MAX, Deliberated, deliberate
from control_plane.messages import Context, Decision, Expectation, Subject
from control_plane.messages.decision import DECISIONS_PER_EVENT_MAX
from control_plane.messages.wire import decode, encode
from control_plane.ports.agent import AgentOverran
from tests import builders

Decide = Callable[[Context], Any]


class Agent:
    name, version, listens_to, reads, intents = "guard", "1.0.0", ("service.measured",), (), ("restart_service",)
    wakes_when = None

    def __init__(self, decide: Decide, remember: Decide | None = None) -> None:
        self.decide = decide
        if remember is not None:
            self.remember = remember

    def wakes_at(self, kept: Any) -> None:
        return None


def context() -> Context:
    return Context(
        agent="guard",
        agent_version="1.0.0",
        event=builders.event(data={"rss": 500.0}),
        subject=Subject.parse(builders.WEB_1),
        now_ms=builders.NOW_MS,
        rows={},
        ages_ms={},
        own={"before": 1},
    )


def asked(decide: Decide, remember: Decide | None = None) -> Deliberated:
    found = AgentInForce(agent=Agent(decide, remember), revision="r1", remembers=remember is not None)
    return deliberate(found, context(), "c1")


def restart(found: Context, **changes: Any) -> Decision:
    return found.propose("restart_service", **{"because": "too much", **changes})


def test_decisions_are_stamped_with_the_controls_they_are_made_under() -> None:
    (decision,) = asked(lambda found: [restart(found)]).decisions

    assert (decision.controls_revision, decision.agent_version) == ("c1", "1.0.0")
    assert decision.context_digest == context().digest


@pytest.mark.parametrize("nothing", [[], ()])
def test_no_decision_is_fine(nothing: Any) -> None:
    result = asked(lambda found: nothing)

    assert (result.decisions, result.failure) == ((), None)


def raising(error: BaseException) -> Decide:
    def decide(found: Context) -> Any:
        raise error

    return decide


@pytest.mark.parametrize(
    ("decide", "code", "detail"),
    [
        pytest.param(raising(RuntimeError("mood")), "agent_failed", "RuntimeError: mood", id="raises"),
        pytest.param(raising(SystemExit(3)), "agent_failed", "SystemExit: 3", id="exits"),
        pytest.param(raising(RecursionError()), "agent_failed", "RecursionError: ", id="recurses"),
        pytest.param(raising(AgentOverran("0.25 s")), OVERRAN, "0.25 s", id="takes too long"),
        pytest.param(lambda found: None, "agent_nonsense", "decide returned NoneType", id="nothing at all"),
        pytest.param(lambda found: {restart(found).intent}, "agent_nonsense", "decide returned set", id="a set"),
        pytest.param(lambda found: [1], "agent_nonsense", "returned a int among", id="a number"),
        pytest.param(lambda found: [restart(found)] * 2, "agent_nonsense", "the same nth", id="twice the same"),
        pytest.param(
            lambda found: [restart(found, nth=n) for n in range(DECISIONS_PER_EVENT_MAX + 1)],
            "agent_nonsense",
            "9 decisions on one event; at most 8",
            id="too many",
        ),
        pytest.param(
            lambda found: [replace(restart(found), agent="other")], "agent_nonsense", "context.propose", id="as another"
        ),
        pytest.param(
            lambda found: [replace(restart(found), lineage=found.event.lineage)],
            "agent_nonsense",
            "context.propose",
            id="with its own lineage",
        ),
        pytest.param(lambda found: [restart(found, because=7)], "agent_nonsense", "$.because", id="a number as reason"),
        pytest.param(lambda found: [restart(found, confidence="much")], "agent_nonsense", "$.confidence", id="words"),
        pytest.param(lambda found: [restart(found, confidence=math.nan)], "agent_nonsense", "$.confidence", id="NaN"),
        pytest.param(lambda found: [restart(found, confidence=1.1)], "agent_nonsense", "$.confidence", id="above one"),
        pytest.param(lambda found: [restart(found, confidence=-0.1)], "agent_nonsense", "$.confidence", id="below 0"),
        pytest.param(
            lambda found: [found.propose(["x"], because="y")], "agent_nonsense", "$.intent", id="many intents"
        ),
        pytest.param(lambda found: [restart(found, expects="better")], "agent_nonsense", "$.expects", id="hopes"),
        pytest.param(lambda found: [restart(found, still_when=True)], "agent_nonsense", "$.still_when", id="truth"),
        pytest.param(
            lambda found: [restart(found, parameters={"x": object()})], "agent_nonsense", "object", id="no JSON"
        ),
        pytest.param(
            lambda found: [restart(found, parameters={"x": "y" * PROPOSAL_BYTES_MAX})],
            "agent_nonsense",
            f"at most {PROPOSAL_BYTES_MAX}",
            id="large parameters",
        ),
    ],
)
def test_what_an_agent_does_wrong_is_a_value_that_names_it(decide: Decide, code: str, detail: str) -> None:
    result = asked(decide)

    assert result.decisions == ()
    assert result.failure is not None
    assert result.failure.code == code
    assert result.failure.detail.startswith("agent guard 1.0.0: ")
    assert detail in result.failure.detail
    assert result.failure.cure


def test_what_is_judged_is_what_the_log_will_hold() -> None:
    odd = {"tuple": (1, 2), "bytes": b"\x00", 7: "seven", "nan": math.nan}

    (decision,) = asked(
        lambda found: [restart(found, parameters=odd, confidence=1, expects=Expectation(where="true", within_ms=5))]
    ).decisions

    assert decision.parameters == {"tuple": [1, 2], "bytes": "AA==", "7": "seven", "nan": None}
    assert decode(encode(decision), Decision) == decision


def test_an_agent_cannot_change_a_decision_afterwards() -> None:
    parameters = {"grace": {"seconds": 2}}

    (decision,) = asked(lambda found: [restart(found, parameters=parameters)]).decisions
    parameters["grace"]["seconds"] = 900

    assert decision.parameters == {"grace": {"seconds": 2}}


def test_a_long_reason_is_cut_off() -> None:
    (decision,) = asked(lambda found: [restart(found, because="x" * 9_999)]).decisions

    assert len(decision.because) == BECAUSE_CHARS_MAX


def test_what_an_agent_keeps_is_shown_to_it_as_it_will_be_after_a_restart() -> None:
    shown: list[Any] = []

    result = asked(lambda found: shown.append(found.own) or [], remember=lambda found: {"pair": (1, 2)})

    assert shown == [{"pair": [1, 2]}]
    assert result.own == {"pair": [1, 2]}


def test_an_agent_that_keeps_what_no_row_can_hold_has_failed() -> None:
    result = asked(lambda found: [], remember=lambda found: {"a": object()})

    assert result.failure is not None
    assert result.failure.code == "agent_failed"


def test_an_agent_that_fails_keeps_what_it_had() -> None:
    controls = builders.controls(builders.intent(), builders.row(), builders.rule())

    assert asked(raising(RuntimeError("mood"))).own is None
    assert controls.agents[0].remembers
