"""What Faust, mode and aiokafka log, made bearable: warnings and worse, each text once in a while.

They log every start and stop of every service, print tables, and repeat an error for each retry; a broker that is away
for a minute would fill the disk. What is left goes on under this module's logger, where the user's handlers are.
"""

import logging
import time

LIBRARIES = ("faust", "mode", "aiokafka")
REPEAT_AFTER_S = 30.0
TEXTS_REMEMBERED_MAX = 1_000

SERVICES = logging.getLogger("faust.services")
"""For our subclasses of Faust's services: mode would give each the logger of its own module, untamed."""

_log = logging.getLogger(__name__)


class Relay(logging.Handler):
    """Passes a library's record on, unless the same text was passed on a moment ago."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self._passed_at: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if self._repeats(record):
            return
        _log.handle(record)

    def _repeats(self, record: logging.LogRecord) -> bool:
        text = (record.name, str(record.msg))
        now = time.monotonic()
        if now - self._passed_at.get(text, -REPEAT_AFTER_S) < REPEAT_AFTER_S:
            return True
        if len(self._passed_at) >= TEXTS_REMEMBERED_MAX:
            self._passed_at.clear()
        self._passed_at[text] = now
        return False


_relay = Relay()


def tame() -> None:
    """Put the relay between the libraries and the root logger. Again changes nothing."""
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
        logger.handlers[:] = [_relay]
