"""Where OPA is: http://HOST:PORT, https://HOST:PORT, or unix:///PATH."""

from dataclasses import dataclass
from urllib.parse import urlsplit

PORT = 8181


@dataclass(frozen=True, kw_only=True, slots=True)
class OpaAddress:
    """An OPA as it was written in the settings, and what that comes to."""

    url: str
    host: str = "localhost"
    port: int = PORT
    tls: bool = False
    socket: str | None = None
    """The path of a unix socket; then host and port only stand in the request."""

    @classmethod
    def of(cls, url: str) -> "OpaAddress":
        """From a setting that was checked (`control_plane.settings`)."""
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return cls(url=url, socket=parts.path)
        host = parts.hostname or "localhost"
        bracketed = f"[{host}]" if ":" in host else host
        return cls(url=url, host=bracketed, port=parts.port or PORT, tls=parts.scheme == "https")
