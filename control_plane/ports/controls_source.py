"""Where the controls of a revision come from: the control topics, compiled."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from control_plane.catalogue import Controls


class ControlsSource(Protocol):
    """Every revision that a kept record was judged under can be had."""

    def at(self, revision: str) -> "Controls":
        """The controls of a revision. Raises ContinuityBroken when the control topics no longer hold it."""
