"""The patches of `make mutants` are in order: each can be read, applies to the tree as it is, and names a check that is
there. That each is found is said by `make mutants` itself."""

import subprocess

import pytest

from tests.mutants.__main__ import PATCHES, ROOT, Mutant, command_of, mutants_in

MUTANTS = mutants_in(PATCHES)


def test_there_are_as_many_as_were_promised() -> None:
    assert len(MUTANTS) >= 25


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_can_be_put_into_the_tree_as_it_is(mutant: Mutant) -> None:
    call = ["git", "apply", "--check", str(mutant.patch)]
    applied = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)

    assert applied.returncode == 0, f"{applied.stderr}Mend the patch: the code that it is about has changed."


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_bug_names_a_check_that_is_there(mutant: Mutant) -> None:
    assert mutant.what.endswith(".")
    if mutant.check.startswith("simulate "):
        assert command_of(mutant.check)[4:6] == ["--seeds", "200"]
    else:
        assert all((ROOT / name).exists() for name in mutant.check.split())
