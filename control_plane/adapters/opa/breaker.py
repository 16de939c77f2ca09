"""Who may ask an OPA that does not answer: after a few faults in a row nobody but one probe.

The probe begins with the first fault and ends with the first answer.
"""

from typing import Final

FAULTS_IN_A_ROW_MAX: Final = 5
PROBE_INTERVAL_S: Final = 0.2
"""How often an OPA that is away is asked whether it is back, and so at most how long that goes unnoticed."""


class Breaker:
    """Closed while OPA answers; open from too many faults in a row to the first answer."""

    def __init__(self) -> None:
        self.reason = ""
        """The last fault; empty once there was an answer."""
        self.opened = 0
        """How often it has opened."""
        self._in_a_row = 0

    @property
    def is_open(self) -> bool:
        """Whether questions are not to be put."""
        return self._in_a_row >= FAULTS_IN_A_ROW_MAX

    def answered(self) -> None:
        """OPA gave an answer, whatever it says."""
        self.reason = ""
        self._in_a_row = 0

    def failed(self, reason: str) -> None:
        """OPA gave none."""
        self.reason = reason
        self._in_a_row += 1
        self.opened += self._in_a_row == FAULTS_IN_A_ROW_MAX
