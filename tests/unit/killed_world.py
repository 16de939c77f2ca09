"""A real service that a test kills, and what it has recorded."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.unit.cli_world import process

PATIENCE_S = 60.0


@contextmanager
def up(folder: Path) -> Iterator[httpx.Client]:
    """A service that is killed at the end of the block, and a client with its key."""
    service = process("up", str(folder), "--listen", "127.0.0.1:0", "--json")
    try:
        assert service.stdout is not None
        line = service.stdout.readline()
        assert line, service.communicate()
        headers = {"Authorization": f"Bearer {(folder / 'data' / 'api.key').read_text().strip()}"}
        with httpx.Client(base_url=json.loads(line)["url"], headers=headers) as client:
            yield client
    finally:
        service.kill()
        service.communicate(timeout=PATIENCE_S)


def listed(client: httpx.Client, event_type: str) -> list[dict[str, Any]]:
    """Every recorded event of a type, oldest first; a copy in the log is listed once."""
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        query = {"type": event_type, "order": "oldest", "after": after, "limit": 500}
        page = client.get("/v1/events", params=query).raise_for_status().json()
        found += [item["event"] for item in page["items"]]
        if page["next_after"] is None:
            return found
        after = page["next_after"]
