"""What `executors/*.yaml` says of kind `http`: its shape, for whoever checks a definition without an HTTP client."""

from typing import Annotated, Literal

from msgspec import Meta, field

from control_plane.executors.tools import Keys, Places, RetryKeys, VariableName
from control_plane.sdk import Duration

Url = Annotated[str, Meta(pattern=r"^https?://[^\s/{}]+", max_length=2_000, description="http://host:port/path.")]
Header = Annotated[str, Meta(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=100, description="a header's name.")]
Condition = Annotated[str, Meta(min_length=1, max_length=2_000, description="A CEL expression over status and body.")]


class RequestKeys(Keys, frozen=True):
    """What is sent. `body: parameters` sends the command's parameters as JSON, `command` the whole command."""

    url: Url
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    body: Literal["parameters", "command", "none"] = "parameters"
    headers: dict[Header, str] = field(default_factory=dict)
    headers_env: dict[Header, VariableName] = field(default_factory=dict)
    """Headers whose value stands in an environment variable."""


class SignatureKeys(Keys, frozen=True):
    """`sha256=` and the HMAC of the body in hex, as webhooks have it."""

    header: Header
    secret_env: VariableName
    algorithm: Literal["hmac-sha256"] = "hmac-sha256"


class ReconcileKeys(Keys, frozen=True):
    """How to ask whether a command was carried out. An answer that meets neither condition, or both, says nothing."""

    url: Url
    done_when: Condition
    absent_when: Condition
    method: Literal["GET", "HEAD", "POST"] = "GET"
    settle: Duration = "2s"


class HttpKeys(Keys, frozen=True):
    """What `executors/*.yaml` says of this kind. In URLs: {subject}, {command_id}, {parameters.x}, percent-encoded."""

    request: RequestKeys
    idempotency_header: Header = "Idempotency-Key"
    signature: SignatureKeys | None = None
    reconcile: ReconcileKeys | None = None
    timeout: Duration = "5s"
    retry: RetryKeys = RetryKeys()
    concurrency: Places = 64
