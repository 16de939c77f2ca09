"""The PolicyEngine port on regorus, in this process. Whatever is not a clear answer is a deny.

regorus is asked through its interpreter, which raises every error of a built-in function. Its compiled form is three
times as fast, but takes such errors for undefined, and a guardrail that fails to rule would let pass.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from control_plane.adapters.regorus.assembly import QUERY, Assembly, InputPath, assemble
from control_plane.adapters.regorus.checks import data_document, parsed
from control_plane.adapters.regorus.module_checks import CODE
from control_plane.adapters.regorus.syntax import is_test, new_engine
from control_plane.errors import InvalidWorkspace
from control_plane.messages import Question, Reason, Ruling
from control_plane.ports.policy_engine import RULING_TIMEOUT_MS, PolicySet

INPUT_BYTES_MAX = 512 * 1024
"""Of what the policies read of the input."""

SETS_MAX = 8
"""How many policy sets are kept ready, the last used ones."""

REASONS_MAX = 100
MSG_CHARS_MAX = 500
PROBLEM_CHARS_MAX = 300

NO_PERMIT: Final = Reason("no_permit", "no permit allows this", "policy_engine")
_STRENGTH: Final = ("deny", "escalate", "allow")


class _Given(msgspec.Struct):
    code: str
    msg: str


_Found = list[tuple[Literal["deny", "escalate", "allow"], str, _Given]]
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Found, strict=True).decode


class RegorusEngine:
    """Rules on the thread that first used it; on any other it denies."""

    concurrent = False

    def __init__(self) -> None:
        self._thread: int | None = None
        self._sets: OrderedDict[str, _Compiled | str] = OrderedDict()
        """By revision; a text says why there is none."""

    def load(self, policies: PolicySet) -> None:
        """Make a policy set ready. Raises InvalidWorkspace with all its flaws."""
        self._keep(policies.revision, _Compiled(policies))

    async def rule(self, question: Question, policies: PolicySet) -> Ruling:
        """The ruling on one question under these policies, named by their revision."""
        try:
            return self._ruling(question, policies)
        except _NoRuling as exc:
            return Ruling.none(str(exc), policies.revision)

    def _ruling(self, question: Question, policies: PolicySet) -> Ruling:
        compiled = self._compiled(policies)
        begun_ns = time.thread_time_ns()
        try:
            found = compiled.ask(question.input)
        except _Broken:
            self._sets.pop(policies.revision, None)
            raise
        spent_ms = (time.thread_time_ns() - begun_ns) / 1e6
        if spent_ms > RULING_TIMEOUT_MS:
            raise _NoRuling(f"it took {spent_ms:.0f} ms of processor time, more than {RULING_TIMEOUT_MS}")
        return _weighed(found, policies.revision)

    def _compiled(self, policies: PolicySet) -> "_Compiled":
        compiled = self._sets.get(policies.revision)
        if compiled is None:
            compiled = self._prepared(policies)
            self._keep(policies.revision, compiled)
        self._sets.move_to_end(policies.revision)
        if isinstance(compiled, str):
            raise _NoRuling(compiled)
        if self._thread != threading.get_ident():
            raise _NoRuling("it was asked on another thread than the one that it works on")
        return compiled

    def _prepared(self, policies: PolicySet) -> "_Compiled | str":
        try:
            return _Compiled(policies)
        except InvalidWorkspace as exc:
            return f"the policies are refused: {exc.flaws[0]}"

    def _keep(self, revision: str, compiled: "_Compiled | str") -> None:
        self._thread = self._thread or threading.get_ident()
        self._sets[revision] = compiled
        if len(self._sets) > SETS_MAX:
            self._sets.popitem(last=False)


class _NoRuling(Exception):
    """Why there is no ruling."""


class _Broken(_NoRuling):
    """regorus panicked; the engine that did is not used again."""


class _Compiled:
    """One policy set, ready to be asked."""

    def __init__(self, policies: PolicySet) -> None:
        modules, flaws = parsed([module for module in policies.modules if not is_test(module[0])])
        data, wrong = data_document(policies.data)
        flaws += wrong
        if flaws:
            raise InvalidWorkspace(flaws)
        assembly = assemble(modules)
        self._engine = _engine(assembly, data) if assembly else None
        self._reads = _tree_of(assembly.reads) if assembly else {}

    def ask(self, given: Mapping[str, Any]) -> _Found:
        if self._engine is None:
            return []
        try:
            self._engine.set_input_json(_input(given, self._reads))
            return _decode(self._engine.eval_rule_as_json(QUERY))
        except msgspec.DecodeError as exc:
            raise _NoRuling(f"a reason is not an object with a text code and a text msg ({exc})") from exc
        except RuntimeError as exc:
            raise _NoRuling(_said(exc)) from exc
        except (KeyboardInterrupt, SystemExit, _NoRuling):
            raise
        except BaseException as exc:
            # A panic in regorus is no Exception. It must not end the loop, and it must never allow.
            raise _Broken(f"regorus panicked: {_said(exc)}") from exc


def _engine(assembly: Assembly, data: str) -> Any:
    engine = new_engine()
    for name, text in assembly.modules:
        engine.add_policy(name, text)
    engine.add_data_json(data)
    return engine


_All = None
_Tree = dict[str, frozenset[str] | None]


def _tree_of(reads: frozenset[InputPath]) -> _Tree | None:
    """The parts of the input by name, each with the parts of it that are read; None stands for all of it."""
    if () in reads:
        return _All
    whole = {path[0] for path in reads if len(path) == 1}
    return {
        top: _All if top in whole else frozenset(path[1] for path in reads if path[0] == top)
        for top in sorted({path[0] for path in reads})
    }


def _input(given: Mapping[str, Any], reads: _Tree | None) -> str:
    """The input as JSON, without what no policy reads: reading it costs more than ruling on it."""
    try:
        encoded = _encode(given if reads is _All else _pruned(given, reads))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise _NoRuling(f"the input is no JSON ({exc})") from exc
    if len(encoded) > INPUT_BYTES_MAX:
        raise _NoRuling(f"the input has {len(encoded)} bytes, more than {INPUT_BYTES_MAX}")
    return encoded.decode()


def _pruned(given: Mapping[str, Any], reads: _Tree) -> dict[str, Any]:
    pruned = {}
    for top, below in reads.items():
        if top in given:
            part = given[top]
            if below is not _All and isinstance(part, Mapping):
                part = {name: part[name] for name in below if name in part}
            pruned[top] = part
    return pruned


def _weighed(found: _Found, revision: str) -> Ruling:
    """Deny beats escalate beats allow, and all reasons are kept: the strongest first, then by who gives them."""
    by_strength: dict[str, list[Reason]] = {answer: [] for answer in _STRENGTH}
    for answer, by, given in found:
        if not CODE.fullmatch(given.code):
            raise _NoRuling(f"{by} gave a reason with the code {given.code[:64]!r}, which is none")
        by_strength[answer].append(Reason(given.code, given.msg[:MSG_CHARS_MAX], by))
    if not by_strength["allow"]:
        by_strength["deny"].append(NO_PERMIT)
    if len(found) > REASONS_MAX:
        raise _NoRuling(f"it has {len(found)} reasons, more than {REASONS_MAX}")
    answer = next(answer for answer in _STRENGTH if by_strength[answer])
    reasons = [
        reason
        for each in _STRENGTH
        for reason in sorted(by_strength[each], key=lambda reason: (reason.by, reason.code, reason.msg))
    ]
    return Ruling(answer=answer, reasons=tuple(reasons), revision=revision)


def _said(exc: BaseException) -> str:
    """regorus' words in one line: `blast_radius.rego:7: divide by zero`."""
    text = str(exc).strip()
    place = text.split("--> ", 1)[-1].splitlines()[0] if "--> " in text else ""
    what = text.rsplit("error: ", 1)[-1].splitlines()[0] if text else type(exc).__name__
    return f"{place.rsplit(':', 1)[0]}: {what}"[:PROBLEM_CHARS_MAX] if place else what[:PROBLEM_CHARS_MAX]
