"""A ruling names the policies that gave it, and several sets may be in force side by side."""

import asyncio
import threading

import pytest

from control_plane.messages import Question, Ruling
from tests.contract.policy_engine.asking import PERMIT, Engines, Policies

GIVEN = {"decision": {"intent": "restart_service"}}
ALLOWING = (("permit.rego", PERMIT),)
DENYING = (
    *ALLOWING,
    ("guard.rego", 'package setpoint.guardrails.g\n\ndeny contains {"code": "no", "msg": "no"}\n'),
)
MANY = 10

# Whichever way OPA is reached; what it rules is the same, so that other tests take one of them.
pytestmark = pytest.mark.parametrize(
    "engines",
    ["regorus", pytest.param("opa", marks=pytest.mark.opa), pytest.param("opa_socket", marks=pytest.mark.opa)],
    indirect=True,
)


def test_every_ruling_names_its_revision(engines: Engines) -> None:
    for policies, answer in ((Policies(ALLOWING), "allow"), (Policies((("broken.rego", "package"),)), "deny")):
        ruling = engines.rule(policies, GIVEN)

        assert (ruling.answer, ruling.revision) == (answer, policies.revision)


def test_two_revisions_rule_side_by_side(engines: Engines) -> None:
    old, new = Policies(ALLOWING), Policies(DENYING)

    answers = [engines.rule(each, GIVEN).answer for each in (old, new, old, new, new, old)]

    assert answers == ["allow", "deny", "allow", "deny", "deny", "allow"]


def test_data_belongs_to_its_revision(engines: Engines) -> None:
    guard = 'package setpoint.guardrails.g\n\ndeny contains {"code": "no", "msg": "no"} if data.switch.off\n'
    modules = (*ALLOWING, ("guard.rego", guard))
    off = Policies(modules, (("switch", '{"off": true}'),))
    on = Policies(modules, (("switch", '{"off": false}'),))

    assert [engines.rule(each, GIVEN).answer for each in (off, on, off)] == ["deny", "allow", "deny"]


def test_many_revisions_are_ruled_under_one_after_the_other(engines: Engines) -> None:
    sets = [Policies(DENYING if n % 2 else ALLOWING, (("n", str(n)),)) for n in range(MANY)]
    for _ in range(2):
        for n, policies in enumerate(sets):
            ruling = engines.rule(policies, GIVEN)
            assert (ruling.answer, ruling.revision) == ("deny" if n % 2 else "allow", policies.revision)


def test_the_same_question_gets_the_same_ruling(engines: Engines) -> None:
    rulings = [engines.rule(Policies(DENYING), GIVEN) for _ in range(5)]

    assert rulings == rulings[:1] * 5


def test_an_engine_that_is_asked_on_another_thread_denies_and_goes_on_at_home(engines: Engines) -> None:
    allowing = Policies(ALLOWING)
    assert engines.rule(allowing, GIVEN).answer == "allow"
    elsewhere: list[Ruling] = []

    def ask() -> None:
        elsewhere.append(asyncio.run(engines.engine.rule(Question(id="decision-1", input=GIVEN), allowing)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

    assert (elsewhere[0].answer, elsewhere[0].revision) == ("deny", allowing.revision)
    assert elsewhere[0].problem
    assert engines.rule(allowing, GIVEN).answer == "allow"


def test_tests_that_lie_beside_the_policies_take_no_part(engines: Engines) -> None:
    tests = 'package setpoint.guardrails.g\n\ndeny contains {"code": "t", "msg": "t"}\n\ntest_a if deny\n'

    assert engines.rule(Policies((*ALLOWING, ("guard_test.rego", tests))), GIVEN).answer == "allow"
