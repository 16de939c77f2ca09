"""A running service tells how far each of its groups is behind."""

import asyncio
from pathlib import Path

import pytest

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
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
