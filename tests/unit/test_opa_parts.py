"""What the way to an OPA is made of: deadlines, bundles, signatures, statuses, keys."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.bundle import build, revisions_in
from control_plane.adapters.opa.config import opa_config
from control_plane.adapters.opa.deadline import Deadline, Overdue
from control_plane.adapters.opa.relocation import RelocatedSet, relocated
from control_plane.adapters.opa.shelf import HELD_BYTES_MAX, HELD_SETS_MAX, BundleShelf
from control_plane.adapters.opa.signing import BundleKey
from control_plane.adapters.opa.status import OPAS_MAX, SILENT_FOR_MS_MAX, Statuses
from control_plane.api.keys import bundle_secret_for
from control_plane.errors import InvalidSettings, InvalidWorkspace
from control_plane.settings import Settings
from tests.contract.policy_engine.asking import PERMIT, Policies
from tests.unit.cli_world import setpoint

KEY = BundleKey("a-bundle-key-for-tests-0123456789")
NEVER_S = 3_600.0


def a_set(n: int) -> RelocatedSet:
    return relocated(Policies((("permit", PERMIT),), (("n", str(n)),)))


# Deadlines


async def test_what_is_in_time_is_left_alone() -> None:
    async with Deadline(NEVER_S):
        await asyncio.sleep(0)


async def test_what_is_late_is_overdue() -> None:
    with pytest.raises(Overdue):
        async with Deadline(0.02):
            await asyncio.sleep(NEVER_S)


async def test_time_in_which_the_process_stood_still_does_not_count_whole() -> None:
    async with Deadline(0.1):
        await asyncio.sleep(0)
        time.sleep(0.3)  # noqa: ASYNC251 - what is shown
        await asyncio.sleep(0.001)


async def test_who_is_cancelled_from_outside_is_cancelled_and_not_overdue() -> None:
    async def waiting() -> None:
        async with Deadline(NEVER_S):
            await asyncio.sleep(NEVER_S)

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_within_a_deadline_goes_its_way() -> None:
    with pytest.raises(KeyError):
        async with Deadline(NEVER_S):
            raise KeyError("x")


# Addresses


def test_an_address_is_what_was_written() -> None:
    written = {
        "http://127.0.0.1:8181": ("127.0.0.1", 8181, False, None),
        "http://[::1]:8182": ("[::1]", 8182, False, None),
        "https://opa.example:443": ("opa.example", 443, True, None),
        "unix:///run/opa.sock": ("localhost", 8181, False, "/run/opa.sock"),
    }
    for url, (host, port, tls, path) in written.items():
        assert Settings.load(Path(), {"policy_engine": url}).policy_engine == url
        assert OpaAddress.of(url) == OpaAddress(url=url, host=host, port=port, tls=tls, socket=path)


# Bundles


def test_the_same_sets_give_the_same_bytes_and_name_themselves() -> None:
    one, two = a_set(1), a_set(2)

    bundle = build([two, one], KEY)

    assert bundle == build([two, one], KEY)
    assert revisions_in(bundle.revision) == (two.revision, one.revision)
    assert bundle.etag != build([one, two], KEY).etag
    assert bundle.etag != build([two, one], BundleKey("another key of more than sixteen")).etag


async def test_a_shelf_holds_the_newest_and_lets_the_oldest_go() -> None:
    shelf, sets = BundleShelf(KEY), [a_set(n) for n in range(HELD_SETS_MAX + 2)]

    for each in sets:
        shelf.hold(each)
    shelf.hold(sets[-2])

    assert shelf.sets == (sets[-2], sets[-1], *reversed(sets[2:-2]))


async def test_large_policy_data_leaves_room_for_fewer_sets() -> None:
    shelf = BundleShelf(KEY)
    large = bytes(HELD_BYTES_MAX // 5)

    for n in range(HELD_SETS_MAX):
        shelf.hold(RelocatedSet(revision=f"r{n}", files={"data.json": large}, names={}, view=a_set(1).view))

    assert [each.revision for each in shelf.sets] == ["r7", "r6", "r5", "r4", "r3"]


async def test_a_pull_waits_for_another_bundle_and_not_for_ever() -> None:
    shelf = BundleShelf(KEY)
    shelf.hold(a_set(1))
    first = await shelf.bundle(None, 0)
    assert first is not None
    assert await shelf.bundle(first.etag, 0.01) is None

    waiting = asyncio.create_task(shelf.bundle(first.etag, NEVER_S))
    await asyncio.sleep(0.01)
    shelf.hold(a_set(2))
    second = await waiting

    assert second is not None
    assert revisions_in(second.revision) == (a_set(2).revision, a_set(1).revision)
    last = asyncio.create_task(shelf.bundle(second.etag, NEVER_S))
    await asyncio.sleep(0.01)
    shelf.close()
    assert await last is None


def test_a_revision_that_is_no_name_is_refused() -> None:
    for revision in ("", "a-b", "x" * 65, "a.b", 'a"', "é"):
        policies = Policies((("permit", PERMIT),), revision=revision or " ")
        with pytest.raises(InvalidWorkspace):
            relocated(policies)


def test_lines_stay_where_they_are_and_names_move() -> None:
    text = """package setpoint.guardrails.g

import data.limits.zones as zones
import input.decision.subject

