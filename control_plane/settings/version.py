"""Which Setpoint this is."""


def setpoint_version() -> str:
    """The version that is installed; a tree that is run without being installed has none."""
    import importlib.metadata  # Costs 14 ms, which every command would pay.

    try:
        return importlib.metadata.version("setpoint")
    except importlib.metadata.PackageNotFoundError:
        return "0+tree"
