"""A folder in which files of JSON lines grow. Kind `folder`.

A line is one event, by its file and where it begins: read again, it has the same id. How far each file was read is
kept after its events are safe. A last line that has not ended waits.
"""

import asyncio
import fnmatch
import logging
import re
from secrets import token_hex
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from control_plane.catalogue.definitions import Duration, Expression
from control_plane.durations import parse_duration_ms
from control_plane.errors import InvalidMessage
from control_plane.triggers.formats import FORMATS
from control_plane.triggers.mapping import EventKeys, EventMapping, examine_event
from control_plane.triggers.patience import until_done
from control_plane.triggers.reading import json_value
from control_plane.triggers.sorting import BATCH_EVENTS_MAX, Arrived, Place, Sorted, Sorter
from control_plane.triggers.tail import Changed, Found, Gone, Line, Lines, Mark, copied_from, files_in, read_lines
from control_plane.triggers.tools import Declared, Keys, Text, TriggerTools
from control_plane.workspace.examined import Examined, Formula, Problem

LINE_BYTES_MAX: Final = 256 * 1024
"""An event may have no more."""
FILES_MAX: Final = 10_000
INTERVAL_MS_MIN: Final = 50
LOOKS_AWAY_MAX: Final = 3
"""A file that is not there at so many looks in a row has left: a single look may miss one that is being renamed."""
FORGET_AFTER_S: Final = 3_600.0
_WAS: Final = "was/"
"""Keeps for a while what was read of a file that was truncated or has left: a copy of it may be about to appear."""

_log = logging.getLogger(__name__)


class FolderKeys(Keys, frozen=True):
    """What `triggers/*.yaml` says of this kind. `path` is relative to the workspace."""

    path: Text
    glob: Annotated[str, Meta(min_length=1, max_length=200, description='names with wildcards, as in "*.jsonl".')] = (
        "*.jsonl"
    )
    format: Literal["json", "cloudevents"] = "json"
    interval: Duration = "1s"
    when: Expression | None = None
    event: EventKeys = EventKeys()
    line_bytes_max: Annotated[int, Meta(ge=1, le=LINE_BYTES_MAX)] = LINE_BYTES_MAX


def examine_folder(keys: FolderKeys) -> Examined:
    """What is wrong in a definition whose shape is right, and what it reads."""
    form = FORMATS[keys.format]
    readable = form.reads | {"file"}
    said = examine_event(keys.event, form, readable)
    formulas = said.formulas + ((Formula(path=("when",), variables=readable),) if keys.when is not None else ())
    problems = said.problems
    if parse_duration_ms(keys.interval) < INTERVAL_MS_MIN:
        problem = f"interval is shorter than {INTERVAL_MS_MIN} ms"
        problems += (Problem(path=("interval",), problem=problem, cure="Write a longer one."),)
    if "/" in keys.glob:
        cure = "Name the folder in path, and only names of files in glob."
        problems += (Problem(path=("glob",), problem=f"glob {keys.glob!r} holds a slash", cure=cure),)
    return Examined(problems=problems, formulas=formulas, types=said.types)


