"""Local processes, found by their command line and measured as the operating system sees them.

Finding costs a walk over every process, so what was found is kept for as long as it lives.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import psutil

SCAN_EVERY_S = 0.3
"""How often all processes are walked while one is missing."""

BYTES_PER_MB = 1_000_000


class Processes:
    """The processes whose command lines hold given texts. Where several fit, the youngest one counts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = tuple(texts)
        self._found: dict[str, psutil.Process] = {}
        self._scanned_s = -SCAN_EVERY_S
        self._scan_lock = asyncio.Lock()

    async def measure(self, text: str) -> dict[str, Any] | None:
        """What `process.measured` says of a process; None when there is none."""
        process = self._found.get(text)
        measured = _measured(process) if process is not None else None
        if measured is not None:
            return measured
        self._found.pop(text, None)
        await self._scan()
        process = self._found.get(text)
        return _measured(process) if process is not None else None

    async def _scan(self) -> None:
        async with self._scan_lock:
            if time.monotonic() - self._scanned_s < SCAN_EVERY_S:
                return
            missing = [text for text in self._texts if text not in self._found]
            self._found.update(await asyncio.to_thread(_find, missing))
            self._scanned_s = time.monotonic()


def _find(texts: list[str]) -> dict[str, psutil.Process]:
    found: dict[str, psutil.Process] = {}
    for process in psutil.process_iter(["cmdline", "create_time"]):
        line = " ".join(process.info["cmdline"] or ())
        for text in texts:
            older = found.get(text)
            if text in line and (older is None or older.info["create_time"] < process.info["create_time"]):
                found[text] = process
    return found


def _measured(process: psutil.Process) -> dict[str, Any] | None:
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE or not process.is_running():
                return None
            return {
                "pid": process.pid,
                "rss_mb": round(process.memory_info().rss / BYTES_PER_MB, 1),
                "cpu_percent": float(process.cpu_percent()),
                "uptime_s": round(max(0.0, time.time() - process.create_time()), 3),
            }
    except psutil.Error:
        return None
