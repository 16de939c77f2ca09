"""The rows of the partitions that this process owns, in Faust's RocksDB table.

Holds acknowledged rows only: whoever writes here has seen the changelog take them. One WriteBatch holds the rows and
Faust's own offset key, so that the store is never ahead of the changelog and never half of a commit.
"""

# mypy: disallow-subclassing-any=False

import logging
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import faust
from faust.stores import rocksdb
from rocksdict import Rdict, WriteBatch

from control_plane.adapters.faust.library_logs import SERVICES
from control_plane.adapters.faust.own_rows import CHANGELOG_KEYS
from control_plane.errors import DataDamaged, DataInUse, InvalidSettings, StorageFull

OFFSET_KEY: bytes = rocksdb.Store.offset_key
GENERATION_KEY = b"__setpoint\0generation__"
FULL = ("No space left on device", "File too large", "Disk quota exceeded", "NoSpace", "Space limit")
"""What RocksDB's texts say when a disk or a quota is full."""
FORBIDDEN = ("Permission denied", "Read-only file system", "Operation not permitted")
OWN_KEYS = CHANGELOG_KEYS | {OFFSET_KEY, GENERATION_KEY}


_log = logging.getLogger(__name__)


class PartitionRows:
    """The rows of one partition; what the port calls a RowReader. Closed when the partition is revoked."""

    def __init__(self, db: Rdict) -> None:
        self._db = db

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except Exception as error:
            # rocksdict raises bare Exceptions, only the text tells them apart.
            raise _storage_error(error, self._db.path()) from error
        return value

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._db.items():
            if key not in OWN_KEYS:
                yield key, value

    def changelog_offset(self) -> int | None:
        """The last changelog record that is in here."""
        offset = self._db.get(OFFSET_KEY)
        return None if offset is None else int(offset)

    def next_offset(self, first: int) -> int:
        """Where to go on reading a changelog whose first record that is kept has this offset."""
        have = self.changelog_offset()
        return first if have is None else max(first, have + 1)

    def generation(self) -> str | None:
        """Which log's changelog these rows came from; None when the log has no such name."""
        name = self._db.get(GENERATION_KEY)
        return None if name is None else bytes(name).decode()

    def set_generation(self, name: str) -> None:
        self._db.put(GENERATION_KEY, name.encode())

    def write(self, rows: Iterable[tuple[bytes, bytes]], changelog_offset: int) -> None:
        """Rows that the changelog has acknowledged up to this offset; an empty value removes the row."""
        batch = WriteBatch(raw_mode=True)
        for key, value in rows:
            if value:
                batch.put(key, value)
            else:
                batch.delete(key)
        batch.put(OFFSET_KEY, str(changelog_offset).encode())
        try:
            self._db.write(batch)
        except Exception as error:
            # rocksdict raises bare Exceptions, only the text tells them apart.
            raise _storage_error(error, self._db.path()) from error


class RowsStore(rocksdb.Store):
    """Faust's RocksDB store, opened and closed at known moments.

    Faust leaves closing to the garbage collector and waits 30 s for a lock; the lock here can only be another process.
    """

    logger = SERVICES

    def rows(self, partition: int) -> PartitionRows:
        return PartitionRows(self._db_for_partition(partition))

    def rows_of_log(self, partition: int, end: int) -> PartitionRows:
        """The rows of a partition whose changelog ends there. Those that are ahead of it are of a log that was wiped or
        lost its end, and are forgotten: the changelog is what counts."""
        rows = self.rows(partition)
        have = rows.changelog_offset()
        return self.drop(partition) if have is not None and have >= end else rows

    def drop(self, partition: int) -> PartitionRows:
        """Forget what is stored of a partition, because it is not of this log; the changelog has it all."""
        self._close(partition)
        shutil.rmtree(self.partition_path(partition), ignore_errors=True)
        return self.rows(partition)

    def _open_for_partition(self, partition: int) -> Rdict:
        """Says what is wrong, and rebuilds what is broken, for the changelog has it all. Faust does neither."""
        path = self.partition_path(partition)
        try:
            return super()._open_for_partition(partition)
        except Exception as error:
            # rocksdict raises bare Exceptions, only the text tells them apart.
            if "Corruption" not in str(error):
                raise _storage_error(error, path) from error
            _log.warning("a local table is damaged: rebuilt from the changelog", extra={"path": str(path)})
            shutil.rmtree(path)
            return super()._open_for_partition(partition)

    async def _try_open_db_for_partition(self, partition: int, *args: Any, **kwargs: Any) -> Rdict:
        """Opens once: Faust tries for 30 s, with the group's rebalance waiting for it."""
        return self._db_for_partition(partition)

    def revoke_partitions(self, table: Any, tps: set[Any]) -> None:
        """Closes what was revoked: Faust leaves it open until it is collected, and the next owner finds it locked."""
        for tp in tps:
            if tp.topic in table.changelog_topic.topics:
                self._close(tp.partition)

    async def stop(self) -> None:
        """Closes every partition, before the process may open them again."""
        for partition in list(self._dbs):
            self._close(partition)
        await super().stop()

    def _close(self, partition: int) -> None:
        db = self._dbs.pop(partition, None)
        if db is None:
            return
        try:
            db.close()
        except Exception as error:  # noqa: BLE001 - rocksdict has no other; it is closed, and the changelog has it all
            _log.warning("a local table was not closed whole", extra={"partition": partition, "why": str(error)})


class RowsTable(faust.Table):
    """The table `rows`: only what keeps Faust's membership, changelog and recovery informed; nobody reads it."""

    logger = SERVICES

    def _new_store_by_url(self, url: Any) -> RowsStore:
        """Our store; Faust would look one up by the URL's scheme."""
        return RowsStore(
            url,
            self.app,
            self,
            table_name=self.name,
            key_type=self.key_type,
            key_serializer=self.key_serializer,
            value_serializer=self.value_serializer,
            value_type=self.value_type,
            loop=self.loop,
            options=self.options,
        )


def _storage_error(error: Exception, path: str | Path) -> Exception:
    text = str(error)
    if any(sign in text for sign in FULL):
        return StorageFull(
            f"the disk under {path} takes no more: {text}. The rows of the last commit are in the log and not in the "
            "local table. Free space and start again."
        )
    if "Corruption" in text:
        return DataDamaged(
            f"the local table {path} is damaged: {text}. Nothing was read. Stop, delete that folder and "
            "start again: its rows come back from the log."
        )
    if any(sign in text for sign in FORBIDDEN):
        return InvalidSettings(
            f"the tables in {path} cannot be written: {text}. Nothing was opened. Make the data directory writable for "
            "this user, or name another as data_dir."
        )
    if "lock" in text.lower():
        return DataInUse(
            f"another process uses the tables in {path}. Nothing was opened. Stop it, or choose another data directory."
        )
    return error
