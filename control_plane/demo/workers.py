"""The demo's services as the world sees them: started, broken, looked at and, at the end, ended for good.

Nothing here asks Setpoint how a service is: it reads what each service wrote when it started, asks the operating
system, and asks the service itself.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from control_plane.errors import TemporaryError

WELL_LATENCY_MS = 150.0
WELL_RSS_MB = 80.0
LOOK_TIMEOUT_S = 1.0
END_TIMEOUT_S = 3.0
BYTES_PER_MB = 1_000_000
WELL_TIMEOUT_S = 10.0
LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a service, in the service's own words. Without a command it was the very first one."""

    name: str
    pid: int
    command_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a service found. Without a process or an answer it is not well."""

    pid: int | None
    rss_mb: float | None
    latency_ms: float | None

    @property
    def is_well(self) -> bool:
        """Whether it runs, answers quickly and takes little memory."""
        return (
            self.pid is not None
            and self.rss_mb is not None
            and self.latency_ms is not None
            and self.rss_mb < WELL_RSS_MB
            and self.latency_ms < WELL_LATENCY_MS
        )


class Workers:
    """The services, by name and port. `starts_file` gets one line for each start of any of them."""

    def __init__(self, ports: dict[str, int], starts_file: Path) -> None:
        self.ports = ports
        self.starts_file = starts_file
        self._client = httpx.AsyncClient(
            trust_env=False, timeout=LOOK_TIMEOUT_S, limits=httpx.Limits(max_keepalive_connections=0), verify=False
        )

    async def all_well(self) -> None:
        """Wait until every service runs and is well. Raises TemporaryError when one does not become so."""
        for name in self.ports:
            try:
                async with asyncio.timeout(WELL_TIMEOUT_S):
                    while not (await self.look(name)).is_well:  # noqa: ASYNC110 - the world sends no event
                        await asyncio.sleep(LOOK_EVERY_S)
            except TimeoutError:
                found = await self.look(name)
                raise TemporaryError(f"{name} was not well within {WELL_TIMEOUT_S:g} s: {found}") from None

    async def break_it(self, name: str, way: str) -> None:
        """Break a service for real. Raises TemporaryError when it cannot even be told to."""
        try:
            (await self._client.post(f"{self._url(name)}break/{way}")).raise_for_status()
        except httpx.HTTPError as exc:
            raise TemporaryError(f"{name} could not be broken, because it is not well: {exc!r}") from exc

    async def look(self, name: str) -> Look:
        """How a service is now."""
        pid = next((start.pid for start in reversed(self.starts()) if start.name == name), None)
        rss_mb = _rss_mb(pid) if pid is not None else None
        if rss_mb is None:
            return Look(None, None, None)
        began_s = time.perf_counter()
        try:
            (await self._client.get(self._url(name))).raise_for_status()
        except httpx.HTTPError:
            return Look(pid, rss_mb, None)
        return Look(pid, rss_mb, (time.perf_counter() - began_s) * 1000)

    def starts(self) -> list[Start]:
        """Every start so far, oldest first. A line that is still being written is left for later."""
        if not self.starts_file.exists():
            return []
        lines = self.starts_file.read_text().split("\n")[:-1]
        return [Start(**json.loads(line)) for line in lines]

    async def close(self) -> None:
        """End every service, and wait until it has ended."""
        await self._client.aclose()
        end_all(self.starts_file)

    def _url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}/"


def end_all(starts_file: Path) -> None:
    """End every process that carries this file's name on its command line: no service outlives its demo."""
    ours = list(_carrying(str(starts_file)))
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(ours, timeout=END_TIMEOUT_S)


def _carrying(text: str) -> Iterable[psutil.Process]:
    for process in psutil.process_iter(["cmdline"]):
        if text in (process.info["cmdline"] or ()):
            yield process


def _rss_mb(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return float(process.memory_info().rss / BYTES_PER_MB)
    except psutil.Error:
        return None
