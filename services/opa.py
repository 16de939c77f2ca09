"""A real Open Policy Agent on this machine, for development and tests: `opa run --server`, built from a pinned module.

    python3 services/opa.py start|stop|kill|status DIR [--port N] [-- FLAGS OF opa run]

Its settings are DIR/opa.yaml, an empty file unless somebody has written one. `fetch` says where the program is, for
`opa check`, `opa fmt` and `opa test`. The rest is told in `standing.py`.
"""

from collections.abc import Sequence
from pathlib import Path

from golang import built
from machine import http_ok
from standing import Part, Server, main

PACKAGE = "github.com/open-policy-agent/opa"
PORT = 18181


class Opa(Server):
    """One OPA in one directory."""

    title = "OPA"

    def sign(self) -> str:
        return str(self.home / "opa.yaml")

    def fetch(self) -> None:
        self._binary = fetched()

    def prepare(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "opa.yaml").touch()

    def call(self) -> Sequence[str]:
        listen = ["--addr", f"127.0.0.1:{self.port}", "--config-file", self.sign()]
        return [str(self._binary), "run", "--server", "--skip-version-check", *listen, *self.program]

    def answers(self, port: int) -> bool:
        return http_ok(port, "/health")

    def address(self, port: int) -> str:
        return f"http://127.0.0.1:{port}"


def fetched() -> Path:
    """The program. Raises NotDone."""
    return built("opa", PACKAGE)


PART = Part(
    name="opa",
    title="Open Policy Agent",
    port=PORT,
    fetch=fetched,
    servers=lambda arguments: [Opa(arguments.dir, arguments.port, arguments.program)],
)

if __name__ == "__main__":
    main(PART)
