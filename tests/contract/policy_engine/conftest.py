"""The policy engines that the contract is held against, and what its tests ask them with."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from control_plane.adapters.regorus import RegorusEngine
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import PolicyEngine
from tests.contract.policy_engine.asking import PERMIT, Asking, Policies


@pytest.fixture(params=["regorus"])
def engine(request: pytest.FixtureRequest) -> PolicyEngine:
    """Another engine joins by a name here; nothing below knows which one it asks."""
    assert request.param == "regorus"
    return RegorusEngine()


@pytest.fixture
def ask(engine: PolicyEngine) -> Asking:
    def asking(
        *modules: str,
        given: Mapping[str, Any] | None = None,
        data: Mapping[str, str] | None = None,
        permit: bool = True,
    ) -> Ruling:
        texts = (PERMIT, *modules) if permit else modules
        policies = Policies(
            modules=tuple((f"module_{n}.rego", text) for n, text in enumerate(texts)),
            data=tuple(sorted((data or {}).items())),
        )
        return asyncio.run(engine.rule(Question(id="decision-1", input=dict(given or {})), policies))

    return asking
