"""What a model is asked, as `tools.v1` holds it. A key is named there, never written."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One message of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Millionths of the currency per million tokens."""

    input: int = 0
    output: int = 0


class ModelRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One question. Without `key_env` no key is sent; `extra` goes into the body as it stands."""

    url: str
    model: str
    messages: list[Message]
    answer_schema: dict[str, Any]
    answer_tokens_max: Annotated[int, Meta(ge=1)]
    timeout_s: Annotated[float, Meta(gt=0.0)]
    api: Literal["chat", "responses"] = "chat"
    key_env: str = ""
    temperature: float | None = None
    prices: Prices = Prices()
    extra: dict[str, Any] = {}


ANSWER_NAME = "decision"
"""How the schema of the answer is called on the wire."""
