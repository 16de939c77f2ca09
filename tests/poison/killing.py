"""Redrives while the service is killed, again and again: how often each event had its effect in the end."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from control_plane.adapters.faust.fault_points import WRITE_POINTS
from tests.poison.house import KEY, PATIENCE_S, POLL_S, House, Onlooker, subjects
from tests.poison.redrive import MENDED, bury, letters, not_once
from tests.real_parts import free_port

SWEEP_LETTERS = 4
"""Few at a time, so that a kill finds some that went back and some that did not."""
LIFE_MAX_S = 0.5
PASSAGES_MAX = 20


@dataclass(kw_only=True)
class Redriven:
    """What came of it. `cut` counts requests that were under way when the service died."""

    kills: int = 0
    cut: int = 0
    violations: list[str] = field(default_factory=list)


async def redrive_under_kills(house: House, *, letters_: int, kills: int, seed: int) -> Redriven:
    """Bury events, mend, and redrive them through so many deaths."""
    chance = random.Random(seed)
    machines = subjects(letters_, "killed")
    async with house.alive() as life:
        await bury(life, machines)
        await life.apply(**MENDED)
    found = Redriven()
    for _ in range(kills):
        found.cut += await _one_life(house, chance)
        found.kills += 1
    async with house.alive() as life, life.client() as client:
        while await letters(client, "open"):
            await _sweep(client)
        await life.until(lambda seen: seen.outcomes.keys() >= set(machines))
    found.violations = await asyncio.to_thread(_judged, house, machines)
    return found


async def _one_life(house: House, chance: random.Random) -> int:
    """A service that is killed while it redrives, at any time or at a point of its write; requests that were cut."""
    port = free_port()
    point = f"{chance.choice(WRITE_POINTS)}:{chance.randint(1, PASSAGES_MAX)}" if chance.random() < 0.5 else ""
    process = _started(house, port, point)
    try:
        return await _until_killed(process, port, chance.uniform(0.0, LIFE_MAX_S))
    finally:
        process.kill()
        process.wait()


def _started(house: House, port: int, point: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "SETPOINT_LISTEN": f"127.0.0.1:{port}", "SETPOINT_API_KEY": KEY}
    with (house.root / "service.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "control_plane.cli.main", "up", str(house.root / "workspace")],
            env=environment | ({"SETPOINT_FAULT": point} if point else {}),
            stdout=log,
            stderr=log,
        )


async def _until_killed(process: "subprocess.Popen[bytes]", port: int, life_s: float) -> int:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
        if not await _is_ready(client, process):
            return 0
        sweeping = asyncio.create_task(_sweep_on(client))
        await asyncio.wait([sweeping], timeout=life_s)
        process.kill()
        return await sweeping


async def _is_ready(client: httpx.AsyncClient, process: "subprocess.Popen[bytes]") -> bool:
    """False for one that its fault point killed before that."""
    async with asyncio.timeout(PATIENCE_S):
        while process.poll() is None:
            try:
                if (await client.get("/health/ready")).status_code == httpx.codes.OK:
                    return True
            except httpx.TransportError:
                pass
            await asyncio.sleep(POLL_S)
    assert process.returncode == -signal.SIGKILL, f"the service ended by itself with {process.returncode}"
    return False


async def _sweep_on(client: httpx.AsyncClient) -> int:
    """Redrive until the service dies under it, or nothing is left; 1 when a request was cut."""
    try:
        while await letters(client, "open"):
            await asyncio.gather(*(_sweep(client) for _ in range(3)))
    except httpx.TransportError:
        return 1
    return 0


async def _sweep(client: httpx.AsyncClient) -> None:
    wish = {"reason": "type_unknown", "dry_run": False, "limit": SWEEP_LETTERS}
    answer = await client.post("/v1/dead-letters/redrive", json=wish)
    assert answer.status_code == httpx.codes.OK, answer.text


def _judged(house: House, machines: Sequence[str]) -> list[str]:
    return not_once(Onlooker(house.url).look(), machines)
