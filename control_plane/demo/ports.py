"""Ports for the demo's services, free on this machine."""

import random
import socket

PORT_FIRST = 20_000
PORT_LAST = 29_999
"""Below the range from which systems take the ports of outgoing connections: a probe of a service that is down could
otherwise be connected with itself."""

TRIES_MAX = 500


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now."""
    found: list[int] = []
    for _ in range(TRIES_MAX):
        if len(found) == count:
            break
        # Not from the demo's seed: two demos with one seed may run at the same time.
        port = random.SystemRandom().randint(PORT_FIRST, PORT_LAST)
        if port not in found and _is_free(port):
            found.append(port)
    assert len(found) == count, f"no {count} free ports between {PORT_FIRST} and {PORT_LAST}"
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
