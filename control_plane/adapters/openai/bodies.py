"""What a server said, as bytes, and what it means. Nothing that it says is believed but its shape.

Says neither whether the text is a decision nor whether it is allowed: that is the agent's to find out.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct

from control_plane.adapters.openai.request import Prices
from control_plane.messages import Usage
from control_plane.ports.journal import Answer, ToolFailed

TOKENS_MAX: Final = 10_000_000
"""A server that claims more for one answer cannot count."""

MILLION: Final = 1_000_000


class _Said(Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(Struct):
    message: _Said
    finish_reason: str | None = None


class _ChatUsage(Struct):
    prompt_tokens: int
    completion_tokens: int


class _Chat(Struct):
    choices: list[_Choice]
    model: str = ""
    usage: _ChatUsage | None = None


class _Part(Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(Struct):
    type: str = ""
    content: list[_Part] | None = None


class _Incomplete(Struct):
    reason: str | None = None


class _ResponseUsage(Struct):
    input_tokens: int
    output_tokens: int


class _Response(Struct):
    output: list[_Item]
    status: str = ""
    model: str = ""
    incomplete_details: _Incomplete | None = None
    usage: _ResponseUsage | None = None


_chat_decoder = msgspec.json.Decoder(_Chat)
_response_decoder = msgspec.json.Decoder(_Response)


def chat_answer(body: bytes, prices: Prices) -> Answer:
    """The body of a chat completion. Raises ToolFailed."""
    found: _Chat = _decoded(body, _chat_decoder)
    if not found.choices:
        raise ToolFailed("no_answer", "the server sent a completion without a choice", None)
    choice = found.choices[0]
    counted = None if found.usage is None else (found.usage.prompt_tokens, found.usage.completion_tokens)
    return Answer(
        content=_content(choice.message.content, choice.message.refusal, choice.finish_reason, found.model),
        usage=_usage(counted, prices),
    )


def response_answer(body: bytes, prices: Prices) -> Answer:
    """The body of a response. Raises ToolFailed."""
    found: _Response = _decoded(body, _response_decoder)
    parts = [part for item in found.output if item.type == "message" for part in item.content or ()]
    text = "".join(part.text for part in parts if part.type == "output_text" and part.text is not None)
    refusal = next((part.refusal for part in parts if part.type == "refusal"), None)
    counted = None if found.usage is None else (found.usage.input_tokens, found.usage.output_tokens)
    return Answer(
        content=_content(text or None, refusal, _finish_reason(found), found.model), usage=_usage(counted, prices)
    )


def cost_micros(tokens_in: int, tokens_out: int, prices: Prices) -> int:
    """What so many tokens cost, rounded up: a budget must never be told too little."""
    return -(-(tokens_in * prices.input + tokens_out * prices.output) // MILLION)


def _finish_reason(found: _Response) -> str:
    """In the words of chat completions."""
    if found.status == "completed":
        return "stop"
    reason = found.incomplete_details.reason if found.incomplete_details is not None else None
    return "length" if reason == "max_output_tokens" else reason or found.status


def _content(text: str | None, refusal: str | None, finish_reason: str | None, model: str) -> dict[str, Any]:
    return {"content": text, "refusal": refusal, "finish_reason": finish_reason or "", "model": model}


def _usage(counted: tuple[int, int] | None, prices: Prices) -> Usage | None:
    """None when the server does not say, or says what cannot be."""
    if counted is None or not all(0 <= tokens <= TOKENS_MAX for tokens in counted):
        return None
    tokens_in, tokens_out = counted
    return Usage(tokens_in=tokens_in, tokens_out=tokens_out, cost_micros=cost_micros(tokens_in, tokens_out, prices))


def _decoded(body: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        detail = f"the server's answer is none of this protocol: {exc}"
        raise ToolFailed("protocol_broken", detail, None) from exc
