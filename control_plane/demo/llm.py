"""The llm demo: a language model sorts letters, under a budget, a grant and policy, while rules do what must not wait.

It runs on recorded answers unless it is told to ask a model. What was done is counted by the desk, not by the service;
it ends by itself.
"""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import httpx

from control_plane.demo.llm_plan import SENTENCES, Letter, draw_letters
from control_plane.demo.llm_score import score_llm
from control_plane.demo.ports import free_ports
from control_plane.demo.recorded_model import NAME, RecordedModel, recorded_answers
from control_plane.demo.running import Run, read_again, service_of, serving, unless_failed
from control_plane.demo.scorecard import Scorecard
from control_plane.demo.story import Story
from control_plane.demo.telling import Teller
from control_plane.demo.warehouse import Deed, Warehouse
from control_plane.errors import InvalidSettings
from control_plane.loop.step import Done
from control_plane.messages import DeadLetter, Event
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.workspace.creating import create_workspace

DESK_PORT: Final = "7200"
"""Where the desk listens in the example."""

TIME_LIMIT_S: Final = 40.0
LIVE_TIMEOUT_S: Final = 20
CALM_S: Final = 0.5
"""How long nothing may happen at the end: what must be left alone is left alone until then."""
LOOK_EVERY_S: Final = 0.05


async def run_llm(run: Run) -> Scorecard:
    """Run the demo to its end, and count what came of it. Raises InvalidSettings where no model can be asked."""
    desk_port, model_port = free_ports(2)
    model = None if run.live else RecordedModel(model_port, recorded_answers())
    _prepare(run.folder, desk_port, model)
    letters = draw_letters(run.seed)
    story = Story(run.tell)
    answers = _Answers(story)
    since_ms = int(time.time() * 1000)
    service = service_of(run)
    service.observe(answers)
    service.observe(story)
    async with AsyncExitStack() as stack:
        if model is not None:
            await model.open()
            stack.push_async_callback(model.close)
        failed = await stack.enter_async_context(serving(service))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, verify=False))
        mail = _Mail(service, client, "desk")
        desk = Warehouse(desk_port, mail.reported)
        await desk.open()
        stack.push_async_callback(desk.close)
        story.say("start", "", _introduction(model, letters))
        day = _Day(letters, mail, story, answers)
        interrupted = await unless_failed(day.run(), failed)
    history, replayed = await read_again(service.settings, since_ms)
    return score_llm(
        seed=run.seed,
        began_at=run.began_at,
        letters=letters,
        told_at=day.told_at,
        deeds=desk.deeds,
        asked=None if model is None else model.asked,
        history=history,
        replay=replayed,
        interrupted=interrupted,
    )


class _Answers:
    """Which letters the model's agent has answered, or could not (`control_plane.partition.Observer`)."""

    def __init__(self, story: Story) -> None:
        self.on: set[str] = set()
        self._story = story

    def stepped(self, event: Event, done: Done) -> None:
        """What the loop made of one event."""
        if event.type == DECISION_PROPOSED:
            self.on.add(event.subject)
            if event.data["code"]:
                text = f"no decision ({event.data['code']}): {event.data['problem']}"
                self._story.say("silent", event.subject.partition("/")[2], text)

    def dead_lettered(self, letter: DeadLetter) -> None:
        """The story tells it."""


class _Mail(Teller):
    """A desk's own system."""

    async def reported(self, deeds: Sequence[Deed], told: int) -> None:
        """The desk has told what it has done so far."""
        await self.tell([{"id": f"{deed.key}-{told}", "what": deed.what, "ticket": deed.order} for deed in deeds])


class _Day:
    """Lets letters come in as planned, and waits until all of them were dealt with or the time is over."""

    def __init__(self, letters: Sequence[Letter], mail: _Mail, story: Story, answers: _Answers) -> None:
        self.told_at: dict[str, float] = {}
        self._letters = letters
        self._mail = mail
        self._story = story
        self._answers = answers

    async def run(self) -> str:
        """Until the end; gives the reason when that is the time limit."""
        try:
            async with asyncio.timeout(TIME_LIMIT_S):
                await self._happen()
                await self._until_over()
        except TimeoutError:
            return f"after {TIME_LIMIT_S:g} s not everything was over"
        self._story.say("end", "", "everything is judged; now the log is replayed")
        return ""

    async def _happen(self) -> None:
        began_s = time.monotonic()
        for letter in self._letters:
            await asyncio.sleep(max(0.0, letter.at_s - (time.monotonic() - began_s)))
            first = next((found for found in self._letters if found.kind == letter.after), None)
            while first is not None and first.subject not in self._answers.on:  # noqa: ASYNC110 - observed
                await asyncio.sleep(LOOK_EVERY_S)
            self.told_at[letter.name] = time.time()
            self._story.say("letter", letter.name, f"{SENTENCES[letter.kind]}: {letter.text!r}")
            await self._mail.tell([letter.told()])

    async def _until_over(self) -> None:
        """Wait until all was answered, done and judged, and then a moment longer."""
        wanted = {letter.subject for letter in self._letters if not letter.is_urgent}
        while not wanted <= self._answers.on or self._story.is_open:  # noqa: ASYNC110 - observed
            await asyncio.sleep(LOOK_EVERY_S)
        await asyncio.sleep(CALM_S)


def _introduction(model: RecordedModel | None, letters: Sequence[Letter]) -> str:
    if model is None:
        return f"{len(letters)} letters, and a language model that is asked for real"
    return f"{len(letters)} letters; recorded answers, played by a server on this machine: no model is asked"


def _prepare(folder: Path, desk_port: int, model: RecordedModel | None) -> None:
    """The example in the folder, with the desk and the model where they are."""
    create_workspace(folder, "support")
    desk = folder / "executors/desk.yaml"
    desk.write_text(desk.read_text().replace(DESK_PORT, str(desk_port)))
    triage = folder / "agents/triage.yaml"
    triage.write_text(_live(triage.read_text()) if model is None else _recorded(triage.read_text(), model))


def _recorded(text: str, model: RecordedModel) -> str:
    text = re.sub(r"(?m)^  name: .*$", f"  name: {NAME}", text)
    text = re.sub(r"(?m)^  url: .*$", f"  url: {model.url}", text)
    return re.sub(r"(?m)^  key_env: .*\n", "", text)


def _live(text: str) -> str:
    """As the SDK's own variables say. Raises InvalidSettings without a key."""
    if not os.environ.get("OPENAI_API_KEY"):
        raise InvalidSettings(
            "The environment has no OPENAI_API_KEY. Nothing was started. Set it (to anything, for a server that wants "
            "none), or leave --live out: then recorded answers are played."
        )
    for key, variable in (("url", "OPENAI_BASE_URL"), ("name", "OPENAI_MODEL")):
        said = os.environ.get(variable)
        if said:
            text = re.sub(rf"(?m)^  {key}: .*$", lambda _, key=key, said=said: f'  {key}: "{said}"', text)  # type: ignore[misc]
    return text.replace("timeout: 3s", f"timeout: {LIVE_TIMEOUT_S}s")
