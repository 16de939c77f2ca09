"""The process probe, on real processes: what it sees becomes events, whatever state the service is in."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from control_plane.demo.ports import free_ports
from control_plane.errors import BackboneUnavailable, StorageFull
from control_plane.messages import Event
from control_plane.triggers import trigger_kinds
from control_plane.triggers.process_probe import MEASURED, PROBED, ProcessProbe, ProcessProbeKeys
from control_plane.triggers.trigger import EventMint, Publish, Trigger

SUBJECT = "service/web-1"
PATIENCE_S = 20.0


class Heard:
    """Keeps what is published, and wakes whoever waits for something in it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    async def publish(self, events: Sequence[Event]) -> None:
        self.events += events
        self._news.set()

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        """The first event from now on that is wanted."""
        at = len(self.events)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.events[at:]:
                    if wanted(event):
                        return event
                at = len(self.events)
                self._news.clear()
                await self._news.wait()


class Web:
    """The service of the incident example on a port of its own."""

    def __init__(self, script: Path) -> None:
        (self.port,) = free_ports(1)
        self._script = script
        self.process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def command_line(self) -> str:
        return f"{self._script} --name web-1 --port {self.port}"

    async def start(self) -> None:
        options = ["--name", "web-1", "--port", str(self.port), "--while-pid", str(os.getpid())]
        self.process = await asyncio.create_subprocess_exec(sys.executable, str(self._script), *options)

    async def break_it(self, way: str) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.post(f"{self.url}break/{way}")).raise_for_status()

    async def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    with as_file(files("control_plane.workspace") / "examples/incident/services/web.py") as script:
        web = Web(script)
        await web.start()
        yield web
        await web.stop()


@pytest.fixture
def heard() -> Heard:
    return Heard()


def a_probe(publish: Publish, service: dict[str, Any], **keys: Any) -> Trigger:
    written = {"interval": "20ms", **keys, "services": {"web-1": service}}
    return ProcessProbe("probes", msgspec.convert(written, ProcessProbeKeys), publish)


