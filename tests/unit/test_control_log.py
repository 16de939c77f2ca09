"""Controls on their topics: published once, compiled once per revision, believed only when they are what they say."""

import msgspec
import pytest

from control_plane.adapters.memory import MemoryLog, VirtualClock
from control_plane.catalogue import ControlSet
from control_plane.errors import ContinuityBroken, DataDamaged
from control_plane.messages import topics
from control_plane.messages.cancellation import Cancellation
from control_plane.ports.backbone import Output
from control_plane.workspace.control_log import (
    COMPILED_REVISIONS_MAX,
    ControlLog,
    decode_item,
    decode_set,
    encode_cancellation,
    encode_item,
    encode_set,
    encode_started_with,
    outputs_to_publish,
)
from tests import builders

FIRST = builders.control_set(builders.intent(), builders.row(), builders.rule())
SECOND = builders.control_set(builders.intent(), builders.row(), builders.rule(when="data.rss > 600.0"))


def empty_log() -> MemoryLog:
    return MemoryLog(VirtualClock().now_ms)


def published(*sets: ControlSet) -> MemoryLog:
    log = empty_log()
    for found in sets:
        log.append(outputs_to_publish(found, ControlLog.from_reader(log, builders.TOOLS)))
    return log


def read(log: MemoryLog) -> ControlLog:
    return ControlLog.from_reader(log, builders.TOOLS)


def test_what_was_published_comes_back_compiled() -> None:
    controls = read(published(FIRST)).at(FIRST.revision)

    assert controls.revision == FIRST.revision
    assert set(controls.intents) == {"restart_service"}
    assert [found.agent.name for found in controls.agents] == ["memory_guard"]


def test_items_travel_on_the_topic_of_their_kind_and_the_set_comes_last() -> None:
    outputs = outputs_to_publish(FIRST, read(empty_log()))

    assert {output.topic for output in outputs[:-1]} == {topics.INTENTS, topics.SCHEMAS, topics.AGENTS}
    assert outputs[-1] == encode_set(FIRST)


def test_an_unchanged_workspace_publishes_nothing() -> None:
    assert outputs_to_publish(FIRST, read(published(FIRST))) == []


def test_one_changed_file_publishes_one_item_and_the_set() -> None:
    outputs = outputs_to_publish(SECOND, read(published(FIRST)))

    assert [output.topic for output in outputs] == [topics.AGENTS, topics.CONTROL_SETS]


def test_going_back_to_an_older_workspace_makes_its_set_the_wanted_one_again() -> None:
    log = published(FIRST, SECOND)
    assert read(log).wanted == SECOND.revision

    outputs = outputs_to_publish(FIRST, read(log))
    log.append(outputs)

    assert [output.topic for output in outputs] == [topics.CONTROL_SETS]
    assert read(log).wanted == FIRST.revision


def test_every_revision_that_was_ever_published_can_be_had() -> None:
    controls = read(published(FIRST, SECOND))

    assert controls.at(FIRST.revision).revision == FIRST.revision
    assert controls.at(SECOND.revision).revision == SECOND.revision


def test_a_revision_is_compiled_once() -> None:
    controls = read(published(FIRST))

    assert controls.at(FIRST.revision) is controls.at(FIRST.revision)


def test_the_number_of_compiled_revisions_is_bounded() -> None:
    sets = [
        builders.control_set(builders.intent(description=str(number))) for number in range(COMPILED_REVISIONS_MAX + 1)
    ]
    controls = read(published(*sets))

    compiled = [controls.at(found.revision) for found in sets]

    assert controls.at(sets[-1].revision) is compiled[-1]
    assert controls.at(sets[0].revision) is not compiled[0]


def test_an_unknown_revision_is_named() -> None:
    with pytest.raises(ContinuityBroken, match=r"do not hold the set 'nope'.*Nothing was judged"):
        read(published(FIRST)).at("nope")


