"""One partition that a process owns: its rows, its mark, the controls in force, and what others should know of it.

Takes no records: `control_plane.partition` does.
"""

import msgspec

from control_plane.catalogue import Controls
from control_plane.causality.lineage import SOURCE
from control_plane.messages import Event
from control_plane.messages.summary import HEARD_SOURCES_MAX, FleetCount
from control_plane.partition.rows import PartitionRows
from control_plane.partition.told import merged_heard
from control_plane.ports.backbone import Record


class Mark(msgspec.Struct, frozen=True):
    """What is committed with the next offset: the last applied record's digest, the controls in force after it, and the
    log's generation."""

    last_digest: str
    controls_revision: str
    generation: int = 0


class ToTell(msgspec.Struct, frozen=True):
    """What the other partitions should know of one: its fleets, as which owner, and when it last heard each source.

    `heeds_sources` says that somebody waits for the latter.
    """

    counts: dict[str, FleetCount]
    heard: dict[str, int]
    heeds_sources: bool
    epoch: int


class Held:
    """One partition that is ours. `heard` is when it heard each foreign source since it is ours."""

    def __init__(self, number: int, rows: PartitionRows, mark: Mark) -> None:
        self.number = number
        self.rows = rows
        self.mark = mark
        self.controls: Controls | None = None
        self.heard: dict[str, int] = {}
        self.tells = False

    def adopt(self, controls: Controls) -> None:
        """Follow these controls from here on."""
        self.controls = controls
        self.rows.fleets.adopt(controls.fleets)
        self.tells = bool(controls.fleets) or controls.heeds_sources

    def hear(self, event: Event, record: Record) -> None:
        """A source was heard."""
        source = event.lineage.source
        if self.tells and source != SOURCE:
            self.heard[source] = record.recorded_ms
            if len(self.heard) > HEARD_SOURCES_MAX:
                self.heard = merged_heard(self.heard, {})

    def sees_fleets(self, subject: str) -> bool:
        """Whether what is decided on the subject may hang on others, in a fleet of its own or in any."""
        if self.controls is None:
            return False
        return self.controls.fleets.are_read or bool(self.controls.fleets.of(subject))
