"""What topics must be set to: what breaks the loop is refused with the command that mends it, the rest is said."""

import pytest

from control_plane.adapters.faust.pinned import REQUEST_BYTES_MAX
from control_plane.adapters.faust.topic_settings import FoundTopic, TopicFinding, judge, settings_for
from control_plane.adapters.faust.topics import TopicPlan

EVENTS = TopicPlan(name="events.v1", partitions=4, compacted=False, tells_time=True)
VERDICTS = TopicPlan(name="verdicts.v1", partitions=4, compacted=False)
ROWS = TopicPlan(name="rows", partitions=4, compacted=True)
SERVERS = ("a:9092", "b:9092")


def findings(plan: TopicPlan, *, replicas: int = 3, partitions: int = 4, **changed: str) -> list[TopicFinding]:
    """What is said of a topic that was made by us and changed since."""
    changes = {name.replace("_", "."): value for name, value in changed.items()}
    settings = {**settings_for(plan, replicas), **changes}
    found = FoundTopic(name=plan.name, partitions=partitions, replicas=replicas, settings=settings)
    return list(judge(plan, found, SERVERS))


@pytest.mark.parametrize("plan", [EVENTS, VERDICTS, ROWS])
@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_a_topic_as_it_was_made_is_fine(plan: TopicPlan, replicas: int) -> None:
    assert findings(plan, replicas=replicas) == []


@pytest.mark.parametrize(
    ("plan", "changed"),
    [
        (EVENTS, {"cleanup_policy": "compact"}),
        (EVENTS, {"cleanup_policy": "compact,delete"}),
        (EVENTS, {"message_timestamp_type": "CreateTime"}),
        (EVENTS, {"max_message_bytes": "1048588"}),
        (EVENTS, {"min_insync_replicas": "4"}),
        (ROWS, {"cleanup_policy": "delete", "retention_ms": "604800000"}),
        (ROWS, {"cleanup_policy": "compact,delete", "retention_bytes": "1000000"}),
        (ROWS, {"max_message_bytes": "1048588"}),
    ],
)
def test_what_makes_the_loop_wrong_is_refused_with_the_command_that_mends_it(
    plan: TopicPlan, changed: dict[str, str]
) -> None:
    refused = [one for one in findings(plan, **changed) if one.refused]

    assert len(refused) == 1
    [one] = refused
    assert one.cure.startswith("kafka-configs.sh --bootstrap-server a:9092,b:9092 --alter --entity-type topics")
    assert one.cure.endswith(f"--entity-name {plan.name} --add-config {one.setting}={one.wanted}")
    assert findings(plan, **{**changed, one.setting.replace(".", "_"): one.wanted}) == [
        other for other in findings(plan, **changed) if other != one and not other.refused
    ], "mended, it is refused no longer"


@pytest.mark.parametrize(
    ("plan", "changed", "replicas", "setting"),
    [
        (EVENTS, {"retention_ms": "604800000"}, 1, "retention.ms"),
        (EVENTS, {"retention_bytes": "1000000"}, 1, "retention.bytes"),
        (VERDICTS, {"message_timestamp_type": "CreateTime"}, 1, "message.timestamp.type"),
        (ROWS, {"cleanup_policy": "delete"}, 1, "cleanup.policy"),
        (ROWS, {"min_insync_replicas": "1"}, 3, "min.insync.replicas"),
        (ROWS, {"min_insync_replicas": "3"}, 3, "min.insync.replicas"),
        (ROWS, {"unclean_leader_election_enable": "true"}, 3, "unclean.leader.election.enable"),
    ],
)
def test_what_is_merely_unusual_is_said_and_not_refused(
    plan: TopicPlan, changed: dict[str, str], replicas: int, setting: str
) -> None:
    [one] = findings(plan, replicas=replicas, **changed)

    assert (one.setting, one.refused) == (setting, False)
    assert one.because
    assert str(one).startswith(f"topic {plan.name} has {setting}=")


def test_retention_says_nothing_where_nothing_is_deleted() -> None:
    assert findings(ROWS, retention_ms="604800000") == []


def test_another_partition_count_is_refused() -> None:
    [one] = findings(EVENTS, partitions=8)

    assert one.refused
    assert (one.setting, one.found, one.wanted) == ("partitions", "8", "4")
    assert "Set partitions to 8" in one.cure


def test_more_bytes_than_are_needed_are_fine() -> None:
    assert findings(EVENTS, max_message_bytes=str(REQUEST_BYTES_MAX * 2)) == []


def test_what_may_not_be_seen_is_not_judged() -> None:
    unseen = FoundTopic(name=EVENTS.name, partitions=4, replicas=1, settings={})

    assert list(judge(EVENTS, unseen, SERVERS)) == []
