"""Real processes that write into a log and are killed with SIGKILL."""

import signal
import subprocess
import sys
from pathlib import Path

from control_plane.adapters.embedded_log import Durability

REPOSITORY = Path(__file__).resolve().parents[3]


def start_writer(path: Path, durability: Durability = "flush") -> subprocess.Popen[str]:
    """A writer whose acknowledgements can be read from its standard output."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.embedded_log.writer", str(path), durability],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )


def acknowledged_until_killed(path: Path, *, acknowledgements: int, durability: Durability = "flush") -> int:
    """Have a writer killed after so many acknowledgements; returns the last one that it sent before it died."""
    with start_writer(path, durability) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(acknowledgements)]
        process.kill()
        # A line is far below what a pipe takes whole, so the last one is not torn.
        said += process.stdout.readlines()
        assert process.wait() == -signal.SIGKILL, "the writer ended by itself"
    return int(said[-1])
