"""An OPA that is down, slow, cut off or mad: nothing is allowed, few ask it, and its return is noticed by itself."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from control_plane.adapters.opa.address import OpaAddress
from control_plane.adapters.opa.breaker import FAULTS_IN_A_ROW_MAX, PROBE_INTERVAL_S
from control_plane.adapters.opa.client import IN_FLIGHT_MAX
from control_plane.adapters.opa.engine import OpaEngine
from control_plane.messages import Question, Ruling
from tests.contract.policy_engine.asking import PERMIT, Policies
from tests.faulty_opa import MODES, WELL, FaultyOpa

POLICIES = Policies((("permit.rego", PERMIT),))
CASES = 50
BACK_S_MAX = 2.0
PATIENCE_S = 20.0


@pytest.fixture
async def faulty() -> AsyncIterator[FaultyOpa]:
    server = FaultyOpa()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def engine(faulty: FaultyOpa) -> AsyncIterator[OpaEngine]:
    found = OpaEngine(OpaAddress.of(faulty.url))
    yield found
    await found.close()


async def rule(engine: OpaEngine) -> Ruling:
    return await engine.rule(Question(id="decision-1", input={}), POLICIES)


async def many(engine: OpaEngine, count: int) -> list[Ruling]:
    return await asyncio.gather(*[rule(engine) for _ in range(count)])


async def until_allowed(engine: OpaEngine) -> float:
    """How long it takes until there is an allow again."""
    begun = time.monotonic()
    while (await rule(engine)).answer != "allow":
        assert time.monotonic() - begun < PATIENCE_S
        await asyncio.sleep(0.02)
    return time.monotonic() - begun


@pytest.mark.parametrize("mode", MODES)
async def test_no_fault_allows_anything_and_its_end_is_noticed(faulty: FaultyOpa, engine: OpaEngine, mode: str) -> None:
    await until_allowed(engine)

    faulty.mode = mode
    rulings = await many(engine, CASES)
    faulty.mode = WELL
    back_s = await until_allowed(engine)

    assert [ruling.answer for ruling in rulings] == ["deny"] * CASES
    assert {ruling.reasons[0].code for ruling in rulings} == {"no_ruling"}
    assert all(ruling.problem for ruling in rulings)
    assert {ruling.revision for ruling in rulings} == {POLICIES.revision}
    assert back_s <= BACK_S_MAX
    # The server may still hold what was given up: each of the first faults makes place for another question.
    assert faulty.at_once_max <= IN_FLIGHT_MAX + FAULTS_IN_A_ROW_MAX


async def test_who_is_away_is_asked_by_one_probe_and_by_nobody_else(faulty: FaultyOpa, engine: OpaEngine) -> None:
    faulty.mode = "503"
    await many(engine, CASES)
    before, begun = faulty.asked, time.monotonic()

    for _ in range(20):
        rulings = await many(engine, CASES)
        assert {ruling.answer for ruling in rulings} == {"deny"}
        await asyncio.sleep(PROBE_INTERVAL_S / 10)

    probes_max = (time.monotonic() - begun) / PROBE_INTERVAL_S + 1
    assert faulty.asked - before <= probes_max
    assert "it is looked for" in str(rulings[0].problem)
    assert engine.problem
    assert engine.counts.by_end["waiting"] >= 20 * CASES


async def test_nobody_listens_and_then_somebody_does(faulty: FaultyOpa) -> None:
    address = faulty.url
    await faulty.stop()
    engine = OpaEngine(OpaAddress.of(address))
    try:
        rulings = await many(engine, CASES)
        assert {ruling.answer for ruling in rulings} == {"deny"}
        assert "cannot be reached" in str(rulings[0].problem)

        again = await asyncio.start_server(faulty._serve, "127.0.0.1", int(address.rpartition(":")[2]))
        assert await until_allowed(engine) <= BACK_S_MAX
        again.close()
    finally:
        await engine.close()


async def test_a_process_that_stood_still_does_not_lose_the_answer_that_came_meanwhile(
    faulty: FaultyOpa, engine: OpaEngine
) -> None:
    await until_allowed(engine)

    asking = asyncio.create_task(rule(engine))
    for _ in range(5):  # The question leaves.
        await asyncio.sleep(0)
    time.sleep(0.2)  # noqa: ASYNC251 - what is shown: this thread is held up for four deadlines

    assert (await asking).answer == "allow"
