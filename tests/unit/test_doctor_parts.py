"""Doctor tells of each part that the settings name whether it is there, which version it is, and what to do."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from control_plane.adapters.sql import Database
from control_plane.adapters.sql.schema import HEAD
from tests.databases import own_database, server
from tests.unit.cli_world import setpoint
from tests.unit.service_world import written

NOBODY = "127.0.0.1:1"


def looked(folder: Path, **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and each finding by its subject."""
    result = setpoint("doctor", str(written(folder)), "--json", **environment)
    return result.exit_code, {finding["subject"]: finding for finding in json.loads(result.stdout)["findings"]}


def test_parts_that_are_in_the_process_are_there(tmp_path: Path) -> None:
    code, found = looked(tmp_path)

    assert code == 0
    assert "SQLite 3" in found["store"]["detail"]
    assert "tables are made at the first start" in found["store"]["detail"]
    assert found["policy engine"]["detail"].startswith("embedded, regorus 0.")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("setting", "url", "subject"),
    [
        ("SETPOINT_BACKBONE", f"kafka://{NOBODY}", "log"),
        ("SETPOINT_STORE", f"postgresql+asyncpg://setpoint:se-cret@{NOBODY}/setpoint", "store"),
        ("SETPOINT_POLICY_ENGINE", f"http://{NOBODY}", "policy engine"),
        ("SETPOINT_POLICY_ENGINE", "unix:///nowhere/opa.sock", "policy engine"),
    ],
)
def test_a_part_that_does_not_answer_is_named_with_its_cure(
    tmp_path: Path, setting: str, url: str, subject: str
) -> None:
    code, found = looked(tmp_path, **{setting: url})

    assert code == 3
    assert [name for name, finding in found.items() if finding["state"] == "away"] == [subject]
    assert "correct `" in found[subject]["cure"]
    assert "se-cret" not in json.dumps(found)


def test_a_file_that_is_no_database_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database at all" * 100)

    code, found = looked(tmp_path, SETPOINT_STORE=f"sqlite+aiosqlite:///{tmp_path}/notes.txt")

    assert (code, found["store"]["state"]) == (1, "problem")
    assert "not a database" in found["store"]["detail"]


@pytest.mark.opa
def test_an_opa_that_answers_says_its_version(tmp_path: Path, opa_url: str) -> None:
    code, found = looked(tmp_path, SETPOINT_POLICY_ENGINE=opa_url)

    assert (code, found["policy engine"]["detail"]) == (0, f"{opa_url} answers, OPA 1.22.2")


@pytest.mark.postgres
async def test_a_postgresql_says_its_version_and_its_schema_and_nothing_is_made_in_it(
    tmp_path: Path, postgres_url: str
) -> None:
    async with own_database(postgres_url) as url:
        _, empty = await asyncio.to_thread(looked, tmp_path, SETPOINT_STORE=url)
        async with server(url) as connection:
            tables = await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        database = await Database.open(url)
        await database.close()
        code, ready = await asyncio.to_thread(looked, tmp_path, SETPOINT_STORE=url)
        async with server(url) as connection:
            await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        newer_code, newer = await asyncio.to_thread(looked, tmp_path, SETPOINT_STORE=url)
        gone = make_url(url).set(database="gone").render_as_string(hide_password=False)
        gone_code, _ = await asyncio.to_thread(looked, tmp_path, SETPOINT_STORE=gone)

    assert "tables are made at the first start" in empty["store"]["detail"]
    assert tables == 0
    assert code == 0
    assert "answers, PostgreSQL 1" in ready["store"]["detail"]
    assert ready["store"]["detail"].endswith(f", schema {HEAD}")
    assert (newer_code, newer["store"]["state"]) == (1, "problem")
    assert gone_code == 3
