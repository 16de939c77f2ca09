"""What every expression language must do for the loop: match, miss or be refused; never anything else."""

import subprocess
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from control_plane.adapters.cel.expressions import EXPRESSION_CHARS_MAX
from control_plane.adapters.cel.needs import RANGE_ITEMS_MAX
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions

VARIABLES: dict[str, Any] = {
    "data": {
        "rss_mb": 412.5,
        "count": 3,
        "zero": 0,
        "name": "web-1",
        "nothing": None,
        "up": True,
        "sizes": [1, 2, 3],
        "hosts": [{"name": "a", "free": 1}, {"name": "b"}],
        "labels": {"zone": "north", "app": "shop", "tier": "web"},
        "big": 2**63 - 1,
    },
    "subject": {"kind": "service", "name": "web-1", "id": "service/web-1"},
    "rows": MappingProxyType({"service_health": MappingProxyType({"rss_mb": 400.0, "up": False})}),
}


def value_of(expressions: Expressions, text: str, variables: dict[str, Any] = VARIABLES) -> Any:
    return expressions.compile(text).evaluate(expressions.scope(variables))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("data.rss_mb > 400.0", True),
        ("data.rss_mb > 500", False),
        ("rows.service_health.rss_mb < 200.0", False),
        ("rows.service_health.up == false", True),
        ('subject.kind == "service" && subject.name.startsWith("web-")', True),
        ("data.count + 1", 4),
        ("data.nothing == null", True),
        ("data.labels.zone", "north"),
        ('data.labels["zone"]', "north"),
        ('data["labels"]["zone"] == data . labels\n . zone', True),
        ("data.sizes.exists(size, size > 2)", True),
        ("data.sizes.all(n, n > 2)", False),
        ("data.sizes.filter(n, n > 1).size()", 2),
        ("data.sizes.map(n, n * data.count)", [3, 6, 9]),
        ("[1, 2].exists(n, n == data.count - 1)", True),
        ("data.count in [1, 2, 3]", True),
        ('data.name in ["web-1"] ? "mine" : "other"', "mine"),
        ("has(data.name)", True),
        ("has(data.nothing)", True),
        ("has(data.absent)", False),
        ("has(rows.service_health.absent) || data.up", True),
        ("has(data.hosts[0].free)", True),
        ("data.hosts.exists(data, data.name == 'b')", True),
        ("type(data.count) == int", True),
        ("data.rss_mb / 0.0 > 1.0", True),
        ('"data.absent" + r"\\data.absent" != ""  // data.absent', True),
        ("rows.service_health", {"rss_mb": 400.0, "up": False}),
    ],
)
def test_an_expression_reads_its_variables(expressions: Expressions, text: str, value: Any) -> None:
    found = value_of(expressions, text)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "data.absent > 1",
        "absent.deep.down == 1",
        "data.name.deep == 1",
        "data.nothing.deep == 1",
        "data.sizes.deep == 1",
        "rows.absent.rss_mb > 1.0",
        "has(data.absent.deep)",
        "has(data.name.deep)",
        "data.name > 1",
        "data.nothing > 1",
        "data.count && true",
        "data.count ? 1 : 2",
        "data.count / data.zero",
        "data.count % data.zero",
        "data.big + 1",
        "data.sizes[7]",
        "data.sizes['a']",
        "int(data.name)",
        "timestamp(data.name)",
        "data.name.matches('(')",
        "data.hosts.all(host, host.free > 0)",
        "data.name.exists(letter, letter == 'w')",
        "data.absent.exists(n, n == 1)",
    ],
)
def test_a_missing_field_or_a_wrong_type_is_a_miss(expressions: Expressions, text: str) -> None:
    with pytest.raises(ExpressionMiss):
        value_of(expressions, text)


def test_a_miss_names_the_missing_field(expressions: Expressions) -> None:
    with pytest.raises(ExpressionMiss, match=r"rows\.service_health\.p99_ms is missing"):
        value_of(expressions, "rows.service_health.p99_ms > 5.0")


