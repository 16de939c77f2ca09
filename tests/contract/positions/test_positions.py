"""The Positions port: what was written is there, whole, apart and after a restart."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from control_plane.adapters.memory import MemoryPositions
from control_plane.adapters.sql import Database, SqlPositions
from control_plane.errors import PositionsUnavailable
from control_plane.ports.positions import Positions
from tests.databases import own_database


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def positions(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Positions]:
    if request.param == "memory":
        yield MemoryPositions()
    elif request.param == "sqlite":
        database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")
        yield SqlPositions(database)
        await database.close()
    else:
        async with own_database(request.getfixturevalue("postgres_url")) as url:
            database = await Database.open(url)
            yield SqlPositions(database)
            await database.close()


async def test_a_trigger_that_never_ran_has_kept_nothing(positions: Positions) -> None:
    assert await positions.read("orders") == {}


async def test_what_was_written_is_read_as_it_was(positions: Positions) -> None:
    written = {"a": {"offset": 12, "name": 'ß"\\\u0001'}, "b": 3, "c/d:1": ["x", None, 1.5], "": 0}

    await positions.write("orders", written)

    assert await positions.read("orders") == written


async def test_a_later_value_replaces_an_earlier_one_and_leaves_the_others(positions: Positions) -> None:
    await positions.write("orders", {"a": 1, "b": 1})
    await positions.write("orders", {"a": 2})

    assert await positions.read("orders") == {"a": 2, "b": 1}


async def test_none_forgets_a_key_in_the_same_stroke(positions: Positions) -> None:
    await positions.write("orders", {"a": 1, "b": 1})
    await positions.write("orders", {"a": None, "c": 3, "never": None})

    assert await positions.read("orders") == {"b": 1, "c": 3}


async def test_triggers_are_kept_apart(positions: Positions) -> None:
    await positions.write("orders", {"a": 1})
    await positions.write("orders2", {"a": 2})
    await positions.write("orders", {"a": None})

    assert await positions.read("orders") == {}
    assert await positions.read("orders2") == {"a": 2}


async def test_what_is_read_is_a_copy(positions: Positions) -> None:
    value = {"offset": 1}
    await positions.write("orders", {"a": value})
    value["offset"] = 2

    assert await positions.read("orders") == {"a": {"offset": 1}}


async def test_a_value_that_is_no_json_is_refused_and_nothing_of_the_call_is_kept(positions: Positions) -> None:
    with pytest.raises(TypeError):
        await positions.write("orders", {"a": 1, "b": object()})

    assert await positions.read("orders") == {}


async def test_many_keys_are_one_write(positions: Positions) -> None:
    many = {f"file-{n}": {"offset": n} for n in range(2_500)}

    await positions.write("orders", many)
    await positions.write("orders", dict.fromkeys(list(many)[:2_000]))

    assert await positions.read("orders") == {key: many[key] for key in list(many)[2_000:]}


async def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path}/audit.db"
    first = await Database.open(url, durability="fsync")
    await SqlPositions(first).write("orders", {"a": 7})
    await first.close()

    second = await Database.open(url)
    assert await SqlPositions(second).read("orders") == {"a": 7}
    await second.close()


async def test_a_store_that_is_away_says_what_was_not_done_and_goes_on_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.adapters.sql.dialect.BUSY_TIMEOUT_MS", 50)
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/audit.db")
    positions = SqlPositions(database)
    other_process = sqlite3.connect(tmp_path / "audit.db", isolation_level=None)
    other_process.execute("BEGIN EXCLUSIVE")

    with pytest.raises(PositionsUnavailable, match="so it waits"):
        await positions.write("orders", {"a": 1})
    other_process.execute("ROLLBACK")
    other_process.close()

    await positions.write("orders", {"a": 1})
    assert await positions.read("orders") == {"a": 1}
    await database.close()
