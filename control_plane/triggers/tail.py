"""Files that grow: which of them is which, through renaming, truncation and copying, and the lines that are new.

A file is known by its inode, and recognised by what was read of it. Blocking; knows no events.
"""

import os
import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

SAMPLE_BYTES: Final = 1024
"""How much of a file's beginning, and of what was read last, must be the same for it to be the same file."""
BEYOND_LINE_BYTES: Final = 64 * 1024
_ROTATED: Final = re.compile(r"[.\-_~].+")


class Mark(Struct, frozen=True, kw_only=True):
    """How far a file was read. `born` tells its content from what stood in the same file before; `line` counts the
    lines before `offset`. `skips` says that `offset` lies within a line that is too long."""

    file: str
    born: str
    offset: int = 0
    line: int = 0
    head: str = ""
    tail: str = ""
    skips: bool = False

    @property
    def sample_bytes(self) -> int:
        """How long both samples are."""
        return min(SAMPLE_BYTES, self.offset)


class Found(Struct, frozen=True, kw_only=True):
    """A file as it was found: `key` names its inode."""

    key: str
    name: str
    path: Path
    size: int
    mtime_ns: int


class Line(Struct, frozen=True, kw_only=True):
    """One line without its end: where it begins and its number, from 1. One that is too long is cut."""

    raw: bytes
    offset: int
    number: int
    too_long: bool = False


class Lines(Struct, frozen=True, kw_only=True):
    """What is new, and how far that goes. `mark` is as it was when there is nothing new."""

    lines: tuple[Line, ...]
    mark: Mark
    more: bool


class Changed(Exception):
    """The file no longer begins with what was read of it: it is another one, or holds something else now."""


class Gone(Exception):
    """The file is no longer where it was found."""


def files_in(folder: Path, takes: re.Pattern[str], known: Mapping[str, Mark]) -> list[Found]:
    """The files whose names are taken, and those that are known under whatever name; the oldest first. Raises OSError
    when the folder cannot be read."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                if not entry.is_file():
                    continue
                told = entry.stat()
            except FileNotFoundError:
                continue  # It was renamed or deleted meanwhile: the next look finds it under its new name.
            key = f"{told.st_dev}:{told.st_ino}"
            if takes.fullmatch(entry.name) or key in known:
                path = Path(entry.path)
                found.append(Found(key=key, name=entry.name, path=path, size=told.st_size, mtime_ns=told.st_mtime_ns))
    return sorted(found, key=lambda file: (file.mtime_ns, file.name))


def copied_from(found: Found, marks: Iterable[Mark]) -> Mark | None:
    """The mark of the file that this one is a copy of, made when it was rotated. Raises Gone.

    A copy that is not yet whole has its mark too: all that it holds was read already.
    """
    for mark in marks:
        if mark.offset == 0 or not _is_rotated_name(found.name, mark.file):
            continue
        with _opened(found) as file:
            if os.fstat(file.fileno()).st_size < mark.sample_bytes:
                continue
            if _digest(os.pread(file.fileno(), mark.sample_bytes, 0)) != mark.head:
                continue
            if found.size < mark.offset or _tail(file.fileno(), mark) == mark.tail:
                return mark
    return None


def read_lines(found: Found, mark: Mark, *, lines_max: int, line_bytes_max: int) -> Lines:
    """New whole lines. Raises Changed, Gone, OSError."""
    with _opened(found) as file:
        number = file.fileno()
        chunk = os.pread(number, line_bytes_max + BEYOND_LINE_BYTES, mark.offset)
        # Asked after the reading: what was truncated before it does not pass for a part of the old file.
        _check_same(number, mark)
        at, lines = _split(chunk, mark, lines_max, line_bytes_max)
        size = os.fstat(number).st_size
        after = _advanced(number, found, mark, at, len(lines))
    return Lines(lines=tuple(lines), mark=after, more=at > 0 and mark.offset + at < size)


def _split(chunk: bytes, mark: Mark, lines_max: int, line_bytes_max: int) -> tuple[int, list[Line]]:
    """The lines in a chunk, and how much of it they take. A line that has not ended waits, unless it is too long."""
    lines: list[Line] = []
    at = 0
    if mark.skips:
        end = chunk.find(b"\n")
        return (end + 1, []) if end >= 0 else (len(chunk), [])
    while len(lines) < lines_max:
        end = chunk.find(b"\n", at)
        if end < 0 and len(chunk) - at <= line_bytes_max:
            break
        stop = end if end >= 0 else len(chunk)
        raw = chunk[at:stop].removesuffix(b"\r")
        lines.append(
            Line(
                raw=raw[: line_bytes_max + 1],
                offset=mark.offset + at,
                number=mark.line + len(lines) + 1,
                too_long=len(raw) > line_bytes_max,
            )
        )
        at = stop + 1 if end >= 0 else len(chunk)
        if end < 0:
            break
    return at, lines


def _advanced(number: int, found: Found, mark: Mark, by_bytes: int, by_lines: int) -> Mark:
    if by_bytes == 0:
        return mark
    offset = mark.offset + by_bytes
    ended = os.pread(number, 1, offset - 1) == b"\n"
    moved = Mark(
        file=found.name,
        born=mark.born,
        offset=offset,
        line=mark.line + by_lines,
        skips=not ended,
    )
    head = _digest(os.pread(number, moved.sample_bytes, 0))
    return Mark(
        file=moved.file,
        born=moved.born,
        offset=offset,
        line=moved.line,
        head=head,
        tail=_tail(number, moved),
        skips=moved.skips,
    )


def _check_same(number: int, mark: Mark) -> None:
    if os.fstat(number).st_size < mark.offset:
        raise Changed
    if mark.offset and _digest(os.pread(number, mark.sample_bytes, 0)) != mark.head:
        raise Changed
    if mark.offset and _tail(number, mark) != mark.tail:
        raise Changed


def _tail(number: int, mark: Mark) -> str:
    return _digest(os.pread(number, mark.sample_bytes, mark.offset - mark.sample_bytes))


def _digest(sample: bytes) -> str:
    return blake2b(sample, digest_size=16).hexdigest()


def _opened(found: Found) -> BinaryIO:
    try:
        file = found.path.open("rb")
    except FileNotFoundError as exc:
        raise Gone from exc
    told = os.fstat(file.fileno())
    if f"{told.st_dev}:{told.st_ino}" != found.key:
        file.close()
        raise Gone
    return file


def _is_rotated_name(name: str, of: str) -> bool:
    """Whether a name is what rotation makes of another: `a.jsonl.1`, `a.jsonl-20260101`, `a-20260101.jsonl`."""
    whole, stem, suffix = of, Path(of).stem, Path(of).suffix
    if name.startswith(whole) and _ROTATED.fullmatch(name[len(whole) :]):
        return True
    between = name.removeprefix(stem).removesuffix(suffix) if name.startswith(stem) and name.endswith(suffix) else ""
    return bool(_ROTATED.fullmatch(between))
