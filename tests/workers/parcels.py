"""A workspace whose every event ends in one HTTP call, and the target that counts the calls."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_FILES = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "intents/ship_parcel.yaml": """\
intent: ship_parcel
description: Hand one parcel over.
subject_kind: parcel
executor: depot
action_class: shipping
deadline: 5m
parameters: {{type: object, additionalProperties: false}}
""",
    "executors/depot.yaml": """\
executor: depot
kind: http
request: {{method: POST, url: "http://127.0.0.1:{port}/{{subject}}", body: parameters}}
idempotency_header: Idempotency-Key
reconcile:
  method: GET
  url: "http://127.0.0.1:{port}/by-key/{{command_id}}"
  done_when: "status == 200"
  absent_when: "status == 404"
  settle: 50ms
timeout: 5s
""",
    "rows/parcel.yaml": """\
row: parcel_log
on: [parcel.scanned]
fields:
  scans: {{count: {{window: 1h}}}}
""",
    "agents/shipper.yaml": """\
rule: shipper
version: 1.0.0
on: parcel.scanned
when: data.ship
reads: [parcel_log]
propose: {{intent: ship_parcel, because: "scanned {{rows.parcel_log.scans}} times"}}
""",
    "policies/permits/shipping.rego": """\
package setpoint.permits.shipping

allow contains {{"code": "shipping", "msg": "parcels may be shipped"}} if input.decision.intent == "ship_parcel"
""",
    "policies/permits/shipping_test.rego": """\
package setpoint.permits.shipping_test

import data.setpoint.permits.shipping

test_ships if count(shipping.allow) == 1 with input as {{"decision": {{"intent": "ship_parcel"}}}}
""",
}


def write_workspace(root: Path, port: int) -> Path:
    """The workspace in a folder; what it ships goes to a target at `port`."""
    for name, text in _FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(port=port))
    return root


class Depot(ThreadingHTTPServer):
    """Takes parcels, and knows how often it was handed each, by command id."""

    daemon_threads = True
    request_queue_size = 256
    """Connections that wait to be taken. With the library's five an executor's 64 at once would mostly be turned away,
    and every command end as unknown."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: Counter[str] = Counter()
        self.subjects: Counter[str] = Counter()
        self.first_s: dict[str, float] = {}
        """When each subject was shipped first, in seconds since the epoch."""
        self.changed = threading.Condition()
        self.open = threading.Event()
        self.open.set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return self.server_address[1]

    def __enter__(self) -> "Depot":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def until(self, subjects: set[str], timeout_s: float = 30.0) -> None:
        """Wait until all of these were shipped."""
        with self.changed:
            done = self.changed.wait_for(lambda: subjects <= set(self.subjects), timeout_s)
        assert done, f"never shipped: {sorted(subjects - set(self.subjects))}"

    def take(self, subject: str, key: str) -> None:
        with self.changed:
            self.first_s.setdefault(subject, time.time())
            self.taken[key] += 1
            self.subjects[subject] += 1
            self.changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Depot
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.open.wait(30)
        self.server.take(self.path[1:].replace("%2F", "/"), self.headers["Idempotency-Key"])
        self._answer(200)

    def do_GET(self) -> None:
        self._answer(200 if self.path.rsplit("/", 1)[-1] in self.server.taken else 404)

    def _answer(self, status: int) -> None:
        body = json.dumps({}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""
