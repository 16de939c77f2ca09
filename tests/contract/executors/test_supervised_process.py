"""Supervised processes: restarted, stopped and started for real, and found again by whoever comes after us."""

import asyncio
import os
import signal
import socket
from typing import Any

import psutil
import pytest

from control_plane.adapters.cel import CelExpressions
from control_plane.executors import DefinitionInvalid, ExecutorTools, build_executor
from control_plane.executors.processes import HOME, SUBJECT, marked
from tests.contract.executors.grounds import ProcessGround
from tests.contract.ledger.commands import a_command


def running(process: ProcessGround) -> list[int]:
    return [one.pid for one in marked({HOME: str((process.folder / "data" / "processes").resolve())})]


def last_pid(process: ProcessGround) -> int:
    return int(process.starts()[-1]["pid"])


async def another_life(process: ProcessGround) -> None:
    """Everything that we remember is gone; what runs goes on."""
    await process.executor.stop()
    await ProcessGround.__mro__[1].prepare(process)


async def test_a_restart_ends_the_old_process_and_starts_a_new_one(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))
    old = last_pid(process)

    attempt = await process.executor.execute(process.command("c2"))

    assert attempt.result == "succeeded"
    assert running(process) == [last_pid(process)]
    assert not psutil.pid_exists(old)


async def test_the_process_carries_its_command_and_leads_a_session_of_its_own(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))

    environ = psutil.Process(last_pid(process)).environ()

    assert environ["SETPOINT_COMMAND_ID"] == "c1"
    assert environ[SUBJECT] == "service/web-1"
    assert "SETPOINT_SECRET" not in environ
    assert os.getsid(last_pid(process)) == last_pid(process)


async def test_a_restart_that_was_carried_out_is_not_done_again(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))

    attempt = await process.executor.execute(process.command("c1"))

    assert attempt.result == "succeeded"
    assert process.effects() == ["c1"]


async def test_the_process_outlives_us_and_is_found_again(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))
    old = last_pid(process)

    await another_life(process)
    assert running(process) == [old]
    await process.executor.execute(process.command("c2"))

    assert running(process) == [last_pid(process)]
    assert last_pid(process) != old


async def test_without_its_state_file_a_process_is_found_by_its_environment(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))
    (process.folder / "data" / "processes" / "web-1.json").unlink()

    assert (await process.executor.reconcile(process.command("c1"))).state == "done"
    assert (await process.executor.execute(process.command("c2"))).result == "succeeded"
    assert running(process) == [last_pid(process)]


async def test_a_half_written_state_file_does_not_matter(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))
    (process.folder / "data" / "processes" / "web-1.json").write_text('{"pid": 1')

    assert (await process.executor.reconcile(process.command("c1"))).state == "done"


async def test_what_was_started_by_the_command_and_died_since_was_still_done(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))
    os.kill(last_pid(process), signal.SIGKILL)
    psutil.wait_procs([psutil.Process(last_pid(process))], timeout=5) if psutil.pid_exists(last_pid(process)) else None

    found = await process.executor.reconcile(process.command("c1"))

    assert found.state == "done"
    assert "has ended since" in found.detail


async def test_stop_ends_it_with_all_that_it_started(process: ProcessGround) -> None:
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"
    process.serve(before=child)
    await process.executor.execute(process.command("c1"))
    assert len(running(process)) == 2

    attempt = await process.executor.execute(process.command("c2", intent="stop_service"))

    assert attempt.result == "succeeded"
    assert running(process) == []
    assert (await process.executor.reconcile(process.command("c2", intent="stop_service"))).state == "done"


async def test_who_ignores_sigterm_is_killed_after_the_grace(process: ProcessGround) -> None:
    process.serve(ignoring_sigterm=True)
    await process.executor.execute(process.command("c1"))
    old = last_pid(process)
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    attempt = await process.executor.execute(process.command("c2", parameters={"grace": "300ms"}))

    assert attempt.result == "succeeded"
    assert loop.time() - began_s >= 0.3
    assert old not in running(process)


async def test_the_grace_of_a_command_is_bounded(process: ProcessGround) -> None:
    process.serve(ignoring_sigterm=True)
    await process.executor.execute(process.command("c1"))

    async with asyncio.timeout(process.executor.attempt_timeout_s):
        attempt = await process.executor.execute(process.command("c2", parameters={"grace": "10m"}))

    assert attempt.result == "succeeded"


