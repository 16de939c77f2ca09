"""Reference data in expressions: read by key, at the same cost whatever the size of a table, and never copied whole."""

import time
from typing import Any

import pytest

from control_plane.catalogue.reference import WithReference
from control_plane.ports.expressions import ExpressionInvalid, ExpressionMiss, Expressions

TABLES: dict[str, Any] = {
    "sites": {
        "north": {"site": "north", "region": "eu", "lat": 59.4, "tags": ["old", "cold"]},
        "south-1": {"site": "south-1", "region": "af"},
        "7": {"site": 7, "region": "us"},
    },
    "prices": {"eu": {"price": 3}},
}
EVENT: dict[str, Any] = {
    "data": {"site": "north", "other": "south-1", "number": 7, "gone": "west", "flag": True, "list": ["north"]},
    "subject": {"kind": "site", "name": "south-1", "id": "site/south-1"},
    "rows": {"health": {"site": "north"}},
}


def value_of(expressions: Expressions, text: str, tables: dict[str, Any] = TABLES) -> Any:
    bound = WithReference(expressions, tables)
    return bound.compile(text).evaluate(bound.scope(EVENT))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("reference.sites[data.site].region", "eu"),
        ('reference.sites[data.site].region == "eu" && data.flag', True),
        ("reference.sites[data.other].region", "af"),
        ("reference.sites[subject.name].region", "af"),
        ("reference.sites[rows.health.site].lat > 59.0", True),
        ('reference.sites[data["site"]].region', "eu"),
        ('reference["sites"][data.site]["region"]', "eu"),
        ("reference.sites[data.number].region", "us"),
        ('reference.sites["south-1"].region', "af"),
        ('reference.sites["north"].region', "eu"),
        ("reference.sites.north.region", "eu"),
        ("reference . sites [ data . site ] . region", "eu"),
        ("reference.sites[data.site].region + reference.sites[data.other].region", "euaf"),
        ("reference.sites[data.site].tags.exists(tag, tag == 'cold')", True),
        ("reference.sites[data.site].tags[0]", "old"),
        ('"cold" in reference.sites[data.site].tags', True),
        ("reference.sites[data.other]", {"site": "south-1", "region": "af"}),
        ("has(reference.sites[data.site].lat)", True),
        ("has(reference.sites[data.other].lat)", False),
        ('has(reference.sites["south-1"].lat)', False),
        ("data.site in reference.sites", True),
        ("data.gone in reference.sites", False),
        ("data.number in reference.sites", True),
        ('"south-1" in reference.sites', True),
        ('!("west" in reference.sites) && data.site in reference.sites', True),
        ("data.gone in reference.sites ? reference.sites[data.gone].region : 'none'", "none"),
        ("reference.prices[data.site].price == 1 || data.flag", True),
        ('"reference.sites[data.site]" == "reference.sites[data.site]"', True),
    ],
)
def test_a_table_is_read_by_its_key(expressions: Expressions, text: str, value: Any) -> None:
    found = value_of(expressions, text)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "reference.sites[data.gone].region == 'eu'",
        "reference.sites[data.absent].region == 'eu'",
        "reference.sites[data.flag].region == 'eu'",
        "reference.sites[data.list].region == 'eu'",
        "reference.sites[data.other].lat > 1.0",
        "reference.nothing[data.site].region == 'eu'",
        "has(reference.nothing[data.site].region)",
        "data.absent in reference.sites",
        "data.site in reference.nothing",
    ],
)
def test_what_is_not_in_a_table_is_a_miss(expressions: Expressions, text: str) -> None:
    with pytest.raises(ExpressionMiss):
        value_of(expressions, text)


def test_a_miss_says_what_was_looked_for(expressions: Expressions) -> None:
    with pytest.raises(ExpressionMiss, match=r"^reference\.sites\[data\.gone\]\.region is missing or cannot be read$"):
        value_of(expressions, "reference.sites[data.gone].region")


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("reference", 1),
        ("reference.sites", 1),
        ("size(reference.sites) > 1", 6),
        ("reference.sites.exists(key, key == 'north')", 1),
        ("data.list.exists(site, site in reference.sites)", 32),
        ("data.list.exists(site, reference.sites[site].region == 'eu')", 40),
        ("reference.sites[data.site + 'x'].region", 17),
        ("reference.sites[string(data.number)].region", 17),
        ("reference.sites[reference.sites[data.site].region].region", 17),
        ("reference.sites[data.site + data.other].region", 17),
        ("reference.sites[7].region", 17),
        (r"reference.sites['no\'rth'].region", 17),
        ("reference.sites.x in reference.sites", 1),
        ("has(reference.sites)", None),
    ],
)
def test_a_table_that_is_read_otherwise_is_refused_when_it_is_compiled(
    expressions: Expressions, text: str, column: int | None
) -> None:
    with pytest.raises(ExpressionInvalid) as refused:
        expressions.compile(text)

    if column is not None:
        assert refused.value.column == column, str(refused.value)


def test_a_program_names_the_table_and_what_the_key_is_read_from(expressions: Expressions) -> None:
    read = expressions.compile("has(reference.sites[data.site].lat) && subject.name in reference.prices").paths

    assert read == {
        ("reference", "sites", "[]", "lat"),
        ("data", "site"),
        ("reference", "prices", "[]"),
        ("subject", "name"),
    }


def test_a_large_table_costs_an_event_no_more_than_a_small_one(expressions: Expressions) -> None:
    """Copying 20,000 rows into the expression language would take it milliseconds."""
    large = {"sites": {**TABLES["sites"], **{f"s{n}": {"region": "x", "lat": 1.0} for n in range(20_000)}}}
    bound = WithReference(expressions, large)
    program = bound.compile("reference.sites[data.site].region == 'eu'")

    begun = time.process_time()
    for _ in range(200):
        assert program.evaluate(bound.scope(EVENT)) is True

    assert time.process_time() - begun < 0.2


def test_many_conditions_on_a_table_are_sifted_like_any_others(expressions: Expressions) -> None:
    bound = WithReference(expressions, TABLES)
    texts = [f"reference.sites[data.site].region == '{region}'" for region in ("af", "eu", "us", "eu")]
    sieve = bound.sieve([bound.compile(text) for text in texts])

    assert list(sieve.sift(bound.scope(EVENT)).holding) == [1, 3]
