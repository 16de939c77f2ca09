"""What is left out while a library is loaded is used by nobody here, is still loaded by the library, and harms nobody.

Every look needs a Python of its own: what was imported once stays.
"""

import subprocess
import sys

import pytest

from tests.guard.tree import ROOT

LEFT_OUT = [
    pytest.param("cel", "control_plane.adapters.cel", "cel.cli", "app", id="the command line of CEL"),
    pytest.param(
        "faust.types", "control_plane.adapters.faust", "aiohttp.client", "ClientSession", id="the HTTP client of Faust"
    ),
]


def in_a_fresh_python(program: str) -> str:
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@pytest.mark.parametrize(("library", "adapter", "module", "name"), LEFT_OUT)
def test_the_library_by_itself_still_loads_it(library: str, adapter: str, module: str, name: str) -> None:
    """When an upgrade does not, nothing need be left out any more."""
    assert in_a_fresh_python(f"import sys, {library}; print('{module}' in sys.modules)") == "True"


@pytest.mark.parametrize(("library", "adapter", "module", "name"), LEFT_OUT)
def test_our_adapter_loads_the_library_without_it(library: str, adapter: str, module: str, name: str) -> None:
    program = f"import sys, {adapter}; print('{library}' in sys.modules, '{module}' in sys.modules)"

    assert in_a_fresh_python(program) == "True False"


@pytest.mark.parametrize(("library", "adapter", "module", "name"), LEFT_OUT)
def test_who_wants_it_later_gets_the_real_one(library: str, adapter: str, module: str, name: str) -> None:
    program = f"import {adapter}, {module}; print({module}.{name}.__module__, {module}.__file__ is not None)"

    owner, is_a_file = in_a_fresh_python(program).split()

    assert is_a_file == "True"
    assert owner.partition(".")[0] in (module.partition(".")[0], "typer")


@pytest.mark.parametrize(("library", "adapter", "module", "name"), LEFT_OUT)
def test_who_had_it_before_keeps_it(library: str, adapter: str, module: str, name: str) -> None:
    program = f"import sys, {module}; had = {module}; import {adapter}; print(sys.modules['{module}'] is had)"

    assert in_a_fresh_python(program) == "True"


def test_a_library_that_cannot_be_loaded_leaves_nothing_behind() -> None:
    program = (
        "import sys\n"
        "from control_plane.adapters.left_out import left_out\n"
        "try:\n"
        "    with left_out('graph.client', 'Session'):\n"
        "        from graph.client import Session\n"
        "        raise ImportError(Session.__name__)\n"
        "except ImportError as exc:\n"
        "    print(exc, 'graph.client' in sys.modules)\n"
    )

    assert in_a_fresh_python(program) == "Session False"
