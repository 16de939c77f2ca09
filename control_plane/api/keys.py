"""The key that opens `/v1`. Only its SHA-256 is kept in memory; it is compared in constant time."""

import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from control_plane.errors import InvalidSettings
from control_plane.messages.proposed import PERSON_PREFIX
from control_plane.settings import API_KEY_VARIABLE, BUNDLE_KEY_VARIABLE, Settings

KEY_BYTES: Final = 32
KEY_CHARS_MIN: Final = 16
_FORGET_IT: Final = "Delete it: the next start makes a new one."


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as the service remembers it. Whoever shows it is called `person/NAME` on the log."""

    digest: bytes = field(repr=False)
    name: str = "admin"

    @property
    def person(self) -> str:
        """Who shows it."""
        return f"{PERSON_PREFIX}{self.name}"

    @classmethod
    def of(cls, secret: str) -> "ApiKey":
        """The key that a secret is."""
        return cls(sha256(secret.encode()).digest())

    def opens(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header carries the key."""
        scheme, _, secret = (authorization or "").partition(" ")
        presented = sha256(secret.strip().encode(errors="surrogateescape")).digest()
        return hmac.compare_digest(presented, self.digest) and scheme.lower() == "bearer"


def api_key_for(settings: Settings) -> ApiKey:
    """The key that was given, or on loopback the one that lies in the data directory, made when it is missing.

    Raises InvalidSettings as `check_door`, and when a key that was made is open to read.
    """
    check_door(settings)
    return ApiKey.of(settings.api_key or _kept_key(settings.api_key_file, API_KEY_VARIABLE))


def bundle_secret_for(settings: Settings) -> str:
    """The secret that bundles are signed with: what was given, or on loopback what lies in the data directory, made
    when it is missing. Raises InvalidSettings as `check_door`, and when one that was made is open to read."""
    given = settings.bundle_key
    if given is None and not is_loopback(settings.listen_host):
        raise InvalidSettings(
            f"policy_engine: OPA is to pull its bundles from {settings.listen_host} and {BUNDLE_KEY_VARIABLE} is not "
            f"set, so it could not tell ours from another's. Nothing was started. Set {BUNDLE_KEY_VARIABLE}, as from: "
            "openssl rand -hex 32"
        )
    if given is not None and len(given) < KEY_CHARS_MIN:
        raise InvalidSettings(
            f"{BUNDLE_KEY_VARIABLE} is shorter than {KEY_CHARS_MIN} characters. Nothing was started. Give a longer "
            "one, as from: openssl rand -hex 32"
        )
    return given or _kept_key(settings.bundle_key_file, BUNDLE_KEY_VARIABLE)


def check_door(settings: Settings) -> None:
    """Raises InvalidSettings when others could reach the service and no key, or a weak one, was given."""
    if settings.api_key is not None:
        if len(settings.api_key) < KEY_CHARS_MIN:
            raise InvalidSettings(
                f"{API_KEY_VARIABLE} is shorter than {KEY_CHARS_MIN} characters. Nothing was started. Give a longer "
                "one, as from: openssl rand -hex 32"
            )
    elif not is_loopback(settings.listen_host):
        raise InvalidSettings(
            f"listen: {settings.listen_host} can be reached from other machines and {API_KEY_VARIABLE} is not set. "
            f"Nothing was started. Set {API_KEY_VARIABLE}, or listen on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a host name. Names other than localhost are not trusted to stay."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_key(path: Path) -> str | None:
    """The key in a file; None when there is none. Raises InvalidSettings when it must not be used."""
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise InvalidSettings(f"{path} can be read by others. It was not used. Run: chmod 600 {path}")
        secret = path.read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidSettings(f"{path} cannot be read ({exc}). Nothing was started. {_FORGET_IT}") from exc
    if len(secret) < KEY_CHARS_MIN:
        raise InvalidSettings(f"{path} holds no key. Nothing was started. {_FORGET_IT}")
    return secret


def _kept_key(path: Path, variable: str) -> str:
    found = read_key(path)
    if found is not None:
        return found
    secret = secrets.token_urlsafe(KEY_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under another name first: a key that is half written must never be read.
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(secret + "\n")
        fresh.replace(path)
    except OSError as exc:
        raise InvalidSettings(
            f"{path} cannot be written ({exc}). Nothing was started. Make the data directory writable, or set "
            f"{variable}."
        ) from exc
    return secret
