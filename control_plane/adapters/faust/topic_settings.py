"""What topics must be set to, and what is wrong with those that are there. Pure: asks no broker and changes nothing.

Refused is what makes the loop wrong: a lost row, an offset that compaction took out, a time that a producer chose.
The rest is said.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from control_plane.adapters.faust.pinned import REQUEST_BYTES_MAX
from control_plane.adapters.faust.topics import TopicPlan

REPLICAS_SAFE_MIN: Final = 3
"""From so many copies on, two of them must have a record before it is acknowledged."""

INSYNC_MIN: Final = 2

CLEANUP: Final = "cleanup.policy"
TIMESTAMP: Final = "message.timestamp.type"
BYTES_MAX: Final = "max.message.bytes"
INSYNC: Final = "min.insync.replicas"
RETENTION: Final = ("retention.ms", "retention.bytes")
UNCLEAN: Final = "unclean.leader.election.enable"
ASKED_FOR: Final = (CLEANUP, TIMESTAMP, BYTES_MAX, INSYNC, *RETENTION, UNCLEAN)

APPEND_TIME: Final = "LogAppendTime"
KEPT_FOR_EVER: Final = "-1"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTopic:
    """A topic as it is on the log. `settings` are those of `ASKED_FOR` that its broker knows."""

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class TopicFinding:
    """One setting of one topic that is not as it should be. What is `refused` keeps a process from starting; `cure` is
    what to do, mostly a command of Kafka's own tools."""

    topic: str
    setting: str
    found: str
    wanted: str
    refused: bool
    because: str
    cure: str

    def __str__(self) -> str:
        return f"topic {self.topic} has {self.setting}={self.found}, not {self.wanted}: {self.because}"


def settings_for(topic: TopicPlan, replication: int) -> dict[str, str]:
    """What a topic is created with."""
    settings = {
        CLEANUP: "compact" if topic.compacted else "delete",
        # The append time is the only clock that the loop knows.
        TIMESTAMP: APPEND_TIME,
        BYTES_MAX: str(REQUEST_BYTES_MAX),
        **dict.fromkeys(RETENTION, KEPT_FOR_EVER),
    }
    if replication >= REPLICAS_SAFE_MIN:
        settings[INSYNC] = str(INSYNC_MIN)
    return settings


def judge(plan: TopicPlan, found: FoundTopic, servers: Sequence[str]) -> Iterator[TopicFinding]:
    """What is wrong with a topic that is there, and what is merely unusual."""
    if found.partitions != plan.partitions:
        yield _other_partitions(plan, found)
    for setting, wanted, refused, because in _wrong(plan, found):
        yield TopicFinding(
            topic=found.name,
            setting=setting,
            found=found.settings[setting],
            wanted=wanted,
            refused=refused,
            because=because,
            cure=f"kafka-configs.sh --bootstrap-server {','.join(servers)} --alter --entity-type topics "
            f"--entity-name {found.name} --add-config {setting}={wanted}",
        )


def _other_partitions(plan: TopicPlan, found: FoundTopic) -> TopicFinding:
    return TopicFinding(
        topic=found.name,
        setting="partitions",
        found=str(found.partitions),
        wanted=str(plan.partitions),
        refused=True,
        because="a subject would change its partition and lose its order",
        cure=f"Set partitions to {found.partitions}, or start with an empty log.",
    )


_Wrong = tuple[str, str, bool, str]


def _wrong(plan: TopicPlan, found: FoundTopic) -> Iterator[_Wrong]:
    settings = found.settings
    policies = set(settings.get(CLEANUP, "").replace(" ", "").split(",")) - {""}
    if CLEANUP in settings:
        yield from _wrong_cleanup(plan, policies)
    if any(settings.get(name, KEPT_FOR_EVER) != KEPT_FOR_EVER for name in RETENTION):
        yield from _wrong_retention(plan, policies, settings)
    if settings.get(TIMESTAMP, APPEND_TIME) != APPEND_TIME:
        because = "time on the log would be what each producer's clock says"
        yield TIMESTAMP, APPEND_TIME, plan.tells_time, because
    if int(settings.get(BYTES_MAX, REQUEST_BYTES_MAX)) < REQUEST_BYTES_MAX:
        yield BYTES_MAX, str(REQUEST_BYTES_MAX), True, "a large row could not be written, and its partition would stop"
    if INSYNC in settings:
        yield from _wrong_insync(int(settings[INSYNC]), found.replicas)
    if settings.get(UNCLEAN) == "true":
        yield UNCLEAN, "false", False, "a broker that was behind may lead, and what was acknowledged is then lost"


def _wrong_cleanup(plan: TopicPlan, policies: set[str]) -> Iterator[_Wrong]:
    if not plan.compacted and "compact" in policies:
        yield CLEANUP, "delete", True, "compaction takes records out that were never read"
    elif plan.compacted and "compact" not in policies:
        yield CLEANUP, "compact", False, "it grows without bound, and a start reads all of it"


def _wrong_retention(plan: TopicPlan, policies: set[str], settings: Mapping[str, str]) -> Iterator[_Wrong]:
    for name in RETENTION:
        if settings.get(name, KEPT_FOR_EVER) == KEPT_FOR_EVER or "delete" not in policies:
            continue
        if plan.compacted:
            yield name, KEPT_FOR_EVER, True, "rows and controls that are old and still in force are deleted"
        else:
            yield name, KEPT_FOR_EVER, False, "older records are deleted: replay and explain cannot see them"


def _wrong_insync(insync: int, replicas: int) -> Iterator[_Wrong]:
    if insync > replicas:
        yield INSYNC, str(min(INSYNC_MIN, replicas)), True, f"it has {replicas} copies, so nothing can be written"
    elif replicas >= REPLICAS_SAFE_MIN and insync < INSYNC_MIN:
        yield INSYNC, str(INSYNC_MIN), False, "what one broker alone acknowledged is lost with it"
    elif replicas >= INSYNC_MIN and insync == replicas:
        yield INSYNC, str(max(1, replicas - 1)), False, "nothing can be written while a single broker is away"
