"""Who may send to a webhook: its own secret, a signature, or the key of the service."""

import base64
import hashlib
import hmac

import httpx
import pytest

from control_plane.errors import InvalidWorkspace
from control_plane.triggers import build_webhooks
from tests.unit.api_world import KEY
from tests.unit.triggers_world import SECRET, World, as_json
from tests.unit.webhook_world import ALERTS, BEARER, ORDERS, a_group, an_alert, an_app, send

SIGNED = {**ORDERS, "auth": {"hmac": {"header": "X-Hub-Signature-256", "secret_env": "HOOK_SECRET"}}}
BODY = as_json({"orders": [{"number": "7"}]})


def signature(body: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(SECRET.encode(), body, algorithm).digest()


@pytest.fixture
def world() -> World:
    return World()


async def test_only_its_own_secret_opens_a_webhook_that_has_one(world: World) -> None:
    wrong = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {SECRET}x"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": f"Bearer {KEY}"},
    ]
    answers = [await send(world, ALERTS, a_group(an_alert()), headers) for headers in wrong]

    assert {answer.status_code for answer in answers} == {401}
    assert all(SECRET not in answer.text for answer in answers)
    assert world.outputs == []
    assert (await send(world, ALERTS, a_group(an_alert()))).status_code == 202


async def test_a_webhook_without_a_secret_opens_with_the_key_of_the_service_alone(world: World) -> None:
    definition = {key: value for key, value in ALERTS.items() if key != "auth"}

    assert (await send(world, definition, a_group(an_alert()), {})).status_code == 401
    assert (await send(world, definition, a_group(an_alert()))).status_code == 401
    answer = await send(world, definition, a_group(an_alert()), {"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 202


async def test_a_name_that_nobody_declared_is_found_out_only_with_the_key(world: World) -> None:
    async with httpx.AsyncClient(transport=an_app(world, ALERTS), base_url="http://setpoint") as client:
        stranger = await client.post("/hooks/none", content=b"{}", headers=BEARER)
        near = await client.post("/hooks/alerts/", content=b"{}", headers=BEARER)
        friend = await client.post("/hooks/none", content=b"{}", headers={"Authorization": f"Bearer {KEY}"})

    assert (stranger.status_code, near.status_code, friend.status_code) == (401, 401, 404)
    assert friend.json()["type"] == "urn:setpoint:problem:webhook_not_found"


async def test_the_secret_of_a_webhook_opens_nothing_else(world: World) -> None:
    async with httpx.AsyncClient(
        transport=an_app(world, ALERTS, {**ORDERS, "auth": None}), base_url="http://s"
    ) as client:
        answers = [
            await client.get("/v1/events", headers=BEARER),
            await client.post("/hooks/orders", content=b"{}", headers=BEARER),
        ]

    assert [answer.status_code for answer in answers] == [401, 401]


@pytest.mark.parametrize("form", ["{}", "sha256={}", " {} "])
async def test_a_signed_body_is_taken(world: World, form: str) -> None:
    headers = {"x-hub-signature-256": form.format(signature(BODY).hex())}

    assert (await send(world, SIGNED, BODY, headers)).status_code == 202


async def test_a_signature_may_be_base64_and_longer(world: World) -> None:
    auth = {"hmac": {**SIGNED["auth"]["hmac"], "encoding": "base64", "algorithm": "hmac-sha512"}}
    headers = {"X-Hub-Signature-256": base64.b64encode(signature(BODY, "sha512")).decode()}

    assert (await send(world, {**SIGNED, "auth": auth}, BODY, headers)).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Hub-Signature-256": ""},
        {"X-Hub-Signature-256": "no hex"},
        {"X-Hub-Signature-256": signature(BODY)[:-1].hex()},
        {"X-Hub-Signature-256": signature(BODY + b" ").hex()},
        {"X-Hub-Signature-256": "sha1=" + signature(BODY).hex()},
        {"X-Hub-Signature-256": hashlib.sha256(BODY).hexdigest()},
        {"Authorization": f"Bearer {SECRET}"},
        {"Authorization": f"Bearer {KEY}"},
    ],
)
async def test_a_body_that_is_not_signed_with_the_secret_is_refused(world: World, headers: dict[str, str]) -> None:
    assert (await send(world, SIGNED, BODY, headers)).status_code == 401
    assert world.outputs == []


async def test_a_signature_with_a_time_is_believed_for_a_while(world: World) -> None:
    """As Grafana signs: the time in seconds, a colon, the body."""
    auth = {"hmac": {**SIGNED["auth"]["hmac"], "timestamp_header": "X-Grafana-Alerting-Timestamp"}}
    definition = {**SIGNED, "auth": auth}
    now_s = world.clock.now_ms() // 1000

    def headers(said: str, signed: str) -> dict[str, str]:
        made = signature(signed.encode() + b":" + BODY).hex()
        return {"X-Hub-Signature-256": made, "X-Grafana-Alerting-Timestamp": said}

    async def answer(said: str, signed: str) -> int:
        return (await send(world, definition, BODY, headers(said, signed))).status_code

    assert await answer(str(now_s), str(now_s)) == 202
    assert await answer(str(now_s), str(now_s - 1)) == 401
    for stale in (str(now_s - 301), str(now_s + 301), "", "soon", "9" * 400):
        assert await answer(stale, stale) == 401, stale
    world.clock.advance(301_000)
    assert await answer(str(now_s), str(now_s)) == 401


@pytest.mark.parametrize(
    ("environ", "said"), [({}, "HOOK_SECRET is not set"), ({"HOOK_SECRET": "short"}, "shorter than")]
)
async def test_a_webhook_without_its_secret_is_not_served(environ: dict[str, str], said: str) -> None:
    world = World(environ=environ)

    with pytest.raises(InvalidWorkspace, match=said):
        build_webhooks([{**ALERTS, "file": "triggers/alerts.yaml"}], world.tools)
