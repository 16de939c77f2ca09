"""What a service logs, on stderr: a constant message, and its fields behind it."""

import logging
import sys
from datetime import UTC, datetime
from typing import Final

from control_plane.cli.exits import BAD_USAGE, CommandError

_LEVELS: Final = ("debug", "info", "warning", "error")
_OURS: Final = ("control_plane", "agents", "state")
_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class FieldsFormatter(logging.Formatter):
    """`2026-01-01T00:00:00.000Z WARNING message field=value`, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fields = [f"{name}={_quoted(value)}" for name, value in vars(record).items() if name not in _PLAIN]
        line = " ".join([when, record.levelname, record.getMessage(), *fields])
        return line + "\n" + self.formatException(record.exc_info) if record.exc_info else line


def begin_logging(level: str) -> None:
    """Log to stderr from now on: ours from this level on, libraries from warning on. Raises CommandError."""
    if level not in _LEVELS:
        raise CommandError(f"{level!r} is no log level. Give one of {', '.join(_LEVELS)}.", BAD_USAGE)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FieldsFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))
    for name in _OURS:
        logging.getLogger(name).setLevel(level.upper())


def _quoted(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char in ' "=\n\r' for char in text) else text
