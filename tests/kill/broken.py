"""The real service with one of its promises taken out, to see that the checker bites.

Run as `python -m tests.kill.broken DEFECT up WORKSPACE`.
"""

import sys
from collections.abc import Callable

from msgspec.structs import replace

import control_plane.partition.rows
from control_plane.adapters.faust import embedded_writer
from control_plane.ports.backbone import Commit
from state.rows import Row, decode_row


def without_applied_offset() -> None:
    """A row forgets up to which offset it was folded, and which events it has seen."""

    def forgetful(raw: bytes) -> Row:
        return replace(decode_row(raw), applied=-1, seen=b"")

    control_plane.partition.rows.decode_row = forgetful  # type: ignore[attr-defined]


def offset_before_outputs() -> None:
    """The offset is committed first, then the rows, and the outputs last."""

    async def write_backwards(self: embedded_writer.EmbeddedLine, commit: Commit) -> None:
        log = self._writer.log
        embedded_writer.fault_point("rows.before")
        log.write([], [self._offset(commit)])
        await log.durable()
        embedded_writer.fault_point("offset.after")
        rows = [(row.key, row.released) for row in commit.rows]
        positions = log.write(self._writer.rows(rows, self._tp.partition))
        await log.durable()
        embedded_writer.fault_point("rows.after")
        self._store(rows, positions)
        log.write(self._writer.outputs(commit.outputs))
        await log.durable()
        embedded_writer.fault_point("outputs.after")

    embedded_writer.EmbeddedLine._write_in_steps = write_backwards  # type: ignore[method-assign]


DEFECTS: dict[str, Callable[[], None]] = {
    "without_applied_offset": without_applied_offset,
    "offset_before_outputs": offset_before_outputs,
}

if __name__ == "__main__":
    DEFECTS[sys.argv.pop(1)]()
    from control_plane.cli.main import main

    sys.exit(main())
