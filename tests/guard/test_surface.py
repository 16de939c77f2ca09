"""What authors of agents and executors are offered is what `__all__` says: nothing by accident, and nothing missing."""

from types import ModuleType

from control_plane import sdk


def surface(module: ModuleType) -> set[str]:
    """The names that an author finds in a package; its own submodules are not among them."""
    return {
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }


def test_the_public_surface_of_the_sdk_equals_its_all() -> None:
    assert sorted(sdk.__all__) == sorted(surface(sdk))


def test_a_name_that_slips_out_is_seen() -> None:
    slipped = ModuleType("slipped")
    vars(slipped).update({**vars(sdk), "Leaked": object()})

    assert surface(slipped) - surface(sdk) == {"Leaked"}
