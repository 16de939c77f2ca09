"""One thing that doctor looked at: what it found, and the cure."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from control_plane.errors import SetpointError, TemporaryError


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A note is no problem: something that is not needed, or worth knowing. What is `away` is a part that the settings
    name and that does not answer."""

    subject: str
    state: Literal["ok", "note", "problem", "away"]
    detail: str
    cure: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def looked_at(subject: str, look: Callable[[], str]) -> Finding:
    """What looking gave; an error of ours is a problem, with the cure that it names."""
    try:
        return Finding(subject=subject, state="ok", detail=look())
    except SetpointError as exc:
        what, _, cure = str(exc).partition(". ")
        state: Literal["problem", "away"] = "away" if isinstance(exc, TemporaryError) else "problem"
        return Finding(subject=subject, state=state, detail=what, cure=cure)
