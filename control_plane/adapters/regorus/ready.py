"""One policy set, ready to be asked: what its packages say on an input, or why they say nothing."""

from collections.abc import Mapping
from typing import Any

import msgspec

from control_plane.adapters.regorus.asked import InputView
from control_plane.adapters.regorus.assembly import QUERY, Assembly, planned
from control_plane.adapters.regorus.checks import data_document, parsed
from control_plane.adapters.regorus.plain import FAULT
from control_plane.adapters.regorus.syntax import compile_program, is_test, new_engine
from control_plane.adapters.regorus.weighing import Found, NoRuling
from control_plane.errors import InvalidWorkspace
from control_plane.ports.policy_engine import PolicySet

PROBLEM_CHARS_MAX = 300


class Panic(NoRuling):
    """regorus itself failed; what did is not used again."""


_decode = msgspec.json.Decoder(Found).decode


class ReadySet:
    """A policy set on the thread that made it. Raises InvalidWorkspace when it has flaws."""

    def __init__(self, policies: PolicySet) -> None:
        modules, flaws = parsed([module for module in policies.modules if not is_test(module[0])])
        data, wrong = data_document(policies.data)
        if flaws or wrong:
            raise InvalidWorkspace([*flaws, *wrong])
        plan = planned(modules)
        self._parts: list[_Compiled | _Interpreted] = []
        if plan.compiled:
            self._parts.append(_Compiled(plan.compiled, data))
        if plan.interpreted:
            self._parts.append(_Interpreted(plan.interpreted, data))
        assemblies = [assembly for assembly in (plan.compiled, plan.interpreted) if assembly]
        self._view = InputView(frozenset(path for assembly in assemblies for path in assembly.reads))

    def ask(self, given: Mapping[str, Any]) -> Found:
        """All reasons of all packages. Raises NoRuling."""
        text = self._view.encoded(given).decode()
        try:
            return [found for part in self._parts for found in part.ask(text)]
        except msgspec.DecodeError as exc:
            raise NoRuling(f"a reason is not an object with a text code and a text msg ({exc})") from exc
        except RuntimeError as exc:
            raise NoRuling(_said(exc)) from exc
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as exc:
            # A panic in regorus is no Exception. It must not end the loop, and it must never allow.
            raise Panic(f"regorus panicked: {_said(exc)}") from exc


class _Interpreted:
    """Policies under the interpreter, which raises every error."""

    def __init__(self, assembly: Assembly, data: str) -> None:
        self._engine = new_engine()
        for name, text in assembly.modules:
            self._engine.add_policy(name, text)
        self._engine.add_data_json(data)

    def ask(self, text: str) -> Found:
        self._engine.set_input_json(text)
        return _decode(self._engine.eval_rule_as_json(QUERY))


class _Compiled:
    """Plain policies in compiled form; where that is not sure of itself, under the interpreter."""

    def __init__(self, assembly: Assembly, data: str) -> None:
        self._machine = compile_program(assembly.modules, data, QUERY)
        self._interpreted = _Interpreted(assembly, data)

    def ask(self, text: str) -> Found:
        found = self._quickly(text)
        if found is None:
            found = [each for each in self._interpreted.ask(text) if each[0] != FAULT]
        return found

    def _quickly(self, text: str) -> Found | None:
        try:
            self._machine.set_input_json(text)
            found = _decode(self._machine.execute())
        except (RuntimeError, msgspec.DecodeError):
            # Whatever it is, the interpreter will say it better.
            return None
        return None if any(each[0] == FAULT for each in found) else found


def _said(exc: BaseException) -> str:
    """regorus' words in one line: `guardrails/blast_radius:7: divide by zero`."""
    text = str(exc).strip()
    place = text.split("--> ", 1)[-1].splitlines()[0] if "--> " in text else ""
    what = text.rsplit("error: ", 1)[-1].splitlines()[0] if text else type(exc).__name__
    return f"{place.rsplit(':', 1)[0]}: {what}"[:PROBLEM_CHARS_MAX] if place else what[:PROBLEM_CHARS_MAX]