# data and input in a comment
deny contains {"code": "a", "msg": "input.x and data.y"} if {
	some one in input.facts["é🙂"]
	one.data == data["limits"].max
	zones[subject.name].input
}
"""
    found = relocated(Policies((("guardrails/g.rego", text), ("permit", PERMIT)), (("limits", "{}"),)))

    moved = next(body for path, body in found.files.items() if "guardrails_g" in path).decode()
    own = f"setpoint.sets.r_{found.revision}"
    assert moved.count("\n") == text.count("\n")
    assert moved.splitlines()[0] == f"package {own}.setpoint.guardrails.g"
    assert moved.splitlines()[2] == f"import data.{own}.limits.zones as zones"
    assert moved.splitlines()[3] == "import data.setpoint.question.asked.decision.subject"
    assert moved.splitlines()[5] == "# data and input in a comment"
    assert '"input.x and data.y"' in moved
    assert f'one.data == data.{own}["limits"].max' in moved
    assert 'some one in data.setpoint.question.walked(data.setpoint.question.asked.facts["é🙂"])' in moved


# Statuses


def told(name: str, revision: str = "r1", **bundle: Any) -> dict[str, Any]:
    return {
        "labels": {"id": name, "version": "1.22.2"},
        "bundles": {"setpoint": {"active_revision": revision, **bundle}},
    }


def test_the_last_word_of_each_opa_counts() -> None:
    statuses = Statuses()
    error = {"message": "no", "location": {"file": "setpoint/sets/r_r2/001_g.rego", "row": 3}}
    for status in (told("b"), told("a"), told("a", "r1", message="refused", errors=[error])):
        statuses.told(status, 1)

    assert [(each.id, each.bundle, each.problem) for each in statuses.seen()] == [
        ("a", "r1", "setpoint/sets/r_r2/001_g.rego:3: no"),
        ("b", "r1", ""),
    ]
    assert statuses.why_refused("r2") == "setpoint/sets/r_r2/001_g.rego:3: no"
    assert statuses.why_refused("r1") == statuses.why_refused("r") == ""
    statuses.told(told("a", "r2+r1"), 2)
    assert statuses.why_refused("r2") == ""


def test_who_is_silent_for_long_is_forgotten_and_many_are_bounded() -> None:
    statuses = Statuses()
    statuses.told(told("old"), 1)
    statuses.told(told("new"), SILENT_FOR_MS_MAX + 2)
    assert [each.id for each in statuses.seen()] == ["new"]

    for n in range(OPAS_MAX + 10):
        statuses.told(told(f"opa-{n}"), SILENT_FOR_MS_MAX + 3)
    assert len(statuses.seen()) == OPAS_MAX


@pytest.mark.parametrize(
    "status",
    [{}, {"labels": {}}, {"labels": {"id": 7}}, {"labels": []}, told("a") | {"bundles": 7}, told("a", revision=7)],  # type: ignore[arg-type]
)
def test_what_is_no_status_is_counted_and_passed_by(status: dict[str, Any]) -> None:
    statuses = Statuses()

    statuses.told(status, 1)

    assert (statuses.seen(), statuses.unreadable) == ([], 1)


# Keys


def settings(folder: Path, listen: str = "127.0.0.1:1", **environ: str) -> Settings:
    return Settings.load(folder, {"listen": listen, "policy_engine": "http://127.0.0.1:8181"}, environ)


def test_on_loopback_the_secret_is_made_once_and_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    first = bundle_secret_for(settings(tmp_path))

    assert bundle_secret_for(settings(tmp_path)) == first
    assert (tmp_path / "data" / "bundle.key").stat().st_mode & 0o077 == 0
    assert bundle_secret_for(settings(tmp_path, SETPOINT_BUNDLE_KEY="given-" * 4)) == "given-" * 4
    assert "given-" not in repr(settings(tmp_path, SETPOINT_BUNDLE_KEY="given-" * 4))


def test_beyond_loopback_it_must_be_given_and_long(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="SETPOINT_BUNDLE_KEY is not set"):
        bundle_secret_for(settings(tmp_path, "0.0.0.0:1"))
    with pytest.raises(InvalidSettings, match="shorter than 16"):
        bundle_secret_for(settings(tmp_path, "0.0.0.0:1", SETPOINT_BUNDLE_KEY="short"))


def test_the_token_is_not_the_secret() -> None:
    assert KEY.secret not in KEY.token
    assert KEY.secret not in repr(KEY)
    assert BundleKey("another key of more than sixteen").token != KEY.token


def test_the_configuration_is_for_one_reader(tmp_path: Path) -> None:
    output = tmp_path / "opa.yaml"
    output.write_text("old")
    output.chmod(0o644)

    made = setpoint("opa", "config", "-w", str(tmp_path), "--url", "http://10.0.0.1:7070", "-o", str(output))

    assert made.exit_code == 0, made.output
    assert output.stat().st_mode & 0o077 == 0
    assert "http://10.0.0.1:7070/v1" in output.read_text()
    assert "persistence_directory: /var/opa" in opa_config("http://x", KEY, persist_in="/var/opa")
    unwritable = setpoint("opa", "config", "-w", str(tmp_path), "--url", "http://x", "-o", str(tmp_path / "no" / "x"))
    assert (unwritable.exit_code, "cannot be written" in unwritable.output) == (2, True)
