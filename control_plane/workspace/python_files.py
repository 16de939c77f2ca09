"""A user's Python file as a module of its own namespace, and the one class that it is there for."""

import sys
from types import ModuleType

from control_plane.workspace.yaml_tree import Node


class NotOne(Exception):
    """A file does not hold exactly one class of the kind that it is there for."""

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} classes, not one")
        self.count = count


def only_class(file: str, source: str, module_name: str, bases: tuple[type, ...]) -> type:
    """The one class of these bases that a file declares. Raises NotOne, and whatever the file raises."""
    module = ModuleType(module_name)
    # Dataclasses and pickling look a module up by its name.
    sys.modules[module_name] = module
    exec(compile(source, file, "exec"), module.__dict__)
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, bases) and value.__module__ == module_name
    ]
    if len(found) != 1:
        raise NotOne(len(found))
    return found[0]


def raised_at(exc: BaseException, file: str) -> Node | None:
    """The last line of the user's own file that an exception came through."""
    line, trace = 0, exc.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return Node(line, 1, None) if line else None


def line_with(attribute: str, source: str) -> Node | None:
    """Where a class sets an attribute."""
    return _line_that_begins(source, (f"{attribute} =", f"{attribute}:"))


def line_of_class(name: str, source: str) -> Node | None:
    """Where a class begins."""
    return _line_that_begins(source, (f"class {name}(", f"class {name}:"))


def line_of_method(name: str, source: str) -> Node | None:
    """Where a method begins."""
    return _line_that_begins(source, (f"def {name}(", f"async def {name}("))


def _line_that_begins(source: str, beginnings: tuple[str, ...]) -> Node | None:
    for number, line in enumerate(source.split("\n"), start=1):
        if line.lstrip().startswith(beginnings):
            return Node(number, len(line) - len(line.lstrip()) + 1, None)
    return None
