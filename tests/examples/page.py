"""A page of the documentation as examples that run: YAML declares, and the Python after it says what is so."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from control_plane.sdk.testing import Loop

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """Declarations, with what follows from them. `line` is where the YAML begins in the page."""

    page: str
    line: int
    declarations: str
    code: str

    def run(self) -> None:
        """Run the code on a loop with these declarations. Its lines are those of the page."""
        scope: dict[str, Any] = {"loop": Loop(declarations=self.declarations)}
        exec(compile(self.code, self.page, "exec"), scope)


def blocks_of(page: str) -> list[tuple[str, int, str]]:
    """Language, line and text of each block."""
    text = (DOCS / page).read_text()
    return [(found[1], text.count("\n", 0, found.start()) + 2, found[2]) for found in _BLOCK.finditer(text)]


def examples_of(page: str, *, without: Collection[str] = ()) -> list[Example]:
    """The examples of a page. Raises AssertionError when a block would not be run; those of a language `without` are
    for others to judge."""
    blocks = [block for block in blocks_of(page) if block[0] not in without]
    examples = []
    for (declares, line, declarations), (says, code_line, code) in zip(blocks[::2], blocks[1::2], strict=True):
        assert (declares, says) == ("yaml", "python"), f"docs/{page}:{line}: a block of YAML, then one of Python"
        examples.append(Example(f"docs/{page}", line, declarations, "\n" * (code_line - 1) + code))
    return examples


def files_of(page: str) -> dict[str, str]:
    """The files of a workspace that a page shows; each block names its own in a comment at its top. Raises
    AssertionError when one does not."""
    files = {}
    for _, line, text in blocks_of(page):
        named = re.match(r"# ([\w./-]+\.(?:py|yaml|rego|md))\n", text)
        assert named is not None, f"docs/{page}:{line}: a block begins with `# PATH` of the file that it is"
        assert named[1] not in files, f"docs/{page}:{line}: {named[1]} stands there twice"
        files[named[1]] = text
    return files
