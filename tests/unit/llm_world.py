"""A small world for agents that ask a language model: one service, two intents, one advisor, and a model that a test
answers for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from control_plane.messages import Usage
from control_plane.ports.journal import Answer, ToolFailed
from tests.scripted_model import decision

INTENTS = """
intent: restart_service
description: Stop the service and start it again.
subject_kind: service
executor: dry_run
parameters:
  type: object
  properties: {grace: {type: string, format: duration}, reason: {type: string}}
  additionalProperties: false
---
intent: delete_service
subject_kind: service
executor: dry_run
---
intent: refund_order
subject_kind: order
executor: dry_run
"""
ROW = """
row: health
on: [service.measured]
fields: {rss: {last: data.rss}}
"""
ADVISOR = """
llm: advisor
version: 1.0.0
on: service.measured
when: data.rss > 400.0
reads: [health]
intents: [restart_service, refund_order]
persona: You watch over services.
goal: Keep services answering.
prompt: advisor
model: {name: small, url: "http://127.0.0.1:9/v1", answer_tokens_max: 100, prices: {input: 1.0, output: 2.0}}
budget: {tokens_per_hour: 100000, cost_per_day: 5.0}
once_within: 0s
still_when: rows.health.rss > 400.0
"""
PROMPT = """\
{{subject.id}} uses {{rows.health.rss}} MB, and said {{data}}.
Is there anything to be done?
"""
WEB = "service/web-1"
HOT = {"rss": 500.0}
USED = Usage(tokens_in=100, tokens_out=20)

Reply = Callable[[Mapping[str, Any]], Awaitable[Answer]]


def content(text: str | None, **further: Any) -> dict[str, Any]:
    """What the tool gives of a model that said this."""
    return {"content": text, "refusal": None, "finish_reason": "stop", "model": "small", **further}


def said(text: str | None, *, usage: Usage | None = USED, after: int = 0, **further: Any) -> Reply:
    """A model that says this, after so many turns of the event loop."""

    async def reply(request: Mapping[str, Any]) -> Answer:
        for _ in range(after):
            await asyncio.sleep(0)
        return Answer(content=content(text, **further), usage=usage)

    return reply


def fails(code: str, *, after: int = 0) -> Reply:
    """A model that cannot be had, which is known after so many turns of the event loop."""

    async def reply(request: Mapping[str, Any]) -> Answer:
        for _ in range(after):
            await asyncio.sleep(0)
        raise ToolFailed(code, f"a test wants {code}")

    return reply


class FakeModel:
    """The tool `openai` (`ports.journal.Tool`): answers as a function says, and keeps what it was asked."""

    def __init__(self, reply: Reply | None = None) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self.at_once = self.at_once_max = 0
        self.reply = reply or said(decision())

    async def invoke(self, request: Mapping[str, Any]) -> Answer:
        self.asked.append(request)
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            return await self.reply(request)
        finally:
            self.at_once -= 1

    async def close(self) -> None: ...


class Held:
    """A model that answers when it is let go."""

    def __init__(self, text: str = "") -> None:
        self.let_go = asyncio.Event()
        self._text = text or decision()

    async def __call__(self, request: Mapping[str, Any]) -> Answer:
        await self.let_go.wait()
        return Answer(content=content(self._text), usage=USED)
