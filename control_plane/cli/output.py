"""What commands print: columns for people, JSON for programs. Colours only on a terminal, and not with NO_COLOR."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Final

import typer

GAP: Final = "   "
CELL_CHARS_MAX: Final = 60
"""How much of a cell is shown in columns; `-o wide` and `--json` show all."""

_STYLES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("allow", "succeeded", "effective", "ok", "equal"), "green"),
    **dict.fromkeys(("deny", "failed", "harmful", "problem", "away", "refused", "expired"), "red"),
    **dict.fromkeys(("escalate", "hold", "unknown", "ineffective", "note"), "yellow"),
}


class Format(StrEnum):
    """How a listing is printed."""

    COLUMNS = "columns"
    WIDE = "wide"
    JSON = "json"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
AsFormat = Annotated[Format, typer.Option("--output", "-o", help="columns, wide or json.")]


def format_of(as_json: bool, output: Format) -> Format:
    """What the two options come to."""
    return Format.JSON if as_json else output


def put(text: str = "") -> None:
    """Print a line."""
    sys.stdout.write(text + "\n")


def put_json(value: Any, *, indent: int | None = 2) -> None:
    """Print a value as JSON."""
    put(json.dumps(value, indent=indent, ensure_ascii=False))


def hint(text: str) -> None:
    """Tell a person what to do next; programs read stdout."""
    if sys.stderr.isatty():
        sys.stderr.write(text + "\n")


def put_columns(head: Sequence[str], rows: Iterable[Sequence[Any]], *, wide: bool = False) -> None:
    """Print rows under their heads, as wide as they need."""
    cells = [[_cell(value, wide) for value in row] for row in rows]
    widths = [max(len(line[n]) for line in [list(head), *cells]) for n in range(len(head))]
    put(GAP.join(name.ljust(width) for name, width in zip(head, widths, strict=True)).rstrip())
    for line in cells:
        padded = [paint(cell, cell.ljust(width)) for cell, width in zip(line, widths, strict=True)]
        put(GAP.join(padded).rstrip())


def put_fields(fields: Mapping[str, Any], indent: str = "") -> None:
    """Print nested fields, one a line; what is absent is left out."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and value:
            put(f"{indent}{name}:")
            put_fields(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            put(f"{indent}{name}:")
            for item in value:
                put(printable(f"{indent}- {json.dumps(item, ensure_ascii=False)}"))
        elif value is not None:
            text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            put(f"{indent}{name}: {paint(text, text)}")


def put_patch(lines: Iterable[str]) -> None:
    """Print a unified diff, what goes in red and what comes in green."""
    words = {"+": "allow", "-": "deny"}
    for line in lines:
        text = printable(line)
        heads = line.startswith(("+++ ", "--- "))
        put(f"    {text if heads else paint(words.get(line[:1], ''), text)}")


def paint(word: str, text: str) -> str:
    """The text, in the colour of a word that has one."""
    style = _STYLES.get(word)
    if style is None or not _coloured():
        return text
    from rich.style import Style

    return Style.parse(style).render(text)


@cache
def _coloured() -> bool:
    from rich.console import Console

    console = Console(file=sys.stdout)
    return console.is_terminal and not console.no_color


def printable(text: str) -> str:
    """The text without what a terminal would obey: it may come from anybody."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _cell(value: Any, wide: bool) -> str:
    text = "-" if value is None or value == "" else str(value)
    text = printable(text)
    return text if wide or len(text) <= CELL_CHARS_MAX else text[: CELL_CHARS_MAX - 1] + "…"
