"""The expression languages that the contract is held against."""

from typing import Any

import pytest

from control_plane.adapters.cel import CelExpressions
from control_plane.ports.expressions import Expressions


@pytest.fixture(params=[CelExpressions], ids=["cel"])
def expressions(request: pytest.FixtureRequest) -> Expressions:
    made: Any = request.param()
    return made  # type: ignore[no-any-return]
