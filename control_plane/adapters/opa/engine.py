"""The PolicyEngine port on OPA. Whatever is not a clear answer under the very revision that was asked for is a deny."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from yarl import URL

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.client import EvaluationFailed
from control_plane.adapters.opa.counts import OpaCounts
from control_plane.adapters.opa.relocation import RelocatedSet, in_own_words, relocated, ruling_path
from control_plane.adapters.opa.way import Away, Way
from control_plane.adapters.regorus.weighing import NoRuling, weighed
from control_plane.errors import Flaw, InvalidWorkspace, PolicyEngineUnavailable
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import RULING_TIMEOUT_MS, PolicySet

SETS_MAX: Final = 32
"""How many policy sets are remembered, the last used ones: what their policies read, or why they are refused."""

CONFIRM_TIMEOUT_S: Final = 5.0
CONFIRM_INTERVAL_S: Final = 0.02


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
        self._way = Way(address, timeout_ms)
        self._confirm_timeout_s = confirm_timeout_s
        self._refused = refused
        self._sets: OrderedDict[str, _Known | str] = OrderedDict()
        """By revision; a text says why there is none."""

    @property
    def counts(self) -> OpaCounts:
        """What became of the questions."""
        return self._way.counts

    @property
    def problem(self) -> str:
        """Why there are no rulings at present; empty when there are, or nobody has asked."""
        return self._way.problem

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling on one question under these policies, named by their revision."""
        try:
            return await self._ruling(question, policies)
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
        while why := await self._way.why_not(known.url, found.revision):
            refused = self._refused(found.revision)
            if refused:
                raise InvalidWorkspace([_refusal(_named(refused, found))])
            if asyncio.get_running_loop().time() > until:
                raise PolicyEngineUnavailable(
                    f"the policies {found.revision} were not run by OPA within {self._confirm_timeout_s:.0f} s: {why}. "
                    "They were not put in force. See: setpoint opa list"
                )
            await asyncio.sleep(CONFIRM_INTERVAL_S)

    async def close(self) -> None:
        """Let go of OPA."""
        await self._way.close()

    async def _ruling(self, question: Question, policies: PolicySet) -> Ruling:
        known = self._known(policies)
        given = known.found.view.encoded(question.input)
        try:
            answer = await self._way.ask(known.url, policies.revision, given)
        except Away as exc:
            raise NoRuling(str(exc)) from exc
        except EvaluationFailed as exc:
            raise NoRuling(_named(str(exc), known.found)) from exc
        assert answer.result is not None, "an answer without a result is none"
        if answer.result.revision != policies.revision:
            self.counts.add("garbage")
            raise NoRuling(f"OPA answered under the policies {answer.result.revision[:64]!r}, not {policies.revision}")
        ruling = weighed(answer.result.found, policies.revision)
        self.counts.add("ruled")
        return ruling

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
        return _Known(found=found, url=self._way.url_of(ruling_path(found.revision)))

    def _keep(self, revision: str, known: _Known | str) -> None:
        self._sets[revision] = known
        if len(self._sets) > SETS_MAX:
            self._sets.popitem(last=False)


def _refusal(words: str) -> Flaw:
    return Flaw(file="policies", line=0, column=0, problem=f"OPA refuses them: {words}", cure="Correct what it names.")


def _named(problem: str, found: RelocatedSet) -> str:
    """A problem in the words of the user's files."""
    for path, name in found.names.items():
        problem = problem.replace(path, name)
    return in_own_words(problem, found.revision)
