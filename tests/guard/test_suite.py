"""The suite's own honesty: what did not run is named, and in CI it is a failure (`tests/conftest.py`)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard.tree import ROOT
from tests.real_parts import Part

SUITE = """
import pytest

def test_that_runs() -> None:
    assert True is not False

@pytest.mark.parametrize("n", [1, 2])
def test_that_cannot_run(n: int) -> None:
    pytest.skip("the moon is not here")

@pytest.mark.kafka
def test_on_kafka(kafka_address: str) -> None:
    assert kafka_address

@pytest.mark.opa
def test_on_opa(opa_program) -> None:
    assert opa_program
"""
INI = """
[pytest]
asyncio_default_fixture_loop_scope = function
"""
UNREACHABLE = "127.0.0.2:1"
"""Nobody listens there, and it is not an address at which the suite would start a broker itself."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A small suite under our conftest: one test that runs, two that cannot, one that needs Kafka, one that has OPA."""
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(INI)
    (tmp_path / "test_small.py").write_text(SUITE)
    return tmp_path


def run(suite: Path, *, ci: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    environment |= {"KAFKA_FOR_TESTS": UNREACHABLE, "OPA_FOR_TESTS": "/bin/true"} | ({"CI": "true"} if ci else {})
    call = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)]
    return subprocess.run(call, cwd=suite, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_what_did_not_run_is_named_with_its_reason(suite: Path) -> None:
    ran = run(suite, ci=False)

    assert ran.returncode == 0, ran.stdout
    assert "did not run" in ran.stdout
    assert "test_small.py: 2 tests: the moon is not here" in ran.stdout
    assert f"test_small.py: 1 test: no Kafka answers at {UNREACHABLE}" in ran.stdout
    assert ran.stdout.strip().splitlines()[-1].startswith("2 passed, 3 skipped")


def test_what_ran_on_a_real_part_is_named(suite: Path) -> None:
    ran = run(suite, ci=False)

    assert "ran on real parts" in ran.stdout
    assert "OPA: 1 test: test_small.py (1)" in ran.stdout
    assert "Apache Kafka:" not in ran.stdout


def test_a_part_that_cannot_be_had_says_why() -> None:
    part = Part("no_such_part", "Nothing")

    part.ensure()

    assert "no_such_part.py" in part.absent
    part.release()


def test_in_ci_a_skip_is_a_failure(suite: Path) -> None:
    ran = run(suite, ci=True)

    assert ran.returncode == 1
    assert "test_that_cannot_run[2] - skipped, and in CI nothing is left out: the moon is not here" in ran.stdout
    assert f"test_on_kafka - skipped, and in CI nothing is left out: no Kafka answers at {UNREACHABLE}" in ran.stdout
    assert ran.stdout.strip().splitlines()[-1].startswith("2 failed, 2 passed, 1 error")


def test_in_ci_a_skip_that_is_allowed_by_name_stays_a_skip(suite: Path) -> None:
    with (suite / "conftest.py").open("a") as conftest:
        conftest.write("\nSKIPS_ALLOWED_IN_CI['test_small.py::test_that_cannot_run'] = 'why'\n")

    ran = run(suite, ci=True)

    assert ran.stdout.strip().splitlines()[-1].startswith("2 passed, 2 skipped, 1 error")


def test_a_module_that_is_left_out_whole_fails_in_ci_too(suite: Path) -> None:
    (suite / "test_whole.py").write_text('import pytest\npytest.skip("not today", allow_module_level=True)\n')

    assert "test_whole.py: 1 test: not today" in run(suite, ci=False).stdout
    assert "in CI nothing is left out: not today" in run(suite, ci=True).stdout