@pytest.mark.parametrize("text", ["data.absent > 1 || true", "true || data.absent", "data.up ? 1 : data.absent"])
def test_a_missing_field_that_does_not_matter_is_no_miss(expressions: Expressions, text: str) -> None:
    assert value_of(expressions, text)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 1),
        ("data.rss_mb >", 14),
        ("data..rss_mb", 6),
        ("1 +\n+ 2", 5),
        ("'open", 1),
        ("a b", 3),
        ("99999999999999999999", 1),
        ("data.up && now() > 1", 12),
        ("data.name.lower() == 'x'", 11),
        ("data.sizes.sum(n, n) > 1", 12),
        ("random()", 1),
        ("__v_data > 1", 1),
        ("data.sizes.exists(__x, true)", 19),
        ("data.up && .data.up", 12),
        ("Point{x: 1}", 1),
        ("data.sizes.all(a, data.sizes.all(b, a == b))", 30),
        ("data.hosts.all(h, h.disks.all(d, d > 1))", 27),
        ("data.sizes.all(a, [1].all(b, a == b))", 23),
        ("data.sizes.filter(n, n > 1).all(n, n > 1)", 29),
        ("{'a': 1}.all(key, true)", 10),
        ("data.hosts[0].all(key, true)", 15),
    ],
)
def test_a_wrong_expression_is_refused_with_its_column(expressions: Expressions, text: str, column: int) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        expressions.compile(text)

    assert refused.value.column == column
    assert str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "data.sizes + data.disks",
        "data.sizes + (data.disks)",
        "data.sizes + rows",
        "[1] + data.disks == [1]",
        "data + data",
    ],
)
def test_a_map_that_is_added_to_a_list_is_a_miss_because_its_keys_come_in_an_order_of_chance(
    expressions: Expressions, text: str
) -> None:
    with pytest.raises(ExpressionMiss):
        value_of(expressions, text, {"data": {"sizes": [1, 2], "disks": {"a": 1, "b": 2, "c": 3}}, "rows": {}})


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("data.sizes + {'a': 1, 'b': 2}", 12),
        ("data.sizes + (data.up ? data.disks : [1])", 12),
        ("data.sizes + data.hosts[0]", 12),
        ("data.sizes + [data.disks][0]", 12),
        ("data.sizes + dyn(data.disks)", 12),
        ("data.hosts.map(h, data.sizes + h)", 30),
        ("data.hosts.map(h, [1] + h.disks)", 23),
        ("data.sizes + (({'a': 1}))", 12),
        ("data.sizes + ([data.disks])[0]", 12),
        ("data.name == 'x' ? 'a' + 'b' : data.sizes + {'a': 1}", 43),
        ("data.up && ('a' + data.name == 'b') || data.sizes + dyn(data.disks) == []", 51),
    ],
)
def test_what_may_be_a_map_is_not_added_unless_it_says_that_it_is_none(
    expressions: Expressions, text: str, column: int
) -> None:
    with pytest.raises(ExpressionInvalid, match=r"may be a map.*write double\(\.\.\.\) or string") as refused:
        expressions.compile(text)

    assert refused.value.column == column


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("data.n + data.n", 4),
        ("data.n + 1 + (data.n)", 5),
        ("1 + (data.n * 2)", 5),
        ("1 + (data.n == 2 && 'a' in data.disks ? 1 : 0)", 2),
        ("data.n + size(data.disks)", 4),
        ("data.n + data.disks.size()", 4),
        ("data.n + data.disks.a", 3),
        ("'order/' + data.name", "order/web"),
        ("data.name + '/' + data.sizes[0]", None),
        ("'n' + string(data.sizes[0])", "n1"),
        ("data.sizes + [3]", [1, 2, 3]),
        ("data.sizes + data.sizes.filter(n, n > 1)", [1, 2, 2]),
        ("data.sizes.map(n, 1 + n)", [2, 3]),
        ("data.sizes.exists(n, n + int(n) > 3)", True),
        ("data.sizes + ([data.n])", [1, 2, 2]),
        ("data.n + -data.n", 0),
        ("data.name + '/' + data.name + (data.n > 1 ? '/' + data.name : '')", "web/web/web"),
        ("data.n + int(data.n > 1 ? data.n : 0)", 4),
    ],
)
def test_whatever_else_is_added_as_ever(expressions: Expressions, text: str, value: object) -> None:
    variables = {"n": 2, "name": "web", "sizes": [1, 2], "disks": {"a": 1, "b": 2}}
    if value is None:
        with pytest.raises(ExpressionMiss):
            value_of(expressions, text, {"data": variables})
        return
    assert value_of(expressions, text, {"data": variables}) == value


