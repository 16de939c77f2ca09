"""How a Kafka lets us in: encryption, user, certificates. Says what was set; whoever connects judges if it fits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
PASSWORD_VARIABLE: Final = "SETPOINT_KAFKA_PASSWORD"


@dataclass(frozen=True, kw_only=True, slots=True)
class KafkaSecurity:
    """The settings `kafka.*` of one process. Paths are absolute; `password` comes from the environment alone and is
    never shown."""

    protocol: str = PROTOCOLS[0]
    mechanism: str = MECHANISMS[0]
    username: str = ""
    password_variable: str = PASSWORD_VARIABLE
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], workspace: Path, environ: Mapping[str, str]) -> "KafkaSecurity":
        """From the parsed settings, by name."""

        def file(name: str) -> Path | None:
            return workspace / values[name] if values[name] else None

        variable = values["kafka.password_env"]
        return cls(
            protocol=values["kafka.security_protocol"],
            mechanism=values["kafka.sasl_mechanism"],
            username=values["kafka.username"],
            password_variable=variable,
            password=environ.get(variable, ""),
            ca_file=file("kafka.ca_file"),
            cert_file=file("kafka.cert_file"),
            key_file=file("kafka.key_file"),
        )

    @property
    def encrypts(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.protocol.endswith("SSL")

    @property
    def names_a_user(self) -> bool:
        """Whether the broker asks for a user and a password."""
        return self.protocol.startswith("SASL")


NO_SECURITY: Final = KafkaSecurity()
