"""Logs as power loss, bad disks and careless hands leave them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from tests.contract.embedded_log.writer import value_at

TOPIC = "events.v1"
RECORDS = 1000

_WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from tests.contract.embedded_log.damaging import write_records
log = write_records(Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def write_records(path: Path) -> EmbeddedLog:
    """Open a log and append `RECORDS` records in writes of ten."""
    log = EmbeddedLog.open(path)
    log.create_topic(TOPIC, partitions=1)
    for start in range(0, RECORDS, 10):
        log.write([Append(TOPIC, 0, b"key", value_at(offset)) for offset in range(start, start + 10)])
    return log


def closed_log(path: Path) -> Path:
    """A log that was closed: its records are in a table file."""
    write_records(path).close()
    return path


def killed_log(path: Path) -> Path:
    """A log whose writer was killed: its records are in the journal."""
    subprocess.run(
        [sys.executable, "-c", _WRITE_AND_DIE, str(path)], check=False, cwd=Path(__file__).resolve().parents[3]
    )
    return path


def files_of(path: Path, pattern: str) -> list[Path]:
    """The store's files of a kind, the largest last."""
    return sorted((path / "rocksdb").glob(pattern), key=lambda file: file.stat().st_size)


def flip(file: Path, at: int) -> None:
    """Turn all bits of one byte."""
    content = bytearray(file.read_bytes())
    content[at] ^= 0xFF
    file.write_bytes(content)


def set_type_of_record(journal: Path, number: int, kind: int) -> None:
    """Change the type in the header of one physical record of a journal or manifest."""
    content = bytearray(journal.read_bytes())
    at = 0
    for _ in range(number):
        at += 7 + int.from_bytes(content[at + 4 : at + 6], "little")
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
    content[at + 6] = kind
    journal.write_bytes(content)


def cut(file: Path, size: int) -> None:
    """Take bytes from the end."""
    os.truncate(file, file.stat().st_size - size)


def forget_the_boot(path: Path) -> None:
    """Make the high water mark look as if the machine had restarted since."""
    rewrite_mark(path, lambda turn, boot_id, acknowledged, synced: (turn, bytes(16), acknowledged, synced))


def rewrite_mark(path: Path, change: Callable[[int, bytes, int, int], tuple[int, bytes, int, int]]) -> None:
    """Write the newest slot of the high water mark anew, changed."""
    from control_plane.adapters.embedded_log import high_water

    file = path / "high_water"
    turn, boot_id, acknowledged, synced = high_water._newest(file, file.read_bytes())
    body = high_water._SLOT.pack(*change(turn, boot_id, acknowledged, synced))
    content = bytearray(file.read_bytes())
    at = turn % 2 * high_water._SLOT_BYTES
    content[at : at + len(body) + 4] = body + high_water._CHECKSUM.pack(high_water.crc32(body))
    file.write_bytes(content)


def contents(path: Path) -> dict[str, bytes]:
    """What a directory holds that counts: everything but RocksDB's own diary and the lock's pid."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and not file.name.startswith("LOG") and file.name != "owner"
    }
