"""One process per role, as in production: the loop goes round, workers come in any order, share, and leave in time."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workers.parcels import Depot, write_workspace
from tests.workers.processes import STOPPED_WITHIN_S, Crew, post, scan, until_ready

pytestmark = pytest.mark.kafka

TAKEN_OVER_WITHIN_S = 30.0


@pytest.fixture
def depot() -> Iterator[Depot]:
    with Depot() as depot:
        yield depot


@pytest.fixture
def crew(kafka_url: str, depot: Depot, tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(write_workspace(tmp_path / "workspace", depot.port), kafka_url, tmp_path / "home")
    yield crew
    crew.end()


def until_found(client: httpx.Client, path: str, wanted: int, timeout_s: float = 20.0) -> list[dict[str, Any]]:
    """The items of a listing once there are so many."""
    until = time.monotonic() + timeout_s
    while True:
        items: list[dict[str, Any]] = client.get(path).raise_for_status().json()["items"]
        if len(items) >= wanted:
            return items
        assert time.monotonic() < until, f"{path} holds {len(items)} of {wanted}"
        time.sleep(0.05)


def test_one_event_goes_the_whole_loop_with_each_role_in_a_process_of_its_own_whichever_starts_first(
    crew: Crew, depot: Depot
) -> None:
    """Nothing comes in before the loop can answer it: it would be a dead letter."""
    started = crew.start_all(["api", "executors", "recorder"])
    with crew.client() as client:
        refused = client.post("/v1/events", json=scan(0), headers={"Content-Type": "application/cloudevents+json"})
        assert refused.status_code == 503
        assert "start a worker with the role loop" in refused.text
        assert "start a worker with the role loop" in client.get("/health/ready").text

        started |= crew.start_all(["loop", "agents", "triggers"])
        until_ready(client)
        post(client, [scan(1)])
        depot.until({"parcel/1"})
        [command] = until_found(client, "/v1/commands", 1)
        shown = client.get(f"/v1/decisions/{command['decision_id']}").raise_for_status().json()

    assert (command["intent"], command["subject"]) == ("ship_parcel", "parcel/1")
    assert shown["verdict"]["answer"] == "allow"
    assert depot.taken == {command["id"]: 1}
    for role, worker in started.items():
        began = time.monotonic()
        assert worker.stop() == 0, f"{role}:\n{worker.logged()}"
        assert time.monotonic() - began < STOPPED_WITHIN_S


def test_more_loops_than_partitions_share_them_and_stand_by(crew: Crew, depot: Depot) -> None:
    crew.start_all(["api", "executors"])
    loops = [crew.start("loop") for _ in range(3)]
    for worker in loops:
        worker.until_started()

    with crew.client() as client:
        until_ready(client)
        sent = 0
        for victim in loops[:2]:
            post(client, [scan(n) for n in range(sent, sent + 20)])
            victim.kill()
            post(client, [scan(n) for n in range(sent + 20, sent + 40)])
            sent += 40
            depot.until({f"parcel/{n}" for n in range(sent)}, TAKEN_OVER_WITHIN_S)

    assert max(depot.taken.values()) == 1, "nothing was done twice"
    assert len(depot.taken) == sent
    assert loops[2].stop() == 0


def test_a_command_is_cancelled_through_rest_in_a_process_that_does_not_carry_it_out(crew: Crew, depot: Depot) -> None:
    """Nobody carries commands out yet; who then does was told ahead of its backlog."""
    crew.start_all(["api", "loop", "recorder"])
    with crew.client() as client:
        until_ready(client)
        post(client, [scan(1), scan(2)])
        commands = {item["subject"]: item for item in until_found(client, "/v1/commands", 2)}
        answer = client.post(f"/v1/commands/{commands['parcel/1']['id']}/cancel", json={"because": "not this one"})
        assert (answer.status_code, answer.json()["state"]) == (202, "requested")

        crew.start("executors").until_started()
        depot.until({"parcel/2"})
        shown = _ended(client, commands["parcel/1"]["id"])

    assert (shown["status"], "parcel/1" in depot.subjects) == ("refused", False)
    assert "not this one" in shown["detail"]


def test_a_command_of_earlier_controls_is_carried_out_by_whom_they_name(
    crew: Crew, depot: Depot, tmp_path: Path
) -> None:
    """The executor was renamed while the command waited: its own controls still say who it was for."""
    crew.start_all(["api", "loop", "recorder"])
    with crew.client() as client:
        until_ready(client)
        post(client, [scan(1)])
        until_found(client, "/v1/commands", 1)
        renamed = write_workspace(tmp_path / "renamed", depot.port)
        executor = (renamed / "executors" / "depot.yaml").read_text().replace("executor: depot", "executor: harbour")
        intent = (renamed / "intents" / "ship_parcel.yaml").read_text().replace("depot", "harbour")
        (renamed / "executors" / "depot.yaml").unlink()
        (renamed / "executors" / "harbour.yaml").write_text(executor)
        (renamed / "intents" / "ship_parcel.yaml").write_text(intent)
        crew.apply(renamed)

        crew.start("executors").until_started()
        depot.until({"parcel/1"})
        post(client, [scan(2)])
        depot.until({"parcel/2"})
        by_subject = {item["subject"]: item["executor"] for item in until_found(client, "/v1/commands", 2)}

    assert by_subject == {"parcel/1": "depot", "parcel/2": "harbour"}


def test_a_worker_that_must_give_up_says_why_and_leaves_with_an_exit_code(crew: Crew) -> None:
    first = crew.start("loop", name="same")
    first.until_started()

    second = crew.start("loop", name="same")

    assert second.process.wait(30) == 1
    assert "another process uses the tables" in second.logged()
    assert "Traceback" not in second.logged()
    assert first.process.poll() is None


def _ended(client: httpx.Client, command_id: str) -> dict[str, Any]:
    """What came of a command, once that is recorded."""
    until = time.monotonic() + 20
    while True:
        outcome: dict[str, Any] | None = client.get(f"/v1/commands/{command_id}").raise_for_status().json()["outcome"]
        if outcome is not None:
            return outcome
        assert time.monotonic() < until, "it never ended"
        time.sleep(0.05)
