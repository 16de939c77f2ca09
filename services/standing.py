"""What every real part under `services/` does alike: run in a directory of its own, be found again, and end.

    python3 services/PART.py start|stop|kill|status DIR [--port N] [-- WHAT GOES TO THE PROGRAM]
    python3 services/PART.py fetch

DIR is one server: its data, its settings, its output (`server.out`) and, while it runs, `server.json`. `stop` lets it
close its files, `kill` does not; both keep DIR. `fetch` only has the program ready, and says where it is. Needs only
the standard library, so that it works before `make setup` does. Nothing here may know a part.
"""

import argparse
import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import NotDone, arguments_of, check_free

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Part:
    """One kind of server, as its module describes it."""

    name: str
    title: str
    port: int
    fetch: Callable[[], Path]
    """Have the program ready. Raises NotDone."""
    servers: Callable[[argparse.Namespace], "Sequence[Server]"]
    """The servers of a directory."""
    options: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    """Its own options, beside those of all."""


def main(part: Part) -> None:
    """Do one command; say in one line what came of it."""
    own, program = _split(sys.argv[1:])
    parser = argparse.ArgumentParser(prog=f"{part.name}.py", description=f"A real {part.title}, for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="have the program ready, and say where it is")
    for command in ("start", "stop", "kill", "status"):
        chosen = commands.add_parser(command)
        chosen.add_argument("dir", type=Path, metavar="DIR", help="where it keeps everything")
        if command == "start":
            chosen.add_argument("--port", type=int, default=part.port, help="on 127.0.0.1 (%(default)s)")
            part.options(chosen)
    arguments = parser.parse_args(own, argparse.Namespace(port=part.port, program=program))
    try:
        for said in _done(part, arguments):
            print(said)
    except NotDone as problem:
        sys.exit(f"{part.name}: {problem}")


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What is ours, and what stands behind `--`."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _done(part: Part, arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.command == "fetch":
        yield str(part.fetch())
        return
    arguments.dir = arguments.dir.resolve()
    servers = part.servers(arguments)
    if arguments.command == "start":
        yield from start_all(servers)
    elif arguments.command == "status":
        for server in servers:
            yield server.status()
    else:
        yield from end_all(servers, signal.SIGTERM if arguments.command == "stop" else signal.SIGKILL)


class Server:
    """One server in one directory. What is asked of it stands below; a part answers in a class of its own."""

    title: str
    stop_signal = signal.SIGTERM
    user: str | None = None
    """Who it runs as, if not as the caller."""

    def __init__(self, home: Path, port: int, program: Sequence[str] = ()) -> None:
        self.home = home
        self.port = port
        self.program = list(program)
        self.output = home / "server.out"
        self._note = home / "server.json"
        self._child: subprocess.Popen[bytes] | None = None
        self._begun = 0.0
        self._ending: list[int] = []

    # What a part says of itself.

    def sign(self) -> str:
        """The argument that marks our process among all others."""
        raise NotImplementedError

    def ports(self) -> Sequence[int]:
        """The ports that must be free."""
        return [self.port]

    def fetch(self) -> None:
        """Have the program ready. Raises NotDone."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Settings and data; data that is there is kept. Raises NotDone."""
        raise NotImplementedError

    def call(self) -> Sequence[str]:
        """The program and its arguments."""
        raise NotImplementedError

    def answers(self, port: int) -> bool:
        """Whether it takes requests there."""
        raise NotImplementedError

    def address(self, port: int) -> str:
        """Where others find it."""
        return f"127.0.0.1:{port}"

    def children(self, pid: int) -> Sequence[int]:
        """Its further processes: a kill means all of them, as when the machine dies."""
        return []

    # What all do alike.

    def begin(self) -> str:
        """Have the process begin, unless it runs. Gives what there is to say if it does. Raises NotDone."""
        if running := self.running():
            if running["port"] != self.port:
                raise NotDone(
                    f"the {self.title} of {self.home} already runs, on port {running['port']}. Nothing was started. "
                    "Stop it first, or give another directory."
                )
            return f"{self.title} already runs on {self.address(self.port)}, pid {running['pid']}"
        self.fetch()
        for port in self.ports():
            check_free(port)
        self.prepare()
        self._begun = time.monotonic()
        self._child = self.spawn(self.call())
        self._note.write_text(json.dumps({"pid": self._child.pid, "port": self.port}))
        return ""

    def wait_until_ready(self) -> str:
        """Wait until what was begun takes requests. Raises NotDone."""
        assert self._child is not None, "only what was begun can be waited for"
        while not self.answers(self.port):
            code = self._child.poll()
            if code is not None:
                self._note.unlink()
                raise NotDone(f"{self.title} left with exit code {code}. {self.last_words()}")
            if time.monotonic() - self._begun > READY_TIMEOUT_S:
                self._child.kill()
                self._child.wait()
                self._note.unlink()
                raise NotDone(
                    f"{self.title} was not ready in {READY_TIMEOUT_S:.0f} s and was killed. {self.last_words()}"
                )
            time.sleep(POLL_S)
        took_s = time.monotonic() - self._begun
        return f"{self.title} takes requests on {self.address(self.port)} after {took_s:.1f} s, pid {self._child.pid}"

    def end(self, how: signal.Signals) -> None:
        """Tell it to stop, or kill it. `ended` says what came of it."""
        running = self.running()
        self._ending = [] if running is None else [running["pid"], *self.children(running["pid"])]
        if running is not None:
            os.kill(running["pid"], self.stop_signal if how is signal.SIGTERM else how)

    def ended(self, how: signal.Signals) -> str:
        """Wait until it is gone. What does not listen to its signal is killed. Raises NotDone."""
        pids = self._ending
        word = "killed"
        if pids and how is not signal.SIGKILL:
            gone = self._gone(pids[:1])
            word = "stopped" if gone else f"killed, since it did not stop within {STOP_TIMEOUT_S:.0f} s"
        for pid in pids:
            if arguments_of(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if not self._gone(pids):
            raise NotDone(
                f"pid {pids[0]} outlives SIGKILL. It still runs. See what it waits for: /proc/{pids[0]}/wchan."
            )
        if not pids:
            return f"no {self.title} of {self.home} runs"
        self._note.unlink(missing_ok=True)
        return f"{self.title} of {self.home} was {word}"

    def status(self) -> str:
        """Whether it runs and takes requests. Raises NotDone when it does not."""
        running = self.running()
        if running is None:
            raise NotDone(f"no {self.title} of {self.home} runs. Start one: make services")
        if not self.answers(running["port"]):
            raise NotDone(f"pid {running['pid']} runs, but port {running['port']} does not answer. {self.last_words()}")
        return f"{self.title} takes requests on {self.address(running['port'])}, pid {running['pid']}"

    def running(self) -> dict[str, int] | None:
        """The pid and port in our note, if that process still is this server and not a later one with its pid."""
        try:
            note: dict[str, int] = json.loads(self._note.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return note if self.sign() in arguments_of(note["pid"]) else None

    def spawn(self, call: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process in a session of its own, so that an interrupt at the terminal does not reach it."""
        with self.output.open("ab") as output:
            return subprocess.Popen(
                call,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **self.owner(),
            )

    def owner(self) -> dict[str, Any]:
        """Who its processes belong to, as subprocess wants to know it."""
        if self.user is None:
            return {}
        known = pwd.getpwnam(self.user)
        return {"user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}

    def last_words(self) -> str:
        """Where its output is, and how it ends."""
        lines = self.output.read_text(errors="replace").strip().splitlines() if self.output.exists() else []
        return "\n".join([f"See {self.output}. It ends with:", *lines[-3:]]) if lines else f"See {self.output}."

    def _gone(self, pids: Sequence[int]) -> bool:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(arguments_of(pid) for pid in pids):
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True


def start_all(servers: Sequence[Server]) -> Iterator[str]:
    """Have all begin before any is waited for: the members of a cluster need each other."""
    begun = []
    for server in servers:
        if said := server.begin():
            yield said
        else:
            begun.append(server)
    for server in begun:
        yield server.wait_until_ready()


def end_all(servers: Sequence[Server], how: signal.Signals) -> Iterator[str]:
    """Tell all before any is waited for: the last member of a cluster that lost its others does not stop well."""
    for server in servers:
        server.end(how)
    for server in servers:
        yield server.ended(how)