class FolderTrigger:
    """One folder."""

    def __init__(self, declared: Declared, keys: FolderKeys, tools: TriggerTools) -> None:
        form = FORMATS[keys.format]
        mapping = EventMapping(declared, keys.event, form, tools.expressions, keys.when)
        self.name = declared.name
        self._tools = tools
        self._folder = tools.root / keys.path
        self._takes = re.compile(fnmatch.translate(keys.glob))
        self._interval_s = parse_duration_ms(keys.interval) / 1000
        self._line_bytes_max = keys.line_bytes_max
        self._sorter = Sorter(declared, form, mapping, tools)
        self._marks: dict[str, Mark] = {}
        self._read: dict[str, tuple[int, int]] = {}
        """Size and time of each file when it was last read to its end: what has not changed is not opened."""
        self._away: dict[str, int] = {}
        self._forget_at_s: dict[str, float] = {}
        self._complained = False

    async def run(self) -> None:
        """Read until cancelled. Raises StorageFull, or what else no waiting can mend."""
        await self.begin()
        while True:
            await self.look()
            await self._tools.clock.sleep(self._interval_s)

    async def begin(self) -> None:
        """Read how far every file was read."""
        kept = await until_done(
            lambda: self._tools.positions.read(self.name), trigger=self.name, clock=self._tools.clock
        )
        # A trigger of another kind may have had this name before.
        self._marks = {key: msgspec.convert(value, Mark) for key, value in kept.items() if isinstance(value, dict)}

    async def look(self) -> None:
        """One look at the folder: every file a batch at a time, so that a long one does not hold up the others."""
        files = await self._files()
        while files:
            files = [found for found in files if await self._batch(found)]

    async def _files(self) -> list[Found]:
        try:
            files = await asyncio.to_thread(files_in, self._folder, self._takes, self._marks)
        except OSError as exc:
            self._complain("a watched folder cannot be read", str(exc))
            return []
        await self._forget(files)
        if len(files) > FILES_MAX:
            self._complain("a watched folder holds too many files", f"{len(files)}; the {FILES_MAX} newest are read")
            files = files[-FILES_MAX:]
        else:
            self._complained = False
        return [found for found in files if self._read.get(found.key) != (found.size, found.mtime_ns)]

    async def _batch(self, found: Found) -> bool:
        """Publish the next lines of a file; whether there are more."""
        try:
            mark = self._marks.get(found.key)
            if mark is None or mark.offset == 0:
                mark = await self._first_seen(found, mark)
            new = await self._lines(found, mark)
        except Gone:
            return False
        except OSError as exc:
            self._complain("a watched file cannot be read", f"{found.name}: {exc}")
            return False
        if new is None:
            return True
        into = Sorted()
        for line in new.lines:
            self._sort(found, mark, line, into)
        await until_done(lambda: self._sorter.bring_in(into), trigger=self.name, clock=self._tools.clock)
        if new.mark != mark:
            await self._keep({found.key: new.mark})
        if not new.more:
            self._read[found.key] = (found.size, found.mtime_ns)
        return new.more

    async def _lines(self, found: Found, mark: Mark) -> Lines | None:
        """What is new in a file; None when it holds something else now and begins anew."""
        try:
            return await asyncio.to_thread(
                read_lines, found, mark, lines_max=BATCH_EVENTS_MAX, line_bytes_max=self._line_bytes_max
            )
        except Changed:
            await self._begin_anew(found)
            return None

    def _sort(self, found: Found, mark: Mark, line: Line, into: Sorted) -> None:
        if not line.raw.strip():
            return
        place = Place(words=f"{found.name}:{line.number}", identity=f"{mark.born}/{line.offset}", offset=line.offset)
        try:
            if line.too_long:
                raise _too_long(self._line_bytes_max)
            value = json_value(line.raw, "the line") if self._sorter.needs_value else None
        except InvalidMessage as reason:
            self._sorter.refuse(line.raw, place, reason, into)
            return
        beside = {"file": found.name}
        self._sorter.sort(Arrived(raw=line.raw, value=value, place=place, beside=beside, places={"item": ""}), into)

    async def _first_seen(self, found: Found, empty: Mark | None) -> Mark:
        """A file of which nothing was read. What it is called by is kept before anything of it is published. Raises
        Gone when it is a copy that is not yet whole."""
        mark = await self._copied(found) or empty or _new_mark(found)
        if mark != empty:
            await self._keep({found.key: mark})
        return mark

    async def _begin_anew(self, found: Found) -> None:
        """A file that holds something else now, or another file with the inode of one that was deleted."""
        before, mark = self._marks[found.key], await self._copied(found) or _new_mark(found)
        self._forget_at_s.pop(_WAS + found.key, None)
        await self._keep({_WAS + found.key: before, found.key: mark})

    async def _copied(self, found: Found) -> Mark | None:
        mark = await asyncio.to_thread(copied_from, found, list(self._marks.values()))
        if mark is not None and found.size < mark.offset:
            raise Gone
        return mark

    async def _keep(self, marks: dict[str, Mark | None]) -> None:
        written = {key: None if mark is None else msgspec.to_builtins(mark) for key, mark in marks.items()}
        await until_done(
            lambda: self._tools.positions.write(self.name, written), trigger=self.name, clock=self._tools.clock
        )
        for key, mark in marks.items():
            if mark is None:
                self._marks.pop(key, None)
            else:
                self._marks[key] = mark

    async def _forget(self, files: list[Found]) -> None:
        """Take leave of files that are no longer there: their inodes may become other files'."""
        there = {found.key for found in files}
        known = [key for key in self._marks if not key.startswith(_WAS)]
        self._away = {key: self._away.get(key, 0) + 1 for key in known if key not in there}
        left = {key: self._marks[key] for key, looks in self._away.items() if looks >= LOOKS_AWAY_MAX}
        changes: dict[str, Mark | None] = dict.fromkeys([*left, *self._forgotten()])
        changes |= {_WAS + key: mark for key, mark in left.items()}
        if changes:
            await self._keep(changes)
        for key in left:
            self._read.pop(key, None)

    def _forgotten(self) -> list[str]:
        """What was kept for long enough of files that are no more."""
        now_s = self._tools.clock.now_ms() / 1000
        kept = [key for key in self._marks if key.startswith(_WAS)]
        self._forget_at_s = {key: self._forget_at_s.get(key, now_s + FORGET_AFTER_S) for key in kept}
        return [key for key, at_s in self._forget_at_s.items() if now_s > at_s]

    def _complain(self, what: str, why: str) -> None:
        """Say it once, and again when it was well in between."""
        if not self._complained:
            _log.warning(what, extra={"trigger": self.name, "folder": str(self._folder), "reason": why})
        self._complained = True


def _new_mark(found: Found) -> Mark:
    return Mark(file=found.name, born=token_hex(8))


def _too_long(bytes_max: int) -> InvalidMessage:
    return InvalidMessage(
        "line_too_long",
        f"the line has more than {bytes_max} bytes; its beginning is kept, and the next line follows",
        cure="Write shorter lines, or raise line_bytes_max of the trigger.",
    )