async def test_start_leaves_alone_what_runs(process: ProcessGround) -> None:
    await process.executor.execute(process.command("c1"))

    attempt = await process.executor.execute(process.command("c2", intent="start_service"))

    assert attempt.result == "succeeded"
    assert process.effects() == ["c1"]


async def test_a_process_that_ends_at_once_has_failed(process: ProcessGround) -> None:
    process.serve(before="sys.exit(7)")

    attempt = await process.executor.execute(process.command("c1"))

    assert attempt.result == "failed"
    assert "ended at once" in attempt.detail


DYING_SLOWLY = """
import ctypes, threading
def hold_on(number, frame):
    threading.Thread(target=lambda: (time.sleep(1.5), os._exit(0))).start()
    ctypes.CDLL(None).pthread_exit(None)  # The first thread ends here: a zombie that still has its port.
signal.signal(signal.SIGTERM, hold_on)
"""


async def test_a_restart_waits_for_the_last_thread_which_may_still_hold_the_port(process: ProcessGround) -> None:
    process.serve(before=DYING_SLOWLY)
    await process.executor.execute(process.command("c1"))

    attempt = await process.executor.execute(process.command("c2", parameters={"grace": "5s"}))

    assert attempt.result == "succeeded"
    connections = psutil.Process(last_pid(process)).net_connections()
    assert [found.laddr.port for found in connections if found.status == psutil.CONN_LISTEN] == [process.port]


async def test_a_port_of_somebody_else_is_not_taken_for_ours(process: ProcessGround) -> None:
    with socket.create_server(("127.0.0.1", process.port)):
        attempt = await process.executor.execute(process.command("c1"))

    assert attempt.result == "failed"
    assert attempt.detail == f"port {process.port} is another process's; web-1 was not started"
    assert process.starts() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"subject": "service/nobody"}, "is no process of"),
        ({"subject": "parcel/web-1"}, "is no process of"),
        ({"intent": "paint_service"}, "give the executor a verb"),
        ({"parameters": {"grace": "a while"}}, "is not a duration"),
    ],
)
async def test_what_makes_no_sense_fails_without_an_act(
    process: ProcessGround, changes: dict[str, Any], why: str
) -> None:
    attempt = await process.executor.execute(a_command("c1", **{"parameters": {}, **changes}))

    assert attempt.result == "failed"
    assert why in attempt.detail
    assert process.starts() == []


async def test_two_workspaces_on_one_machine_do_not_touch_each_others_processes(
    process: ProcessGround, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = ProcessGround(tmp_path_factory.mktemp("other"))
    await other.prepare()
    await other.executor.execute(other.command("c1"))

    await process.executor.execute(process.command("c1"))
    await process.executor.execute(process.command("c2", intent="stop_service"))

    assert running(process) == []
    assert running(other) == [last_pid(other)]
    await other.clear()


async def test_autostart_starts_what_no_command_has_stopped(process: ProcessGround) -> None:
    plain = process.definition
    process.definition = lambda: {**plain(), "autostart": True}  # type: ignore[method-assign]

    await another_life(process)
    assert process.effects() == [""]
    await another_life(process)
    assert process.effects() == [""]
    await process.executor.execute(process.command("c1", intent="stop_service"))
    await another_life(process)

    assert process.effects() == [""]
    assert running(process) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"processes": {"web-1": {}}}, "processes.web-1"),
        ({"argv": ["x", "{port}"], "processes": {"web-1": {}}}, "processes.web-1.port"),
        ({"processes": {}}, "processes"),
        ({"argv": ["x"], "processes": {"../x": {}}}, "processes"),
    ],
)
def test_a_wrong_definition_names_the_field(process: ProcessGround, changes: dict[str, Any], field: str) -> None:
    tools = ExecutorTools(root=process.folder, expressions=CelExpressions(), environ={})

    with pytest.raises(DefinitionInvalid) as invalid:
        build_executor({"name": "p", "kind": "supervised_process", **changes}, tools)

    assert field in invalid.value.field or field in invalid.value.problem
