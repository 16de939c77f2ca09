"""The HTTP executor: what each answer means, what is sent, and what is refused before anything is sent."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.adapters.cel import CelExpressions
from control_plane.executors import DefinitionInvalid, ExecutorTools, build_executor
from tests.contract.executors.grounds import HttpGround
from tests.real_parts import free_port


@pytest.mark.parametrize(
    ("mode", "result"),
    [
        ("200", "succeeded"),
        ("201", "succeeded"),
        ("204", "succeeded"),
        ("429", "nothing_done"),
        ("400", "failed"),
        ("404", "failed"),
        ("409", "failed"),
        ("301", "unknown"),
        ("500", "unknown"),
        ("503", "unknown"),
        ("reset", "unknown"),
        ("garbage", "unknown"),
    ],
)
async def test_each_answer_has_one_meaning(http: HttpGround, mode: str, result: str) -> None:
    http.server.mode = mode

    attempt = await http.executor.execute(http.command())

    assert attempt.result == result
    assert len(http.server.requests) == 1


async def test_no_connection_means_that_nothing_was_done(http: HttpGround) -> None:
    await http.server.stop()

    assert (await http.executor.execute(http.command())).result == "nothing_done"


async def test_no_answer_in_time_is_unknown(tmp_path: Path) -> None:
    ground = HttpGround(tmp_path)
    plain = ground.definition
    ground.definition = lambda: {**plain(), "timeout": "200ms"}  # type: ignore[method-assign]
    await ground.prepare()
    await ground.hang()

    assert (await ground.executor.execute(ground.command())).result == "unknown"
    await ground.clear()


async def test_a_lost_answer_is_found_by_asking(http: HttpGround) -> None:
    http.server.mode = "act_and_reset"

    attempt = await http.executor.execute(http.command("c1"))
    http.server.mode = "200"
    found = await http.executor.reconcile(http.command("c1"))

    assert (attempt.result, found.state) == ("unknown", "done")
    assert http.server.effects == ["c1"]


@pytest.mark.parametrize("mode", ["500", "reset", "garbage", "301", "429"])
async def test_an_answer_that_meets_neither_condition_finds_nothing_out(http: HttpGround, mode: str) -> None:
    http.server.mode = mode

    assert (await http.executor.reconcile(http.command())).state == "unknown"


async def test_what_a_command_says_is_encoded_and_cannot_lead_elsewhere(http: HttpGround) -> None:
    await http.executor.execute(http.command("c1", subject="service/../../admin?x=1#y z"))

    assert http.server.requests[0].path == "/parcels/service%2F..%2F..%2Fadmin%3Fx%3D1%23y%20z"


async def test_parameters_are_sent_signed_and_with_the_key(http: HttpGround) -> None:
    command = http.command("c1", parameters={"site": "Zürich", "count": 2})

    await http.executor.execute(command)

    (request,) = http.server.requests
    signature = hmac.new(b"s3cret", request.body, hashlib.sha256).hexdigest()
    assert json.loads(request.body) == {"site": "Zürich", "count": 2}
    assert request.headers["x-setpoint-signature"] == f"sha256={signature}"
    assert request.headers["idempotency-key"] == "c1"
    assert request.headers["content-type"] == "application/json"


async def test_an_answer_without_end_is_cut(http: HttpGround) -> None:
    http.server.mode = "endless"

    assert (await http.executor.execute(http.command())).result == "succeeded"


async def test_what_the_target_says_is_kept_short(http: HttpGround) -> None:
    http.server.mode, http.server.text = "422", "no such parcel " * 1000

    attempt = await http.executor.execute(http.command())

    assert attempt.detail.startswith("status 422: no such parcel")
    assert len(attempt.detail) < 300


async def test_conditions_may_look_into_the_body(tmp_path: Path) -> None:
    ground = HttpGround(tmp_path)
    plain = ground.definition
    conditions = {"done_when": 'body.state == "delivered"', "absent_when": 'body.state == "none"'}
    ground.definition = lambda: {**plain(), "reconcile": {**plain()["reconcile"], **conditions}}  # type: ignore[method-assign]
    await ground.prepare()
    states = []

    for text in ('{"state": "delivered"}', '{"state": "none"}', '{"state": "moving"}', "no json", ""):
        ground.server.mode, ground.server.text = "202", text
        states.append((await ground.executor.reconcile(ground.command())).state)

    assert states == ["done", "absent", "unknown", "unknown", "unknown"]
    await ground.clear()


def built(changes: dict[str, Any], environ: dict[str, str] | None = None) -> None:
    definition = {"name": "parcels", "kind": "http", "request": {"url": "http://127.0.0.1:1/{subject}"}, **changes}
    tools = ExecutorTools(root=Path(), expressions=CelExpressions(), environ=environ or {})
    build_executor(definition, tools)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request": {"url": "http://{subject}/x"}}, "request.url"),
        ({"request": {"url": "http://user@host/x"}}, "request.url"),
        ({"request": {"url": "http://host/{nobody}"}}, "request.url"),
        ({"request": {"url": "http://host/{subject"}}, "request.url"),
        ({"request": {"url": "ftp://host/"}}, "request.url"),
        ({"signature": {"header": "X", "secret_env": "NOT_THERE"}}, "signature.secret_env"),
        ({"reconcile": {"url": "http://h/x", "done_when": "status ==", "absent_when": "false"}}, "reconcile.done_when"),
        ({"reconcile": {"url": "http://h/x", "done_when": "true", "absent_when": "row.x"}}, "reconcile.absent_when"),
        ({"timeout": "soon"}, "timeout"),
        ({"tiemout": "5s"}, "tiemout"),
    ],
)
def test_a_wrong_definition_names_the_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(DefinitionInvalid) as invalid:
        built(changes)

    assert invalid.value.field == field


async def test_an_address_where_nobody_listens_is_no_connection(tmp_path: Path) -> None:
    port = free_port()
    tools = ExecutorTools(root=tmp_path, expressions=CelExpressions(), environ={})
    definition = {"name": "p", "kind": "http", "request": {"url": f"http://127.0.0.1:{port}/{{parameters.x}}"}}
    executor = build_executor(definition, tools)
    await executor.start()
    ground = HttpGround(tmp_path)

    refused = await executor.execute(ground.command(parameters={"x": "1"}))
    incomplete = await executor.execute(ground.command())
    unknowable = await executor.reconcile(ground.command())
    await executor.stop()

    assert (refused.result, incomplete.result, unknowable.state) == ("nothing_done", "failed", "unknown")