def test_a_set_whose_item_was_lost_names_the_item() -> None:
    log = empty_log()
    log.append([output for output in outputs_to_publish(FIRST, read(log)) if output.topic != topics.AGENTS])

    with pytest.raises(ContinuityBroken, match="rule/memory_guard@"):
        read(log).at(FIRST.revision)


def test_a_process_that_publishes_can_note_it_without_reading_again() -> None:
    controls = read(empty_log())

    for output in outputs_to_publish(FIRST, controls):
        controls.note(output.topic, output.key, output.value)

    assert controls.wanted == FIRST.revision
    assert controls.at(FIRST.revision).revision == FIRST.revision


def test_a_tombstone_says_nothing() -> None:
    log = published(FIRST)
    log.append([Output(topics.AGENTS, b"rule/memory_guard@0", b"", 0)])

    assert read(log).at(FIRST.revision).revision == FIRST.revision


def test_an_item_and_a_set_survive_the_round_trip() -> None:
    item = builders.rule()
    record, record_of_set = encode_item(item), encode_set(FIRST)

    assert decode_item(record.topic, record.key, record.value) == item
    assert decode_set(record_of_set.key, record_of_set.value) == (FIRST.revision, FIRST.keys)


@pytest.mark.parametrize("field", ["body", "name", "kind"])
def test_an_item_that_was_changed_after_it_was_published_is_not_believed(field: str) -> None:
    record = encode_item(builders.rule())
    changed = msgspec.json.encode({**msgspec.json.decode(record.value), field: "intent"})

    with pytest.raises(DataDamaged, match="is not what was published"):
        decode_item(record.topic, record.key, changed)


@pytest.mark.parametrize("value", [b"no json", b"[]", b'{"kind":1}', b"\xff"])
def test_a_record_that_is_no_item_is_not_believed(value: bytes) -> None:
    with pytest.raises(DataDamaged, match="Restore the control topics"):
        decode_item(topics.AGENTS, b"rule/x@1", value)


def test_a_set_that_names_other_items_under_its_revision_is_not_believed() -> None:
    log = published(FIRST, SECOND)
    forged = {"revision": FIRST.revision, "items": list(SECOND.keys)}
    log.append([Output(topics.CONTROL_SETS, FIRST.revision.encode(), msgspec.json.encode(forged), 0)])

    with pytest.raises(DataDamaged, match="was changed after it was published"):
        read(log).at(FIRST.revision)


def test_records_that_are_heard_late_or_twice_do_not_turn_time_back() -> None:
    controls = read(published(FIRST, SECOND))

    controls.note(topics.CONTROL_SETS, encode_set(FIRST).key, encode_set(FIRST).value, 0)

    assert controls.wanted == SECOND.revision


def test_what_a_workspace_held_at_the_last_start_is_remembered_and_puts_nothing_in_force() -> None:
    log = published(FIRST)
    log.append([encode_started_with(SECOND.revision)])

    assert (read(log).started_with, read(log).wanted) == (SECOND.revision, FIRST.revision)


def test_a_revision_that_was_not_heard_of_yet_is_read_from_the_log_before_anything_is_given_up() -> None:
    log = published(FIRST)
    controls = read(log)
    log.append(outputs_to_publish(SECOND, controls))

    def catch_up() -> None:
        for topic in topics.CONTROLS:
            for record in log.read(topic, 0):
                controls.note(record.topic, record.key, record.value, record.offset)

    controls.catch_up = catch_up

    assert controls.at(SECOND.revision).revision == SECOND.revision
    assert controls.wanted == SECOND.revision


def test_a_cancellation_is_heard_by_whoever_follows_the_controls_and_the_first_one_stands() -> None:
    wish = Cancellation(command_id="c1", by="person/admin", because="wrong one", until_ms=5)
    log = published(FIRST)
    log.append([encode_cancellation(wish), encode_cancellation(msgspec.structs.replace(wish, by="person/b"))])

    found = read(log)

    assert found.cancellations["c1"].reason == "cancelled by person/admin: wrong one"
    assert found.wanted == FIRST.revision
