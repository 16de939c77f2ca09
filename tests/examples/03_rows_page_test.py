"""Every block of docs/rows.md: its rows pass the check, and what the page says of them is so."""

import re
from pathlib import Path

import pytest

from state.projections import KINDS, Projection
from tests.examples.page import DOCS, Example, examples_of
from tests.unit.row_parts import field
from tests.unit.workspace_world import read

EXAMPLES = examples_of("rows.md")
PAGE = (DOCS / "rows.md").read_text()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
def test_what_the_page_says_is_so(example: Example) -> None:
    example.run()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
def test_what_the_page_declares_passes_the_check(tmp_path: Path, example: Example) -> None:
    assert read(tmp_path, {"rows/example.yaml": example.declarations}).warnings == ()


def test_the_page_names_every_way_of_folding_with_the_bytes_that_it_may_take() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    over = {"of": "data.kg", "window": "10m"}
    for kind in KINDS:
        (row,) = [row for row in rows if re.search(rf"`{kind}[:`]", row.split("|")[1])]
        how = {"last": "data.site", "first": "data.site", "count": {"window": "10m"}, "rate": {"window": "10m"}}
        how |= {"first_seen": {}, "last_seen": {}, "quantile": {**over, "q": 0.95}}
        part = Projection(name="p", on=("a.b",), fields=[field(**{kind: how.get(kind, over)})])
        assert row.split("|")[4].strip() == f"{sum(part.bytes_by_field.values()):,}", kind
