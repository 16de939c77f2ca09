"""regorus' compiled form is only used where it says what its interpreter says; the interpreter is the oracle."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from control_plane.adapters.regorus.assembly import MAIN, Assembly, planned
from control_plane.adapters.regorus.checks import parsed
from control_plane.adapters.regorus.module_checks import FOUND
from control_plane.adapters.regorus.plain import FAULT
from control_plane.adapters.regorus.ready import _Compiled, _Interpreted

FIELDS = ("a", "b", "c")
ERROR = "error"

values = st.recursive(
    st.sampled_from([None, True, False, 0, 1, 2.5, "", "x", "xyz"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=3),
    max_leaves=8,
)
typed = st.fixed_dictionaries(
    {"text": st.sampled_from(["", "x", "xyz", "q"]), "list": st.lists(values, max_size=3)}, optional={"a": values}
)
inputs = st.builds(
    lambda loose, t: loose | {"t": t},
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=3),
    typed | typed | values,
)


class Author:
    """Writes a policy module, one draw after the other."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self._variables = 0
        self.helpers: list[str] = []

    def one(self, options: Sequence[str]) -> str:
        drawn: str = self._draw(st.sampled_from(options))
        return drawn

    def path(self, local: Sequence[str] = ()) -> str:
        root = self.one(["input", "input", "data.d", *self.helpers, *local])
        steps = self._draw(st.lists(st.sampled_from(FIELDS), min_size=root == "input", max_size=2))
        return root + "".join(f".{step}" for step in steps)

    def typed(self, field: str) -> str:
        """A path where the right type mostly stands: where it does not, the compiled form is not asked."""
        return self.one([f"input.t.{field}"] * 9 + [self.path()])

    def operand(self, local: Sequence[str]) -> str:
        counted = f"count({self.typed('list')})"
        return self.one([self.path(local), self.path(local), "1", '"x"', "true", "null", counted, *local])

    def variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def statement(self, local: list[str], depth: int = 0) -> str:
        match self._draw(st.integers(0, 9 if depth == 0 else 7)):
            case 0:
                return self.path(local)
            case 1 | 2:
                return f"{self.operand(local)} {self.one(['==', '!=', '<', '<=', '>', '>='])} {self.operand(local)}"
            case 3:
                return f"{self.operand(local)} in {self.one(['{1, true}', '[null, 0]', self.typed('list')])}"
            case 4:
                return f"{self.one(['is_number', 'is_string', 'is_array', 'is_null'])}({self.operand(local)})"
            case 5:
                return f"not {self.one([self.path(local), *(f'is_number({each})' for each in local)])}"
            case 6:
                return f'{self.one(["startswith", "contains"])}({self.typed("text")}, "x")'
            case 7:
                given = self.one([*local, self.typed("text"), self.typed("list"), "1"])
                return f"{self.one(['known', 'odd', 'not odd' if given in local else 'odd'])}({given})"
            case 8:
                name, walked = self.variable(), self.typed("list")
                local.append(name)
                return f"some {name} in {walked}"
            case _:
                name, found = self.variable(), self.operand(local)
                local.append(name)
                return f"{name} := {self.one([found, self.comprehension()])}"

    def comprehension(self) -> str:
        name = self.variable()
        inner = "; ".join([f"some {name} in {self.typed('list')}", self.statement([name], depth=1)])
        return self.one([f"[{name} | {inner}]", f"{{{name} | {inner}}}"])

    def body(self, local: list[str], statements_max: int = 3) -> str:
        count = self._draw(st.integers(1, statements_max))
        return "{ " + "; ".join(self.statement(local) for _ in range(count)) + " }"

    def helper(self, name: str) -> list[str]:
        match self._draw(st.integers(0, 4)):
            case 0:
                return [f"{name} if {self.body([])}", f"{name} if {self.body([])}"]
            case 1:
                return [f"{name} := {self.path()} if {self.one(['true', self.path()])}"]
            case 2:
                return [f"default {name} := {self.one(['1', 'false', '[]'])}", f"{name} := {self.path()}"]
            case 3:
                return [f"{name} := {self.comprehension()}"]
            case _:
                return [f"{name} := {self.one(['3', 'null', '[1, 2]'])} if {self.body([], 1)}"]

    def reason(self, n: int) -> str:
        local: list[str] = []
        body = self.body(local)
        said = self.one(['"m"', f'sprintf("%v", [{self.one([*local, self.typed("text")])}])'])
        return f'{self.one(["deny", "escalate"])} contains {{"code": "c{n}", "msg": {said}}} if {body}'

    def module(self) -> str:
        lines = [
            "package setpoint.guardrails.g",
            "known(x) if { is_number(x); x > 0 }",
            'known(x) if x == "x"',
            "odd(x) if not x == 1",
        ]
        for n in range(self._draw(st.integers(0, 3))):
            lines += self.helper(f"h{n}")
            self.helpers.append(f"h{n}")
        lines += [self.reason(n) for n in range(self._draw(st.integers(1, 4)))]
        return "\n".join(lines) + "\n"


