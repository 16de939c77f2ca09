"""The way to one OPA: so many questions at a time, each with a deadline, and while it is away nothing but one probe.

One event loop owns it.
"""

import asyncio
import contextlib
from typing import Final

from yarl import URL

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.breaker import PROBE_INTERVAL_S, Breaker
from control_plane.adapters.opa.bundle import NAME, revisions_in
from control_plane.adapters.opa.client import IN_FLIGHT_MAX, Answer, EvaluationFailed, Fault, OpaClient
from control_plane.adapters.opa.counts import OpaCounts
from control_plane.adapters.opa.deadline import Deadline, Overdue

NOTHING: Final = b"{}"
"""The input of questions of our own: whether there is an answer, not which."""


class Away(Exception):
    """OPA gave no answer, or was not asked because it gave none to others."""


class Way:
    """To the OPA at an address."""

    def __init__(self, address: OpaAddress, timeout_ms: int) -> None:
        self._breaker = Breaker()
        self.counts = OpaCounts(self._breaker)
        self._url = address.url
        self._timeout_ms = timeout_ms
        self._client = OpaClient(address)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._probe: asyncio.Task[None] | None = None
        self._lacks = ""

    @property
    def problem(self) -> str:
        """Why there are no rulings at present; empty when there are, or nobody has asked."""
        return self._why_away() if self._breaker.reason else self._lacks

    def url_of(self, path: str) -> URL:
        """Where a rule is asked for; made once per rule."""
        return self._client.url_of(path)

    async def ask(self, url: URL, revision: str, given: bytes) -> Answer:
        """The answer of an OPA that holds a revision. Raises Away or EvaluationFailed."""
        await self._open()
        async with self._places:
            # Looked at only now: whoever waited for a place need not wait for an OPA that has gone meanwhile.
            if self._breaker.is_open:
                self.counts.add("waiting")
                raise Away(self._why_away())
            try:
                answer = await self._put(url, given)
            except EvaluationFailed:
                self.counts.add("error")
                raise
            except Fault as exc:
                self.counts.add(exc.cause)
                self._have_probed(url, revision)
                raise Away(f"OPA at {self._url} {exc}") from exc
        if answer.result is None or revision not in revisions_in(answer.bundle(NAME)):
            self._lacks = self._what_it_lacks(revision, answer)
            self.counts.add("undefined")
            self._have_probed(url, revision)
            raise Away(self._lacks)
        self._lacks = ""
        return answer

    async def why_not(self, url: URL, revision: str) -> str:
        """Why OPA does not rule under a revision; empty when it does."""
        await self._open()
        try:
            answer = await self._put(url, NOTHING)
        except EvaluationFailed:
            return ""
        except Fault as exc:
            return str(exc)
        return "" if revision in revisions_in(answer.bundle(NAME)) else self._what_it_lacks(revision, answer)

    async def close(self) -> None:
        """Let go of OPA."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        await self._client.close_connection()
        self._is_open = False

    async def _put(self, url: URL, given: bytes) -> Answer:
        """The answer, whatever it is, in time. Raises Fault or EvaluationFailed."""
        try:
            async with Deadline(self._timeout_ms / 1_000):
                answer = await self._client.ask(url, given)
        except EvaluationFailed:
            self._breaker.answered()
            raise
        except Overdue as exc:
            slow = Fault("slow", f"gave no answer within {self._timeout_ms} ms")
            self._breaker.failed(str(slow))
            raise slow from exc
        except Fault as exc:
            self._breaker.failed(str(exc))
            raise
        self._breaker.answered()
        return answer

    async def _open(self) -> None:
        """On the loop that asks first: a connection belongs to a loop. Raises Away on any other."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise Away("it was asked on another event loop than the one that it works on")
        if not self._is_open:
            async with self._opening:
                if not self._is_open:
                    await self._client.__aenter__()
                    self._is_open = True

    def _have_probed(self, url: URL, revision: str) -> None:
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._probe_until_back(url, revision), name="probe of OPA")

    async def _probe_until_back(self, url: URL, revision: str) -> None:
        while self.problem:
            await asyncio.sleep(PROBE_INTERVAL_S)
            self.counts.add("probes")
            if not await self.why_not(url, revision):
                self._lacks = ""

    def _why_away(self) -> str:
        every_ms = PROBE_INTERVAL_S * 1_000
        return f"OPA at {self._url} {self._breaker.reason}; it is looked for every {every_ms:.0f} ms"

    def _what_it_lacks(self, revision: str, answer: Answer) -> str:
        return f"OPA at {self._url} does not hold the policies {revision}, but {answer.bundle(NAME) or 'none'}"
