"""What is wrong in a policy is found before anything is ruled, with its place and the cure."""

import pytest

from control_plane.adapters.regorus import check_policies
from control_plane.adapters.regorus.syntax import MODULE_BYTES_MAX
from control_plane.errors import Flaw

HEAD = "package setpoint.guardrails.guard\n\n"
FINE = 'deny contains {"code": "bad", "msg": "it is bad"} if input.facts.in_flight > 1\n'


def flaws_of(*rules: str, head: str = HEAD, name: str = "guard.rego") -> list[Flaw]:
    return check_policies([(name, head + FINE + "\n".join(rules) + "\n")])


def problems(*rules: str, head: str = HEAD) -> list[str]:
    return [flaw.problem for flaw in flaws_of(*rules, head=head)]


def test_a_policy_in_order_has_no_flaws() -> None:
    assert flaws_of() == []
    assert (
        problems(
            'escalate contains {"code": "many", "msg": sprintf("%v, %v%%", [number, limit])} if number > limit',
            "number := count(failed)",
            "failed := [action | some action in input.facts.recent_actions; action.effect in effects]",
            'effects := {"ineffective", "harmful"}',
            "default limit := 3",
            "limit := data.limits[input.decision.intent].max",
            'deny contains {"code": "unclear", "msg": "unclear"} if not clear',
            "clear if {",
            "\tevery action in input.facts.recent_actions { is_string(action.effect) }",
            "\tsome name, _ in input.rows",
            '\tname != "x"',
            "}",
        )
        == []
    )


# Its shape


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("package setpoint.guardrails.g\n\ndeny contains", (3, 14)),
        ("package setpoint.guardrails.g\n\ndeny { input.x }", (3, 6)),
        ("deny contains {} if true", (1, 1)),
        ("", (1, 1)),
        ("package setpoint.guardrails.g\n\nx := " + "[" * 11 + "]" * 11, (3, 16)),
        ("# " + "x" * MODULE_BYTES_MAX, (0, 0)),
        ("package p\n# \ud800", (0, 0)),
    ],
)
def test_what_cannot_be_parsed_is_a_flaw_with_its_place(text: str, place: tuple[int, int]) -> None:
    (flaw,) = check_policies([("broken", text)])

    assert (flaw.file, flaw.line, flaw.column) == ("broken", *place)
    assert flaw.cure


def test_brackets_in_texts_and_comments_do_not_count() -> None:
    assert flaws_of('x := "' + "[" * 30 + '"', "# " + "{" * 30, "y := `" + "(" * 30 + "`") == []


@pytest.mark.parametrize(
    ("package", "rule", "problem"),
    [
        ("setpoint.guardrail.g", FINE, "package setpoint.guardrail.g is no permit, no guardrail and no library"),
        ("setpoint.guardrails", FINE, "package setpoint.guardrails is no permit, no guardrail and no library"),
        ("setpoint.guardrails.a.b", FINE, "package setpoint.guardrails.a.b is no permit, no guardrail and no library"),
        ("other", FINE, "package other is no permit, no guardrail and no library"),
        (
            "setpoint.guardrails.g_test",
            FINE,
            "package setpoint.guardrails.g_test is named like tests, but its file is not",
        ),
        ("setpoint.guardrails.g", FINE.replace("deny", "denny"), "guardrails.g gives no reason"),
        ("setpoint.permits.p", FINE, "a permit only allows, but this defines deny"),
        (
            "setpoint.guardrails.g",
            FINE + FINE.replace("deny", "allow"),
            "a guardrail never allows, but this defines allow",
        ),
        ("setpoint.lib.l", FINE, "this package gives no reasons, but this defines deny"),
        ("setpoint.guardrails.g", "deny if input.facts.in_flight > 1", "deny is not a set of reasons"),
        ("setpoint.guardrails.g", "default deny := false", "deny is not a set of reasons"),
        ("setpoint.guardrails.g", 'deny.x contains {"code": "a", "msg": "b"}', "deny is not a set of reasons"),
        ("setpoint.guardrails.g", 'deny(x) := {"code": "a", "msg": x}', "deny is not a set of reasons"),
        ("setpoint.guardrails.g", 'deny contains "bad"', "a reason of deny is not an object"),
        ("setpoint.guardrails.g", 'deny contains {"code": "bad"}', "a reason of deny has no text msg"),
        ("setpoint.guardrails.g", 'deny contains {"code": 1, "msg": "b"}', "a reason of deny has no text code"),
        ("setpoint.guardrails.g", 'deny contains {"code": "Too Bad", "msg": "b"}', "the code 'Too Bad' is none"),
    ],
)
def test_a_package_that_does_not_do_what_its_kind_does_is_refused(package: str, rule: str, problem: str) -> None:
    found = [flaw.problem for flaw in check_policies([("module", f"package {package}\n\n{rule}\n")])]

    assert problem in found


# What it calls and reads


