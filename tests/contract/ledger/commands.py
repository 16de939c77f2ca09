"""Builders of commands, for tests of the ledger and of those who use one."""

from typing import Any

from control_plane.causality import Lineage
from control_plane.messages import Command
from control_plane.messages.wire import encode
from control_plane.ports.ledger import Taking


def a_command(command_id: str = "c1", subject: str = "service/web-1", **changes: Any) -> Command:
    """A command to restart a service."""
    fields: dict[str, Any] = {
        "lineage": Lineage.root("setpoint", command_id),
        "subject": subject,
        "occurred_ms": 1_000,
        "decision_id": f"decision of {command_id}",
        "agent": "latency_guard",
        "intent": "restart_service",
        "parameters": {"grace": "2s"},
        "executor": "dry_run",
        "action_class": "lifecycle",
        "idempotent": False,
        "deadline_ms": 31_000,
    }
    return Command(**{**fields, **changes})


def a_taking(command_id: str = "c1", subject: str = "service/web-1", *, partition: int = 0, epoch: int = 0) -> Taking:
    """The command as a record gives it."""
    command = a_command(command_id, subject)
    return Taking(command=command, body=encode(command), partition=partition, offset=0, epoch=epoch)
