"""The built-in policies, and those of the examples, under OPA's own checks; and the service's use of them."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli_world import setpoint
from tests.unit.service_world import written

pytestmark = pytest.mark.opa

ROOT = Path(__file__).resolve().parents[2]
BUILT_IN = ROOT / "policies"
SCHEMA = BUILT_IN / "input.schema.json"
EXAMPLES = sorted(path.parent for path in (ROOT / "control_plane" / "workspace" / "examples").glob("*/setpoint.yaml"))
FOLDERS = [BUILT_IN, *(path / "policies" for path in EXAMPLES if (path / "policies").exists())]
TIMEOUT_S = 60


def opa(program: Path, *arguments: Any) -> "subprocess.CompletedProcess[str]":
    call = [str(program), *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def rego(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.rego"))
    assert found, f"{folder} holds no policy: this would judge nothing"
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.parent.name)
def test_policies_pass_the_strict_check_with_the_schema_of_the_input(opa_program: Path, folder: Path) -> None:
    policies = [path for path in rego(folder) if not path.stem.endswith("_test")]

    checked = opa(opa_program, "check", "--strict", "--schema", SCHEMA, *policies)

    assert checked.returncode == 0, checked.stderr
    tests = opa(opa_program, "check", "--strict", *rego(folder))
    assert tests.returncode == 0, tests.stderr


def test_that_check_bites(opa_program: Path, tmp_path: Path) -> None:
    module = tmp_path / "guard.rego"
    module.write_text("package setpoint.guardrails.g\n\ndeny contains 1 if input.decision.confidnce > 1\n")

    checked = opa(opa_program, "check", "--strict", "--schema", SCHEMA, module)

    assert checked.returncode != 0
    assert "undefined ref: input.decision.confidnce" in checked.stderr


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.parent.name)
def test_policies_stand_as_opa_writes_them(opa_program: Path, folder: Path) -> None:
    formatted = opa(opa_program, "fmt", "--diff", *rego(folder))

    assert (formatted.returncode, formatted.stdout) == (0, "")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.parent.name)
def test_policies_pass_their_tests_which_reach_every_line(opa_program: Path, folder: Path) -> None:
    tested = opa(opa_program, "test", *rego(folder))
    assert tested.returncode == 0, tested.stdout
    passed, _, total = tested.stdout.strip().splitlines()[-1].partition(": ")[2].partition("/")
    assert passed == total
    assert int(passed) > 1

    report = json.loads(opa(opa_program, "test", "--coverage", *rego(folder)).stdout)
    judged = {Path(name).name: found for name, found in report["files"].items() if not name.endswith("_test.rego")}

    assert set(judged) == {path.name for path in rego(folder) if not path.stem.endswith("_test")}
    assert {name: found.get("not_covered") for name, found in judged.items()} == dict.fromkeys(judged)


def test_setpoint_check_asks_an_opa_that_is_at_hand(opa_program: Path, tmp_path: Path) -> None:
    wrong = "package setpoint.guardrails.g\n\n"
    wrong += 'deny contains {"code": "a", "msg": "m"} if {\n\tunused := 1\n\tcount(7) > input.decision.confidence\n}\n'
    folder = written(tmp_path, **{"policies/guardrails/g.rego": wrong})
    path = f"{opa_program.parent}{os.pathsep}{os.environ['PATH']}"

    alone = setpoint("check", str(folder), PATH="/nowhere")
    asked = setpoint("check", str(folder), PATH=path)
    as_json = json.loads(setpoint("check", str(written(tmp_path / "b")), "--json", PATH=path).stdout)

    assert alone.exit_code == 0, alone.output
    assert "policies were judged here; no opa is on the PATH" in alone.stdout
    assert asked.exit_code == 1
    assert "policies/guardrails/g.rego:5:2: count: invalid argument(s)" in asked.stdout.replace("rego_type_error: ", "")
    assert as_json["ok"]
    assert as_json["policies_judged_by"][0] == "setpoint"
    assert as_json["policies_judged_by"][1].startswith("opa 1.")
