"""The steps from a path to an open log, in the order in which each may refuse without having touched anything."""

from dataclasses import dataclass
from pathlib import Path

from control_plane.adapters.embedded_log.codec import META, ChecksumBroken, sealed, unsealed
from control_plane.adapters.embedded_log.directory import Directory
from control_plane.adapters.embedded_log.faults import damaged, os_fault
from control_plane.adapters.embedded_log.following import FollowingStore
from control_plane.adapters.embedded_log.high_water import HighWater
from control_plane.adapters.embedded_log.store import Store, new_batch
from control_plane.errors import InvalidSettings, SetpointError

_GENERATION_KEY = META + b"generation"


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What an open log stands on. Without `high_water` it is read-only."""

    directory: Directory
    store: Store
    high_water: HighWater | None
    generation: str


def open_to_write(path: Path, *, free_bytes_min: int) -> Opened:
    """Open or create. Raises DataInUse, DataTooNew, DataDamaged, StorageFull, InvalidSettings, BackboneUnavailable."""
    directory = Directory(path)
    directory.generation()  # A newer format is refused before anything is written, the lock file included.
    directory.make()
    directory.take()
    try:
        generation = directory.generation()
        if generation is None:
            return _create(directory, free_bytes_min)
        store = Store.open(directory.store, directory.high_water, free_bytes_min=free_bytes_min)
        try:
            _check_generation(store, generation)
            high_water = HighWater.open(directory.high_water)
        except SetpointError:
            store.close()
            raise
    except SetpointError:
        directory.release()
        raise
    # Opening has put everything that was in the journal into table files, on the device.
    high_water.write(store.sequence, store.sequence)
    return Opened(directory=directory, store=store, high_water=high_water, generation=generation)


def open_to_read(path: Path) -> Opened:
    """Open beside a writer or without one. Raises DataTooNew, DataDamaged, InvalidSettings."""
    directory = Directory(path)
    generation = directory.generation()
    if generation is None:
        raise InvalidSettings(f"There is no log at {path}. Nothing was opened. Name the directory of an existing one.")
    store = FollowingStore.follow(directory.store, directory.high_water)
    try:
        _check_generation(store, generation)
    except SetpointError:
        store.close()
        raise
    return Opened(directory=directory, store=store, high_water=None, generation=generation)


def _create(directory: Directory, free_bytes_min: int) -> Opened:
    """`format.json` is written last: without it a creation was cut short and begins again."""
    undone = "The log was not created."
    store = Store.open(directory.store, directory.high_water, free_bytes_min=free_bytes_min, create=True)
    try:
        if store.first(b"", _GENERATION_KEY) or store.first(_GENERATION_KEY + b"\0", b"\xff"):
            raise damaged(directory.format, "the file is missing beside a log that holds records", undone)
        high_water = HighWater.create(directory.high_water)
        generation = directory.establish(lambda drawn: _store_generation(store, drawn))
    except OSError as exc:
        store.close()
        raise os_fault(exc, directory.path, undone) from exc
    except SetpointError:
        store.close()
        raise
    high_water.write(store.sequence, store.sequence)
    return Opened(directory=directory, store=store, high_water=high_water, generation=generation)


def _store_generation(store: Store, generation: str) -> None:
    batch = new_batch()
    batch.put(_GENERATION_KEY, sealed(_GENERATION_KEY, generation.encode()))
    store.write(batch, 0)
    store.sync()


def _check_generation(store: Store, generation: str) -> None:
    """A store beside the `format.json` of another log is a directory put together from two."""
    stored = store.get(_GENERATION_KEY)
    try:
        found = unsealed(_GENERATION_KEY, stored or b"").decode()
    except ChecksumBroken:
        found = "none"
    if found != generation:
        raise damaged(store.path, f"it has generation {found}, format.json says {generation}", "Nothing was opened.")
