"""Who comes in: the right key and nobody else, no more than is taken, and every refusal is a problem with its cure."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from control_plane.api.gate import BODY_BYTES_MAX
from control_plane.api.keys import ApiKey, api_key_for, is_loopback
from control_plane.errors import BackboneUnavailable, DataDamaged, InvalidSettings, StorageFull
from control_plane.settings import Settings
from tests.unit.api_world import KEY, a_world

ROUTES = [
    ("GET", "/v1/events", 200),
    ("POST", "/v1/events", 415),
    ("GET", "/v1/decisions", 200),
    ("GET", "/v1/decisions/none", 404),
    ("GET", "/v1/decisions/none/dossier", 404),
    ("GET", "/v1/commands", 200),
    ("GET", "/v1/commands/none", 404),
    ("GET", "/v1/effects", 200),
    ("GET", "/v1/flows/none", 404),
    ("GET", "/v1/subjects/service/none", 404),
    ("GET", "/v1/dead-letters", 200),
    ("POST", "/v1/dead-letters/redrive", 400),
    ("POST", "/v1/dead-letters/discard", 400),
    ("GET", "/v1/dead-letters/none", 404),
    ("POST", "/v1/dead-letters/none/redrive", 404),
    ("POST", "/v1/dead-letters/none/discard", 404),
    ("GET", "/v1/schemas", 200),
    ("GET", "/v1/schemas/none", 404),
    ("GET", "/v1/schemas/none/versions", 404),
    ("POST", "/v1/partitions/none/continue", 422),
    ("POST", "/v1/proposals", 400),
    ("POST", "/v1/commands/none/cancel", 404),
    ("GET", "/v1/controls", 200),
    ("PUT", "/v1/controls", 428),
    ("GET", "/v1/bundles/setpoint", 404),
    ("POST", "/v1/opa/status", 400),
    ("GET", "/v1/opa", 404),
    ("POST", "/hooks/none", 404),
    ("GET", "/v1/not-yet-thought-of", 404),
    ("GET", "/not-yet-thought-of", 404),
]
"""Every route but the stream, which has its own tests, with the answer to the right key; and two that lead nowhere."""
OPEN = ["/health/live", "/openapi.json", "/docs"]
OPEN_ON_LOOPBACK = ["/health/ready", "/metrics"]


def test_every_route_of_the_app_is_judged_here() -> None:
    judged = {path.replace("none", "{}") for _, path, _ in ROUTES} | {*OPEN, *OPEN_ON_LOOPBACK, "/v1/events/stream"}

    for path in a_world().app.openapi()["paths"]:
        named = (
            path.replace("{id}", "{}")
            .replace("{name}", "{}")
            .replace("{correlation_id}", "{}")
            .replace("{type}", "{}")
            .replace("{number}", "{}")
            .replace("{subject}", "service/{}")
        )
        assert named in judged, f"{path} is in no test of the keys"


@pytest.mark.parametrize(("method", "path", "expected"), ROUTES)
async def test_only_the_right_key_opens_a_route(method: str, path: str, expected: int) -> None:
    world = a_world()

    async def asked(authorization: str | None) -> Any:
        async with world.client(key=None) as client:
            headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
            return await client.request(method, path, headers=headers)

    assert (await asked(f"Bearer {KEY}")).status_code == expected
    for wrong in (None, "", "Bearer", f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Basic {KEY}", KEY, "Bearer \xff"):
        refused = await asked(wrong)
        assert refused.status_code == 401, wrong
        assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert refused.json()["type"] == "urn:setpoint:problem:unauthorized"
        assert "Authorization: Bearer" in refused.json()["cure"]
        assert KEY not in refused.text
    assert world.appended == []


@pytest.mark.parametrize("path", OPEN + OPEN_ON_LOOPBACK)
async def test_probes_and_metrics_need_no_key_on_loopback(path: str) -> None:
    async with a_world().client(key=None) as client:
        assert (await client.get(path)).status_code == 200


async def test_beyond_loopback_only_what_says_nothing_stays_open() -> None:
    async with a_world(on_loopback=False).client(key=None) as client:
        answers = {path: (await client.get(path)).status_code for path in OPEN + OPEN_ON_LOOPBACK}

    assert answers == dict.fromkeys(OPEN, 200) | dict.fromkeys(OPEN_ON_LOOPBACK, 401)


async def test_readiness_says_why_not() -> None:
    async with a_world(reasons=["partition 2 is not owned", "the audit store is behind"]).client() as client:
        answer = await client.get("/health/ready")

    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["partition 2 is not owned", "the audit store is behind"]
    assert "partition 2 is not owned" in answer.json()["detail"]


async def test_a_body_that_announces_too_much_is_refused_before_it_is_read() -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        read += 1
        yield b"x"

    async with a_world().client() as client:
        headers = {"Content-Length": str(BODY_BYTES_MAX + 1)}
        answer = await client.post("/v1/events", content=body(), headers=headers)

    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:setpoint:problem:body_too_large"


async def test_a_body_that_brings_more_than_it_announced_is_refused_as_well() -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b" " * 65_536

    async with a_world().client() as client:
        answer = await client.post(
            "/v1/events", content=endless(), headers={"Content-Type": "application/cloudevents+json"}
        )

    assert answer.status_code == 413
    assert str(BODY_BYTES_MAX) in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/v1/events", 405, "method_not_allowed"),
        ("GET", "/v1/events?limit=0", 422, "parameter_invalid"),
        ("GET", "/v1/events?limit=501", 422, "parameter_invalid"),
        ("GET", "/v1/decisions?after=-1", 422, "parameter_invalid"),
        ("GET", "/v1/decisions?after=99999999999999999999", 422, "parameter_invalid"),
        ("GET", "/v1/commands?order=up", 422, "parameter_invalid"),
        ("GET", "/v1/events?subject=" + "x" * 600, 422, "parameter_invalid"),
        ("GET", "/v1/events/stream?after=soon", 422, "parameter_invalid"),
        ("GET", "/v1/decisions/unknown", 404, "decision_not_found"),
        ("GET", "/v1/commands/unknown", 404, "command_not_found"),
        ("GET", "/v1/flows/unknown", 404, "flow_not_found"),
    ],
)
async def test_every_error_is_a_problem_with_a_cure(method: str, path: str, status: int, kind: str) -> None:
    async with a_world().client() as client:
        answer = await client.request(method, path)

    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], problem["type"]) == (status, status, f"urn:setpoint:problem:{kind}")
    assert problem["title"]
    assert problem["detail"]
    assert problem["cure"]
    if status == 422:
        assert problem["field"] in path


@pytest.mark.parametrize(
    ("raised", "status", "kind"),
    [
        (BackboneUnavailable("Kafka at h:1 does not answer. Nothing was appended."), 503, "unavailable"),
        (StorageFull("the disk of data/log is full. Nothing was appended."), 507, "storage_full"),
        (DataDamaged("a checksum of data/log does not hold."), 500, "internal"),
    ],
)
async def test_a_log_that_takes_nothing_is_told_as_what_it_is(raised: Exception, status: int, kind: str) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "t", "type": "service.measured", "subject": "a/b"}
    world = a_world(append_raises=raised)

    async with world.client() as client:
        answer = await client.post(
            "/v1/events", json=event | {"data": {"rss": 1}}, headers={"Content-Type": "application/cloudevents+json"}
        )

    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:setpoint:problem:{kind}")
    assert answer.json()["detail"] == str(raised)
    assert ("Retry-After" in answer.headers) == (status == 503)


async def test_an_audit_store_that_is_away_is_told_and_a_bug_tells_nothing() -> None:
    world = a_world()
    async with world.client() as client:
        world.audit.away = True  # type: ignore[attr-defined]
        assert (await client.get("/v1/events")).status_code == 503

        world.audit.away = False  # type: ignore[attr-defined]
        world.append_raises = ZeroDivisionError("secret inner workings")
        event = {"specversion": "1.0", "id": "1", "source": "t", "type": "service.measured", "subject": "a/b"}
        answer = await client.post(
            "/v1/events", json=event | {"data": {"rss": 1}}, headers={"Content-Type": "application/cloudevents+json"}
        )
        metrics = (await client.get("/metrics")).text

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert 'setpoint_http_requests_total{method="POST",route="/v1/events",status="500"} 1.0' in metrics


async def test_refusals_and_requests_are_counted_by_route_and_never_by_path() -> None:
    async with a_world().client() as client:
        await client.get("/v1/decisions/one")
        await client.get("/v1/decisions/two")
        await client.get("/v1/events", headers={"Authorization": "Bearer wrong"})
        await client.request("BREW", "/v1/whatever-a-client-likes")
        metrics = (await client.get("/metrics")).text

    assert 'setpoint_http_requests_total{method="GET",route="/v1/decisions/{id}",status="404"} 2.0' in metrics
    assert 'setpoint_http_refused_total{reason="unauthorized"} 1.0' in metrics
    assert 'method="other",route="none"' in metrics
    assert "whatever-a-client-likes" not in metrics


def settings(root: Path, **sources: Any) -> Settings:
    return Settings.load(root, **sources)


def test_a_service_on_loopback_makes_its_key_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = api_key_for(settings(tmp_path))
    file = tmp_path / "data" / "api.key"

    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().strip()) >= 43, "32 random bytes"
    assert first == ApiKey.of(file.read_text().strip())
    assert api_key_for(settings(tmp_path)) == first
    assert [found.name for found in (tmp_path / "data").iterdir()] == ["api.key"]


def test_a_key_that_is_given_is_used_and_not_written(tmp_path: Path) -> None:
    given = settings(tmp_path, environ={"SETPOINT_API_KEY": KEY, "SETPOINT_LISTEN": "0.0.0.0:7070"})

    assert api_key_for(given).opens(f"Bearer {KEY}")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "example.org:1"])
def test_beyond_loopback_nothing_starts_without_a_key_that_was_given(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidSettings, match="SETPOINT_API_KEY is not set"):
        api_key_for(settings(tmp_path, overrides={"listen": host}))


def test_a_key_that_is_weak_or_open_to_read_or_broken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="shorter than 16"):
        api_key_for(settings(tmp_path, environ={"SETPOINT_API_KEY": "short"}))

    file = tmp_path / "data" / "api.key"
    api_key_for(settings(tmp_path))
    file.chmod(0o644)
    with pytest.raises(InvalidSettings, match="can be read by others"):
        api_key_for(settings(tmp_path))

    file.chmod(0o600)
    file.write_text("\n")
    with pytest.raises(InvalidSettings, match="holds no key"):
        api_key_for(settings(tmp_path))


def test_a_data_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a directory should be")

    with pytest.raises(InvalidSettings, match=r"Make the data directory writable|cannot be read"):
        api_key_for(settings(tmp_path))


def test_only_addresses_of_this_machine_are_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "192.168.1.1", "localhost.example.org"]))


def test_a_key_is_not_shown_and_not_kept() -> None:
    key = ApiKey.of(KEY)

    assert KEY not in repr(key)
    assert KEY.encode() not in key.digest


async def test_openapi_says_everything_that_a_route_takes_and_answers() -> None:
    async with a_world().client(key=None) as client:
        described = (await client.get("/openapi.json")).json()

    assert "Problem" in described["components"]["schemas"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            answers = operation["responses"]
            good = [status for status in answers if status.startswith("2")]
            assert len(good) == 1, where
            assert answers[good[0]]["content"], where
            assert {"401", "500", "503"} <= set(answers), where
            for status in set(answers) - set(good):
                assert "application/problem+json" in answers[status]["content"], (where, status)
            if operation.get("parameters"):
                assert "422" in answers, where
            assert ("security" in operation) == path.startswith(("/v1/", "/hooks/")), where
    assert "HTTPValidationError" not in described["components"]["schemas"]
    body = described["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/cloudevents+json", "application/cloudevents-batch+json", "application/json"}
