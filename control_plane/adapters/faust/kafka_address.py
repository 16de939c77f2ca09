"""Where a Kafka is and how it lets us in: the one place that every client of ours takes this from.

Connects to nothing by itself; `unreachable.py` says why a connection did not come about.
"""

import ssl
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import faust

from control_plane.errors import InvalidSettings
from control_plane.settings import NO_SECURITY, KafkaSecurity

BROKERS_DEFAULT_REPLICATION = -1


@dataclass(frozen=True, kw_only=True)
class KafkaAddress:
    """`kafka://host:port,host2:port2?replication=3&prefix=staging.`; the prefix begins every name on the log."""

    servers: tuple[str, ...]
    replication: int
    prefix: str
    security: KafkaSecurity = NO_SECURITY

    @classmethod
    def parse(cls, url: str, security: KafkaSecurity = NO_SECURITY) -> "KafkaAddress":
        """Raises InvalidSettings."""
        parts = urlsplit(url)
        servers = tuple(server for server in parts.netloc.split(",") if server)
        query = parse_qs(parts.query)
        replication = query.get("replication", [str(BROKERS_DEFAULT_REPLICATION)])[0]
        if not servers or not replication.removeprefix("-").isdigit():
            raise InvalidSettings(
                f"backbone {url!r} cannot be read. Nothing was started. Write kafka://host:port,host2:port2."
            )
        prefix = query.get("prefix", [""])[0]
        return cls(servers=servers, replication=int(replication), prefix=prefix, security=security)

    @property
    def broker(self) -> str:
        """As Faust has it."""
        return ";".join(f"kafka://{server}" for server in self.servers)

    def client_options(self) -> dict[str, Any]:
        """What any client of aiokafka needs to get there. Raises InvalidSettings."""
        return {"bootstrap_servers": list(self.servers), **self.security_options}

    @cached_property
    def security_options(self) -> dict[str, Any]:
        """How aiokafka is let in. Raises InvalidSettings."""
        security = self.security
        options: dict[str, Any] = {"security_protocol": security.protocol}
        if security.encrypts:
            options["ssl_context"] = _ssl_context(security)
        if security.names_a_user:
            _check_user(security)
            options["sasl_mechanism"] = security.mechanism
            options["sasl_plain_username"] = security.username
            options["sasl_plain_password"] = security.password
        return options

    def app_options(self) -> dict[str, Any]:
        """How Faust is let in, as settings of an app. Raises InvalidSettings."""
        security, options = self.security, self.security_options
        context = options.get("ssl_context")
        credentials: Any = None
        if security.names_a_user:
            # Whether it is SASL_SSL or SASL_PLAINTEXT follows from the context.
            credentials = faust.SASLCredentials(
                mechanism=security.mechanism,
                username=security.username,
                password=security.password,
                ssl_context=context,
            )
        elif context is not None:
            credentials = faust.SSLCredentials(context)
        return {"broker_credentials": credentials} if credentials is not None else {}


def _check_user(security: KafkaSecurity) -> None:
    if not security.username:
        raise InvalidSettings(
            f"kafka.security_protocol is {security.protocol}, which asks for a user, and kafka.username is not set. "
            "Nothing was opened. Set it, or SETPOINT_KAFKA_USERNAME."
        )
    if not security.password:
        raise InvalidSettings(
            f"the variable {security.password_variable} holds no password for Kafka's user {security.username}. "
            "Nothing was opened. Set it in the environment, or name another variable as kafka.password_env."
        )


def _ssl_context(security: KafkaSecurity) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("kafka.ca_file", security.ca_file, error) from error
    if security.cert_file is None:
        if security.key_file is not None:
            raise InvalidSettings(
                "kafka.key_file is set and kafka.cert_file is not. Nothing was opened. Set both or neither."
            )
        return context
    try:
        # A key that asks for its pass phrase would wait at a terminal that a service has not.
        context.load_cert_chain(security.cert_file, security.key_file, password=lambda: b"")
    except (OSError, ssl.SSLError) as error:
        raise _unusable("kafka.cert_file or kafka.key_file", security.cert_file, error) from error
    return context


def _unusable(setting: str, path: Path | None, error: Exception) -> InvalidSettings:
    return InvalidSettings(
        f"{setting}: {path} cannot be used ({error}). Nothing was opened. Name a file with certificates in PEM that "
        "this user may read; its key without a pass phrase."
    )
