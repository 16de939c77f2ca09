"""Wrong `rows/*.yaml`: each is named with its place, what is wrong and the cure, and a right one is none of these."""

from pathlib import Path
from textwrap import dedent, indent

import pytest

from control_plane.workspace.files import FILE_BYTES_MAX
from state.projections import PARTS_BYTES_MAX
from tests.unit.workspace_world import flaws_of, read, write

ROW = "rows/health.yaml"
HEAD = "row: health\non: [process.measured, process.ended]\nfields:\n"

EVERYTHING = """
scans: {count: {of: process.measured, window: 10m}}
today: {count: {window: 24h, tumbling: true, lateness: 1m}}
per_s: {rate: {window: 1m}}
rss_mb: {last: data.rss_mb}
host: {first: {of: data.host, bytes_max: 64}}
least: {min: {of: data.rss_mb, window: 5m}}
most: {max: {of: data.rss_mb, window: 5m, lateness: 5m}}
mean: {mean: {of: data.rss_mb * 1.5, window: 5m}}
p50: {quantile: {of: data.rss_mb, q: 0.5, window: 5m}}
p99: {quantile: {of: data.rss_mb, q: 0.99, window: 5m}}
users: {distinct: {of: data.user, window: 1h}}
since: {first_seen: {}}
ended: {last_seen: {of: process.ended}}
"""

FIELDS = {
    "text for a number": (
        "x: {quantile: {of: data.a, q: high, window: 1m}}",
        "4:33: q cannot be 'high'. Write a number from 0.0 to 1.0.",
    ),
    "a share above one": (
        "x: {quantile: {of: data.a, q: 99, window: 1m}}",
        "4:33: q cannot be 99. Write a number from 0.0 to 1.0.",
    ),
    "a quantile without its share": (
        "x: {quantile: {of: data.a, window: 1m}}",
        "4:17: q is missing. Add `q:` with a number from 0.0 to 1.0.",
    ),
    "text for a truth": (
        "x: {count: {window: 1m, tumbling: often}}",
        "4:37: tumbling cannot be 'often'. Write true or false.",
    ),
    "an unknown key": (
        "x: {count: {window: 1m, of_type: a.b}}",
        "4:27: there is no key of_type here.",
    ),
    "a misspelt key": (
        "x: {count: {window: 1m, latenes: 5s}}",
        "4:27: there is no key latenes here. Did you mean lateness?",
    ),
    "a misspelt way of folding": (
        "x: {quantil: {of: data.a, q: 0.5, window: 1m}}",
        "4:7: there is no key quantil here. Did you mean quantile?",
    ),
    "another misspelt way of folding": (
        "x: {lastseen: {}}",
        "4:7: there is no key lastseen here. Did you mean last_seen?",
    ),
    "an expression that ends too early": (
        "x: {distinct: {of: data.a +, window: 1m}}",
        "4:30: of is no expression: the expression ends too early. Expressions are CEL.",
    ),
    "an expression under a key": (
        "x: {last: {of: dat.a}}",
        "4:18: of reads dat, which is unknown. Did you mean data?",
    ),
    "an expression that reads another part": (
        "x: {mean: {of: rows.health.y, window: 1m}}",
        "4:18: of reads rows, which is not there when it is evaluated. It may read data.",
    ),
    "a field twice": (
        "x: {last: data.a}\nx: {last: data.b}",
        "5:3: the key x stands here a second time; it is on line 4 already. Take one of them out.",
    ),
    "two ways of folding": (
        "x: {last: data.a, count: {window: 1m}}",
        "4:6: field 'x' is folded in 2 ways. Name exactly one of last, first, count, rate, min, max, mean, quantile, "
        "distinct, first_seen, last_seen.",
    ),
    "no way of folding": ("x: {}", "4:6: field 'x' is folded in 0 ways. Name exactly one of last, first, count,"),
    "a rate of what does not come": (
        "x: {rate: {of: process.mesured, window: 1m}}",
        "4:18: x counts process.mesured, but the row is not fed by it. Did you mean process.measured?",
    ),
    "a time of what does not come": (
        "x: {last_seen: {of: service.probed}}",
        "4:23: x counts service.probed, but the row is not fed by it. Add service.probed to on.",
    ),
    "a window without a unit": (
        "x: {count: {window: 60}}",
        "4:23: window cannot be 60. Write text: 500ms, 5s, 10m or 24h.",
    ),
    "a window of no length": (
        "x: {count: {window: 0s}}",
        "4:23: a window of 0s is too short. Make it 20ms or longer.",
    ),
    "a window of two years": (
        "x: {count: {window: 17520h}}",
        "4:23: window cannot be '17520h'. Write text: 500ms, 5s, 10m or 24h.",
    ),
    "a lateness beyond the window": (
        "x: {max: {of: data.a, window: 1m, lateness: 2m}}",
        "4:47: an event that is 2m late is older than the window of 1m and never counts. Make lateness shorter,",
    ),
    "more bytes for a value than there are": (
        "x: {last: {of: data.a, bytes_max: 20000}}",
        "4:37: bytes_max cannot be 20000. Write a whole number from 16 to 16384.",
    ),
    "a name that is none": (
        "P99 ms: {last: data.a}",
        "4:3: fields cannot have a key 'P99 ms'. A key is text: Lower case, digits and underscores.",
    ),
}

