"""One process of Setpoint: what it needs it takes first, and what it does can be seen."""

import asyncio
import socket
from pathlib import Path

import pytest

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.errors import InvalidSettings
from tests.unit.test_api_telemetry import samples


async def test_the_metrics_of_a_service_show_the_lag_of_each_group_and_partition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("control_plane.adapters.faust.lag.LOOK_EVERY_S", 0.02)
    (tmp_path / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")
    workspace = load_workspace(tmp_path)
    settings = load_settings(tmp_path, {}, {"partitions": 2}, workspace)
    service = Service(settings, workspace, ("loop", "recorder"))
    await service.start()
    try:
        async with asyncio.timeout(20):
            while True:
                shown = samples(service._telemetry.registry)
                lag = {name: value for name, value in shown.items() if name.startswith("setpoint_lag_records")}
                if len(lag) > 2 and set(lag.values()) == {0}:
                    break
                await asyncio.sleep(0.01)
    finally:
        await service.stop()

    assert {name for name in lag if "group=loop" in name} == {
        "setpoint_lag_records{group=loop,partition=0,topic=events.v1}",
        "setpoint_lag_records{group=loop,partition=1,topic=events.v1}",
    }
    assert "setpoint_lag_records{group=recorder,partition=1,topic=verdicts.v1}" in lag


def service_on(root: Path, port: int) -> Service:
    (root / "setpoint.yaml").write_text("apiVersion: setpoint/v1\n")
    workspace = load_workspace(root)
    return Service(load_settings(root, {}, {"listen": f"127.0.0.1:{port}"}, workspace), workspace)


async def test_a_port_in_use_is_noticed_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        service = service_on(tmp_path, port)

        with pytest.raises(InvalidSettings, match=rf"port {port} on 127.0.0.1 is in use.*Nothing was started"):
            await service.start()

    assert [found.name for found in tmp_path.iterdir()] == ["setpoint.yaml"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_start_that_fails_gives_the_port_back(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = service_on(tmp_path, port)
    (tmp_path / "data").write_text("no folder")

    with pytest.raises(InvalidSettings, match="data"):
        await service.start()

    with socket.socket() as free:
        free.bind(("127.0.0.1", port))


async def test_who_connects_while_a_service_starts_is_answered_when_it_has(tmp_path: Path) -> None:
    service = service_on(tmp_path, 0)
    starting = asyncio.create_task(service.start())
    try:
        async with asyncio.timeout(30):
            while service._door is None:  # noqa: ASYNC110 - nobody tells when the address is taken
                await asyncio.sleep(0)
            reader, writer = await asyncio.open_connection("127.0.0.1", service._door.port)
            assert not starting.done()
            writer.write(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
            await starting
            writer.close()
    finally:
        await service.stop()

    assert answer.startswith(b"HTTP/1.1 200")
