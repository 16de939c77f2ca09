"""The tree in the docstring of `control_plane/errors.py` is the tree of our errors, whole and true."""

import ast
import re

from control_plane import errors
from tests.guard.tree import modules

BRANCH = re.compile(r"^    (?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)")
ERRORS_FILE = "control_plane/errors.py"
SURFACES = ("control_plane/api/", "control_plane/cli/")
"""Where an error may be an answer to whoever called: it ends there, and no room of ours ever sees it."""


def drawn(docstring: str) -> dict[str, str]:
    """Each error in the drawing with the one that it hangs on; the root hangs on Exception."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in docstring.splitlines():
        if found := BRANCH.match(line):
            depth = len(found["indent"]) // 4
            parents[found["name"]] = path[depth - 1] if depth else "Exception"
            path[depth:] = [found["name"]]
    return parents


def defined() -> dict[str, str]:
    """Each error class of the module with its base."""
    found = (value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception))
    return {error.__name__: error.__bases__[0].__name__ for error in found}


def test_every_error_class_is_in_the_drawn_tree() -> None:
    assert errors.__doc__ is not None
    assert drawn(errors.__doc__) == defined()


def test_the_drawing_is_read_as_it_is_drawn() -> None:
    drawing = """
    Root
    ├── Left        words
    │   └── Leaf    more words
    └── Right
"""
    assert drawn(drawing) == {"Root": "Exception", "Left": "Root", "Leaf": "Left", "Right": "Root"}


def test_what_is_raised_on_purpose_across_rooms_is_defined_in_one_place() -> None:
    """Elsewhere there may be signals: caught inside our own rooms, outside the tree, and not named as errors."""
    strays = []
    for file, module in modules():
        for node in ast.walk(module):
            if file != ERRORS_FILE and isinstance(node, ast.ClassDef) and (flaw := _flaw_of(node, file)):
                strays.append(f"{file}:{node.lineno} {node.name}: {flaw}")
    assert not strays, "\n".join(strays)


def _flaw_of(node: ast.ClassDef, file: str) -> str:
    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    if bases & set(defined()):
        return f"belongs into {ERRORS_FILE}, drawn"
    if not bases & {"Exception", "BaseException"} and not any(base.endswith("Error") for base in bases):
        return ""
    if bases == {"AssertionError"}:
        return ""  # A failed assertion in an author's test, in their words.
    if bases == {"BaseException"} and node.name.startswith("_"):
        return ""  # Raised into a user's code, past its `except Exception`, and caught where it was raised from.
    if bases != {"Exception"} or (node.name.endswith("Error") and not file.startswith(SURFACES)):
        return f"an error belongs into {ERRORS_FILE}; a signal derives from Exception and is not called an error"
    return "" if ast.get_docstring(node) else "a signal says in its docstring what it is for"
