"""`executors/*.py`: one executor each, loaded in a namespace of its own and checked before anything calls it.

Loading runs the file, as importing it would. Nothing is opened: that is for `Executor.start`, in a service.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from control_plane.catalogue import ControlItem
from control_plane.sdk import Executor
from control_plane.workspace.declarations import Documents, canonical, is_name
from control_plane.workspace.files import Folder, SourceFile
from control_plane.workspace.flaws import Flaws, Place, shown
from control_plane.workspace.python_files import (
    NotOne,
    line_of_class,
    line_of_method,
    line_with,
    only_class,
    raised_at,
)
from control_plane.workspace.yaml_tree import Node

KIND = "python"
SECONDS_MAX = 3_600
ATTEMPTS_MAX = 20
CONCURRENCY_MAX = 1_000
SEE = "See control_plane.sdk.Executor for what an executor declares."


@dataclass(frozen=True, slots=True)
class PythonExecutor:
    """One file that was found right."""

    name: str
    file: str
    source: str

    @property
    def definition(self) -> Mapping[str, Any]:
        """As whoever builds it gets it."""
        return {"name": self.name, "kind": KIND, "file": self.file, "source": self.source}

    @property
    def item(self) -> ControlItem:
        """As it travels: a changed file is a new revision."""
        body = {"executor": self.name, "kind": KIND, "source": self.source}
        return ControlItem(kind="executor", name=self.name, body=canonical(body))


def load_executor(file: str, source: str) -> type[Executor]:
    """The executor that a file declares. Raises NotOne, and whatever the file raises."""
    digest = blake2b(source.encode(), digest_size=6).hexdigest()
    name = "".join(letter if letter.isalnum() else "_" for letter in file.removesuffix(".py"))
    return only_class(file, source, f"setpoint_{name}_{digest}", (Executor,))


def read_python_executors(folder: Folder, documents: Documents, flaws: Flaws) -> list[PythonExecutor]:
    """Every sound one; what is wrong in the others becomes flaws."""
    files = {name: declared.file for name, declared in documents.executors.by_name.items()}
    found = []
    for source in folder.in_folder("executors", ".py"):
        before = len(flaws)
        executor = _loaded(source, flaws)
        if executor is None:
            continue
        for place, problem, cure in _misdeclared(executor, source.text):
            flaws.add(source.path, place, problem, cure)
        if len(flaws) > before:
            continue
        if executor.name in files:
            problem = f"an executor {executor.name} is declared in {files[executor.name]} already"
            flaws.add(source.path, line_with("name", source.text), problem, "Rename one of them.")
            continue
        files[executor.name] = source.path
        found.append(PythonExecutor(executor.name, source.path, source.text))
    return found


def _loaded(source: SourceFile, flaws: Flaws) -> Executor | None:
    file = source.path
    try:
        declared = load_executor(file, source.text)
        incomplete = list(_incomplete(declared, source.text))
        for place, problem, cure in incomplete:
            flaws.add(file, place, problem, cure)
        return None if incomplete else declared()
    except SyntaxError as exc:
        place = Node(exc.lineno or 0, exc.offset or 0, None)
        flaws.add(file, place, f"this is no Python: {exc.msg}", "Mend it there.")
    except NotOne as exc:
        flaws.add(file, None, f"declares {exc.count} executors; a file holds exactly one", SEE)
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - a user's file may raise anything while it is loaded
        problem = f"it cannot be loaded: {type(exc).__name__}: {exc}"
        flaws.add(file, raised_at(exc, file), problem, "Mend it so that it can be made without arguments.")
    return None


Complaint = tuple[Place | None, str, str]


def _incomplete(declared: type[Executor], source: str) -> Iterator[Complaint]:
    """What keeps a class from being made."""
    here = line_of_class(declared.__name__, source)
    for method in ("execute", "reconcile"):
        written = getattr(declared, method)
        if method in declared.__abstractmethods__:
            yield here, f"{declared.__name__} does not say how to {method}", SEE
        elif not inspect.iscoroutinefunction(written):
            place = line_of_method(method, source)
            yield place, f"{declared.__name__}.{method} is no `async def`", "Write `async def`, and never block in it."
    if not hasattr(declared, "name"):
        yield here, f"{declared.__name__} does not set name", "Intents name their executor by it."


def _misdeclared(executor: Executor, source: str) -> Iterator[Complaint]:
    """What an executor says of itself that it cannot mean."""
    if not is_name(executor.name):
        cure = "Write lower case, digits and underscores."
        yield line_with("name", source), f"the executor's name {shown(executor.name)} is no name", cure
    numbers = (
        ("attempt_timeout_s", False, 0, SECONDS_MAX),
        ("settle_s", True, 0, SECONDS_MAX),
        ("backoff_s", True, 0, SECONDS_MAX),
    )
    for attribute, zero, least, most in numbers:
        value = getattr(executor, attribute)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and least <= value <= most and (zero or value > 0)):
            bounds = f"from {least} to {most}" if zero else f"above {least}, at most {most}"
            yield line_with(attribute, source), f"{attribute} is {shown(value)}", f"Write a number of seconds {bounds}."
    for attribute, most in (("attempts_max", ATTEMPTS_MAX), ("concurrency_max", CONCURRENCY_MAX)):
        value = getattr(executor, attribute)
        if not (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most):
            cure = f"Write a whole number from 1 to {most}."
            yield line_with(attribute, source), f"{attribute} is {shown(value)}", cure
