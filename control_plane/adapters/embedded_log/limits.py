"""What the log refuses before it does anything: names, sizes and settings out of bounds, places that do not exist."""

import re
from typing import Final

from control_plane.adapters.embedded_log.model import (
    METADATA_BYTES_MAX,
    PARTITIONS_PER_TOPIC_MAX,
    RECORD_BYTES_MAX,
    TOPIC_NAME_CHARS_MAX,
    WRITE_BYTES_MAX,
    GroupOffset,
    TopicConfig,
)
from control_plane.errors import InvalidMessage, InvalidSettings

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def check_topic(name: str, config: TopicConfig, present: TopicConfig | None) -> None:
    """Whether a topic can be kept so. Raises InvalidSettings."""
    if not _NAME.fullmatch(name) or len(name) > TOPIC_NAME_CHARS_MAX:
        raise InvalidSettings(
            f"The topic name {name!r} is not allowed. The topic was not created. "
            f"Use at most {TOPIC_NAME_CHARS_MAX} letters, digits, dots, underscores and hyphens."
        )
    if not 1 <= config.partitions <= PARTITIONS_PER_TOPIC_MAX:
        raise InvalidSettings(
            f"The topic {name} was asked for with {config.partitions} partitions. It was not created. "
            f"Ask for 1 to {PARTITIONS_PER_TOPIC_MAX}."
        )
    if present is not None and present.partitions != config.partitions:
        raise InvalidSettings(
            f"The topic {name} has {present.partitions} partitions and was asked for with {config.partitions}. "
            "Nothing was changed: keys would move between partitions. Keep the count, or start a new log."
        )
    _check_retention(name, config)


def _check_retention(name: str, config: TopicConfig) -> None:
    limits = [limit for limit in (config.retention_ms, config.retention_bytes) if limit is not None]
    if any(limit <= 0 for limit in limits):
        raise InvalidSettings(
            f"The retention of topic {name} is not above 0. Nothing was changed. Leave it out for ever."
        )
    if config.compacted and limits:
        raise InvalidSettings(
            f"The topic {name} is compacted and has a retention: it would lose the newest record of quiet keys. "
            "Nothing was changed. Choose one of the two."
        )


def unknown_partition(topic: str, partition: int) -> InvalidSettings:
    """The error for a place that is not in the log."""
    return InvalidSettings(
        f"There is no partition {partition} of topic {topic!r} in the log. Nothing was done. Create the topic first."
    )


def record_too_large(topic: str, size_bytes: int) -> InvalidMessage:
    """The error for a record above the limit."""
    return InvalidMessage(
        "record_too_large",
        f"A record for topic {topic} has {size_bytes} bytes, more than {RECORD_BYTES_MAX}. Nothing was appended.",
        cure="Keep large payloads elsewhere and send a reference.",
    )


def check_write_bytes(size_bytes: int) -> None:
    """Whether a write is small enough. Raises InvalidMessage."""
    if size_bytes > WRITE_BYTES_MAX:
        raise InvalidMessage(
            "write_too_large",
            f"A write has {size_bytes} bytes, more than {WRITE_BYTES_MAX}. Nothing was appended.",
            cure="Write in smaller batches.",
        )


def check_offset(entry: GroupOffset) -> None:
    """Whether an offset can be committed. Raises InvalidMessage."""
    if entry.offset < 0:
        raise InvalidMessage(
            "offset_negative", f"Group {entry.group} commits offset {entry.offset}.", cure="Commit 0 or more."
        )
    if len(entry.metadata) > METADATA_BYTES_MAX:
        raise InvalidMessage(
            "metadata_too_large",
            f"Group {entry.group} commits {len(entry.metadata)} bytes of metadata, more than {METADATA_BYTES_MAX}.",
            cure="Store a reference instead.",
        )
