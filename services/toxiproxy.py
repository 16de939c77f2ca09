"""A real toxiproxy on this machine, for tests: what stands between the service and a part, and slows or cuts it.

    python3 services/toxiproxy.py start|stop|kill|status DIR [--port N]

The port is that of its API, with which tests make proxies and poison them. The rest is told in `standing.py`.
"""

from collections.abc import Sequence
from pathlib import Path

from golang import built
from machine import http_ok
from standing import Part, Server, main

PACKAGE = "github.com/Shopify/toxiproxy/v2/cmd/server"
PORT = 18474


class Toxiproxy(Server):
    """One toxiproxy in one directory."""

    title = "toxiproxy"

    def sign(self) -> str:
        return str(self.home / "proxies.json")

    def fetch(self) -> None:
        self._binary = fetched()

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "proxies.json").write_text("[]")

    def call(self) -> Sequence[str]:
        listen = ["-host", "127.0.0.1", "-port", str(self.port), "-config", self.sign()]
        return [str(self._binary), *listen, *self.program]

    def answers(self, port: int) -> bool:
        return http_ok(port, "/version")

    def address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"


def fetched() -> Path:
    """The program. Raises NotDone."""
    return built("toxiproxy", PACKAGE)


PART = Part(
    name="toxiproxy",
    title="toxiproxy",
    port=PORT,
    fetch=fetched,
    servers=lambda arguments: [Toxiproxy(arguments.dir, arguments.port, arguments.program)],
)

if __name__ == "__main__":
    main(PART)