def test_an_expression_that_is_too_long_is_refused(expressions: Expressions) -> None:
    longest = "1" + "+1" * (EXPRESSION_CHARS_MAX // 2 - 1)

    assert value_of(expressions, longest) == EXPRESSION_CHARS_MAX // 2
    with pytest.raises(ExpressionInvalid, match="more than 2000"):
        expressions.compile(longest + " + 1")


@pytest.mark.parametrize(
    ("start", "end"), [("(", ")"), ("[", "]"), ("!", ""), ("-", ""), ("data.", ""), ("true?1:", "")]
)
def test_deep_nesting_is_contained(expressions: Expressions, start: str, end: str) -> None:
    depth = (EXPRESSION_CHARS_MAX - 4) // (len(start) + len(end))
    try:
        value_of(expressions, start * depth + "1" + end * depth)
    except (ExpressionInvalid, ExpressionMiss):
        return


def test_data_as_deep_as_a_record_can_be_is_read(expressions: Expressions) -> None:
    depth = 900
    deep = msgspec.json.decode(b'{"a":' * depth + b"1" + b"}" * depth)

    assert value_of(expressions, "data.a == data.a", {"data": deep}) is True


def test_a_long_list_from_outside_is_not_walked(expressions: Expressions) -> None:
    longest = {"data": {"items": list(range(RANGE_ITEMS_MAX))}}
    too_long = {"data": {"items": list(range(RANGE_ITEMS_MAX + 1))}}

    assert value_of(expressions, "data.items.all(n, n >= 0)", longest) is True
    with pytest.raises(ExpressionMiss):
        value_of(expressions, "data.items.all(n, n >= 0)", too_long)


@pytest.mark.parametrize("odd", ["\ud800", object(), {1, 2}, {None: 1}])
def test_a_value_that_the_language_does_not_know_is_a_miss(expressions: Expressions, odd: Any) -> None:
    scope = expressions.scope({"data": {"odd": odd, "even": 2}})

    with pytest.raises(ExpressionMiss):
        expressions.compile("data.odd == 1").evaluate(scope)
    assert expressions.compile("data.even == 2").evaluate(scope) is True


def test_a_program_says_what_it_reads(expressions: Expressions) -> None:
    program = expressions.compile(
        'rows.service_health.rss_mb > 1.0 && data.hosts.exists(h, h.free > data["least"]) && has(rows.restarts.count)'
        ' && reference.sites[data.site].region == "north" && subject.name.startsWith("x") && type(data.at) == string'
    )

    assert program.reads == {"rows", "data", "reference", "subject"}
    assert program.paths == {
        ("rows", "service_health", "rss_mb"),
        ("rows", "restarts", "count"),
        ("data", "hosts"),
        ("data", "least"),
        ("data", "site"),
        ("data", "at"),
        ("reference", "sites", "[]", "region"),
        ("subject", "name"),
    }


def test_programs_share_a_scope_and_do_not_disturb_one_another(expressions: Expressions) -> None:
    texts = [
        "data.absent",
        "data.labels.zone",
        "data.labels",
        "data",
        "has(data.labels.zone)",
        "data.labels.all(k, k != '')",
    ]
    programs = [expressions.compile(text) for text in texts]
    scopes = [expressions.scope(VARIABLES), expressions.scope(VARIABLES, programs)]

    for scope in scopes:
        with pytest.raises(ExpressionMiss):
            programs[0].evaluate(scope)
        values = [program.evaluate(scope) for program in programs[1:]]
        assert values == ["north", VARIABLES["data"]["labels"], VARIABLES["data"], True, True]


WALK = """
from control_plane.adapters.cel import CelExpressions
expressions = CelExpressions()
data = {"labels": {name: name for name in "qwertzuiop"}, "hosts": [{"b": 1, "a": 2, "c": 3}]}
scope = expressions.scope({"data": data})
for text in ("data.labels.map(k, k)", "data.labels", "data.hosts.map(h, h)", "data.labels.filter(k, k > 'm')[0]"):
    print(expressions.compile(text).evaluate(scope))
"""


def test_a_map_is_walked_in_the_same_order_in_every_process() -> None:
    root = Path(__file__).parents[3]
    walked = {
        subprocess.run(
            [sys.executable, "-c", WALK],
            cwd=root,
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(walked) == 1
    assert "['e', 'i', 'o', 'p', 'q', 'r', 't', 'u', 'w', 'z']" in walked.pop()
