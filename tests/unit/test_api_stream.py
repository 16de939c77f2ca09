"""Events can be followed over a real socket, resumed without a gap, and the server stops although somebody listens."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from control_plane.api.door import Door
from control_plane.api.serving import STOP_TIMEOUT_S, RestServer
from control_plane.api.streaming import STREAMS_MAX
from control_plane.errors import InvalidSettings
from tests.builders import event
from tests.unit.api_world import KEY, MemoryAudit, World, a_world

PATIENCE_S = 20.0


@asynccontextmanager
async def served(world: World) -> AsyncIterator[RestServer]:
    server = RestServer(world.app, Door.open("127.0.0.1", 0))
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def client_of(server: RestServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=PATIENCE_S) as client:
        yield client


class Stream:
    """The lines of one open stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def begun(self) -> None:
        """Until the server has found where to begin: what is recorded after this is sent."""
        assert await anext(self._lines) == ": events follow"
        assert await anext(self._lines) == "retry: 1000"
        assert await anext(self._lines) == ""

    async def next(self) -> tuple[int, dict[str, Any]]:
        """The next event with its sequence."""
        sequence, data = -1, ""
        async for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                sequence = int(value)
            if name == "data":
                data += value
            if not line and data:
                return sequence, json.loads(data)
        raise AssertionError("the stream has ended")


@asynccontextmanager
async def followed(client: httpx.AsyncClient, query: str = "", last: int | None = None) -> AsyncIterator[Stream]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    async with client.stream("GET", f"/v1/events/stream{query}", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        stream = Stream(response)
        async with asyncio.timeout(PATIENCE_S):
            await stream.begun()
            yield stream


async def measure(world: World, *ids: str, **changes: Any) -> None:
    for message_id in ids:
        await world.record(event(data={"rss": 1.0}, message_id=message_id, **changes))


async def test_a_stream_is_resumed_after_the_last_event_that_was_seen() -> None:
    world = a_world()
    await measure(world, "e1", "e2", "e3")

    async with served(world) as server, client_of(server) as client:
        async with followed(client, last=1) as stream:
            first = await stream.next()
            await measure(world, "e4")
            rest = [await stream.next(), await stream.next()]
        async with followed(client, "?after=3") as stream:
            again = await stream.next()

    assert [(sequence, sent["id"]) for sequence, sent in (first, *rest)] == [(2, "e2"), (3, "e3"), (4, "e4")]
    assert again == rest[-1]
    assert again[1]["data"] == {"rss": 1.0}


async def test_a_new_stream_begins_with_what_comes_from_now_on() -> None:
    world = a_world()
    await measure(world, "old")
    asked = asyncio.Event()
    query = world.audit.query

    async def noting(page: Any) -> Any:
        found = await query(page)
        if not page.newest_first:
            asked.set()
        return found

    world.audit.query = noting  # type: ignore[method-assign]
    async with served(world) as server, client_of(server) as client, followed(client) as stream:
        await asked.wait()
        await measure(world, "new")
        sequence, sent = await stream.next()

    assert (sequence, sent["id"]) == (2, "new")


async def test_a_stream_is_filtered_by_type_and_subject_and_skips_poison() -> None:
    world = a_world()
    await measure(world, "e1")
    await world.record_raw("events.v1", b"\xff no event")
    await measure(world, "e2", subject="service/web-2")
    await world.record(event("service.started", message_id="e3", subject="service/web-2"))

    async with served(world) as server, client_of(server) as client:
        async with followed(client, "?subject=service/web-2", last=0) as stream:
            by_subject = [(await stream.next())[1]["id"], (await stream.next())[1]["id"]]
        async with followed(client, "?type=service.started", last=0) as stream:
            by_type = (await stream.next())[1]["id"]
        async with followed(client, last=0) as stream:
            everything = [(await stream.next())[1]["id"] for _ in range(3)]

    assert (by_subject, by_type, everything) == (["e2", "e3"], "e3", ["e1", "e2", "e3"])


async def test_more_than_one_page_at_once_is_sent_whole() -> None:
    world = a_world()
    await measure(world, *(f"e{n}" for n in range(450)))

    async with served(world) as server, client_of(server) as client, followed(client, last=0) as stream:
        sent = [(await stream.next())[0] for _ in range(450)]

    assert sent == list(range(1, 451))


async def test_a_stream_outlives_an_audit_store_that_is_away() -> None:
    world = a_world()
    assert isinstance(world.audit, MemoryAudit)

    async with served(world) as server, client_of(server) as client:
        world.audit.away = True
        async with followed(client, last=0) as stream:
            await measure(world, "e1")
            world.audit.away = False
            sequence, _ = await stream.next()

    assert sequence == 1


async def test_a_stream_wants_the_key_and_a_place() -> None:
    world = a_world()

    async with served(world) as server:
        async with httpx.AsyncClient(base_url=server.url) as stranger:
            assert (await stranger.get("/v1/events/stream")).status_code == 401
        async with client_of(server) as client:
            places = [world.app.state.streams.place() for _ in range(STREAMS_MAX)]
            for place in places:
                await anext(place)
            refused = await client.get("/v1/events/stream")
            metrics = (await client.get("/metrics")).text
            await places[0].aclose()
            async with followed(client, last=0):
                pass

    assert refused.status_code == 503
    assert refused.json()["type"] == "urn:setpoint:problem:too_many_streams"
    assert f"setpoint_http_streams {STREAMS_MAX}.0" in metrics


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    world = a_world()

    async with served(world) as server, client_of(server) as client:
        async with followed(client):
            assert "setpoint_http_streams 1.0" in (await client.get("/metrics")).text
        async with asyncio.timeout(PATIENCE_S):
            while "setpoint_http_streams 0.0" not in (await client.get("/metrics")).text:
                pass


async def test_the_server_stops_at_once_although_somebody_listens() -> None:
    world = a_world()

    async with served(world) as server, client_of(server) as client, followed(client):
        began = time.monotonic()
        await server.stop()

    assert time.monotonic() - began < STOP_TIMEOUT_S
    assert not server.failed.is_set()


async def test_a_free_port_is_found_and_told() -> None:
    async with served(a_world()) as server, httpx.AsyncClient() as client:
        assert server.port > 0
        assert (await client.get(f"http://127.0.0.1:{server.port}/health/live")).json() == {"live": True}


async def test_a_port_in_use_is_one_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(InvalidSettings, match=rf"port {port} on 127\.0\.0\.1 is in use.*--listen"):
            Door.open("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
async def test_an_address_of_another_machine_is_one_clear_error(host: str) -> None:
    with pytest.raises(InvalidSettings, match=r"Nothing was started"):
        Door.open(host, 0)


async def test_the_server_leaves_the_signals_of_the_process_alone() -> None:
    before = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    async with served(a_world()):
        during = [signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)]

    assert during == before


async def test_a_server_that_ends_by_itself_says_so() -> None:
    async with served(a_world()) as server:
        next(task for task in asyncio.all_tasks() if task.get_name() == "rest server").cancel()
        async with asyncio.timeout(PATIENCE_S):
            await server.failed.wait()
