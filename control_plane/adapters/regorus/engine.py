"""The PolicyEngine port on regorus, in this process. Whatever is not a clear answer is a deny."""

import threading
import time
from collections import OrderedDict

from control_plane.adapters.regorus.ready import Panic, ReadySet
from control_plane.adapters.regorus.weighing import NoRuling, weighed
from control_plane.errors import InvalidWorkspace
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import RULING_TIMEOUT_MS, PolicySet

SETS_MAX = 8
"""How many policy sets are kept ready, the last used ones."""


class RegorusEngine:
    """Rules on the thread that first used it; on any other it denies."""

    concurrent = False

    def __init__(self) -> None:
        self._thread: int | None = None
        self._sets: OrderedDict[str, ReadySet | str] = OrderedDict()
        """By revision; a text says why there is none."""

    def load(self, policies: PolicySet) -> None:
        """Make a policy set ready. Raises InvalidWorkspace with all its flaws."""
        self._only_here()
        self._keep(policies.revision, ReadySet(policies))

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling on one question under these policies, named by their revision."""
        try:
            return self._ruling(question, policies)
        except NoRuling as exc:
            return Ruling.none(str(exc), policies.revision)

    def _ruling(self, question: Question, policies: PolicySet) -> Ruling:
        self._only_here()
        ready = self._ready(policies)
        begun_ns = time.thread_time_ns()
        try:
            found = ready.ask(question.input)
        except Panic:
            self._sets.pop(policies.revision, None)
            raise
        spent_ms = (time.thread_time_ns() - begun_ns) / 1e6
        if spent_ms > RULING_TIMEOUT_MS:
            raise NoRuling(f"it took {spent_ms:.0f} ms of processor time, more than {RULING_TIMEOUT_MS}")
        return weighed(found, policies.revision)

    def _only_here(self) -> None:
        """regorus' objects belong to one thread, to be used and to be freed."""
        if self._thread is None:
            self._thread = threading.get_ident()
        if self._thread != threading.get_ident():
            raise NoRuling("it was asked on another thread than the one that it works on")

    def _ready(self, policies: PolicySet) -> ReadySet:
        ready = self._sets.get(policies.revision)
        if ready is None:
            ready = self._prepared(policies)
            self._keep(policies.revision, ready)
        self._sets.move_to_end(policies.revision)
        if isinstance(ready, str):
            raise NoRuling(ready)
        return ready

    def _prepared(self, policies: PolicySet) -> ReadySet | str:
        try:
            return ReadySet(policies)
        except InvalidWorkspace as exc:
            return f"the policies are refused: {exc.flaws[0]}"

    def _keep(self, revision: str, ready: ReadySet | str) -> None:
        self._sets[revision] = ready
        if len(self._sets) > SETS_MAX:
            self._sets.popitem(last=False)
