"""The configuration that an OPA is started with: whom it pulls from, what it believes, and whom it tells."""

from typing import Any, Final

import yaml

from control_plane.adapters.opa.bundle import NAME
from control_plane.adapters.opa.signing import ALGORITHM, KEY_ID, SCOPE, BundleKey

LONG_POLL_S: Final = 30
RETRY_S_MAX: Final = 1
"""How long OPA waits at most before it looks for a service again that was away."""


def opa_config(service_url: str, key: BundleKey, *, persist_in: str | None = None) -> str:
    """As YAML. It holds the secret that bundles are signed with. `persist_in` is a folder in which OPA keeps its last
    good bundle, so that it can start while the service is away."""
    found: dict[str, Any] = {
        "services": {
            "setpoint": _service(f"{service_url}/v1", key),
            "setpoint_status": _service(f"{service_url}/v1/opa", key),
        },
        "keys": {KEY_ID: {"algorithm": ALGORITHM, "key": key.secret}},
        "bundles": {
            NAME: {
                "service": "setpoint",
                "resource": f"bundles/{NAME}",
                "persist": persist_in is not None,
                "polling": {
                    "min_delay_seconds": RETRY_S_MAX,
                    "max_delay_seconds": RETRY_S_MAX,
                    "long_polling_timeout_seconds": LONG_POLL_S,
                },
                "signing": {"keyid": KEY_ID, "scope": SCOPE},
            }
        },
        "status": {"service": "setpoint_status"},
    }
    if persist_in is not None:
        found["persistence_directory"] = persist_in
    return yaml.safe_dump(found, sort_keys=False)


def _service(url: str, key: BundleKey) -> dict[str, Any]:
    return {"url": url, "credentials": {"bearer": {"token": key.token}}}
