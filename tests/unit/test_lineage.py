"""Who a message is and what it follows from: derived, never drawn."""

from control_plane.causality import Lineage, digest
from control_plane.causality.lineage import HOP_COUNT_MAX, SOURCE, trail_step

ROOT = Lineage.root("probe", "e1")
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_the_same_parent_and_name_always_give_the_same_child() -> None:
    assert ROOT.child("decision/guard/0") == Lineage.root("probe", "e1").child("decision/guard/0")


def test_other_names_and_other_parents_give_other_children() -> None:
    ids = {
        ROOT.child("a").message_id,
        ROOT.child("b").message_id,
        Lineage.root("probe", "e2").child("a").message_id,
        Lineage.root("other", "e1").child("a").message_id,
        ROOT.child("a").child("a").message_id,
    }

    assert len(ids) == 5


def test_digests_keep_their_parts_apart() -> None:
    assert digest("a", "bc") != digest("ab", "c")
    assert len(digest("a")) == 32


def test_a_child_names_its_parent_and_stays_in_the_flow_and_the_round() -> None:
    child = ROOT.child("verdict")

    assert (child.source, child.causation_id) == (SOURCE, "e1")
    assert (child.correlation_id, child.hop_count) == (ROOT.correlation_id, 0)


def test_what_comes_back_is_one_round_on_and_remembers_the_decision() -> None:
    step = trail_step("guard", "service/web-1", "restart_service")

    came_back = ROOT.child("command").returning("outcome", step)

    assert (came_back.hop_count, came_back.trail) == (1, (step,))
    assert came_back.child("decision").trail == (step,)
    assert came_back.correlation_id == ROOT.correlation_id


def test_the_trail_keeps_the_last_steps_only() -> None:
    lineage = ROOT
    for number in range(HOP_COUNT_MAX + 3):
        lineage = lineage.returning("outcome", str(number))

    assert len(lineage.trail) == HOP_COUNT_MAX
    assert lineage.trail[-1] == str(HOP_COUNT_MAX + 2)
    assert lineage.hop_count == HOP_COUNT_MAX + 3


def test_a_flow_that_came_with_a_trace_stays_in_it() -> None:
    child = Lineage.root("probe", "e1", traceparent=TRACE).child("decision")

    version, trace_id, span_id, flags = child.traceparent.split("-")
    assert (version, trace_id, flags) == ("00", "4bf92f3577b34da6a3ce929d0e0e4736", "01")
    assert span_id == child.message_id[:16]


def test_a_flow_that_came_without_a_trace_gets_one_for_all_of_it() -> None:
    decision = ROOT.child("decision")
    verdict = decision.child("verdict")

    assert decision.traceparent[:35] == verdict.traceparent[:35]
    assert decision.traceparent != verdict.traceparent


def test_a_correlation_that_came_with_the_event_is_kept() -> None:
    assert Lineage.root("probe", "e1", correlation_id="order-7").child("x").correlation_id == "order-7"
