"""What OPA may pull: the newest policy sets of a service, as one bundle. One event loop owns a shelf.

Older sets stay beside the newest, so that a partition that has not adopted new controls yet still gets rulings under
its own, and one that has gets them at once.
"""

import asyncio
import contextlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

from control_plane.adapters.opa.bundle import Bundle, build, bundle_revision
from control_plane.adapters.opa.relocation import RelocatedSet
from control_plane.adapters.opa.signing import BundleKey
from control_plane.adapters.opa.status import Statuses
from control_plane.ports.bundles import SeenEngine

HELD_SETS_MAX: Final = 8
HELD_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of all files together; above it fewer sets are held. One of them has a quarter of it at most."""


class BundleShelf:
    """The sets that a bundle is made of, newest first."""

    def __init__(self, key: BundleKey) -> None:
        self.statuses = Statuses()
        self._key = key
        self._sets: list[RelocatedSet] = []
        self._built: Bundle | None = None
        self._changed = asyncio.Event()
        self._closed = False
        self._building = asyncio.Lock()

    @property
    def revision(self) -> str:
        """Of the bundle that OPA is to run."""
        return bundle_revision(self._sets)

    def opens(self, authorization: str | None) -> bool:
        """Whether an `Authorization` header is that of an OPA of ours."""
        scheme, _, token = (authorization or "").partition(" ")
        return hmac.compare_digest(token.strip().encode(), self._key.token.encode()) and scheme.lower() == "bearer"

    def told(self, status: Mapping[str, Any], now_ms: int) -> None:
        """Take what an OPA says of itself."""
        self.statuses.told(status, now_ms)

    def seen(self) -> Sequence[SeenEngine]:
        """The OPAs that told of themselves lately."""
        return self.statuses.seen()

    @property
    def sets(self) -> tuple[RelocatedSet, ...]:
        """What is offered, newest first."""
        return tuple(self._sets)

    def hold(self, newest: RelocatedSet) -> None:
        """Offer this set as the newest."""
        self.offer((newest, *(each for each in self._sets if each.revision != newest.revision)))

    def offer(self, sets: Sequence[RelocatedSet]) -> None:
        """Offer these sets and no others, newest first, as many as there is room for."""
        kept = list(sets[:HELD_SETS_MAX])
        while sum(each.size_bytes for each in kept) > HELD_BYTES_MAX:
            kept.pop()
        if [each.revision for each in kept] != [each.revision for each in self._sets]:
            self._sets = kept
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def bundle(self, known_etag: str | None, wait_s: float) -> Bundle | None:
        """The bundle, as soon as it is another one than is known; None when it still is not after the wait."""
        until = asyncio.get_running_loop().time() + wait_s
        while True:
            changed = self._changed
            found = await self._current()
            if found is not None and found.etag != known_etag:
                return found
            left_s = until - asyncio.get_running_loop().time()
            if self._closed or left_s <= 0:
                return None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), left_s)

    def close(self) -> None:
        """Let go of everybody who waits: a server waits for its responses."""
        self._closed = True
        self._changed.set()

    async def _current(self) -> Bundle | None:
        """Built once per content, in a thread: packing takes its time where policy data is large."""
        async with self._building:
            sets = list(self._sets)
            if sets and (self._built is None or self._built.revision != bundle_revision(sets)):
                self._built = await asyncio.to_thread(build, sets, self._key)
            return self._built if sets else None
