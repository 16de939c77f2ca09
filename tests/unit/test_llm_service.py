"""A whole service with agents that ask a model which fails in every way there is (R24): no decision, its reason on the
log, and the rules go on."""

import asyncio
import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from control_plane.bootstrap.records import open_reader, replay
from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.causality import Lineage
from control_plane.loop.step import Done
from control_plane.messages import Command, DeadLetter, Event, topics
from control_plane.messages.event import DECISION_PROPOSED
from control_plane.messages.wire import encode_event, utc
from control_plane.ports.backbone import Output
from tests import scripted_model as scripted
from tests.real_parts import free_port
from tests.scripted_model import Exchange, Reply, ScriptedModel, decision
from tests.unit.test_api_telemetry import samples

CASES = int(os.environ.get("SETPOINT_LLM_CASES", "3"))
"""Of each fault; `make llm-faults N=50` asks for more."""

PATIENCE_S = 90.0
TIMEOUT_S = 3

MODES: dict[str, tuple[Reply, str]] = {
    "hangs": (scripted.hangs, "timeout"),
    "hangs-in-between": (scripted.hangs_in_between, "timeout"),
    "breaks-off": (scripted.breaks_off, "connection_broken"),
    "resets": (scripted.resets, "connection_broken"),
    "never-ends": (scripted.never_ends, "too_large"),
    "compressed": (
        scripted.answers(200, gzip.compress(scripted.completion(decision())), "Content-Encoding: gzip"),
        "too_large",
    ),
    "limited": (scripted.answers(429), "rate_limited"),
    "fails": (scripted.answers(500), "server_error"),
    "overloaded": (scripted.answers(503, b"<html>"), "server_error"),
    "forbids": (scripted.answers(401), "not_authorized"),
    "redirects": (scripted.answers(302, b"", "Location: http://127.0.0.1:1/"), "request_refused"),
    "garbage": (scripted.answers(200, b"<html>hello</html>"), "protocol_broken"),
    "no-choice": (scripted.answers(200, b'{"choices": []}'), "no_answer"),
    "silent": (scripted.says(""), "empty"),
    "refuses": (scripted.says(None, refusal="I cannot"), "refused"),
    "cut-off": (scripted.says(decision()[:20], finish_reason="length"), "cut_off"),
    "filtered": (scripted.says(None, finish_reason="content_filter"), "filtered"),
    "prose": (scripted.says("You should restart it."), "no_json"),
    "other-form": (scripted.says('{"action": "restart"}'), "wrong_schema"),
    "beyond": (scripted.says(decision("delete_service")), "outside_grant"),
    "none": (scripted.says(decision("none")), ""),
    "sound": (scripted.says(decision()), ""),
}

INTENT = "intent: restart_service\nsubject_kind: service\nexecutor: dry_run\ncontext_age_max: 10m\n"
AGENT = """\
llm: {name}
version: 1.0.0
on: {on}
when: data.rss > 400.0
reads: [health]
intents: [restart_service]
goal: Keep services answering.
prompt: advisor
model: {{name: small, url: "{url}", prices: {{input: 1.0, output: 2.0}}}}
budget: {{tokens_per_hour: {tokens}}}
timeout: {timeout}s
in_flight_max: 64
once_within: 0s
"""
FILES = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "intents/restart.yaml": INTENT,
    "rows/health.yaml": "row: health\non: [service.measured]\nfields: {rss: {last: data.rss}}\n",
    "agents/guard.yaml": """\
rule: guard
version: 1.0.0
on: service.measured
when: data.rss < 100.0
propose: {intent: restart_service, because: too little}
""",
    "prompts/advisor.md": "{{subject.id}}: {{data}}\n",
    "policies/permits/restarts.rego": """\
package setpoint.permits.restarts

allow contains {"code": "routine", "msg": "routine"} if input.decision.intent == "restart_service"
""",
}


@dataclass
class Seen:
    """What the loop did (`control_plane.partition.Observer`)."""

    answers: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    """By subject and agent: the code, how many decisions, and when."""
    commands: dict[str, tuple[str, float]] = field(default_factory=dict)
    outcomes: int = 0

    def stepped(self, event: Event, done: Done) -> None:
        if event.type == DECISION_PROPOSED:
            found = (event.data["code"], len(event.data["decisions"]), time.monotonic())
            self.answers[f"{event.subject}/{event.data['agent']}"] = found
        self.outcomes += event.type == "command.succeeded"
        for message in done.said:
            if isinstance(message, Command):
                self.commands[message.subject] = (message.agent, time.monotonic())

    def dead_lettered(self, letter: DeadLetter) -> None:
        raise AssertionError(f"nothing here is poison: {letter.detail}")


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def backbone(request: pytest.FixtureRequest) -> str:
    """An empty log of each kind."""
    if request.param == "embedded":
        return "embedded://data/log"
    return f"kafka://{request.getfixturevalue('kafka_address')}?prefix=llm-{time.time_ns()}."


def service_on(root: Path, agents: str, backbone: str = "embedded://data/log") -> Service:
    for path, text in {**FILES, "agents/advisors.yaml": agents}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    workspace = load_workspace(root, builtin_policies=False)
    overrides = {"listen": "127.0.0.1:0", "backbone": backbone}
    return Service(load_settings(root, {}, overrides, workspace), workspace)


