"""What the whole suite shares: the real parts that this machine can run, and the word on what ran there and what not.

A test that is marked `kafka`, `opa`, `postgres` or `toxiproxy` finds that part at the fixtures below (`real_parts.py`).
Where a part cannot be had its tests are skipped and named at the end. In CI a skip is a failure, unless
`SKIPS_ALLOWED_IN_CI` names it.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.real_parts import KAFKA, OPA, PARTS, POSTGRES, PROGRAMS, TOXIPROXY, free_port

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

SKIPS_ALLOWED_IN_CI: dict[str, str] = {
    "tests/contract/ledger/test_database_away.py::test_a_full_disk": "only who may mount has a small disk to fill",
}
"""Beginnings of test ids that may be skipped in CI, each with the reason why. Keep it short."""


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """host:port of a real Kafka, for tests that are marked `kafka`."""
    return KAFKA.address


@pytest.fixture(scope="session")
def opa_program() -> Path:
    """The program `opa`, for tests that are marked `opa`; OPA_FOR_TESTS names another one than ours."""
    return Path(OPA.address)


@pytest.fixture(scope="session")
def opa_url(opa_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bare OPA server that all tests share, for tests that are marked `opa`."""
    home, port = tmp_path_factory.mktemp("opa"), free_port()
    call = [sys.executable, str(PROGRAMS / "opa.py")]
    subprocess.run([*call, "start", str(home), "--port", str(port)], check=True, capture_output=True, timeout=60)
    yield f"http://127.0.0.1:{port}"
    subprocess.run([*call, "stop", str(home)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """URL of a database on a real PostgreSQL, for tests that are marked `postgres`: shared, so make your own in it."""
    return POSTGRES.address


@pytest.fixture(scope="session")
def toxiproxy_url() -> str:
    """URL of the API of a real toxiproxy, for tests that are marked `toxiproxy`."""
    return TOXIPROXY.address


def pytest_configure(config: pytest.Config) -> None:
    for part in PARTS:
        config.addinivalue_line("markers", f"{part.mark}: runs on a real {part.title} (make services)")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the parts ready before the first test's clock runs."""
    if session.config.option.collectonly:
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    for part in PARTS:
        if any(item.get_closest_marker(part.mark) for item in session.items):
            if terminal is not None and not part.built():
                terminal.write_line(f"{part.title} is built or fetched, once: that can take minutes")
            part.ensure()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for part in PARTS:
        marked = item.get_closest_marker(part.mark) is not None
        uses = set(part.fixtures).intersection(getattr(item, "fixturenames", ()))
        assert marked or not uses, f"mark what uses {part.title}: pytest.mark.{part.mark}"
        if marked and part.absent:
            pytest.skip(part.absent)


def pytest_sessionfinish() -> None:
    for part in PARTS:
        part.release()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip_in_ci(report)
    return report


def _refuse_skip_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_to_fail = hasattr(report, "wasxfail")
    allowed = any(report.nodeid.startswith(beginning) for beginning in SKIPS_ALLOWED_IN_CI)
    if IN_CI and report.skipped and not expected_to_fail and not allowed:
        reason = _reason(report)
        report.outcome = "failed"
        report.longrepr = f"skipped, and in CI nothing is left out: {reason}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what ran on real parts, and what did not run, and why: a green line must not hide it."""
    ran = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, ()) if r.when == "call"]
    on_parts = [(part, [report for report in ran if part.mark in report.keywords]) for part in PARTS]
    if any(reports for _, reports in on_parts):
        terminalreporter.section("ran on real parts")
    for part, reports in on_parts:
        files = Counter(report.nodeid.partition("::")[0] for report in reports)
        if files:
            terminalreporter.line(f"{part.title}: {_tests(len(reports))}: " + ", ".join(_counted(files)))
    left_out = Counter(
        (report.nodeid.partition("::")[0], _reason(report)) for report in terminalreporter.stats.get("skipped", ())
    )
    if not left_out:
        return
    terminalreporter.section("did not run", yellow=True)
    for (file, reason), count in sorted(left_out.items()):
        terminalreporter.line(f"{file}: {_tests(count)}: {reason}")


def _tests(count: int) -> str:
    return f"{count} {'test' if count == 1 else 'tests'}"


def _counted(files: Counter[str]) -> list[str]:
    return [f"{file} ({count})" for file, count in sorted(files.items())]


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped, in its own words."""
    place_and_reason = report.longrepr
    text = place_and_reason[2] if isinstance(place_and_reason, tuple) else str(place_and_reason)
    return text.removeprefix("Skipped: ")
