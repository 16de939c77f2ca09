"""docs/alertmanager.md, block by block: a real Prometheus rule fires at our webhook through a real Alertmanager, the
loop acts on the world, and the resolved alert closes it."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from control_plane.demo.ports import free_ports
from tests.examples.page import blocks_of
from tests.unit.cli_world import ROOT, process, setpoint

PROGRAM = ROOT / "services" / "prometheus.py"
TOKEN = "0123456789abcdef0123456789abcdef"
PATIENCE_S = 60.0
WITHIN_S = 10
POLL_S = 0.1


@pytest.fixture(scope="module")
def programs() -> Path:
    """The folder with Prometheus and Alertmanager, fetched once where a machine can."""
    fetched = subprocess.run([sys.executable, str(PROGRAM), "fetch"], capture_output=True, text=True)
    if fetched.returncode == 0:
        return Path(fetched.stdout.strip())
    if os.environ.get("CI"):
        pytest.fail(fetched.stderr)
    pytest.skip(fetched.stderr.strip())


class Shop:
    """The world: a service that fails until it is restarted, its metrics, and who restarts it. Counts for itself."""

    def __init__(self, port: int) -> None:
        self.error_ratio = 0.01
        self.restarts: list[str] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(200, f'service_error_ratio{{service="web-1"}} {shop.error_ratio}\n')

            def do_POST(self) -> None:
                shop.restarts.append(self.path)
                shop.error_ratio = 0.01
                self._answer(200, "{}")

            def _answer(self, status: int, body: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Shop":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def written(folder: Path, ports: dict[str, int]) -> dict[str, str]:
    """The files of the page, with ports of this run and an effect that is judged soon."""
    files = {}
    for language, line, text in blocks_of("alertmanager.md"):
        if language == "sh":
            continue
        named = re.match(r"# (\S+)\n", text)
        assert named, f"docs/alertmanager.md:{line}: a block begins with the name of its file"
        for port, mine in ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{mine}")
        files[named[1]] = text.replace("within: 10m", f"within: {WITHIN_S}s")
    files |= {"setpoint.yaml": "apiVersion: setpoint/v1\n", "alerts.token": TOKEN}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return files


@contextmanager
def running(folder: Path, *call: str) -> Iterator[None]:
    """A program that runs in a folder until the end of the block."""
    with (folder / f"{Path(call[0]).name}.log").open("wb") as log:
        child = subprocess.Popen(call, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        child.terminate()
        child.wait(PATIENCE_S)


@contextmanager
def up(folder: Path, port: int) -> Iterator[httpx.Client]:
    """A service on the workspace, and a client with its key."""
    service = process("up", str(folder), "--listen", f"127.0.0.1:{port}", "--json", ALERTS_TOKEN=TOKEN)
    try:
        assert service.stdout is not None
        assert service.stdout.readline(), service.communicate()
        key = (folder / "data" / "api.key").read_text().strip()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"}) as client:
            yield client
    finally:
        service.terminate()
        service.communicate(timeout=PATIENCE_S)


def until(found: Callable[[], Any], what: Callable[[], str]) -> Any:
    """What is found in the world outside, once it is."""
    ends = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < ends, what()
        time.sleep(POLL_S)
    return value


@pytest.mark.timeout(300)
def test_an_alert_fires_the_loop_acts_and_the_resolved_alert_closes_it(tmp_path: Path, programs: Path) -> None:
    api, shop_port, alertmanager, prometheus = free_ports(4)
    written(tmp_path, {"7070": api, "9000": shop_port, "9093": alertmanager})

    def logs() -> str:
        return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in tmp_path.glob("*.log"))

    with Shop(shop_port) as shop, up(tmp_path, api) as client:
        alertmanager_call = [str(programs / "prometheus-alertmanager"), "--config.file=alertmanager.yml"]
        alertmanager_call += ["--storage.path=am", "--cluster.listen-address="]
        prometheus_call = [str(programs / "prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]
        with (
            running(tmp_path, *alertmanager_call, f"--web.listen-address=127.0.0.1:{alertmanager}"),
            running(tmp_path, *prometheus_call, f"--web.listen-address=127.0.0.1:{prometheus}"),
        ):
            shop.error_ratio = 0.45

            def listed(path: str) -> list[dict[str, Any]]:
                return list(client.get(path).raise_for_status().json()["items"])

            [effect] = until(lambda: listed("/v1/effects"), logs)
            [decision] = listed("/v1/decisions")
            events = [found["event"] for found in listed("/v1/events?order=oldest&subject=service/web-1")]

    alerts = [event for event in events if event["type"].startswith("alert.")]
    assert [event["type"] for event in alerts] == ["alert.fired", "alert.resolved"]
    assert alerts[0]["data"]["labels"]["service"] == "web-1"
    assert alerts[0]["data"]["starts_at"] == alerts[1]["data"]["starts_at"]
    assert decision["because"] == "web-1 fails 45% of its requests"
    assert decision["verdict"]["answer"] == "allow"
    assert shop.restarts == ["/restart/service%2Fweb-1"]
    assert effect["effect"] == "effective"
    equal = setpoint("replay", "--data", str(tmp_path / "data"))
    assert (equal.exit_code, equal.stdout.splitlines()[-1]) == (0, "equal")


def test_prometheus_and_alertmanager_accept_what_the_page_tells_them(tmp_path: Path, programs: Path) -> None:
    written(tmp_path, {})

    for call in (
        ("promtool", "check", "config", "prometheus.yml"),
        ("promtool", "check", "rules", "alert-rules.yml"),
        ("amtool", "check-config", "alertmanager.yml"),
    ):
        checked = subprocess.run(
            [str(programs / call[0]), *call[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_workspace_of_the_page_passes_the_check_without_a_warning(tmp_path: Path) -> None:
    written(tmp_path, {})

    checked = setpoint("check", str(tmp_path), "--json")

    assert checked.exit_code == 0, checked.stdout
    assert json.loads(checked.stdout)["warnings"] == []


def test_what_is_typed_on_the_page_makes_a_token_that_is_long_enough(tmp_path: Path) -> None:
    [typed] = [text for language, _, text in blocks_of("alertmanager.md") if language == "sh"]
    without_service = typed.replace(
        "setpoint up .", f"{sys.executable} -c 'import os; print(os.environ[\"ALERTS_TOKEN\"])'"
    )

    ran = subprocess.run(
        ["sh", "-e", "-c", without_service], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )

    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.strip()) >= 32
    assert ran.stdout.strip() == (tmp_path / "alerts.token").read_text().strip()
