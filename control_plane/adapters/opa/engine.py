"""The PolicyEngine port on OPA. Whatever is not a clear answer under the very revision that was asked for is a deny."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from yarl import URL

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.breaker import PROBE_INTERVAL_S, Breaker
from control_plane.adapters.opa.bundle import NAME, revisions_in
from control_plane.adapters.opa.client import IN_FLIGHT_MAX, Answer, EvaluationFailed, Fault, OpaClient
from control_plane.adapters.opa.counts import OpaCounts
from control_plane.adapters.opa.relocation import RelocatedSet, relocated, ruling_path
from control_plane.adapters.regorus.weighing import Found, NoRuling, weighed
from control_plane.errors import Flaw, InvalidWorkspace, PolicyEngineUnavailable
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import RULING_TIMEOUT_MS, PolicySet

SETS_MAX: Final = 32
"""How many policy sets are remembered, the last used ones: what their policies read, or why they are refused."""

DEADLINE_SLICES: Final = 5
"""The deadline runs in slices. A process that stood still meanwhile loses one of them, and not the answer that came."""

CONFIRM_TIMEOUT_S: Final = 5.0
CONFIRM_INTERVAL_S: Final = 0.02

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A policy set as it is asked."""

    found: RelocatedSet
    url: URL


class OpaEngine:
    """Rules on the event loop that first used it; on any other it denies."""

    concurrent = True

    def __init__(
        self,
        address: OpaAddress,
        *,
        timeout_ms: int = RULING_TIMEOUT_MS,
        confirm_timeout_s: float = CONFIRM_TIMEOUT_S,
        refused: Callable[[str], str] = lambda _revision: "",
    ) -> None:
        """`refused` gives OPA's own words on why it does not take the policies of a revision, where they are known."""
        self._refused = refused
        self.counts = OpaCounts()
        self._address = address
        self._timeout_ms = timeout_ms
        self._confirm_timeout_s = confirm_timeout_s
        self._client = OpaClient(address)
        self._breaker = Breaker()
        self._sets: OrderedDict[str, _Known | str] = OrderedDict()
        """By revision; a text says why there is none."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._opening = asyncio.Lock()
        self._is_open = False
        self._probe: asyncio.Task[None] | None = None
        self._lacks = ""

    @property
    def problem(self) -> str:
        """Why there are no rulings at present; empty when there are, or nobody has asked."""
        return self._why_away() if self._breaker.is_open else self._lacks

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling on one question under these policies, named by their revision."""
        try:
            known = self._known(policies)
            answer = await self._asked(known, known.found.view.encoded(question.input))
            return weighed(self._found(answer, policies.revision), policies.revision)
        except NoRuling as exc:
            return Ruling.none(str(exc), policies.revision)

    def know(self, found: RelocatedSet) -> None:
        """Have a policy set ready before anybody asks under it."""
        self._keep(found.revision, self._as_asked(found))

    async def confirm(self, found: RelocatedSet) -> None:
        """Wait until OPA rules under these policies. Raises InvalidWorkspace when it refuses them, and
        PolicyEngineUnavailable when it does not come to run them."""
        known = self._as_asked(found)
        until = asyncio.get_running_loop().time() + self._confirm_timeout_s
        while why := await self._why_not(known):
            refused = self._refused(found.revision)
            if refused:
                raise InvalidWorkspace([_refusal(_named(refused, found))])
            if asyncio.get_running_loop().time() > until:
                raise PolicyEngineUnavailable(
                    f"OPA at {self._address.url} did not come to run the policies {found.revision} within "
                    f"{self._confirm_timeout_s:.0f} s ({why}). They were not put in force. See: setpoint opa list"
                )
            await asyncio.sleep(CONFIRM_INTERVAL_S)

    async def close(self) -> None:
        """Let go of OPA."""
        if self._probe is not None:
            self._probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe
        await self._client.close_connection()
        self._is_open = False

    # What is asked

    def _known(self, policies: PolicySet) -> _Known:
        known = self._sets.get(policies.revision)
        if known is None:
            try:
                known = self._as_asked(relocated(policies))
            except InvalidWorkspace as exc:
                known = f"the policies are refused: {exc.flaws[0]}"
            self._keep(policies.revision, known)
        self._sets.move_to_end(policies.revision)
        if isinstance(known, str):
            self.counts.add("refused")
            raise NoRuling(known)
        return known

    def _as_asked(self, found: RelocatedSet) -> _Known:
        return _Known(found=found, url=self._client.url_of(ruling_path(found.revision)))

    def _keep(self, revision: str, known: _Known | str) -> None:
        self._sets[revision] = known
        if len(self._sets) > SETS_MAX:
            self._sets.popitem(last=False)

    async def _asked(self, known: _Known, given: bytes) -> Answer:
        await self._open()
        async with self._places:
            # Looked at only now: whoever waited for a place need not wait for an OPA that has gone meanwhile.
            if self._breaker.is_open:
                self.counts.add("waiting")
                raise NoRuling(self._why_away())
            try:
                answer = await self._within_deadline(self._client.ask(known.url, given))
            except EvaluationFailed as exc:
                self._breaker.answered()
                self.counts.add("error")
                raise NoRuling(_named(str(exc), known.found)) from exc
            except Fault as exc:
                self.counts.add(exc.cause)
                if self._breaker.failed(str(exc)):
                    self._probe = asyncio.create_task(self._probe_until_back(known), name="probe of OPA")
                raise NoRuling(f"OPA at {self._address.url} {exc}") from exc
        self._breaker.answered()
        return answer

    async def _open(self) -> None:
        """On the loop that asks first: a connection belongs to a loop."""
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise NoRuling("it was asked on another event loop than the one that it works on")
        if not self._is_open:
            async with self._opening:
                if not self._is_open:
                    await self._client.__aenter__()
                    self._is_open = True

    async def _within_deadline(self, asking: Awaitable[T]) -> T:
        task = asyncio.ensure_future(asking)
        try:
            for _ in range(DEADLINE_SLICES):
                done, _ = await asyncio.wait({task}, timeout=self._timeout_ms / 1_000 / DEADLINE_SLICES)
                if done:
                    return task.result()
        finally:
            task.cancel()
        raise Fault("slow", f"gave no answer within {self._timeout_ms} ms")

    # What was answered

    def _found(self, answer: Answer, revision: str) -> Found:
        bundle = answer.bundle(NAME)
        if answer.result is None or revision not in revisions_in(bundle):
            self._lacks = f"OPA at {self._address.url} does not hold the policies {revision}, but {bundle or 'none'}"
            self.counts.add("undefined")
            raise NoRuling(self._lacks)
        if answer.result.revision != revision:
            self.counts.add("garbage")
            raise NoRuling(f"OPA answered under the policies {answer.result.revision[:64]!r}, not {revision}")
        self._lacks = ""
        self.counts.add("ruled")
        return answer.result.found

    # OPA away

    def _why_away(self) -> str:
        return (
            f"OPA at {self._address.url} {self._breaker.reason}; it is looked for every {PROBE_INTERVAL_S * 1e3:.0f} ms"
        )

    async def _probe_until_back(self, known: _Known) -> None:
        while self._breaker.is_open:
            await asyncio.sleep(PROBE_INTERVAL_S)
            self.counts.add("probes")
            if await self._answers(known):
                self._breaker.answered()

    async def _answers(self, known: _Known) -> bool:
        try:
            await self._within_deadline(self._client.ask(known.url, b"{}"))
        except EvaluationFailed:
            return True
        except Fault as exc:
            self._breaker.failed(str(exc))
            return False
        return True

    async def _why_not(self, known: _Known) -> str:
        """Why OPA does not rule under a revision; empty when it does."""
        await self._open()
        try:
            answer = await self._within_deadline(self._client.ask(known.url, b"{}"))
        except EvaluationFailed:
            return ""
        except Fault as exc:
            return str(exc)
        bundle = answer.bundle(NAME)
        return "" if known.found.revision in revisions_in(bundle) else f"it holds {bundle or 'none'}"


def _refusal(words: str) -> Flaw:
    return Flaw(file="policies", line=0, column=0, problem=f"OPA refuses them: {words}", cure="Correct what it names.")


def _named(problem: str, found: RelocatedSet) -> str:
    """A problem with the file as people know it."""
    for path, name in found.names.items():
        problem = problem.replace(path, name)
    return problem
