"""A small web service that can be broken for real. Standard library only.

    python3 services/web.py --name web-1 --port 7101
    curl http://127.0.0.1:7101/
    curl -X POST http://127.0.0.1:7101/break/leak

Ways to break it: `crash` ends the process, `leak` takes ever more memory, `slow` answers ever more slowly, `slow_spike`
and `memory_spike` do that for half a second and then recover by themselves.
"""

import argparse
import json
import os
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MB = 1_000_000
LEAK_MB = 30
LEAK_EVERY_S = 0.1
LEAK_MB_MAX = 240
SLOW_FROM_S = 0.25
SLOW_GROWTH = 0.15
SLOW_S_MAX = 0.8
SPIKE_LASTS_S = 0.5
SPIKE_SLOW_S = 0.3
SPIKE_MB = 160


class Troubles:
    """What is wrong with this service, if anything."""

    def __init__(self) -> None:
        self._slow_since_s: float | None = None
        self._spike_until_s = 0.0
        self._taken: list[bytes] = []

    def delay_s(self) -> float:
        """How long an answer takes now."""
        now_s = time.monotonic()
        if self._slow_since_s is not None:
            return min(SLOW_FROM_S + SLOW_GROWTH * (now_s - self._slow_since_s), SLOW_S_MAX)
        return SPIKE_SLOW_S if now_s < self._spike_until_s else 0.0

    def crash(self) -> None:
        """End without a word, soon after the answer is out."""
        threading.Timer(0.02, os._exit, (1,)).start()

    def leak(self) -> None:
        """Take more and more memory."""
        threading.Thread(target=self._leak, daemon=True).start()

    def slow(self) -> None:
        """Answer ever more slowly."""
        self._slow_since_s = time.monotonic()

    def slow_spike(self) -> None:
        """Answer slowly, for half a second."""
        self._spike_until_s = time.monotonic() + SPIKE_LASTS_S

    def memory_spike(self) -> None:
        """Take much memory, for half a second."""
        self._taken.append(b"\x01" * (SPIKE_MB * MB))
        threading.Timer(SPIKE_LASTS_S, self._taken.clear).start()

    def _leak(self) -> None:
        while len(self._taken) * LEAK_MB < LEAK_MB_MAX:
            self._taken.append(b"\x01" * (LEAK_MB * MB))
            time.sleep(LEAK_EVERY_S)


TROUBLES = Troubles()
WAYS = {name: getattr(TROUBLES, name) for name in ("crash", "leak", "slow", "slow_spike", "memory_spike")}


class Handler(BaseHTTPRequestHandler):
    """Answers GET / and POST /break/WAY."""

    def do_GET(self) -> None:
        time.sleep(TROUBLES.delay_s())
        self._answer(200, "well")

    def do_POST(self) -> None:
        way = WAYS.get(self.path.removeprefix("/break/"))
        if way is None:
            self._answer(404, f"one of {', '.join(WAYS)}")
            return
        way()
        self._answer(202, "broken")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *parts: object) -> None:
        """No line per request."""


class Server(ThreadingHTTPServer):
    """Binds without asking the name service who we are, which can take seconds."""

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--starts", help="a file that gets one line for each start of a service")
    parser.add_argument("--while-pid", type=int, help="end when this process has ended")
    options = parser.parse_args()
    if options.starts:
        _note_start(options.starts, options.name)
    if options.while_pid:
        threading.Thread(target=_end_after, args=(options.while_pid,), daemon=True).start()
    Server(("127.0.0.1", options.port), Handler).serve_forever()


def _note_start(path: str, name: str) -> None:
    """One line per start, appended in one write: whoever reads it sees how often this service was started, and why."""
    command_id = os.environ.get("SETPOINT_COMMAND_ID", "")
    line = json.dumps({"name": name, "pid": os.getpid(), "command_id": command_id, "at": time.time()}) + "\n"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, line.encode())
    os.close(file)


def _end_after(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            os._exit(0)
        time.sleep(0.5)


if __name__ == "__main__":
    main()
