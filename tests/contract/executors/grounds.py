"""Grounds on which executors act: a target of each kind, that counts by itself what was done to it."""

import json
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from control_plane.adapters.cel import CelExpressions
from control_plane.executors import ExecutorTools, build_executor
from control_plane.executors.processes import COMMAND_ID, HOME, end_marked, marked
from control_plane.messages import Command
from control_plane.sdk import Executor
from tests.contract.executors.http_target import HttpServer
from tests.contract.ledger.commands import a_command
from tests.real_parts import free_port


class Ground(ABC):
    """One executor, built from its definition, and its target."""

    acts = True
    can_say_unknown = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor: Executor

    async def prepare(self) -> None:
        """Have target and executor ready."""
        tools = ExecutorTools(root=self.folder, expressions=CelExpressions(), environ=self.environ())
        self.executor = build_executor({"name": "tried", "file": "", **self.definition()}, tools)
        await self.executor.start()

    async def clear(self) -> None:
        """Leave nothing behind."""
        await self.executor.stop()

    def environ(self) -> dict[str, str]:
        """What the executor sees of our environment."""
        return {"PATH": "/usr/bin:/bin", "SETPOINT_SECRET": "s3cret"}

    def command(self, command_id: str = "c1", **changes: Any) -> Command:
        """A command that this ground's executor can carry out."""
        return a_command(command_id, **{"parameters": {}, **changes})

    @abstractmethod
    def definition(self) -> dict[str, Any]:
        """What the YAML file says."""

    @abstractmethod
    def effects(self) -> list[str]:
        """The command ids that the target has seen an effect of, in order."""

    @abstractmethod
    async def hang(self) -> None:
        """From now on the target does not answer."""

    @abstractmethod
    async def say_nothing(self) -> None:
        """From now on the target cannot say what was done."""

    @abstractmethod
    async def at_rest(self) -> None:
        """Wait until nothing of an attempt that was given up runs; raises TimeoutError when something does."""


class DryRunGround(Ground):
    """Nothing to act on."""

    acts = False
    can_say_unknown = False

    def definition(self) -> dict[str, Any]:
        return {"kind": "dry_run"}

    def effects(self) -> list[str]:
        return []

    async def hang(self) -> None:
        raise AssertionError("a dry run waits for nobody")

    async def say_nothing(self) -> None:
        raise AssertionError("a dry run asks nobody")

    async def at_rest(self) -> None:
        return


class HttpGround(Ground):
    """A server that fails as told."""

    server: HttpServer

    async def prepare(self) -> None:
        self.server = HttpServer()
        await self.server.start()
        await super().prepare()

    async def clear(self) -> None:
        await super().clear()
        await self.server.stop()

    def definition(self) -> dict[str, Any]:
        base = f"http://127.0.0.1:{self.server.port}/parcels"
        return {
            "kind": "http",
            "request": {"method": "POST", "url": f"{base}/{{subject}}", "body": "parameters"},
            "idempotency_header": "Idempotency-Key",
            "signature": {
                "algorithm": "hmac-sha256",
                "header": "X-Setpoint-Signature",
                "secret_env": "SETPOINT_SECRET",
            },
            "reconcile": {
                "method": "GET",
                "url": f"{base}/by-key/{{command_id}}",
                "done_when": "status == 200",
                "absent_when": "status == 404",
                "settle": "2s",
            },
            "timeout": "5s",
            "retry": {"attempts": 3, "backoff": "1s"},
        }

    def effects(self) -> list[str]:
        return self.server.effects

    async def hang(self) -> None:
        self.server.mode = "hang"

    async def say_nothing(self) -> None:
        self.server.mode = "500"

    async def at_rest(self) -> None:
        await self.server.deserted()


class CommandGround(Ground):
    """A program that notes each run in a file."""

    def definition(self) -> dict[str, Any]:
        self.program("pass")
        ask = "import sys; noted = open(sys.argv[1]).read().split(); sys.exit(0 if sys.argv[2] in noted else 44)"
        self.notes.touch()
        return {
            "kind": "command",
            "argv": [sys.executable, str(self.folder / "program.py"), "{subject.name}"],
            "timeout": "5s",
            "reconcile": {"argv": [sys.executable, "-c", ask, str(self.notes), "{command_id}"], "absent_codes": [44]},
        }

    @property
    def notes(self) -> Path:
        return self.folder / "notes"

    def program(self, then: str) -> None:
        """What the program does after its note."""
        note = f"open({str(self.notes)!r}, 'a').write(os.environ[{COMMAND_ID!r}] + '\\n')"
        (self.folder / "program.py").write_text(f"import os, subprocess, sys, time\n{note}\n{then}\n")

    def effects(self) -> list[str]:
        return self.notes.read_text().split()

    async def hang(self) -> None:
        child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"
        self.program(f"{child}; print('hanging', flush=True); time.sleep(600)")

    async def say_nothing(self) -> None:
        self.notes.unlink()
        self.notes.mkdir()  # The program that is asked ends with another code.

    async def at_rest(self) -> None:
        left = marked({HOME: str(self.folder.resolve())})
        if left:
            end_marked({HOME: str(self.folder.resolve())}, 0.0)
            raise TimeoutError(f"still running: {left}")


class ProcessGround(Ground):
    """A web server of four lines that notes each start."""

    can_say_unknown = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = free_port()

    def definition(self) -> dict[str, Any]:
        self.serve()
        return {
            "kind": "supervised_process",
            "argv": ["{python}", "server.py", "{name}", "{port}"],
            "processes": {"web-1": {"port": self.port}},
            "grace": "500ms",
            "grace_max": "2s",
            "start_within": "10s",
        }

    def serve(self, before: str = "", ignoring_sigterm: bool = False) -> None:
        """What the process is from its next start on."""
        ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if ignoring_sigterm else ""
        lines = [
            "import json, os, signal, socket, subprocess, sys, time",
            "note = {'pid': os.getpid(), 'command_id': os.environ.get('SETPOINT_COMMAND_ID', '')}",
            f"open({str(self.folder / 'starts')!r}, 'a').write(json.dumps(note) + '\\n')",
            ignore,
            before,
            "server = socket.create_server(('127.0.0.1', int(sys.argv[2])))",
            "while True: server.accept()[0].close()",
        ]
        (self.folder / "server.py").write_text("\n".join(lines))

    async def clear(self) -> None:
        end_marked({HOME: str((self.folder / "data" / "processes").resolve())}, 0.0)
        await super().clear()

    def starts(self) -> list[dict[str, Any]]:
        """Each start, as the process itself has noted it."""
        file = self.folder / "starts"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def effects(self) -> list[str]:
        return [start["command_id"] for start in self.starts()]

    async def hang(self) -> None:
        self.serve(before="time.sleep(600)")

    async def say_nothing(self) -> None:
        raise AssertionError("the processes of this machine always say")

    async def at_rest(self) -> None:
        """What was started goes on, and says who it is: that is all there is."""


GROUNDS = {"dry_run": DryRunGround, "http": HttpGround, "command": CommandGround, "supervised_process": ProcessGround}
