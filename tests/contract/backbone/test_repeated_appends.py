"""An append whose answer was lost may have landed: whoever repeats it has it twice on the log, and folded once.

Whatever is appended has an id of its own that a repetition keeps: events and proposals that of their sender, outcomes
and dead letters one that is derived from what they follow from. Ticks and adoptions may come as often as they like.
"""

import json
import time
from collections import Counter
from collections.abc import Awaitable, Sequence

import pytest

from control_plane.errors import BackboneUnavailable
from control_plane.messages import Command, topics
from control_plane.messages.event import CONTROLS_ADOPTED, TICK
from control_plane.messages.wire import decode, encode, encode_event
from control_plane.partition import Partitions
from control_plane.ports.backbone import Commit, Output, RowReader, Start
from state.rows import decode_row, decode_stored
from tests import builders
from tests.contract.backbone.owners import Changed
from tests.contract.backbone.world import World

pytestmark = pytest.mark.kafka

SUBJECT = builders.WEB_1
PARTITION = 0
SAID = (topics.DECISIONS, topics.VERDICTS, topics.COMMANDS)


class Loop(Partitions, Changed):
    """The real owner, with a rule that restarts what is too hot."""

    def __init__(self) -> None:
        self.set = builders.control_set()
        Changed.__init__(self)
        Partitions.__init__(self, engine=builders.ScriptedEngine(), controls=builders.ControlsAt(self.set))
        self.committed_below = 0
        self.stored: RowReader | None = None

    async def assigned(self, partition: int, rows: RowReader, start: Start) -> None:
        await super().assigned(partition, rows, start)
        if partition == PARTITION:
            self.stored = rows

    def committed(self, partition: int, commit: Commit) -> None:
        super().committed(partition, commit)
        if partition == PARTITION:
            self.committed_below = commit.next_offset
        self.changed()


async def nobody_answers(sent: Sequence[Awaitable[object]]) -> list[object]:
    """What was sent is on its way, and its answers are lost."""
    raise TimeoutError


async def test_whatever_is_repeated_after_a_lost_answer_is_folded_once(
    kafka_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, now_ms, sent = Loop(), round(time.time() * 1000), 0

    async def append_twice(value: bytes) -> None:
        """The first time nobody hears whether it landed."""
        nonlocal sent
        output = Output(topics.EVENTS, SUBJECT.encode(), value, PARTITION)
        with monkeypatch.context() as deaf:
            deaf.setattr("control_plane.adapters.faust.kafka_writer.all_acknowledged", nobody_answers)
            with pytest.raises(BackboneUnavailable, match="may or may not be on the log"):
                await backbone.append([output])
        await backbone.append([output])
        sent += 2
        await owner.until(lambda: owner.committed_below == sent + 1)  # The claim comes first.

    async with kafka_world.running(owner) as backbone:
        await append_twice(encode_event(builders.adopted(owner.set.revision, at_ms=now_ms)))
        await append_twice(encode_event(builders.event(data={"rss": 500.0}, message_id="hot", at_ms=now_ms)))
        [command] = [decode(record.value, Command) for record in await kafka_world.read(topics.COMMANDS)]
        await append_twice(encode(builders.outcome(command, at_ms=now_ms)))
        await append_twice(encode_event(builders.tick(at_ms=now_ms)))
        assert owner.stored is not None, "the partition was assigned"
        row = decode_row(decode_stored(owner.stored.get(SUBJECT.encode()) or b"").row)
        on_log = Counter(json.loads(record.value)["type"] for record in await kafka_world.read(topics.EVENTS))
        said = {topic: len(await kafka_world.read(topic)) for topic in SAID}

    assert on_log == {CONTROLS_ADOPTED: 2, "service.measured": 2, "command.succeeded": 2, TICK: 2}
    assert said == dict.fromkeys(SAID, 1)
    assert [action.outcome for action in row.recent] == ["succeeded"]
    assert row.live == ()
    # One command and one outcome: a repetition that counted would have raised it once more.
    assert row.action_version == 2
