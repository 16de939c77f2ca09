"""Runs a program to its end, bounded in what is kept of its output, and kills it with its group when given up."""

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

OUTPUT_BYTES_MAX = 64 * 1024
"""How much is kept of the end of the output; the rest is read and dropped, so that no program waits for a reader."""
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """A program that has ended; a negative code is the signal that ended it."""

    exit_code: int
    output: bytes


async def run_program(argv: list[str], *, cwd: Path, env: dict[str, str]) -> Ran:
    """Run it in a session of its own. Raises OSError when it cannot be started. Cancelled: kills its group first."""
    output = _Output()
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output.write_end,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except BaseException:
        output.close()
        raise
    try:
        exit_code = await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    finally:
        output.close()
    return Ran(exit_code=exit_code, output=bytes(output.kept))


class _Output:
    """A pipe of our own: what the program has left behind may hold it open, and we do not wait for that."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        asyncio.get_running_loop().add_reader(self._read_end, self._read)

    def close(self) -> None:
        """Take what is there, and no more."""
        os.close(self.write_end)
        self._read()
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)

    def _read(self) -> None:
        for _ in range(OUTPUT_BYTES_MAX // _READ_BYTES + 16):  # A flood must not hold up the event loop.
            try:
                piece = os.read(self._read_end, _READ_BYTES)
            except BlockingIOError:
                return
            if not piece:
                asyncio.get_running_loop().remove_reader(self._read_end)
                return
            self.kept += piece
            del self.kept[:-OUTPUT_BYTES_MAX]
