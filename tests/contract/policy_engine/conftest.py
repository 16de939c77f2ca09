"""The policy engines that the contract is held against, and what its tests ask them with."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.regorus import RegorusEngine
from control_plane.errors import InvalidWorkspace
from control_plane.messages import Question, Ruling
from control_plane.ports.policy_engine import PolicyEngine
from tests.contract.policy_engine.asking import PERMIT, Asking, Engines, Policies
from tests.opa_world import Grounds, OpaProcess
from tests.real_parts import free_port


class Embedded:
    """regorus, on the thread of the test."""

    def __init__(self) -> None:
        self.engine: PolicyEngine = RegorusEngine()

    def rule(self, policies: Policies, given: Mapping[str, Any]) -> Ruling:
        """The ruling on an input."""
        return asyncio.run(self.engine.rule(Question(id="decision-1", input=dict(given)), policies))


class ByOpa:
    """A real OPA that has pulled the policies before it is asked."""

    def __init__(self, grounds: Grounds, engine: OpaEngine) -> None:
        self.engine: PolicyEngine = engine
        self._opa = engine
        self._grounds = grounds

    def rule(self, policies: Policies, given: Mapping[str, Any]) -> Ruling:
        """The ruling on an input."""
        # What is refused before OPA sees it is in no bundle, and asking under it must say so.
        with contextlib.suppress(InvalidWorkspace):
            self._grounds.hold(policies)
            found = next(each for each in self._grounds.shelf.sets if each.revision == policies.revision)
            self._grounds.do(self._opa.confirm(found))
        return self._grounds.rule(self._opa, policies, dict(given))


@pytest.fixture(scope="session")
def grounds() -> Iterator[Grounds]:
    found = Grounds()
    yield found
    found.close()


@pytest.fixture(scope="session")
def opa_on_http(opa_program: Path, grounds: Grounds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpaProcess]:
    yield from running(opa_program, grounds, tmp_path_factory.mktemp("opa"), f"http://127.0.0.1:{free_port()}")


@pytest.fixture(scope="session")
def opa_on_socket(
    opa_program: Path, grounds: Grounds, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpaProcess]:
    yield from running(opa_program, grounds, tmp_path_factory.mktemp("opa"), "")


def running(program: Path, grounds: Grounds, home: Path, address: str) -> Iterator[OpaProcess]:
    process = OpaProcess(program, home, grounds.config, address)
    process.start()
    yield process
    process.kill()


@pytest.fixture(params=["regorus", pytest.param("opa", marks=pytest.mark.opa)])
def engines(request: pytest.FixtureRequest) -> Iterator[Engines]:
    """Another engine joins by a name here; nothing below knows which one it asks."""
    if request.param == "regorus":
        yield Embedded()
        return
    grounds: Grounds = request.getfixturevalue("grounds")
    name = "opa_on_http" if request.param == "opa" else "opa_on_socket"
    process: OpaProcess = request.getfixturevalue(name)
    engine = grounds.engine(process.url)
    yield ByOpa(grounds, engine)
    grounds.do(engine.close())


@pytest.fixture
def ask(engines: Engines) -> Asking:
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
        return engines.rule(policies, given or {})

    return asking