@contextlib.asynccontextmanager
async def running(trigger: Trigger) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(trigger.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def is_up(event: Event) -> bool:
    return event.type == PROBED and event.data["up"] is True


def is_down(event: Event) -> bool:
    return event.type == PROBED and event.data["up"] is False


async def test_a_service_that_is_well_is_measured_and_probed(web: Web, heard: Heard) -> None:
    assert web.process is not None
    async with running(a_probe(heard.publish, {"url": web.url, "process": web.command_line})):
        probed = await heard.until(is_up)
        measured = await heard.until(lambda event: event.type == MEASURED)

    assert probed.subject == measured.subject == SUBJECT
    assert probed.data["status"] == 200
    assert 0 <= probed.data["latency_ms"] < PATIENCE_S * 1000
    assert measured.data["pid"] == web.process.pid
    assert 1 < measured.data["rss_mb"] < 100
    assert measured.data["uptime_s"] >= 0
    assert measured.data["cpu_percent"] >= 0


async def test_a_leak_shows_in_what_is_measured(web: Web, heard: Heard) -> None:
    async with running(a_probe(heard.publish, {"url": web.url, "process": web.command_line})):
        await heard.until(is_up)
        await web.break_it("leak")

        grown = await heard.until(lambda event: event.type == MEASURED and event.data["rss_mb"] > 120)

    assert grown.subject == SUBJECT


async def test_a_crash_is_an_event_and_so_is_the_start_after_it(web: Web, heard: Heard) -> None:
    async with running(a_probe(heard.publish, {"url": web.url, "process": web.command_line})):
        first = await heard.until(lambda event: event.type == MEASURED)
        await heard.until(is_up)
        await web.break_it("crash")
        down = await heard.until(is_down)
        await web.start()
        await heard.until(is_up)
        second = await heard.until(lambda e: e.type == MEASURED and e.data["pid"] != first.data["pid"])

    assert down.data["error"]
    assert "latency_ms" not in down.data
    assert web.process is not None
    assert second.data["pid"] == web.process.pid


async def test_a_process_that_ended_is_not_measured(web: Web, heard: Heard) -> None:
    async with running(a_probe(heard.publish, {"url": web.url, "process": web.command_line})):
        await heard.until(lambda event: event.type == MEASURED)
        await heard.until(is_up)
        await web.break_it("crash")
        await heard.until(is_down)
        at = len(heard.events)
        for _ in range(5):
            await heard.until(is_down)

    assert [event for event in heard.events[at:] if event.type == MEASURED] == []


async def test_a_slow_service_is_up_until_the_time_is_over(web: Web, heard: Heard) -> None:
    async with running(a_probe(heard.publish, {"url": web.url}, timeout="10s")):
        await heard.until(is_up)
        await web.break_it("slow")
        slow = await heard.until(lambda event: is_up(event) and event.data["latency_ms"] > 200)
    async with running(a_probe(heard.publish, {"url": web.url}, timeout="100ms")):
        silent = await heard.until(is_down)

    assert slow.data["latency_ms"] > 200
    assert silent.data == {"up": False, "error": "no answer within 0.1 s"}


async def test_a_service_that_hangs_is_asked_by_one_probe_at_a_time(heard: Heard) -> None:
    connections = 0
    asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(a_probe(heard.publish, {"url": f"http://127.0.0.1:{port}/"}, timeout="300ms")):
            await asyncio.wait_for(asked.wait(), PATIENCE_S)
            await heard.until(is_down)
            told = len(heard.events)

    assert connections <= told + 1


async def test_what_does_not_speak_http_is_down(heard: Heard) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xffSSH-2.0 hello\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(a_probe(heard.publish, {"url": f"http://127.0.0.1:{port}/"})):
            down = await heard.until(is_down)

    assert 0 < len(down.data["error"]) <= 200


async def test_a_log_that_cannot_be_reached_costs_a_measurement_and_not_the_trigger(web: Web, heard: Heard) -> None:
    refused = 0

    async def sometimes(events: Sequence[Event]) -> None:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise BackboneUnavailable("the log is away")
        await heard.publish(events)

    async with running(a_probe(sometimes, {"url": web.url})):
        await heard.until(lambda event: event.type == PROBED)

    assert refused == 3


async def test_a_full_disk_ends_the_trigger(web: Web) -> None:
    async def full(events: Sequence[Event]) -> None:
        raise StorageFull("the disk takes no more")

    async with running(a_probe(full, {"url": web.url})) as task:
        with pytest.raises(StorageFull):
            await asyncio.wait_for(task, PATIENCE_S)


def test_no_two_events_have_the_same_id_even_after_a_restart() -> None:
    before, after = EventMint("probes"), EventMint("probes")

    events = [mint.event(PROBED, SUBJECT, {}) for mint in (before, after) for _ in range(100)]

    assert len({event.lineage.message_id for event in events}) == 200
    assert {event.lineage.source for event in events} == {"trigger/probes"}
    assert all(event.occurred_at.tzinfo is not None for event in events)


@pytest.mark.parametrize(
    ("keys", "wrong"),
    [
        ({}, "services"),
        ({"services": {}}, "services"),
        ({"services": {"web 1": {}}}, "services"),
        ({"services": {"web-1": {"url": "127.0.0.1:80"}}}, "url"),
        ({"services": {"web-1": {"uri": "http://x/"}}}, "uri"),
        ({"services": {"web-1": {"process": ""}}}, "process"),
        ({"services": {"web-1": {}}, "interval": "often"}, "interval"),
    ],
)
def test_keys_that_make_no_sense_are_refused(keys: dict[str, Any], wrong: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=wrong):
        msgspec.convert(keys, trigger_kinds()["process_probe"])
