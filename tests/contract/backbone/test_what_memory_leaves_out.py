"""What the backbone in memory does not promise is named, and nothing is named that is not there."""

from pathlib import Path

import pytest

from tests.contract.backbone.conftest import NOT_IN_MEMORY

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", NOT_IN_MEMORY)
def test_each_name_stands_in_this_suite(name: str) -> None:
    file, _, function = name.partition(".")

    assert f"def {function}" in (HERE / f"{file}.py").read_text()
