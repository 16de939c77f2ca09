"""No type of ours is one that msgspec takes for what it is not.

It lays out a union of a text with a pattern and a list or a mapping wrongly: freeing it, or looking through it for
garbage, reads and writes memory that is not its own. Most often nothing is seen of it. Python's debugging allocator
makes it a crash at once, so this law is judged in a process of its own.
"""

import os
import subprocess
import sys

from tests.guard.tree import ROOT

FREED = """
import msgspec

def freed(kind):
    msgspec.json.Decoder(list[kind])

"""
EVERY_FIELD = """
import importlib, pkgutil
import agents, control_plane, state

for room in (agents, control_plane, state):
    for module in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if "__main__" not in module.name and ".examples" not in module.name and ".migrations" not in module.name:
            importlib.import_module(module.name)

def structs(base):
    for found in base.__subclasses__():
        yield found
        yield from structs(found)

count = 0
for struct in set(structs(msgspec.Struct)):
    if struct.__module__.partition(".")[0] in ("agents", "control_plane", "state"):
        for field in msgspec.structs.fields(struct):
            print(f"{struct.__module__}.{struct.__qualname__}.{field.name}", flush=True)
            try:
                freed(field.type)
            except TypeError:
                continue  # What msgspec refuses to read is never laid out.
            count += 1
print(count)
"""
ONE_THAT_IS_LAID_OUT_WRONGLY = """
from typing import Annotated
for _ in range(5):
    freed(Annotated[str, msgspec.Meta(pattern="^a$")] | list[str])
"""


def in_a_process_of_its_own(program: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONMALLOC": "debug"}
    call = [sys.executable, "-c", FREED + program]
    return subprocess.run(
        call, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace", timeout=100, check=False
    )


def test_the_types_of_all_fields_can_be_freed() -> None:
    ran = in_a_process_of_its_own(EVERY_FIELD)

    assert ran.returncode == 0, f"at {ran.stdout.splitlines()[-1:]}: {ran.stderr[-2000:]}"
    assert int(ran.stdout.splitlines()[-1]) > 300, "hardly any field was found: this law would judge nothing"


def test_a_breach_of_that_law_is_seen() -> None:
    """When this fails, msgspec has learnt it: then this law can go, and with it what `catalogue.definitions` does."""
    assert in_a_process_of_its_own(ONE_THAT_IS_LAID_OUT_WRONGLY).returncode < 0