@st.composite
def modules(draw: Any) -> str:
    return Author(draw).module()


def answered(part: Any, document: dict[str, Any]) -> Any:
    try:
        found = part.ask(json.dumps(document))
    except (RuntimeError, ValueError):
        return ERROR
    return sorted((kind, by, given.code, given.msg) for kind, by, given in found if kind != FAULT)


@settings(max_examples=80, deadline=None)
@given(text=modules(), documents=st.lists(inputs, min_size=1, max_size=6), data=values)
@example(
    text="package setpoint.guardrails.g\n\n"
    'deny contains {"code": "c", "msg": sprintf("%v", [input.a])} if count(input.b) > 1\n',
    documents=[{"b": [1, 2]}, {"a": 1, "b": [1, 2]}, {"a": 1, "b": 3}, {"a": 1, "b": [1, 2]}],
    data={},
)
def test_the_compiled_form_says_what_the_interpreter_says(
    text: str, documents: list[dict[str, Any]], data: Any
) -> None:
    known, flaws = parsed([("guard", text)])
    assume(not flaws)
    plan = planned(known)
    assume(plan.compiled)
    assert plan.compiled is not None
    policy_data = json.dumps({"d": data})
    compiled, interpreted = _Compiled(plan.compiled, policy_data), _Interpreted(plan.compiled, policy_data)

    for document in documents:
        expected = answered(interpreted, document)
        event(f"asked the interpreter: {compiled._quickly(json.dumps(document)) is None}; {expected == ERROR=}")

        assert answered(compiled, document) == expected


@settings(max_examples=30, deadline=None)
@given(text=modules(), documents=st.lists(inputs, min_size=1, max_size=4), data=values)
def test_a_package_that_was_moved_says_what_it_said_before(
    text: str, documents: list[dict[str, Any]], data: Any
) -> None:
    known, flaws = parsed([("guard", text), ("other", text.replace("guardrails.g", "guardrails.other"))])
    assume(not flaws)
    plan = planned(known)
    policy_data = json.dumps({"d": data})
    parts = [_Interpreted(part, policy_data) for part in (plan.compiled, plan.interpreted) if part]
    alone = _Interpreted(as_it_stands(text), policy_data)

    for document in documents:
        expected = answered(alone, document)
        found = [answered(part, document) for part in parts]

        if expected == ERROR:
            assert ERROR in found
        else:
            twice = [(kind, by, *rest) for kind, _, *rest in expected for by in ("guardrails.g", "guardrails.other")]
            assert sorted(each for part in found for each in part) == sorted(twice)


def as_it_stands(text: str) -> Any:
    """The module where it is, asked from outside."""
    lines = [
        f'{FOUND} contains ["{kind}", "g", reason] if some reason in data.setpoint.guardrails.g.{kind}'
        for kind in ("deny", "escalate")
        if f"{kind} contains" in text
    ]
    main = "\n".join([f"package {MAIN}", *lines])
    return Assembly(modules=(("guard", text), ("main", main)), reads=frozenset())
