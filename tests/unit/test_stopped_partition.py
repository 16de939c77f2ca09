"""A whole service on a log that is no longer the one it had applied: it says so, and waits for a person's word."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from control_plane.adapters.embedded_log import EmbeddedLog
from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.messages.topics import EVENTS
from tests.unit.test_api_telemetry import samples

KEY = "a-key-for-tests-0123456789"


def service_in(root: Path) -> Service:
    (root / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")
    workspace = load_workspace(root)
    set_here = {"partitions": 2, "listen": "127.0.0.1:0"}
    return Service(load_settings(root, {"SETPOINT_API_KEY": KEY}, set_here, workspace), workspace)


@pytest.fixture
async def went_back(tmp_path: Path) -> Path:
    """The folder of a service whose log has lost the end of one partition since it ran."""
    service = service_in(tmp_path)
    await service.start()
    await service.stop()
    log = EmbeddedLog.open(tmp_path / "data" / "log")
    found = log.committed("setpoint-loop", EVENTS, 1)
    assert found is not None
    log.write([], [replace(found, offset=found.offset + 10)])
    log.close()
    return tmp_path


def called(url: str, *arguments: str) -> Any:
    command = [sys.executable, "-m", "control_plane.cli.main", "log", "continue", "--url", url, "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={"SETPOINT_API_KEY": KEY})
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


async def test_a_service_starts_on_it_says_why_it_is_not_ready_and_goes_on_at_a_word(went_back: Path) -> None:
    service = service_in(went_back)
    await service.start()
    try:
        assert service.rest is not None
        async with httpx.AsyncClient(base_url=service.rest.url, headers={"Authorization": f"Bearer {KEY}"}) as client:
            refused = await client.get("/health/ready")
            stopped = samples(service._telemetry.registry)["setpoint_partitions_stopped{}"]
            unknown = await asyncio.to_thread(called, service.rest.url, "--partition", "7")
            far = await asyncio.to_thread(called, service.rest.url, "--partition", "1", "--from", "999")
            said = await asyncio.to_thread(called, service.rest.url, "--partition", "1")
            async with asyncio.timeout(20):
                while (await client.get("/health/ready")).status_code != 200:  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.02)
    finally:
        await service.stop()

    assert refused.status_code == 503
    assert "setpoint log continue --partition 1" in refused.json()["detail"]
    assert stopped >= 1
    assert "not 999" in far
    assert "partition" in unknown
    assert (said["partition"], said["generation"]) == (1, 1)
