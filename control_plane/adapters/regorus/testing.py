"""The tests of policies: every rule `test_...` of the test modules, and the reasons that no test makes true.

A line counts as covered when regorus came by it. A reason is moved to a line of its own first, so that it counts only
when its rule was true and not already when it was tried. A helper on one line counts when it was tried.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from control_plane.adapters.regorus.checks import data_document, parsed
from control_plane.adapters.regorus.module_checks import ENTRIES
from control_plane.adapters.regorus.syntax import Module, Rule, new_engine, parse
from control_plane.errors import Flaw, InvalidWorkspace

TEST_PREFIX = "test_"
DETAIL_CHARS_MAX = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One test that was run; `problem` says why it did not pass."""

    file: str
    line: int
    name: str
    problem: str = ""

    @property
    def passed(self) -> bool:
        return not self.problem


@dataclass(frozen=True, kw_only=True, slots=True)
class TestReport:
    """All tests that were run, and the rules that none of them makes true."""

    __test__ = False  # pytest would take it for a test of its own.

    trials: tuple[Trial, ...]
    uncovered: tuple[Flaw, ...]

    @property
    def failed(self) -> tuple[Trial, ...]:
        return tuple(trial for trial in self.trials if not trial.passed)

    @property
    def passed(self) -> bool:
        """Whether there were tests, all of them passed, and they cover every rule."""
        return bool(self.trials) and not self.failed and not self.uncovered

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """The same as flaws of the files, for `setpoint check`."""
        failed = (
            Flaw(
                file=t.file, line=t.line, column=1, problem=f"{t.name} {t.problem}", cure="Mend the policy or the test."
            )
            for t in self.failed
        )
        return (*failed, *self.uncovered)


def run_tests(
    modules: Sequence[tuple[str, str]],
    test_modules: Sequence[tuple[str, str]],
    data: Sequence[tuple[str, str]] = (),
) -> TestReport:
    """Run every test; modules and data as in a policy set. Raises InvalidWorkspace when a module has flaws."""
    known, flaws = parsed([*modules, *test_modules])
    document, wrong = data_document(data)
    if flaws or wrong:
        raise InvalidWorkspace([*flaws, *wrong])
    under_test = [_Instrumented(module) for module in known if module.kind != "test"]
    engine = new_engine()
    engine.set_enable_coverage(True)
    engine.set_gather_prints(True)
    for instrumented in under_test:
        engine.add_policy(instrumented.module.file, instrumented.text)
    tests = [module for module in known if module.kind == "test"]
    for module in tests:
        engine.add_policy(module.file, module.source.decode())
    engine.add_data_json(document)
    trials = [trial for module in tests for trial in _trials(engine, module)]
    report = msgspec.json.decode(engine.get_coverage_report_as_json())
    missed = {each["path"]: set(each["not_covered"]) for each in report["files"]}
    uncovered = [flaw for each in under_test for flaw in each.uncovered(missed.get(each.module.file))]
    return TestReport(trials=tuple(trials), uncovered=tuple(uncovered))


def _trials(engine: Any, module: Module) -> Iterator[Trial]:
    names = dict.fromkeys(rule.name for rule in module.rules if rule.name.startswith(TEST_PREFIX))
    for name in names:
        rule = next(rule for rule in module.rules if rule.name == name)
        line = module.flaw(rule.node, "", "").line
        query = f"data.{'.'.join(module.package)}.{name}"
        yield Trial(file=module.file, line=line, name=name, problem=_problem(engine, query))


def _problem(engine: Any, query: str) -> str:
    engine.set_input_json("{}")
    try:
        answer = engine.eval_rule_as_json(query)
    except RuntimeError as exc:
        return f"ended in an error: {str(exc).rsplit('error: ', 1)[-1].strip()}"[:DETAIL_CHARS_MAX]
    printed = "".join(f" [{line}]" for line in engine.take_prints())
    return "" if answer == "true" else f"is {answer.strip(chr(34))}, not true{printed}"[:DETAIL_CHARS_MAX]


class _Instrumented:
    """A module whose reasons stand on lines of their own."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.text, self._line_of = module.source.decode(), {}
        entries = [rule for rule in module.rules if rule.name in ENTRIES.get(module.kind, ())]
        breaks = [at for rule in entries for at in self._around_reason(rule)]
        source = module.source
        for at in sorted(breaks, reverse=True):
            source = source[:at] + b"\n" + source[at:]
        again = parse(module.file, source.decode())
        if isinstance(again, Module):
            self.text = source.decode()
            self._line_of = self._lines(breaks)

    def uncovered(self, missed: set[int] | None) -> Iterator[Flaw]:
        """The rules in which a line was missed; `missed` is None for a file that regorus never looked at."""
        lines = None if missed is None else {self._line_of.get(line, line) for line in missed}
        for rule in self.module.rules:
            first, last = self._span(rule)
            if lines is None or any(line in lines for line in range(first, last + 1)):
                cure = "Write one that does."
                yield self.module.flaw(rule.node, f"no test makes this rule of {rule.name} true", cure)

    def _around_reason(self, rule: Rule) -> tuple[int, int]:
        head = rule.node["head"]["Set"]
        name = head["refr"]["Var"]["span"]
        return self.module.source.index(b"contains", name["end"]) + len(b"contains"), head["span"]["end"]

    def _lines(self, breaks: Sequence[int]) -> dict[int, int]:
        """The line that each line had before the breaks."""
        source, before = self.module.source, {}
        broken = sorted(source.count(b"\n", 0, at) + 1 for at in breaks)
        for line in range(1, source.count(b"\n") + 2):
            shift = sum(1 for each in broken if each < line)
            before[line + shift] = line
            for nth in range(broken.count(line)):
                before[line + shift + nth + 1] = line
        return before

    def _span(self, rule: Rule) -> tuple[int, int]:
        span = rule.node["span"]
        first = self.module.source.count(b"\n", 0, span["start"]) + 1
        return first, first + self.module.source.count(b"\n", span["start"], span["end"])
