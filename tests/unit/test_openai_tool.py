"""The tool that asks models: what goes out, what comes back, and what is made of it when it does not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from control_plane.adapters.openai import OpenAiTool
from control_plane.adapters.openai.bodies import cost_micros
from control_plane.adapters.openai.request import Prices
from control_plane.messages import Usage
from control_plane.ports.journal import ToolFailed
from tests import scripted_model as scripted
from tests.scripted_model import Exchange, ScriptedModel

REQUEST = {
    "model": "small",
    "messages": [{"role": "system", "content": "decide"}, {"role": "user", "content": "hot"}],
    "answer_schema": {"type": "object"},
    "answer_tokens_max": 50,
    "timeout_s": 20.0,
    "prices": {"input": 150_000, "output": 600_000},
}


@pytest.fixture
async def tool() -> AsyncIterator[OpenAiTool]:
    found = OpenAiTool({"KEY": "sk-secret", "EMPTY": "", "BROKEN": "sk-\n"})
    yield found
    await found.close()


async def failure(tool: OpenAiTool, **changes: Any) -> ToolFailed:
    with pytest.raises(ToolFailed) as raised:
        await tool.invoke({**REQUEST, **changes})
    return raised.value


async def test_a_chat_completion_is_asked_for_under_the_schema_and_counted(tool: OpenAiTool) -> None:
    async with ScriptedModel(scripted.says("{}")) as model:
        answer = await tool.invoke({**REQUEST, "url": model.url, "temperature": 0.0, "extra": {"seed": 7}})

    assert answer.content == {"content": "{}", "refusal": None, "finish_reason": "stop", "model": "scripted"}
    assert answer.usage == Usage(tokens_in=100, tokens_out=20, cost_micros=27)
    (body,) = model.asked
    assert body.pop("response_format") == {
        "type": "json_schema",
        "json_schema": {"name": "decision", "strict": True, "schema": {"type": "object"}},
    }
    assert body == {
        "model": "small",
        "messages": REQUEST["messages"],
        "max_completion_tokens": 50,
        "temperature": 0.0,
        "seed": 7,
    }


async def test_so_is_a_response_which_nobody_is_to_store(tool: OpenAiTool) -> None:
    async def reply(exchange: Exchange) -> None:
        assert exchange.path == "/v1/responses"
        await exchange.send(200, scripted.response("{}"))

    async with ScriptedModel(reply) as model:
        answer = await tool.invoke({**REQUEST, "url": model.url, "api": "responses"})

    assert answer.content == {"content": "{}", "refusal": None, "finish_reason": "stop", "model": "scripted"}
    (body,) = model.asked
    assert (body["store"], body["max_output_tokens"], body["input"]) == (False, 50, REQUEST["messages"])
    assert body["text"]["format"]["strict"] is True


@pytest.mark.parametrize(
    ("further", "finish_reason", "refusal"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length", None),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter", None),
        ({"status": "failed"}, "failed", None),
        ({"output": [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}]}, "stop", "no"),
    ],
)
async def test_a_response_that_was_not_finished_says_so(
    tool: OpenAiTool, further: Any, finish_reason: str, refusal: str | None
) -> None:
    async with ScriptedModel(lambda exchange: exchange.send(200, scripted.response("{", **further))) as model:
        answer = await tool.invoke({**REQUEST, "url": model.url, "api": "responses"})

    assert (answer.content["finish_reason"], answer.content["refusal"]) == (finish_reason, refusal)


@pytest.mark.parametrize("usage", [None, (-1, 5), (5, 10**9)])
async def test_a_server_that_does_not_say_what_it_used_or_cannot_count_is_not_believed(
    tool: OpenAiTool, usage: Any
) -> None:
    async with ScriptedModel(scripted.says("{}", usage=usage)) as model:
        answer = await tool.invoke({**REQUEST, "url": model.url})

    assert answer.usage is None


async def test_a_key_goes_to_its_server_and_nowhere_else(tool: OpenAiTool) -> None:
    echo = b'{"error": {"message": "Incorrect API key provided: sk-secret"}}'
    async with ScriptedModel(scripted.answers(401, echo)) as model:
        found = await failure(tool, url=model.url, key_env="KEY")

    assert model.keys == ["Bearer sk-secret"]
    assert (found.code, found.usage) == ("not_authorized", Usage())
    assert "sk-secret" not in found.detail
    assert "(the key)" in found.detail


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"key_env": "MISSING"}, "key_missing", "no MISSING; nobody was asked"),
        ({"key_env": "EMPTY"}, "key_missing", "nobody was asked"),
        ({"key_env": "BROKEN"}, "key_invalid", "what BROKEN holds is no key"),
        ({"url": "ftp://127.0.0.1/"}, "connection_broken", ""),
        ({"timeout_s": 0}, "request_invalid", "nobody was asked"),
        ({"colour": "red"}, "request_invalid", "nobody was asked"),
    ],
)
async def test_what_cannot_be_asked_is_not(tool: OpenAiTool, changes: Any, code: str, detail: str) -> None:
    async with ScriptedModel(scripted.says("{}")) as model:
        found = await failure(tool, **{"url": model.url, **changes})

    assert (found.code, model.asked) == (code, [])
    assert detail in found.detail
    assert "sk-" not in found.detail


async def test_nobody_is_asked_twice_and_no_redirect_is_followed(tool: OpenAiTool) -> None:
    async with ScriptedModel(scripted.says("{}")) as elsewhere:
        for reply in (scripted.answers(429), scripted.answers(503), scripted.resets):
            async with ScriptedModel(reply) as model:
                await failure(tool, url=model.url)
                assert len(model.asked) == 1
        location = f"Location: {elsewhere.url}/chat/completions"
        async with ScriptedModel(scripted.answers(307, b"", location)) as model:
            assert (await failure(tool, url=model.url, key_env="KEY")).code == "request_refused"

    assert elsewhere.asked == []


async def test_many_at_once_share_one_client(tool: OpenAiTool) -> None:
    async with ScriptedModel(scripted.says("{}")) as model:
        await asyncio.gather(*(tool.invoke({**REQUEST, "url": model.url}) for _ in range(20)))

    assert len(tool._clients) == 1
    assert len(model.asked) == 20


def test_cost_is_rounded_up() -> None:
    assert cost_micros(1, 0, Prices(input=150_000)) == 1
    assert cost_micros(1_000_000, 1_000_000, Prices(input=150_000, output=600_000)) == 750_000
    assert cost_micros(0, 0, Prices(input=1)) == 0
