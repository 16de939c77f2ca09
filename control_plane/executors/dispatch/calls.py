"""Calls of executors: bounded in time, and whatever they raise is an answer."""

import asyncio
import logging

from control_plane.executors.dispatch.counters import DispatchCounters
from control_plane.executors.dispatch.work import Gate
from control_plane.messages import Command
from control_plane.ports.executor import Attempt, Executor, Found

_log = logging.getLogger(__name__)


async def attempt(gate: Gate, command: Command, counters: DispatchCounters) -> Attempt:
    """One attempt. Time-outs and exceptions are `unknown`: it may have been done."""
    executor = gate.executor
    counters.attempts += 1
    try:
        async with asyncio.timeout(executor.attempt_timeout_s):
            return await executor.execute(command)
    except TimeoutError:
        counters.attempts_timed_out += 1
        return Attempt(result="unknown", detail=f"no answer within {executor.attempt_timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - one executor must not stop the others
        counters.attempts_raised += 1
        _log.exception("an executor raised", extra=_fields(gate, command))
        return Attempt(result="unknown", detail=f"the executor raised {type(error).__name__}: {error}")


async def look(gate: Gate, command: Command, counters: DispatchCounters) -> Found:
    """One look at the world. Time-outs and exceptions find nothing out."""
    executor = gate.executor
    counters.looks += 1
    try:
        async with asyncio.timeout(executor.attempt_timeout_s):
            return await executor.reconcile(command)
    except TimeoutError:
        return Found(state="unknown", detail=f"reconciling gave no answer within {executor.attempt_timeout_s:g} s")
    except Exception as error:  # noqa: BLE001 - one executor must not stop the others
        _log.exception("an executor raised while reconciling", extra=_fields(gate, command))
        return Found(state="unknown", detail=f"reconciling raised {type(error).__name__}: {error}")


async def stop(executor: Executor) -> None:
    """Close one that is no longer in force, while the others go on."""
    try:
        async with asyncio.timeout(executor.attempt_timeout_s):
            await executor.stop()
    except Exception:  # noqa: BLE001 - one executor must not stop the others
        _log.exception("an executor that is no longer in force could not be stopped", extra={"executor": executor.name})


def _fields(gate: Gate, command: Command) -> dict[str, str]:
    return {
        "executor": gate.executor.name,
        "command_id": command.lineage.message_id,
        "correlation_id": command.lineage.correlation_id,
        "subject": command.subject,
    }
