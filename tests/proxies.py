"""A proxy of toxiproxy's between a test and a server: it slows, cuts and swallows what goes through it."""

from typing import Any
from uuid import uuid4

import httpx

from tests.real_parts import free_port


class Proxy:
    """One way to a server on this machine, to be used as a context."""

    def __init__(self, toxiproxy_url: str, upstream_port: int) -> None:
        self.port = free_port()
        self._name = uuid4().hex
        self._upstream_port = upstream_port
        self._api = httpx.Client(base_url=toxiproxy_url)

    def __enter__(self) -> "Proxy":
        listen, upstream = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._upstream_port}"
        self._post("/proxies", name=self._name, listen=listen, upstream=upstream, enabled=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._api.delete(f"/proxies/{self._name}")
        self._api.close()

    def slow(self, latency_ms: int) -> None:
        """Answers come later."""
        self._post(f"/proxies/{self._name}/toxics", name="ill", type="latency", attributes={"latency": latency_ms})

    def swallow(self, stream: str = "downstream") -> None:
        """Nothing comes through and nobody is told: no reset, no refusal."""
        attributes = {"timeout": 0}
        self._post(f"/proxies/{self._name}/toxics", name="ill", type="timeout", stream=stream, attributes=attributes)

    def refuse(self) -> None:
        """What is open is cut, and nobody gets in."""
        self._post(f"/proxies/{self._name}", enabled=False)

    def heal(self) -> None:
        """As if nothing had been."""
        self._api.delete(f"/proxies/{self._name}/toxics/ill")
        self._post(f"/proxies/{self._name}", enabled=True)

    def _post(self, path: str, **body: Any) -> None:
        self._api.post(path, json=body).raise_for_status()