def measured(name: str, rss: float, event_type: str = "service.measured") -> Output:
    event = Event(
        lineage=Lineage.root("test", name),
        type=event_type,
        subject=f"service/{name}",
        occurred_at=utc(time.time_ns() // 1_000_000),
        data={"rss": rss},
    )
    return Output(topics.EVENTS, event.subject.encode(), encode_event(event))


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not reached():  # noqa: ASYNC110 - what is waited for happens in the service's own tasks
            await asyncio.sleep(0.005)


async def plays(exchange: Exchange) -> None:
    """Each subject is named after what the model does with it."""
    subject = json.loads(exchange.body["messages"][1]["content"].partition(":")[0])
    await MODES[subject.removeprefix("service/").rpartition(".")[0]][0](exchange)


async def test_whatever_a_model_does_there_is_no_decision_but_a_reason_and_rules_and_other_agents_go_on(
    tmp_path: Path,
) -> None:
    seen = Seen()
    async with ScriptedModel(plays) as model:
        common = {"on": "service.measured", "tokens": 10_000_000, "timeout": TIMEOUT_S}
        deaf = AGENT.format(name="deaf", url=f"http://127.0.0.1:{free_port()}/v1", **common)
        advisor = AGENT.format(name="advisor", url=model.url, **common)
        service = service_on(tmp_path, f"{advisor}---\n{deaf}")
        service.observe(seen)
        await service.start()
        try:
            subjects = [f"{mode}.{n}" for n in range(CASES) for mode in MODES]
            await service.backbone.append([measured(name, 500.0) for name in subjects])
            await service.backbone.append([measured(f"small.{n}", 50.0) for n in range(20)])
            await until(lambda: len(seen.answers) == 2 * len(subjects) and len(seen.commands) == 20 + CASES)
            await until(lambda: seen.outcomes == 20 + CASES)
            shown = samples(service._telemetry.registry)
        finally:
            await service.stop()
    report = await replay(open_reader(service.settings))

    for mode, (_, code) in MODES.items():
        for n in range(CASES):
            found = seen.answers[f"service/{mode}.{n}/advisor"]
            assert found[:2] == (code, mode == "sound"), (mode, found)
            assert seen.answers[f"service/{mode}.{n}/deaf"][:2] == ("unreachable", 0)
    acted = Counter(agent for agent, _ in seen.commands.values())
    assert acted == {"guard": 20, "advisor": CASES}
    # Those that hang were the last: nothing of anybody else's waited for them.
    hung_at = min(at for key, (code, _, at) in seen.answers.items() if code == "timeout" and "/advisor" in key)
    assert max(at for _, at in seen.commands.values()) < hung_at
    assert max(at for key, (_, _, at) in seen.answers.items() if key.endswith("/deaf")) < hung_at
    assert shown["setpoint_slow_answers_total{agent=advisor,became=timeout}"] == 2 * CASES
    assert shown["setpoint_slow_answers_total{agent=advisor,became=decision}"] == CASES
    assert shown["setpoint_llm_tokens_total{agent=advisor,direction=out,tool=openai}"] > 0
    assert shown["setpoint_llm_cost_total{agent=advisor,tool=openai}"] > 0
    assert report.equal, report
    assert report.answers == 2 * len(subjects)


async def test_what_was_used_up_is_not_forgotten_with_the_process_and_rules_hear_of_it(
    tmp_path: Path, backbone: str
) -> None:
    async with ScriptedModel(scripted.says(decision("none"), usage=(900, 50))) as model:
        fallback = """\
---
rule: fallback
version: 1.0.0
on: decision.proposed
when: data.agent == "advisor" && data.code != ""
propose: {intent: restart_service, because: "the model said nothing: {data.problem}"}
"""
        advisor = AGENT.format(name="advisor", url=model.url, on="service.measured", tokens=1_900, timeout=30)
        codes: list[str] = []
        for run in range(2):
            service, seen = service_on(tmp_path, advisor + fallback, backbone), Seen()
            service.observe(seen)
            await service.start()
            try:
                for n in range(2):
                    name = f"run-{run}.{n}"
                    await service.backbone.append([measured(name, 500.0)])
                    await until(lambda name=name, seen=seen: f"service/{name}/advisor" in seen.answers)  # type: ignore[misc]
                    codes.append(seen.answers[f"service/{name}/advisor"][0])
            finally:
                await service.stop()

    assert codes == ["", "budget_tokens", "budget_tokens", "budget_tokens"], codes
    assert len(model.asked) == 1
    assert [agent for agent, _ in seen.commands.values()] == ["fallback", "fallback"]


async def test_one_question_that_hangs_keeps_nobody_behind_it_waiting_and_is_asked_again_after_a_restart(
    tmp_path: Path,
) -> None:
    async with ScriptedModel(plays) as model:
        advisor = AGENT.format(name="advisor", url=model.url, on="service.measured", tokens=10_000_000, timeout=60)
        quick = [f"none.{n}" for n in range(12)]
        service, seen = service_on(tmp_path, advisor), Seen()
        service.observe(seen)
        await service.start()
        try:
            for n in range(4):
                await service.backbone.append([measured(f"hangs.{n}", 500.0)])
                await until(lambda n=n: len(model.asked) == n + 1)  # type: ignore[misc]
            for name in quick:
                await service.backbone.append([measured(name, 500.0)])
            await until(lambda: len(seen.answers) == len(quick))
        finally:
            await service.stop()
        assert all(code == "" for code, _, _ in seen.answers.values())
        asked_before = len(model.asked)

        # What hung was broken off with the process; what was answered behind it is on the log.
        model.reply = scripted.says(decision())
        service, seen = service_on(tmp_path, advisor), Seen()
        service.observe(seen)
        await service.start()
        try:
            await until(lambda: len(seen.commands) == 4)
        finally:
            await service.stop()

    assert asked_before == 4 + len(quick)
    assert len(model.asked) == asked_before + 4
    assert set(seen.commands) == {f"service/hangs.{n}" for n in range(4)}
