"""A language model for tests of agents that ask one: it says what the test wants, and keeps what it was asked."""

import json
from collections.abc import Mapping
from typing import Any

from control_plane.messages import Usage
from control_plane.ports.journal import Answer, ToolFailed

USED = Usage(tokens_in=100, tokens_out=20)


class Model:
    """The tool `openai` of a test: `Loop(..., tools={"openai": Model({"intent": "none", "because": "all is well"})})`.

    Each answer is a decision, or the text that the model says, or the ToolFailed that asking comes to; the last one is
    repeated. `asked` are the requests, `prompts` what they showed of the world.
    """

    def __init__(self, *answers: Mapping[str, Any] | str | ToolFailed) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self._answers = list(answers)

    @property
    def prompts(self) -> list[str]:
        """The prompt of each question, with the values in it."""
        return [str(asked["messages"][-1]["content"]) for asked in self.asked]

    async def invoke(self, request: Mapping[str, Any]) -> Answer:
        """The next answer (`ports.journal.Tool`)."""
        self.asked.append(request)
        assert self._answers, "the test has no answer for the model to give"
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ToolFailed):
            raise answer
        text = answer if isinstance(answer, str) else json.dumps({"decision": dict(answer)})
        return Answer(content={"content": text, "refusal": None, "finish_reason": "stop", "model": "test"}, usage=USED)

    async def close(self) -> None:
        """Nothing is held."""
