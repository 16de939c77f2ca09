"""Places where a test may kill this process, to see what a crash there leaves behind.

Does nothing unless the environment variable SETPOINT_FAULT names a point and a count: with `rows.after:3` the third
passage of `rows.after` ends the process with SIGKILL. Called by the write path of a partition only.
"""

import os
import signal

VARIABLE = "SETPOINT_FAULT"

WRITE_POINTS = (
    "take.after",
    "rows.before",
    "rows.after",
    "store.after",
    "outputs.after",
    "offset.after",
)
"""In the order of Kafka's write. An atomic write passes from `rows.before` straight to the others."""
DISPATCH_POINTS = (
    "ledger.taken",
    "command.begun",
    "command.acted",
    "outcome.written",
    "outcome.published",
)
"""In the order of dispatch."""
POINTS = WRITE_POINTS + DISPATCH_POINTS


def _armed() -> tuple[str, int]:
    name, _, count = os.environ.get(VARIABLE, "").partition(":")
    if name and name not in POINTS:
        raise ValueError(
            f"{VARIABLE}={name} names no fault point. Nothing was started. Use one of {', '.join(POINTS)}."
        )
    return name, int(count or 1)


_name, _left = _armed()


def fault_point(name: str) -> None:
    """Pass a point; the armed passage does not return."""
    global _left
    if name != _name:
        return
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
