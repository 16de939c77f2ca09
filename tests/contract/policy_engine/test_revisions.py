"""A ruling names the policies that gave it, and several sets may be in force side by side."""

import asyncio
import threading

from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import PolicyEngine
from tests.contract.policy_engine.asking import PERMIT, Asking, Policies

QUESTION = Question(id="decision-1", input={"decision": {"intent": "restart_service"}})
ALLOWING = (("permit.rego", PERMIT),)
DENYING = (
    *ALLOWING,
    ("guard.rego", 'package setpoint.guardrails.g\n\ndeny contains {"code": "no", "msg": "no"}\n'),
)


def rule(engine: PolicyEngine, policies: Policies) -> Ruling:
    return asyncio.run(engine.rule(QUESTION, policies))


def test_every_ruling_names_its_revision(ask: Asking, engine: PolicyEngine) -> None:
    allowed = rule(engine, Policies(ALLOWING, revision="r1"))
    broken = rule(engine, Policies((("broken.rego", "package"),), revision="r2"))

    assert (allowed.answer, allowed.revision) == ("allow", "r1")
    assert (broken.answer, broken.revision) == ("deny", "r2")


def test_two_revisions_rule_side_by_side(engine: PolicyEngine) -> None:
    old, new = Policies(ALLOWING, revision="old"), Policies(DENYING, revision="new")

    answers = [rule(engine, each).answer for each in (old, new, old, new, new, old)]

    assert answers == ["allow", "deny", "allow", "deny", "deny", "allow"]


def test_data_belongs_to_its_revision(engine: PolicyEngine) -> None:
    guard = 'package setpoint.guardrails.g\n\ndeny contains {"code": "no", "msg": "no"} if data.switch.off\n'
    modules = (*ALLOWING, ("guard.rego", guard))
    off = Policies(modules, (("switch", '{"off": true}'),))
    on = Policies(modules, (("switch", '{"off": false}'),))

    assert [rule(engine, each).answer for each in (off, on, off)] == ["deny", "allow", "deny"]


def test_many_revisions_are_ruled_under_one_after_the_other(engine: PolicyEngine) -> None:
    for _ in range(2):
        for n in range(30):
            ruling = rule(engine, Policies(DENYING if n % 2 else ALLOWING, revision=f"r{n}"))
            assert (ruling.answer, ruling.revision) == ("deny" if n % 2 else "allow", f"r{n}")


def test_the_same_question_gets_the_same_ruling(engine: PolicyEngine) -> None:
    rulings = [rule(engine, Policies(DENYING, revision="r1")) for _ in range(5)]

    assert rulings == rulings[:1] * 5


def test_an_engine_that_is_asked_on_another_thread_rules_or_denies(engine: PolicyEngine) -> None:
    allowing = Policies(ALLOWING, revision="r1")
    assert rule(engine, allowing).answer == "allow"
    elsewhere: list[Ruling] = []

    thread = threading.Thread(target=lambda: elsewhere.append(rule(engine, allowing)))
    thread.start()
    thread.join()

    assert elsewhere[0].answer == "allow" if engine.concurrent else elsewhere[0].answer == "deny"
    assert elsewhere[0].revision == "r1"
    assert rule(engine, allowing).answer == "allow"


def test_tests_that_lie_beside_the_policies_take_no_part(engine: PolicyEngine) -> None:
    tests = 'package setpoint.guardrails.g\n\ndeny contains {"code": "t", "msg": "t"}\n\ntest_a if deny\n'

    assert rule(engine, Policies((*ALLOWING, ("guard_test.rego", tests)))).answer == "allow"
