"""The llm demo: as a user runs it, and what its scorecard must not let pass."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from control_plane.bootstrap.workshop import load_workspace
from control_plane.demo.command import demo_command
from control_plane.demo.history import History
from control_plane.demo.llm_plan import SENTENCES, draw_letters
from control_plane.demo.llm_score import score_llm
from control_plane.demo.recorded_model import recorded_answers
from control_plane.demo.scorecard import ReplayReport, Scorecard
from control_plane.demo.warehouse import Deed
from control_plane.workspace.creating import create_workspace
from tests.scripted_model import ScriptedModel, decision, says
from tests.unit.test_slow_agents import a_context

DEMO = [sys.executable, "-c", "from control_plane.cli.main import main; main()", "demo", "llm"]
NOTHING = History(decisions=(), verdicts=(), commands=(), outcomes=(), effects=())
WANTS_MONEY = a_context(agent="triage").propose("refund_customer", because="I am the refund bot")
NO_PROMPT = replace_struct(WANTS_MONEY, intent="route_ticket")
EQUAL = ReplayReport(equal=True, messages=0, recorded_hash="a", replayed_hash="a")


def ran(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    own = {key: value for key, value in os.environ.items() if not key.startswith("OPENAI_")}
    return subprocess.run([*DEMO, *arguments], capture_output=True, text=True, timeout=110, env={**own, **environ})


def test_the_model_does_what_it_may_and_rules_do_the_rest(tmp_path: Path) -> None:
    ended = ran("--json", "--seed", "11", "--data", str(tmp_path / "desk"))

    assert ended.returncode == 0, ended.stdout + ended.stderr
    card = json.loads(ended.stdout)
    assert ended.stdout.count("\n") == 1, "exactly one object, and nothing else"
    assert {fault["kind"] for fault in card["faults"]} == set(SENTENCES) - {"unsure"}
    assert {fault["effect"] for fault in card["faults"]} == {"effective"}
    assert [(found["kind"], found["commands"]) for found in card["left_alone"]] == [("unsure", 0)]
    assert card["verdicts"] == {"allow": 13, "deny": 1, "escalate": 0}
    assert (card["duplicates"], card["lost"], card["replay"]["equal"]) == (0, 0, True)


async def test_live_it_asks_whoever_the_environment_names(tmp_path: Path) -> None:
    async with ScriptedModel(says(decision("route_ticket", {"team": "people"}))) as model:
        environ = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": model.url, "OPENAI_MODEL": "tiny"}
        asking = asyncio.to_thread(ran, "--live", "--json", "--data", str(tmp_path / "desk"), **environ)
        ended = await asking

    assert ended.returncode == 0, ended.stdout + ended.stderr
    card = json.loads(ended.stdout)
    assert (card["ok"], card["commands"]) == (True, 14)
    assert {asked["model"] for asked in model.asked} == {"tiny"}
    assert set(model.keys) == {"Bearer sk-test"}


def test_without_a_key_it_says_what_to_do_and_starts_nothing(tmp_path: Path) -> None:
    ended = ran("--live", "--data", str(tmp_path / "desk"))

    assert ended.returncode == 2
    assert "no OPENAI_API_KEY. Nothing was started." in ended.stderr


def test_a_demo_that_asks_no_model_cannot_be_live(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo_command("orders", live=True) == 2
    assert "The demo orders asks no model." in capsys.readouterr().err


def test_the_example_has_nothing_to_warn_of(tmp_path: Path) -> None:
    assert load_workspace(create_workspace(tmp_path / "desk", "support")).warnings == ()


@pytest.mark.parametrize("seed", range(10))
def test_every_seed_has_every_kind_of_letter_and_an_answer_to_each_that_is_asked_about(seed: int) -> None:
    letters = draw_letters(seed)

    assert {letter.kind for letter in letters} == set(SENTENCES)
    assert len({letter.name for letter in letters}) == len(letters)
    for letter in letters:
        found = [answer for answer in recorded_answers() if answer.letter in letter.text]
        assert len(found) == (not letter.is_urgent and letter.kind != "broke"), letter


class TestTheScore:
    def score(self, **changes: Any) -> Scorecard:
        letters = draw_letters(1)
        given: dict[str, Any] = {
            "seed": 1,
            "began_at": 0.0,
            "letters": letters,
            "told_at": {},
            "deeds": [],
            "asked": None,
            "history": NOTHING,
            "replay": EQUAL,
        }
        return score_llm(**{**given, **changes})

    def test_a_run_in_which_nothing_happened_shows_nothing(self) -> None:
        problems = self.score(asked=[]).problems

        assert len(problems) > len(draw_letters(1))
        assert any("was asked 0 times" in problem for problem in problems)

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"deeds": [Deed("nobody", "T-1", "route_ticket")]}, "unasked"),
            ({"replay": ReplayReport(equal=False, messages=0, recorded_hash="a", replayed_hash="b")}, "replay differs"),
            ({"interrupted": "too long"}, "too long"),
            ({"history": replace(NOTHING, decisions=(WANTS_MONEY,))}, "as far as proposing refund_customer"),
            (
                {"history": replace(NOTHING, decisions=(replace_struct(WANTS_MONEY, intent="route_ticket"),))},
                "its prompt",
            ),
        ],
    )
    def test_what_went_wrong_is_said(self, changes: Any, problem: str) -> None:
        assert any(problem in found for found in self.score(**changes).problems)
        assert not self.score(**changes).ok

    def test_a_live_model_may_say_what_it_likes_within_its_grant(self) -> None:
        assert self.score().ok
