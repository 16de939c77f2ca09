"""What OPA gets and says over REST, and what its token opens: that, and nothing else."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from control_plane.adapters.opa.relocation import relocated
from control_plane.adapters.opa.shelf import BundleShelf
from control_plane.api.bundles import BUNDLE_PATH, MEDIA_TYPE, STATUS_BYTES_MAX, STATUS_PATH
from tests.contract.policy_engine.asking import PERMIT, Policies
from tests.unit.api_world import KEY, World, a_world
from tests.unit.test_opa_parts import KEY as BUNDLE_KEY
from tests.unit.test_opa_parts import told

POLICIES = Policies((("permit", PERMIT),))


@pytest.fixture
def shelf() -> BundleShelf:
    found = BundleShelf(BUNDLE_KEY)
    found.hold(relocated(POLICIES))
    return found


@pytest.fixture
def world(shelf: BundleShelf) -> World:
    return a_world(bundles=shelf)


async def pull(world: World, **headers: str) -> httpx.Response:
    async with world.client(key=BUNDLE_KEY.token) as client:
        return await client.get(BUNDLE_PATH, headers=headers)


async def test_opa_pulls_the_bundle_and_then_only_another_one(world: World, shelf: BundleShelf) -> None:
    first = await pull(world)
    again = await pull(world, **{"If-None-Match": first.headers["ETag"]})
    waiting = asyncio.create_task(
        pull(world, **{"If-None-Match": first.headers["ETag"], "Prefer": "modes=snapshot,delta;wait=30"})
    )
    await asyncio.sleep(0.05)
    assert not waiting.done()
    shelf.hold(relocated(Policies((("permit", PERMIT),), (("n", "1"),))))
    second = await waiting

    assert (first.status_code, first.headers["Content-Type"]) == (200, MEDIA_TYPE)
    assert first.content[:2] == b"\x1f\x8b"
    assert (again.status_code, again.content, again.headers["Content-Type"]) == (304, b"", MEDIA_TYPE)
    assert again.headers["ETag"] == first.headers["ETag"]
    assert second.status_code == 200
    assert second.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize("prefer", ["", "wait", "wait=-1", "wait=x", "await=5", "wait=;", "\xff"])
async def test_who_does_not_ask_to_wait_does_not(world: World, prefer: str) -> None:
    first = await pull(world)
    headers = {"If-None-Match": first.headers["ETag"].encode(), "Prefer": prefer.encode("latin-1")}

    async with world.client(key=BUNDLE_KEY.token) as client, asyncio.timeout(10):
        assert (await client.get(BUNDLE_PATH, headers=headers)).status_code == 304  # type: ignore[arg-type]


async def test_what_opa_says_of_itself_is_listed(world: World) -> None:
    async with world.client(key=BUNDLE_KEY.token) as client:
        for status in (told("a", POLICIES.revision), told("b", "older", message="no")):
            assert (await client.post(STATUS_PATH, json=status)).json() == {"taken": True}
    async with world.client() as client:
        listed = (await client.get("/v1/opa")).json()

    assert listed["offered"] == POLICIES.revision
    assert [(each["id"], each["current"], each["problem"]) for each in listed["opas"]] == [
        ("a", True, ""),
        ("b", False, "no"),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"[]", 400), (b"\xff", 400), (b"[" * 5_000, 400), (b"{}", 200), (b'{"labels":7}', 200)],
)
async def test_a_status_that_is_none_harms_nobody(world: World, body: bytes, status: int) -> None:
    async with world.client(key=BUNDLE_KEY.token) as client:
        assert (await client.post(STATUS_PATH, content=body)).status_code == status
        large = json.dumps({"x": "y" * STATUS_BYTES_MAX})
        assert (await client.post(STATUS_PATH, content=large)).status_code == 413
    async with world.client() as client:
        assert (await client.get("/v1/opa")).json()["opas"] == []


async def test_opas_token_opens_what_is_for_opa_and_nothing_else(world: World) -> None:
    async def status(method: str, path: str, key: str | None, **more: Any) -> int:
        async with world.client(key=key) as client:
            return (await client.request(method, path, **more)).status_code

    paths = [path for path in world.app.openapi()["paths"] if path not in (BUNDLE_PATH, STATUS_PATH)]
    guarded = [path for path in paths if await status("GET", path, None) == 401]
    assert len(guarded) > 10
    assert {await status("GET", path, BUNDLE_KEY.token) for path in guarded} == {401}
    for key, expected in ((BUNDLE_KEY.token, 200), (KEY, 200), (BUNDLE_KEY.secret, 401), (None, 401), ("", 401)):
        assert await status("GET", BUNDLE_PATH, key) == expected, key
        assert await status("POST", STATUS_PATH, key, content=b"{}") == expected, key
    without = a_world()
    async with without.client(key=BUNDLE_KEY.token) as client:
        assert (await client.get(BUNDLE_PATH)).status_code == 401
