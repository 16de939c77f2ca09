"""Server-sent events from the audit store, resumed by sequence. A slow reader holds up nobody but itself."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Final

from fastapi.sse import ServerSentEvent
from prometheus_client import CollectorRegistry, Gauge

from control_plane.api.problems import ProblemError
from control_plane.errors import AuditUnavailable
from control_plane.messages import topics
from control_plane.ports.audit import Audit, Kept, Page

STREAMS_MAX: Final = 64
POLL_INTERVAL_S: Final = 0.2
"""How often the store is asked while nothing comes: what a stream adds to an event's latency."""

BATCH_EVENTS_MAX: Final = 200
RETRY_MS: Final = 1_000

_log = logging.getLogger(__name__)


class Streams:
    """The open streams of a service; all end when it stops."""

    def __init__(self, audit: Audit, metrics: CollectorRegistry) -> None:
        self._audit = audit
        self._stopping = asyncio.Event()
        self._open = 0
        gauge = Gauge("setpoint_http_streams", "Event streams that are open.", registry=metrics)
        gauge.set_function(lambda: self._open)

    def stop(self) -> None:
        """End all streams: a server waits for its responses."""
        self._stopping.set()

    async def place(self) -> AsyncIterator[None]:
        """A place for one stream, for as long as its request lasts. Raises ProblemError when all are taken."""
        if self._open >= STREAMS_MAX:
            raise ProblemError(
                503,
                "too_many_streams",
                f"{STREAMS_MAX} streams are open; this one was not begun",
                "Close one, or ask GET /v1/events from time to time.",
                headers={"Retry-After": "5"},
            )
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def events(
        self, after: int | None, *, type: str | None, subject: str | None
    ) -> AsyncIterator[ServerSentEvent]:
        """Events after a sequence, or from now on, until the client leaves or the service stops."""
        yield ServerSentEvent(comment="events follow", retry=RETRY_MS)
        while not self._stopping.is_set():
            try:
                if after is None:
                    after = await self._newest()
                page = Page(topic=topics.EVENTS, type=type, subject=subject, after=after, limit=BATCH_EVENTS_MAX)
                found = await self._audit.query(page)
            except AuditUnavailable as exc:
                _log.warning("event stream waits for the audit store", extra={"error": str(exc)})
                found = []
            for kept in found:
                after = kept.sequence
                sent = _sent(kept)
                if sent is not None:
                    yield sent
            if len(found) < BATCH_EVENTS_MAX:
                await self._pause()

    async def _newest(self) -> int:
        newest = await self._audit.query(Page(limit=1, newest_first=True))
        return newest[0].sequence if newest else 0

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(POLL_INTERVAL_S):
                await self._stopping.wait()
        except TimeoutError:
            return


def _sent(kept: Kept) -> ServerSentEvent | None:
    """One event of a stream; None for a record that is no CloudEvent: its dead letter tells of it."""
    if not kept.message.type:
        return None
    return ServerSentEvent(raw_data=kept.message.body.decode(), id=str(kept.sequence))
