"""What the whole suite shares: a real Kafka where the machine can run one, and the word on what did not run.

A test that is marked `kafka` finds a broker at the fixture `kafka_address`: the one that answers there already (`make
services`), or one that is started for this run and stopped after it. Where neither can be had the test is skipped and
named at the end. In CI a skip is a failure, unless `SKIPS_ALLOWED_IN_CI` names it.
"""

import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

IN_CI = os.environ.get("CI", "").lower() in {"1", "true", "yes"}

SKIPS_ALLOWED_IN_CI: dict[str, str] = {}
"""Beginnings of test ids that may be skipped in CI, each with the reason why. Keep it short."""

KAFKA_ADDRESS = os.environ.get("KAFKA_FOR_TESTS", "127.0.0.1:19092")
KAFKA_PROGRAM = Path(__file__).resolve().parent.parent / "services" / "kafka.py"
KAFKA_START_TIMEOUT_S = 600  # The first time, Maven fetches 45 MB.


class KafkaForTests:
    """The broker that tests run on, ours or not. `absent` says why there is none."""

    def __init__(self) -> None:
        self.absent = ""
        self._home: tempfile.TemporaryDirectory[str] | None = None

    def ensure(self) -> None:
        """Leave what answers alone; otherwise start one."""
        host, _, port = KAFKA_ADDRESS.rpartition(":")
        if _answers(host, int(port)):
            return
        if host not in {"127.0.0.1", "localhost"}:
            self.absent = f"no Kafka answers at {KAFKA_ADDRESS} (KAFKA_FOR_TESTS)"
            return
        self._home = tempfile.TemporaryDirectory(prefix="setpoint-kafka-")
        started = self._call("start", "--port", port)
        if started.returncode != 0:
            self.absent = started.stderr.strip() or f"{KAFKA_PROGRAM.name} failed without a word"
            self._home.cleanup()
            self._home = None

    def release(self) -> None:
        """Stop what this run has started."""
        if self._home is not None:
            self._call("stop")
            self._home.cleanup()

    def _call(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        assert self._home is not None, "only a broker of our own is started and stopped"
        call = [sys.executable, str(KAFKA_PROGRAM), command, self._home.name, *options]
        return subprocess.run(call, capture_output=True, text=True, timeout=KAFKA_START_TIMEOUT_S)


_kafka = KafkaForTests()


@pytest.fixture(scope="session")
def kafka_address() -> str:
    """host:port of a real Kafka, for tests that are marked `kafka`."""
    return KAFKA_ADDRESS


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the broker ready before the first test's clock runs."""
    wanted = any(item.get_closest_marker("kafka") for item in session.items)
    if wanted and not session.config.option.collectonly:
        _kafka.ensure()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    marked = item.get_closest_marker("kafka") is not None
    assert marked or "kafka_address" not in getattr(item, "fixturenames", ()), "mark what uses Kafka: pytest.mark.kafka"
    if marked and _kafka.absent:
        pytest.skip(_kafka.absent)


def pytest_sessionfinish() -> None:
    _kafka.release()


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
    """Name what did not run, and why: a green line must not hide it."""
    left_out = Counter(
        (report.nodeid.partition("::")[0], _reason(report)) for report in terminalreporter.stats.get("skipped", ())
    )
    if not left_out:
        return
    terminalreporter.section("did not run", yellow=True)
    for (file, reason), count in sorted(left_out.items()):
        terminalreporter.line(f"{file}: {count} {'test' if count == 1 else 'tests'}: {reason}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped, in its own words."""
    place_and_reason = report.longrepr
    text = place_and_reason[2] if isinstance(place_and_reason, tuple) else str(place_and_reason)
    return text.removeprefix("Skipped: ")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False
