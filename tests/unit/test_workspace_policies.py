"""What is wrong in a workspace's Rego is named as in every other file, by the judges of the real service."""

from pathlib import Path

import pytest

from control_plane.bootstrap.workshop import load_workspace
from control_plane.errors import InvalidWorkspace
from control_plane.workspace.creating import create_workspace

OWN = "policies/guardrails/own.rego"
HEAD = "package setpoint.guardrails.own\n\n"

WRONG = {
    "no Rego": ("package setpoint.guardrails.own\n\ndeny contains {", "own.rego:3:"),
    "a package of no kind": ("package mine\n\nallow := true\n", "own.rego:1:"),
    "a guardrail that allows": (HEAD + 'allow contains {"code": "a", "msg": "b"} if true\n', "own.rego:"),
    "an unknown function": (HEAD + 'deny contains {"code": "a", "msg": upcase("b")} if true\n', "own.rego:3:"),
    "a function that asks the world": (
        HEAD + 'deny contains {"code": "a", "msg": "b"} if http.send({"url": "http://x"})\n',
        "own.rego:3:",
    ),
    "a misspelt input": (
        HEAD + 'deny contains {"code": "a", "msg": "b"} if input.decison.intent == "x"\n',
        "own.rego:3:",
    ),
    "a name that nothing declares": (HEAD + 'deny contains {"code": "a", "msg": "b"} if limit > 3\n', "own.rego:3:"),
    "a reason without a code": (HEAD + 'deny contains {"msg": "b"} if true\n', "own.rego:3:"),
}

OWN_TEST = "policies/guardrails/own_test.rego"
TEST_HEAD = "package setpoint.guardrails.own_test\n\n"

WRONG_TESTS = {
    "no Rego": (TEST_HEAD + "test_it if {", "3:13: expecting expression."),
    "no package": ("test_it if true\n", "1:1: expecting `package`"),
    "a test that fails": (TEST_HEAD + "test_it if 1 == 2\n", "3:1: test_it is <undefined>, not true. Mend the policy"),
    "a test of what is not there": (
        TEST_HEAD + "test_it if data.setpoint.guardrails.own.nothing\n",
        "3:1: test_it is <undefined>, not true.",
    ),
    "a test that is no truth": (TEST_HEAD + "test_it := 1\n", "3:1: test_it is 1, not true."),
    "an unknown function": (TEST_HEAD + 'test_it if upcase("a") == "A"\n', "3:12: there is no function upcase"),
    "a function that asks the world": (
        TEST_HEAD + 'test_it if http.send({"url": "http://x"})\n',
        "3:12: http.send may not be used in a policy.",
    ),
    "a misspelt input": (
        TEST_HEAD + "test_it if count(data.setpoint.guardrails.own.deny) == 1 with inptu as {}\n",
        "3:63: nothing is called inptu.",
    ),
}


@pytest.mark.parametrize(("text", "said"), WRONG_TESTS.values(), ids=list(WRONG_TESTS))
def test_a_wrong_test_of_a_policy_is_named(tmp_path: Path, text: str, said: str) -> None:
    folder = create_workspace(tmp_path / "w")
    (folder / OWN).parent.mkdir(parents=True, exist_ok=True)
    (folder / OWN).write_text(HEAD + 'deny contains {"code": "a", "msg": "b"} if not input.decision.intent\n')
    (folder / OWN_TEST).write_text(text)

    with pytest.raises(InvalidWorkspace) as raised:
        load_workspace(folder)

    assert [str(flaw).startswith(f"{OWN_TEST}:{said}") for flaw in raised.value.flaws] == [True], raised.value


@pytest.mark.parametrize(("text", "place"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_policy_is_named(tmp_path: Path, text: str, place: str) -> None:
    folder = create_workspace(tmp_path / "w")
    (folder / OWN).parent.mkdir(parents=True, exist_ok=True)
    (folder / OWN).write_text(text)

    with pytest.raises(InvalidWorkspace) as raised:
        load_workspace(folder)

    assert any(str(flaw).startswith(f"policies/guardrails/{place}") for flaw in raised.value.flaws), raised.value


def test_a_test_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    folder = create_workspace(tmp_path / "w")
    test = folder / "policies/permits/slowing_down_test.rego"
    test.write_text(test.read_text().replace("allow) == 0", "allow) == 7"))

    with pytest.raises(InvalidWorkspace) as raised:
        load_workspace(folder)

    (flaw,) = raised.value.flaws
    assert (flaw.file, flaw.line) == ("policies/permits/slowing_down_test.rego", 9)
    assert flaw.problem.startswith("test_nothing_else_is")


def test_a_rule_without_a_test_is_warned_about_and_not_the_built_in_ones(tmp_path: Path) -> None:
    folder = create_workspace(tmp_path / "w")
    (folder / OWN).parent.mkdir(parents=True, exist_ok=True)
    (folder / OWN).write_text(HEAD + 'deny contains {"code": "a", "msg": "b"} if not input.decision.intent\n')

    warnings = load_workspace(folder).warnings

    assert [warning.file for warning in warnings] == [OWN]


SITES = "reference: sites\nkey: site\nrows:\n  - {site: riga, region: north}\n"
READING = """\
package setpoint.guardrails.far_away

# data.reference.nowhere is no table, and neither is what stands in the message.
deny contains {"code": "far", "msg": "data.reference.none"} if {
	data.reference%s[input.event.data.site].region == "north"
}
"""


def spoilt(tmp_path: Path, name: str) -> Path:
    folder = create_workspace(tmp_path / "w")
    (folder / "reference").mkdir()
    (folder / "reference/sites.yaml").write_text(SITES)
    (folder / "policies/guardrails").mkdir()
    (folder / "policies/guardrails/far_away.rego").write_text(READING % name)
    return folder


@pytest.mark.parametrize(("name", "column"), [(".sitse", 17), ('["sitse"]', 18)])
def test_a_policy_that_reads_a_table_that_does_not_exist_is_refused_with_the_nearest_name(
    tmp_path: Path, name: str, column: int
) -> None:
    with pytest.raises(InvalidWorkspace) as refused:
        load_workspace(spoilt(tmp_path, name))

    assert [str(flaw) for flaw in refused.value.flaws] == [
        f"policies/guardrails/far_away.rego:5:{column}: guardrails/far_away reads the table sitse, which nothing "
        "declares. Did you mean sites?"
    ]


def test_a_policy_that_reads_a_table_that_exists_is_fine(tmp_path: Path) -> None:
    load_workspace(spoilt(tmp_path, ".sites"))
