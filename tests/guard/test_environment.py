"""Laws on what is installed beside us: packages that would take our name or overwrite somebody else's."""

import importlib.metadata
import importlib.util
from pathlib import Path

import urllib3

from tests.guard.tree import ROOT


def test_no_foreign_package_is_called_agents() -> None:
    """`openai-agents` ships a top-level package of the name of ours."""
    installed = {distribution.name.lower() for distribution in importlib.metadata.distributions()}
    assert "openai-agents" not in installed

    found = importlib.util.find_spec("agents")
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).is_relative_to(ROOT)


def test_urllib3_is_what_its_metadata_says() -> None:
    """`urllib3-future`, which grafana-client brings from 4.0 on, replaces it behind its back."""
    assert importlib.metadata.version("urllib3") == urllib3.__version__
