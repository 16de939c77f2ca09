"""Agents that act on what follows from their own actions are warned about, with the whole way and what ends it."""

from pathlib import Path
from textwrap import dedent

import pytest

from control_plane.workspace.circles import Hearer, warn_of_circles
from control_plane.workspace.flaws import Flaws
from tests.unit.workspace_world import read

INTENT = "intent: {name}\nsubject_kind: service\nexecutor: shop\n{limits}\n"
RULE = """
    rule: {name}
    version: 1.0.0
    on: {on}
    {when}
    propose: {{intent: {intent}, because: so}}
    {more}
    """


def rule(name: str, on: str, intent: str, when: str = "", more: str = "") -> tuple[str, str]:
    when = f"when: {when}" if when else ""
    return f"agents/{name}.yaml", dedent(RULE).format(name=name, on=on, when=when, intent=intent, more=more)


def circles_in(tmp_path: Path, *rules: tuple[str, str], cooldown: str = "") -> list[str]:
    """The warnings of circles in a workspace with these rules, and intents that each may propose."""
    limits = f"limits: {{cooldown: {cooldown}}}" if cooldown else ""
    intents = {f"intents/{name}.yaml": INTENT.format(name=name, limits=limits) for name in ("cool", "page", "scale")}
    found = read(tmp_path, {**intents, **dict(rules)}).warnings
    return [str(flaw) for flaw in found if "its own action" in flaw.problem]


def test_an_agent_that_hears_of_all_outcomes_hears_of_its_own(tmp_path: Path) -> None:
    found = circles_in(tmp_path, rule("retry", "command.failed", "cool"))

    assert found == [
        "agents/retry.yaml:3:5: retry acts on what follows from its own action: retry -> cool -> command.failed -> "
        "retry. Within one flow nobody does the same to a subject twice, so it ends after one round on each. Let a "
        "condition on it leave out what it leads to, as with data.intent."
    ]


def test_an_agent_that_takes_outcomes_of_other_intents_alone_is_no_circle(tmp_path: Path) -> None:
    assert (
        circles_in(tmp_path, rule("pager", "command.failed", "page", 'data.intent == "cool" && data.attempts > 1'))
        == []
    )


@pytest.mark.parametrize(
    "when", ['data.intent == "cool" || data.attempts > 1', '!(data.intent == "cool")', 'data.intent != "page"']
)
def test_a_condition_that_may_take_its_own_all_the_same_does_not_help(tmp_path: Path, when: str) -> None:
    assert len(circles_in(tmp_path, rule("pager", "command.failed", "page", f"'{when}'"))) == 1


def test_a_circle_through_several_agents_is_shown_whole_and_once(tmp_path: Path) -> None:
    found = circles_in(
        tmp_path,
        rule("cooler", "command.failed", "cool", 'data.intent == "scale"'),
        rule("pager", "command.failed", "page", 'data.intent == "cool"'),
        rule("scaler", "command.succeeded", "scale", 'data.intent == "page"'),
    )

    assert len(found) == 1
    assert (
        "cooler -> cool -> command.failed -> pager -> page -> command.succeeded -> scaler -> scale -> "
        "command.failed -> cooler" in found[0]
    )


def test_without_an_expectation_nothing_is_judged_so_there_is_no_circle(tmp_path: Path) -> None:
    on_effects = rule("cooler", "effect.judged", "cool")
    expecting = rule("cooler", "effect.judged", "cool", more="expects: {where: rows.health.rss_mb < 1.0, within: 5s}")

    assert circles_in(tmp_path / "without", on_effects) == []
    assert "cooler -> cool -> effect.judged -> cooler" in circles_in(tmp_path / "with", expecting)[0]


@pytest.mark.parametrize(
    ("cooldown", "slowed"),
    [("30s", "only the cool-down of cool (30s) slows it."), ("", "no cool-down slows it.")],
)
def test_a_circle_that_waits_on_its_way_is_a_new_flow_each_time(tmp_path: Path, cooldown: str, slowed: str) -> None:
    (found,) = circles_in(
        tmp_path, rule("retry", "command.failed", "cool", 'data.intent == "cool"', "for: 10s"), cooldown=cooldown
    )

    assert f"retry decides when time has passed, which begins a new flow, so {slowed}" in found


def test_a_circle_over_other_subjects_is_ended_by_the_hop_limit_alone(tmp_path: Path) -> None:
    path, text = rule("cooler", "command.failed", "cool")

    (found,) = circles_in(
        tmp_path, (path, text.replace("because: so}", "because: so, subject: 'service/{data.intent}'}"))
    )

    assert "cooler acts on other subjects, so only the hop limit ends it, after 16." in found


def test_a_python_agent_is_part_of_a_circle_as_a_rule_is(tmp_path: Path) -> None:
    agent = """
        from control_plane.sdk import Agent

        class Retry(Agent):
            name = "retry"
            version = "1.0.0"
            listens_to = ("effect.judged",)
            reads = ()
            intents = ("cool",)

            def decide(self, context):
                return ()
        """

    (found,) = circles_in(tmp_path, ("agents/retry.py", agent))

    assert found.startswith("agents/retry.py:6:")
    assert "retry -> cool -> effect.judged -> retry" in found


def test_of_very_many_agents_only_circles_of_one_are_looked_for() -> None:
    ring = [
        Hearer(name=f"a{n}", file="f", place=None, heard=("command.failed",), intents=(f"i{n}",), of=f"i{(n + 1) % 4}")
        for n in range(4)
    ]
    alone = Hearer(name="alone", file="f", place=None, heard=("command.failed",), intents=("i9",))
    few, many = Flaws(), Flaws()

    warn_of_circles([*ring, alone], {}, few, agents_max=5)
    warn_of_circles([*ring, alone], {}, many, agents_max=4)

    assert len(few.warnings) == 2
    assert ["alone -> i9" in str(flaw) for flaw in many.warnings] == [True]