@pytest.mark.parametrize(
    "call",
    [
        'http.send({"method": "get", "url": "x"})',
        "opa.runtime()",
        'rand.intn("x", 5)',
        "time.now_ns()",
        'net.lookup_ip_addr("x")',
        'trace("x")',
        'print("x")',
        "numbers.range(1, 2)",
        "walk(input)",
        'io.jwt.decode("x")',
        'uuid.rfc4122("x")',
    ],
)
def test_a_function_that_reaches_out_or_has_no_end_is_banned(call: str) -> None:
    name = call.split("(")[0]

    (flaw,) = [flaw for flaw in flaws_of(f"x := {call}") if name in flaw.problem]

    assert flaw.problem == f"{name} may not be used in a policy"
    assert (flaw.line, flaw.column) == (4, 6)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("x := startwith(input.now, 1)", "there is no function startwith that a policy may call"),
        ("x := count(input.rows, 1)", "count takes 1 arguments, not 2"),
        ("x := f(1, 2)\nf(y) := y", "f takes 1 arguments, not 2"),
        ('x := sprintf("%s", [1])', "'%s' has a verb other than %v"),
        ("x := sprintf(input.now, [1])", "the first argument of sprintf is not a constant text"),
        ("x := regex.match(input.now, input.now)", "the first argument of regex.match is not a constant text"),
        ("x := limt + 1\nlimit := 2", "nothing is called limt"),
        ("x if { some y in input.rows[z]; y == w }", "nothing is called w"),
        ("x := y\ny := x", "x depends on itself"),
        ("f(y) := f(y)\nx := f(1)", "f depends on itself"),
        ("x contains y if some y in x", "x depends on itself"),
        ("x := data.setpoint.guardrails.other.deny", "a policy reads another policy"),
        ("x := data.setpoint", "a policy reads another policy"),
        ("x := data[input.now]", "data is read by a name that is not constant"),
        ("x := count(deny)", "a rule reads deny"),
        ("x if input.now with input.now as 1", "`with` is for tests"),
        ("x if not { input.now }", "`not { ... }` is always false"),
        ('x if "a", "b" in {"a"}', "`key, value in ...` is not supported"),
        ("setpoint_found := 1", "the name setpoint_found is taken"),
        ("x if { input := 1; input == 1 }", "input cannot be shadowed"),
        (
            "x if { some a in input.rows; some b in a; some c in b; some d in c; d }",
            "x has 4 loops, more than 3",
        ),
        ("x if input.rows[_][_][_][_]", "x has 4 loops, more than 3"),
        ("x := input.decison.intent", "there is no input.decison"),
        ("x := input.facts.fleet_shre", "there is no input.facts.fleet_shre"),
        ("x := input.decision.subject.id.kind", "there is no input.decision.subject.id.kind"),
    ],
)
def test_what_would_only_be_found_when_it_is_too_late_is_refused(rule: str, problem: str) -> None:
    assert problem in problems(rule)


@pytest.mark.parametrize(
    "negated",
    [
        "is_number(input.facts.fleet_share)",
        "input.facts.in_flight > 3",
        'startswith(input.decision.subject.name, "web-")',
        "input.decision.intent in data.intents.known",
        "known(input.facts.fleet_share)",
        "is_number(limit)",
        'is_number(object.get(input.facts, "fleet_share", null))',
        "count([1 | some action in input.facts.recent_actions; action.effect]) > 0",
    ],
)
def test_a_negation_that_opa_ignores_where_something_is_missing_is_refused(negated: str) -> None:
    rules = (f"x if not {negated}", "known(y) if is_number(y)", "limit := input.facts.in_flight")

    assert problems(*rules) == ["`not` before what reads a field is ignored by OPA where the field is missing"]


@pytest.mark.parametrize(
    "negated", ["known", "input.rows.health.up", "data.switch.off", "local(y)", "y > 3", "is_number(y)"]
)
def test_a_negation_that_both_engines_take_alike_is_fine(negated: str) -> None:
    rules = (
        f"x if {{ y := input.facts.in_flight; not {negated} }}",
        "known if is_number(input.now)",
        "local(z) if z == 1",
    )

    assert problems(*rules) == []


def test_the_input_is_known_under_another_name() -> None:
    head = HEAD + "import input.decision.subject as target\nimport input.fact\n\n"

    assert problems("x := target.nme", "y := fact", head=head) == [
        "there is no input.fact",
        "there is no input.decision.subject.nme",
        "there is no input.fact",
    ]


def test_a_library_is_checked_with_those_that_use_it() -> None:
    library = ("lib", "package setpoint.lib.share\n\nwide(x) if x > 0.4\n")
    user = "package setpoint.guardrails.guard\n\nimport data.setpoint.lib.share\n\n" + FINE

    assert check_policies([library, ("guard", user + "x if share.wide(input.facts.fleet_share)\n")]) == []
    assert [flaw.problem for flaw in check_policies([library, ("guard", user + "x if share.wide(1, 2)\n")])] == [
        "share.wide takes 1 arguments, not 2"
    ]
    assert [flaw.problem for flaw in check_policies([library, ("guard", user + "x if share.narrow(1)\n")])] == [
        "there is no function share.narrow that a policy may call"
    ]


def test_all_flaws_of_all_modules_are_told_at_once_in_order() -> None:
    found = check_policies(
        [("b", HEAD + FINE + "x := nope\ny := count()"), ("a", "package"), ("c", "package other\n\nallow := true")]
    )

    assert [flaw.file for flaw in found] == sorted(flaw.file for flaw in found)
    assert {flaw.file for flaw in found} == {"a", "b", "c"}
    assert len(found) >= 4


def test_too_many_modules_are_refused() -> None:
    (flaw,) = check_policies([(f"m{n}", HEAD + FINE) for n in range(201)])

    assert flaw.problem == "there are 201 modules, more than 200"
