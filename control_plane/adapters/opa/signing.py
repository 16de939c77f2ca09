"""Signed bundles: OPA takes none that does not carry the signature of our key over every file of it."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

KEY_ID: Final = "setpoint"
SCOPE: Final = "setpoint"
ALGORITHM: Final = "HS256"
SIGNATURES: Final = ".signatures.json"


@dataclass(frozen=True, slots=True)
class BundleKey:
    """The secret that our bundles are signed with, and what OPA shows to be given them."""

    secret: str = field(repr=False)

    @property
    def token(self) -> str:
        """What OPA shows at our door: derived, so that there is one secret to keep, and good for bundles only."""
        return hmac.new(self.secret.encode(), b"setpoint opa token", hashlib.sha256).hexdigest()

    def signatures(self, files: Mapping[str, bytes]) -> bytes:
        """The file of signatures over all others. JSON files must stand in the form that OPA hashes (`relocation`)."""
        hashes = [
            {"name": name, "hash": hashlib.sha256(content).hexdigest(), "algorithm": "SHA-256"}
            for name, content in sorted(files.items())
        ]
        token = self._signed({"files": hashes, "scope": SCOPE, "keyid": KEY_ID})
        return msgspec.json.encode({"signatures": [token]})

    def _signed(self, claims: Mapping[str, Any]) -> str:
        parts = [{"alg": ALGORITHM, "kid": KEY_ID, "typ": "JWT"}, claims]
        text = b".".join(_base64(msgspec.json.encode(part)) for part in parts)
        return b".".join((text, _base64(hmac.digest(self.secret.encode(), text, "sha256")))).decode()


def _base64(content: bytes) -> bytes:
    return urlsafe_b64encode(content).rstrip(b"=")
