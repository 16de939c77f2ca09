"""What the tests of the embedded log share."""

import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

SMALL_DISK_BYTES = 48 * 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path, None, None]:
    """A disk of `SMALL_DISK_BYTES`, for this test alone."""
    mount = shutil.which("mount")
    point = tmp_path / "disk"
    point.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(point)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be mounted here: needs root and mount")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
