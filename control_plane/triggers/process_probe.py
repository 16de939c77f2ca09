"""Watches local services: their processes with psutil, their answers over HTTP. Kind `process_probe`.

About `service/NAME` it publishes `process.measured` (pid, rss_mb, cpu_percent, uptime_s) and `service.probed` (up,
status, latency_ms, error). A service that does not answer is an event like any other, and no exception.
"""

import asyncio
import logging
import ssl
import time
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct

from control_plane.catalogue.definitions import Duration
from control_plane.durations import parse_duration_ms
from control_plane.errors import TemporaryError
from control_plane.messages import Event
from control_plane.triggers.processes import Processes
from control_plane.triggers.trigger import EventMint, Publish

if TYPE_CHECKING:
    import httpx

SERVICES_MAX = 256
CONCURRENT_PROBES_MAX = 32
ERROR_CHARS_MAX = 200

MEASURED = "process.measured"
PROBED = "service.probed"

_log = logging.getLogger(__name__)

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/]+", max_length=500, description="http://host:port/path.")]
ServiceName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="Letters, digits, dots and dashes.")
]


class WatchedService(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One service. `process` is a text that its command line holds; without it the process is not measured."""

    url: Url | None = None
    process: Annotated[str, Meta(min_length=1, max_length=500)] | None = None


class ProcessProbeKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `triggers/*.yaml` says of this kind."""

    services: Annotated[dict[ServiceName, WatchedService], Meta(min_length=1, max_length=SERVICES_MAX)]
    interval: Duration = "200ms"
    timeout: Duration = "1s"


class ProcessProbe:
    """Asks each service at an interval; a service that is still being asked is not asked again."""

    def __init__(self, name: str, keys: ProcessProbeKeys, publish: Publish) -> None:
        self.name = name
        self._services = keys.services
        self._interval_s = max(0.01, parse_duration_ms(keys.interval) / 1000)
        self._timeout_s = max(0.01, parse_duration_ms(keys.timeout) / 1000)
        self._publish_events = publish
        self._mint = EventMint(name)
        self._processes = Processes(found.process for found in keys.services.values() if found.process is not None)
        self._at_once = asyncio.Semaphore(CONCURRENT_PROBES_MAX)

    async def run(self) -> None:
        """Watch until cancelled. Raises StorageFull, or what else no waiting can mend."""
        try:
            async with self._client() as client, asyncio.TaskGroup() as group:
                for name, service in self._services.items():
                    if service.process is not None:
                        group.create_task(self._measure(f"service/{name}", service.process))
                    if service.url is not None:
                        group.create_task(self._probe(f"service/{name}", service.url, client))
        except ExceptionGroup as failures:
            # What failed first has ended the others; whoever runs this knows single errors.
            raise failures.exceptions[0] from failures

    def _client(self) -> "httpx.AsyncClient":
        import httpx  # Who only reads a workspace needs no HTTP client.

        # Each probe opens a connection of its own: a service that no longer accepts any must not look well.
        needs_tls = any((found.url or "").startswith("https:") for found in self._services.values())
        return httpx.AsyncClient(
            verify=ssl.create_default_context() if needs_tls else False,
            trust_env=False,
            timeout=self._timeout_s,
            limits=httpx.Limits(max_connections=CONCURRENT_PROBES_MAX, max_keepalive_connections=0),
        )

    async def _measure(self, subject: str, process: str) -> None:
        async for _ in _every(self._interval_s):
            measured = await self._processes.measure(process)
            if measured is not None:
                await self._publish(self._mint.event(MEASURED, subject, measured))

    async def _probe(self, subject: str, url: str, client: "httpx.AsyncClient") -> None:
        async for _ in _every(self._interval_s):
            async with self._at_once:
                answer = await self._ask(url, client)
            await self._publish(self._mint.event(PROBED, subject, answer))

    async def _ask(self, url: str, client: "httpx.AsyncClient") -> dict[str, Any]:
        """What `service.probed` says. The body is not read: whoever answers at all has answered."""
        import httpx

        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s), client.stream("GET", url) as response:
                latency_ms = round((time.perf_counter() - began_s) * 1000, 1)
        except (TimeoutError, httpx.TimeoutException):
            return {"up": False, "error": f"no answer within {self._timeout_s:g} s"}
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as exc:
            return {"up": False, "error": (str(exc) or type(exc).__name__)[:ERROR_CHARS_MAX]}
        return {"up": response.status_code < 500, "status": response.status_code, "latency_ms": latency_ms}

    async def _publish(self, event: Event) -> None:
        try:
            await self._publish_events([event])
        except TemporaryError as exc:
            # The next measurement is a newer one: nothing is gained by keeping this.
            _log.warning("a measurement was not published", extra={"subject": event.subject, "reason": str(exc)})


async def _every(interval_s: float) -> Any:
    """Ticks at fixed times; those that were missed are left out."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        yield None
        missed = int((loop.time() - due_s) / interval_s)
        due_s += (missed + 1) * interval_s
        await asyncio.sleep(due_s - loop.time())
