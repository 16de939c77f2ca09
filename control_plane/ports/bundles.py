"""What REST hands to policy engines that run apart from us, and what it hears of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct


class PulledBundle(Protocol):
    """All policies that an engine is to hold, as one signed archive."""

    @property
    def revision(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    @property
    def etag(self) -> str: ...


class SeenEngine(Struct, frozen=True, kw_only=True):
    """A policy engine that told of itself. `bundle` is what it runs; `problem` why it refused the last one it got."""

    id: str
    version: str
    bundle: str
    problem: str
    told_at_ms: int


class Bundles(Protocol):
    """The bundle of this service, and who runs which."""

    def opens(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header is that of a policy engine of ours."""

    @property
    def revision(self) -> str:
        """Of the bundle that every engine is to run."""

    async def bundle(self, known_etag: str | None, wait_s: float) -> PulledBundle | None:
        """The bundle, as soon as it is another one than is known; None when it still is not after the wait."""

    def told(self, status: Mapping[str, Any], now_ms: int) -> None:
        """Take what an engine says of itself; whatever it is no status is passed by."""

    def seen(self) -> Sequence[SeenEngine]:
        """The engines that told of themselves lately."""
