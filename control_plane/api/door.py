"""The address that a service listens on: taken before anything else is started, served once the service can answer.

Who connects in between waits in the system's queue. Loads no server, so that a start can fail at once.
"""

import errno
import socket
from typing import Final

from control_plane.errors import InvalidSettings

BACKLOG_CONNECTIONS: Final = 256


class Door:
    """One bound address."""

    def __init__(self, host: str, bound: socket.socket) -> None:
        self.host = host
        self.bound = bound

    @classmethod
    def open(cls, host: str, port: int) -> "Door":
        """Take an address. Raises InvalidSettings when it cannot be had."""
        return cls(host, _bound(host, port))

    @property
    def port(self) -> int:
        """The port that was bound, also where 0 was asked for."""
        port: int = self.bound.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """Where clients find it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def close(self) -> None:
        """Let the address go. A second call does nothing."""
        self.bound.close()


def _bound(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as exc:
        raise InvalidSettings(
            f"listen: {host!r} is no address of this machine ({exc.strerror}). Nothing was started. "
            "Write host:port, as in 127.0.0.1:7070."
        ) from exc
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        # Two may bind one port; only the first of them may listen there.
        bound.listen(BACKLOG_CONNECTIONS)
        bound.setblocking(False)
    except OSError as exc:
        bound.close()
        raise InvalidSettings(_why_not(host, port, exc)) from exc
    return bound


def _why_not(host: str, port: int, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"listen: port {port} on {host} is in use by another process. Nothing was started. "
            "Stop that one, or choose another port: --listen 127.0.0.1:7071"
        )
    return (
        f"listen: {host}:{port} cannot be bound ({exc.strerror}). Nothing was started. "
        "Choose an address of this machine and a port above 1023."
    )
