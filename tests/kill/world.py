"""The world that the service acts on: an HTTP target that counts by itself, loses answers and never deduplicates.

A process of its own, so that it outlives whatever is killed. Each effect is a line in a file, written before the
answer. Run as `python -m tests.kill.world EFFECTS_FILE SEED`; prints its port on the first line.
"""

import json
import random
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ANSWERS_LOST_SHARE = 0.10
REFUSED_SHARE = 0.05
ANSWERS_BROKEN_SHARE = 0.05
BELT_TAKES_S = 0.3
"""Until a belt runs again; so several are under way at once."""


class World(ThreadingHTTPServer):
    """Effects by idempotency key, in memory and in the file."""

    daemon_threads = True
    request_queue_size = 256
    """Connections that wait to be taken. With the library's five an executor's 64 at once would mostly be turned away,
    and every command end as unknown."""

    def __init__(self, effects: Path, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.effects = effects.open("a", encoding="utf-8")
        self.keys: set[str] = {effect["key"] for effect in read_effects(effects)}
        self.random = random.Random(seed)
        self.lock = threading.Lock()

    def act(self, key: str, subject: str, body: dict[str, Any]) -> float:
        """One effect, whether the key was seen before or not. Gives the draw that decides about the answer."""
        with self.lock:
            draw = self.random.random()
            if draw >= REFUSED_SHARE:
                self.keys.add(key)
                self.effects.write(json.dumps({"key": key, "subject": subject, "body": body}) + "\n")
                self.effects.flush()
            return draw

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: World
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if len(body) < length:
            # Whoever asked was killed in the middle of asking: nobody acts on half a request.
            self.close_connection = True
            return
        if "/belt" in self.path:
            time.sleep(BELT_TAKES_S)
        subject = unquote(self.path.removeprefix("/parcels/"))
        draw = self.server.act(self.headers.get("Idempotency-Key", ""), subject, json.loads(body))
        if draw < REFUSED_SHARE:
            self._answer(429)
        elif draw < REFUSED_SHARE + ANSWERS_LOST_SHARE:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif draw < REFUSED_SHARE + ANSWERS_LOST_SHARE + ANSWERS_BROKEN_SHARE:
            self._answer(500)
        else:
            self._answer(200)

    def do_GET(self) -> None:
        with self.server.lock:
            known = self.path.rsplit("/", 1)[-1] in self.server.keys
        self._answer(200 if known else 404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """The file is the log."""


def read_effects(effects: Path) -> list[dict[str, Any]]:
    """What happened in the world, in order."""
    if not effects.exists():
        return []
    return [json.loads(line) for line in effects.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    world = World(Path(sys.argv[1]), int(sys.argv[2]))
    print(world.server_address[1], flush=True)
    world.serve_forever()