FILES: dict[str, tuple[str | bytes, str]] = {
    "no fields": ("row: health\non: [a.b]\n", "1:1: fields is missing."),
    "fields that are a list": (
        "row: health\non: [a.b]\nfields: [scans]\n",
        "3:9: fields cannot be ['scans']. Write a mapping.",
    ),
    "a type that feeds it twice": (
        "row: health\non: [a.b, c.d, a.b]\nfields: {x: {last: data.x}}\n",
        "2:16: on names a.b a second time. Take one of them out.",
    ),
    "the row of another file": (
        "row: health\non: [a.b]\nfields: {x: {last: data.x}}\n---\nrow: health\n",
        "5:1: row health is declared a second time; it is in rows/health.yaml:1 already. Rename one of them,",
    ),
    "a list": ("- row: health\n", "1:1: this document is no row. Begin it with `row: NAME`."),
    "a rule": ("rule: guard\non: a.b\n", "1:1: a rule stands where rows are declared. Move it to agents/."),
    "a tab": ("row: health\non: [a.b]\nfields:\n\tx: {last: data.x}\n", "4:1: a tab stands where YAML wants spaces."),
    "an anchor in itself": (
        "row: health\non: [a.b]\nfields: &f {x: *f}\n",
        "3:16: *f refers to nothing before it, or to itself. Write the value out instead.",
    ),
    "bytes": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "3:1: it is no text: it holds a zero byte."),
    "a program": (b"\x7fELF\x02\x01\x01" + bytes(64), "1:8: it is no text: it holds a zero byte."),
    "10 MB": (b"# " + b"x" * 10_000_000, f" it has more than {FILE_BYTES_MAX} bytes. Divide it into several files."),
    "no YAML": ("row: [health\n", "2:1: this is no YAML: did not find expected ',' or ']'"),
}


@pytest.mark.parametrize(("fields", "said"), FIELDS.values(), ids=list(FIELDS))
def test_a_wrong_field_is_named(tmp_path: Path, fields: str, said: str) -> None:
    _named(flaws_of(tmp_path, {ROW: row(fields)}), f"{ROW}:{said}")


@pytest.mark.parametrize(("text", "said"), FILES.values(), ids=list(FILES))
def test_a_wrong_file_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    _named(flaws_of(tmp_path, {ROW: text}), f"{ROW}:{said}")


def test_a_file_that_declares_nothing_is_warned_about(tmp_path: Path) -> None:
    warnings = read(tmp_path, {"rows/later.yaml": "", "rows/notes.yaml": "# later\n---\n"}).warnings

    assert [str(warning) for warning in warnings] == [
        f"rows/{name}.yaml: this file declares nothing. Begin it with `row: NAME`, or take it out."
        for name in ("later", "notes")
    ]


def test_every_way_of_folding_is_understood(tmp_path: Path) -> None:
    rows = read(tmp_path, {ROW: row(EVERYTHING)}).controls.of_kind("row")

    assert [found.name for found in rows] == ["health"]


def test_a_part_that_may_outgrow_a_row_is_refused_with_its_largest_fields(tmp_path: Path) -> None:
    notes = "".join(f"note_{n}: {{last: {{of: data.n{n}, bytes_max: {16_384 - n}}}}}\n" for n in range(3))

    (flaw,) = flaws_of(tmp_path, {ROW: row(EVERYTHING + notes)})

    assert flaw.startswith(f"{ROW}:4:3: health may take ")
    assert (
        f" bytes of a subject's row, and only {PARTS_BYTES_MAX} are for parts. Keep less, of these above all: " in flaw
    )
    assert flaw.endswith("note_0 (16438 bytes), note_1 (16437 bytes), note_2 (16436 bytes).")


def test_parts_that_one_type_feeds_and_that_may_outgrow_a_row_together_are_refused(tmp_path: Path) -> None:
    (flaw,) = flaws_of(tmp_path, {"rows/one.yaml": large("one", "a.b, c.d"), "rows/two.yaml": large("two", "a.b")})

    assert flaw.startswith("rows/two.yaml:2:5: a.b feeds one, two, which together may take ")
    assert "Keep less, of these above all: one (" in flaw


def test_parts_of_different_types_that_would_not_fit_together_are_warned_about(tmp_path: Path) -> None:
    files = {"rows/one.yaml": large("one", "a.b"), "rows/two.yaml": large("two", "c.d")}

    (warning,) = read(tmp_path, files).warnings

    assert str(warning).startswith("rows/two.yaml:1:1: all rows together may take ")


def test_several_wrong_fields_are_named_at_once(tmp_path: Path) -> None:
    fields = "a: {count: {window: 1ms}}\nb: {last: dta.x}\nc: {rate: {of: x.y, window: 1m}}"

    flaws = flaws_of(tmp_path, {"rows/more.yaml": row(fields).replace("row: health", "row: more")})

    assert [flaw.split(": ")[0] for flaw in flaws] == [f"rows/more.yaml:{at}" for at in ("4:23", "5:13", "6:18")]


def test_a_symbolic_link_in_a_circle_does_not_stop_the_reading(tmp_path: Path) -> None:
    write(tmp_path, {})
    (tmp_path / "rows" / "again.yaml").symlink_to("again.yaml")

    _named(flaws_of(tmp_path, {}), "rows/again.yaml: it is no regular file.")


def row(fields: str) -> str:
    """A row with these fields, from line 4 on."""
    return HEAD + indent(dedent(fields).strip("\n"), "  ") + "\n"


def large(name: str, on: str) -> str:
    """A row that may take 32 KiB."""
    fields = "".join(f"  x{n}: {{last: {{of: data.{name}_{n}, bytes_max: 16384}}}}\n" for n in range(2))
    return f"row: {name}\non: [{on}]\nfields:\n{fields}"


def _named(flaws: list[str], said: str) -> None:
    assert any(flaw.startswith(said) for flaw in flaws), flaws
