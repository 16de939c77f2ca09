"""Every block of docs/fleets.md and docs/reference.md: it passes the check, and what the pages say of it is so."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from control_plane.messages.summary import FLEET_SUMMARY_INTERVAL_MS, FLEET_SUMMARY_REPEAT_MS, SUMMARY_AGE_MAX_MS
from control_plane.workspace.csv_table import CELL_CHARS_MAX, COLUMNS_MAX
from control_plane.workspace.expression_checks import FLEET_FIGURES
from control_plane.workspace.reference import TABLE_BYTES_MAX, TABLE_ROWS_MAX
from tests.examples.page import DOCS, Example, blocks_of, examples_of
from tests.unit.workspace_world import read

FLEETS = (DOCS / "fleets.md").read_text()
REFERENCE = (DOCS / "reference.md").read_text()
CSV = [text for language, _, text in blocks_of("reference.md") if language == "csv"]
EXAMPLES = [*examples_of("fleets.md"), *examples_of("reference.md", without=("csv",))]
FOLDERS = {"intent": "intents", "row": "rows", "rule": "agents", "fleet": "fleets", "reference": "reference"}


def files_of(example: Example) -> Mapping[str, str]:
    """Each document in the folder where it belongs."""
    return {
        f"{FOLDERS[re.split(':', document, maxsplit=1)[0]]}/example_{number}.yaml": document
        for number, document in enumerate(example.declarations.split("---\n"))
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page}:{example.line}")
def test_what_the_pages_say_is_so(example: Example) -> None:
    example.run()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page}:{example.line}")
def test_what_the_pages_declare_passes_the_check(tmp_path: Path, example: Example) -> None:
    nothing_else = {"agents/memory_guard.yaml": None, "intents/restart.yaml": None, "rows/health.yaml": None}

    assert read(tmp_path, {**nothing_else, **files_of(example)}).warnings == ()


def test_the_table_in_csv_passes_the_check(tmp_path: Path) -> None:
    (text,) = CSV

    (item,) = read(tmp_path, {"reference/sites.csv": text}).controls.of_kind("reference")

    assert '"north":{"floors":3,"lat":59.4,"open":true,"region":"eu","site":"north"}' in item.body


def test_the_pages_name_the_limits_that_hold() -> None:
    for limit in (TABLE_ROWS_MAX, TABLE_BYTES_MAX, COLUMNS_MAX, CELL_CHARS_MAX):
        assert f"| {limit:,}" in REFERENCE
    assert (FLEET_SUMMARY_INTERVAL_MS, FLEET_SUMMARY_REPEAT_MS, SUMMARY_AGE_MAX_MS) == (1_000, 5_000, 20_000)
    for said in ("once a second", "every five seconds", "for twenty seconds"):
        assert said in " ".join(FLEETS.split())


def test_the_page_names_every_code_of_a_refusal_and_every_figure() -> None:
    guard = (DOCS.parent / "control_plane" / "governance" / "limits.py").read_text()
    codes = set(re.findall(r'^ +"(\w+)",$', guard, re.MULTILINE)) | set(re.findall(r'Reason\(\s*"(\w+)"', guard))

    assert {"fleet_share", "no_fleet"} <= codes
    assert not [code for code in codes - {"cooldown", "too_often"} if f"| `{code}` |" not in FLEETS]
    assert not [figure for figure in FLEET_FIGURES if f"`{figure}`" not in FLEETS]
