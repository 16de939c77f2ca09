"""Which topics the log has, and what they are called there.

Above the port topics have their plain names; on the log they may carry a prefix, so that tests can share a Kafka.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from control_plane.adapters.faust.partitioner import partition_of
from control_plane.errors import InvalidSettings
from control_plane.messages.topics import CONTROLS, EVENTS, KEYED_BY_SUBJECT
from control_plane.ports.backbone import Output

APP_ID = "setpoint"
PARTITIONS_MAX = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicPlan:
    """One topic as it must be on the log; `name` with its prefix. One that `tells_time` is folded by its append
    times."""

    name: str
    partitions: int
    compacted: bool
    tells_time: bool = False


class Names:
    """Names on the log and above the port."""

    def __init__(self, *, prefix: str, app_id: str, partitions: int = 1) -> None:
        """`partitions` is of no matter to who only reads."""
        if not 1 <= partitions <= PARTITIONS_MAX:
            raise InvalidSettings(
                f"{partitions} partitions cannot be used. Nothing was opened. Choose 1 to {PARTITIONS_MAX}."
            )
        self._prefix = prefix
        self._app_id = app_id
        self.partitions = partitions
        self.changelog = f"{self.group('loop')}-rows-changelog"

    def on_log(self, topic: str) -> str:
        return self._prefix + topic

    def above(self, name: str) -> str:
        return name.removeprefix(self._prefix)

    def group(self, group: str) -> str:
        """A consumer group's name on the log, which is also the id of its Faust app."""
        return f"{self._prefix}{self._app_id}-{group}"

    def partitions_of(self, topic: str) -> int:
        """Of a topic by its plain name. Raises InvalidSettings for a topic that nobody declared."""
        if topic in KEYED_BY_SUBJECT:
            return self.partitions
        if topic in CONTROLS:
            return 1
        raise InvalidSettings(
            f"there is no topic {topic!r}. Nothing was appended or joined. "
            f"Use one of {', '.join((*KEYED_BY_SUBJECT, *CONTROLS))}."
        )

    def place(self, output: Output) -> tuple[str, int]:
        """The topic's name on the log and the partition. Raises InvalidSettings where there is no such place."""
        partitions = self.partitions_of(output.topic)
        if output.partition is None:
            return self.on_log(output.topic), partition_of(output.key, partitions)
        if not 0 <= output.partition < partitions:
            raise InvalidSettings(
                f"{output.topic} has no partition {output.partition}, only 0 to {partitions - 1}. Nothing was appended."
            )
        return self.on_log(output.topic), output.partition

    def dense(self, topic: str) -> bool:
        """Whether the topic's offsets follow one another; compaction leaves holes."""
        return topic not in CONTROLS

    def plan(self) -> tuple[TopicPlan, ...]:
        """Every topic that must be there before anything starts."""
        return tuple(self._plan())

    def _plan(self) -> Iterable[TopicPlan]:
        for topic in KEYED_BY_SUBJECT:
            name = self.on_log(topic)
            yield TopicPlan(name=name, partitions=self.partitions, compacted=False, tells_time=topic == EVENTS)
        for topic in CONTROLS:
            yield TopicPlan(name=self.on_log(topic), partitions=1, compacted=True)
        yield TopicPlan(name=self.changelog, partitions=self.partitions, compacted=True)


def other_partition_count(name: str, *, found: int, wanted: int) -> InvalidSettings:
    return InvalidSettings(
        f"topic {name} has {found} partitions, {wanted} are asked for. Nothing was started, because a subject would "
        f"change its partition and lose its order. Set partitions to {found}, or start with an empty log."
    )
