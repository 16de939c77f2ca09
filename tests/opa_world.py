"""A real OPA for tests, and the service's side of it: bundles to pull, and an event loop of its own to ask on."""

import asyncio
import signal
import socket
import subprocess
import time
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI, Request, Response

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.config import opa_config
from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.opa.relocation import relocated
from control_plane.adapters.opa.shelf import BundleShelf
from control_plane.adapters.opa.signing import BundleKey
from control_plane.api.bundles import MEDIA_TYPE, bundle_routes
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import PolicySet

READY_TIMEOUT_S = 30.0
PATIENCE_S = 30.0
LENIENT_MS = 5_000
"""A deadline for tests of what OPA rules and not of how fast: the machine may be busy."""

KEY = BundleKey("a-bundle-key-for-tests-0123456789")

T = TypeVar("T")


class OpaProcess:
    """One OPA. Without an address it listens on a unix socket in its own folder."""

    def __init__(self, program: Path, home: Path, config: str, address: str = "") -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.url = address or f"unix://{home}/opa.sock"
        self._config = home / "opa.yaml"
        self._config.write_text(config)
        self._output = home / "opa.out"
        listen = self.url.removeprefix("http://")
        quiet = ("--skip-version-check", "--log-level", "error")
        self.call = [str(program), "run", "--server", "--addr", listen, "--config-file", str(self._config), *quiet]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes questions; whether it has a bundle by then is another matter."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(self.call, stdout=output, stderr=output)
        until = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            assert self._process.poll() is None, self._output.read_text()[-2_000:]
            assert time.monotonic() < until, "OPA did not answer in time"
            time.sleep(0.01)

    def kill(self) -> None:
        """As a machine that dies."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None
            Path(self.url.removeprefix("unix://")).unlink(missing_ok=True)

    def pause(self) -> None:
        """It goes on accepting connections, and answers none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After a pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        scheme, _, place = self.url.partition("://")
        host, _, port = place.rpartition(":")
        family, address = (socket.AF_UNIX, place) if scheme == "unix" else (socket.AF_INET, (host, int(port)))
        with socket.socket(family) as asking:
            asking.settimeout(2.0)
            try:
                asking.connect(address)
                asking.sendall(b"GET /health HTTP/1.0\r\n\r\n")
                return asking.recv(64).startswith(b"HTTP/1.0 200")
            except OSError:
                return False


class Grounds:
    """An event loop on which bundles are served and questions are put: it turns while something is done on it.

    On the thread of the test, because what regorus makes there must not be freed on another one.
    """

    def __init__(self, key: BundleKey = KEY) -> None:
        self.shelf = BundleShelf(key)
        self.spoil: bytes | None = None
        """What is served instead of the bundle, with the status beside it."""
        self.spoil_status = 200
        self.pulls = 0
        self._runner = asyncio.Runner()
        self._server: uvicorn.Server
        self._serving: asyncio.Task[None]
        self.do(self._serve())

    @property
    def config(self) -> str:
        """What an OPA that pulls from here is started with."""
        return opa_config(f"http://127.0.0.1:{self._port}", KEY)

    def do(self, work: Coroutine[Any, Any, T], patience_s: float = 2 * PATIENCE_S) -> T:
        """Run something on the loop, and wait for it."""
        return self._runner.run(asyncio.wait_for(work, patience_s))

    def turn(self, seconds: float = 0.01) -> None:
        """Serve whoever pulls."""
        self.do(asyncio.sleep(seconds))

    def hold(self, policies: PolicySet) -> None:
        """Offer a policy set, unless it is offered already. Raises InvalidWorkspace."""
        if all(each.revision != policies.revision for each in self.shelf.sets):
            found = relocated(policies)
            self.do(_now(lambda: self.shelf.hold(found)))

    def engine(self, url: str, timeout_ms: int = LENIENT_MS, confirm_timeout_s: float = PATIENCE_S) -> OpaEngine:
        """An engine of this loop; whoever takes it closes it."""
        return OpaEngine(
            OpaAddress.of(url),
            timeout_ms=timeout_ms,
            confirm_timeout_s=confirm_timeout_s,
            refused=self.shelf.statuses.why_refused,
        )

    def rule(self, engine: OpaEngine, policies: PolicySet, given: dict[str, Any] | None = None) -> Ruling:
        """The ruling on an input."""
        return self.do(engine.rule(Question(id="decision-1", input=given or {}), policies))

    def close(self) -> None:
        """Stop serving."""
        self.do(self._end())
        self._runner.close()

    async def _serve(self) -> None:
        app = FastAPI()
        app.include_router(bundle_routes(SimpleNamespace(bundles=self.shelf, now_ms=lambda: 1)))  # type: ignore[arg-type]

        @app.middleware("http")
        async def spoiling(request: Request, call_next: Any) -> Response:
            self.pulls += request.method == "GET"
            answer: Response = await call_next(request)
            # Judged only now: a pull that was waiting is answered as well.
            if self.spoil is not None and request.method == "GET":
                return Response(self.spoil, self.spoil_status, media_type=MEDIA_TYPE)
            return answer

        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        self._port = bound.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]))

    async def _end(self) -> None:
        self.shelf.close()
        self._server.should_exit = True
        await self._serving


async def _now(work: Any) -> None:
    work()
