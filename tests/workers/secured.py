"""A real Kafka that lets in only whom it knows: a throw-away CA, a listener for users and one for certificates."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.settings import KafkaSecurity
from tests.real_parts import PROGRAMS

USER = "setpoint"
PASSWORD = "a throw-away secret, = and all"
STARTED_WITHIN_S = 90
_EXTENSIONS = """\
[req]
distinguished_name = nobody
[nobody]
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
subjectAltName = IP:127.0.0.1,DNS:localhost
authorityKeyIdentifier = keyid
"""


class Authority:
    """Signs certificates; everything lies in one folder."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self._home = home
        self.ca_file = home / "ca.pem"
        (home / "extensions").write_text(_EXTENSIONS)
        itself = ("-x509", "-extensions", "ca", "-days", "2", "-subj", "/CN=throw-away")
        self._openssl("req", "-config", "extensions", *itself, *_new_key("ca.key"), "-out", "ca.pem")

    def certify(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        certificate, key, asked = f"{name}.pem", f"{name}.key", f"{name}.csr"
        self._openssl("req", "-config", "extensions", *_new_key(key), "-subj", f"/CN={name}", "-out", asked)
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        extensions = ("-extfile", "extensions", "-extensions", "leaf")
        self._openssl("x509", "-req", "-in", asked, *signed, *extensions, "-out", certificate)
        return self._home / certificate, self._home / key

    def keystore(self, name: str) -> Path:
        """Both in one file, as Kafka reads them."""
        certificate, key = self.certify(name)
        path = self._home / f"{name}.both.pem"
        path.write_text(key.read_text() + certificate.read_text() + self.ca_file.read_text())
        return path

    def _openssl(self, *words: str) -> None:
        _run(["openssl", *words], cwd=self._home)


def _new_key(path: str) -> tuple[str, ...]:
    return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path


@dataclass(frozen=True, kw_only=True)
class Secured:
    """Where it listens: openly, for users over TLS and without, and for certificates."""

    authority: Authority
    plain: str
    users: str
    users_unencrypted: str
    certificates: str

    def user(self, **changed: Any) -> KafkaSecurity:
        """A user that it knows."""
        known = {"protocol": "SASL_SSL", "username": USER, "password": PASSWORD, "ca_file": self.authority.ca_file}
        return KafkaSecurity(**{**known, **changed})


@contextmanager
def secured_kafka(home: Path, port: int) -> Iterator[Secured]:
    """Started, with one user."""
    authority = Authority(home / "ca")
    named = {
        "PLAINTEXT": ("PLAINTEXT", port),
        "CONTROLLER": ("PLAINTEXT", port + 1),
        "USERS": ("SASL_SSL", port + 2),
        "OPEN_USERS": ("SASL_PLAINTEXT", port + 3),
        "CERTIFICATES": ("SSL", port + 4),
    }
    places = {name: f"{name}://127.0.0.1:{at}" for name, (_, at) in named.items()}
    plain_module = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    scram_module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings = {
        "listeners": ",".join(places.values()),
        "advertised.listeners": ",".join(place for name, place in places.items() if name != "CONTROLLER"),
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, (protocol, _) in named.items()),
        "inter.broker.listener.name": "PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(authority.keystore("broker")),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.certificates.ssl.client.auth": "required",
    }
    for name in ("users", "open_users"):
        known = f'{plain_module} user_{USER}="{PASSWORD}";'
        settings[f"listener.name.{name}.plain.sasl.jaas.config"] = known
        settings[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = scram_module
    broker = home / "broker"
    call = [sys.executable, str(PROGRAMS / "kafka.py")]
    over = [f"{name}={value}" for name, value in settings.items()]
    _run([*call, "start", str(broker), "--port", str(port), "--", *over])
    try:
        _make_user(f"127.0.0.1:{port}")
        yield Secured(
            authority=authority,
            plain=f"127.0.0.1:{port}",
            users=f"127.0.0.1:{port + 2}",
            users_unencrypted=f"127.0.0.1:{port + 3}",
            certificates=f"127.0.0.1:{port + 4}",
        )
    finally:
        _run([*call, "kill", str(broker)])


def _make_user(server: str) -> None:
    """With Kafka's own tool: its other clients cannot."""
    libraries = PROGRAMS.parent / ".services" / "kafka" / "lib" / "*"
    call = ["java", "-XX:TieredStopAtLevel=1", "-cp", str(libraries), "kafka.admin.ConfigCommand"]
    call += ["--bootstrap-server", server, "--alter", "--entity-type", "users", "--entity-name", USER]
    _run([*call, "--add-config", f"SCRAM-SHA-512=[iterations=4096,password={PASSWORD}]"])


def _run(call: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(call, cwd=cwd, capture_output=True, text=True, timeout=STARTED_WITHIN_S)
    assert done.returncode == 0, done.stdout + done.stderr
