"""A service killed with SIGKILL while a folder is applied to it: the next start follows the old controls or the new."""

import contextlib
import json
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.bootstrap.workshop import load_workspace
from tests.unit.cli_world import KEY, process
from tests.unit.service_world import BARE, PATIENCE_S, written

GUARD = "agents/heat_guard.yaml"
KILL_AFTER_S = (0.0, 0.15, 0.3, 0.45)
"""From the moment an apply is sent; it is done after some 0.3 s."""


def begun(folder: Path) -> tuple[Any, httpx.Client]:
    running = process("up", str(folder), "--json", SETPOINT_API_KEY=KEY)
    assert running.stdout is not None
    line = running.stdout.readline()
    assert line, running.communicate()
    headers = {"Authorization": f"Bearer {KEY}"}
    return running, httpx.Client(base_url=json.loads(line)["url"], headers=headers, trust_env=False)


@pytest.mark.kills
@pytest.mark.timeout(300)
def test_whenever_it_is_killed_the_next_start_follows_one_of_the_two_as_a_whole(tmp_path: Path) -> None:
    folder = written(tmp_path / "plant")
    for number, after_s in enumerate(KILL_AFTER_S):
        other = written(tmp_path / "other", **{GUARD: BARE[GUARD].replace("90.0", f"{60 + number}.0")})
        wanted = load_workspace(other).controls
        items = [{"kind": item.kind, "name": item.name, "body": item.body} for item in wanted.items]
        running, http = begun(folder)
        with http:
            before = http.get("/v1/controls").json()["revision"]
            # It is on its way; that is when it is killed.
            with contextlib.suppress(httpx.TimeoutException):
                http.put("/v1/controls", json={"items": items}, headers={"If-Match": before}, timeout=after_s or 0.001)
            running.send_signal(signal.SIGKILL)
            running.communicate(timeout=PATIENCE_S)

        running, http = begun(folder)
        with http:
            found = http.get("/v1/controls").json()
            running.send_signal(signal.SIGTERM)
            _, complained = running.communicate(timeout=PATIENCE_S)
        assert running.returncode == 0, complained
        assert found["revision"] in (before, wanted.revision)
        assert found["adopted"], found["partitions"]

    said, complained = process("replay", "--data", str(folder / "data")).communicate(timeout=PATIENCE_S)
    assert said.splitlines()[-1] == "equal", complained
