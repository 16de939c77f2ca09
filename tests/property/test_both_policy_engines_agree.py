"""regorus and a real OPA on the same questions: nothing that one denies or escalates may the other allow, and what is a
right input gets the same ruling from both. `make rulings N=100000` asks more of them."""

import asyncio
import gc
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.opa.relocation import relocated
from control_plane.adapters.regorus import RegorusEngine
from control_plane.errors import InvalidWorkspace
from control_plane.messages import Question, Ruling
from tests.contract.policy_engine.asking import PERMIT
from tests.contract.policy_engine.test_both_forms_agree import inputs, modules, values
from tests.opa_world import Grounds, OpaProcess
from tests.property.policy_inputs import hostile_input, valid_input
from tests.property.policy_sets import Judged, judged_sets

pytestmark = pytest.mark.opa

INPUTS = int(os.environ.get("RULINGS", "6000"))
HOSTILE_SHARE = 0.35
SHARE_MIN = 0.15
SEED = int(os.environ.get("RULINGS_SEED", "20261121"))
AT_A_TIME = 64
SHOWN_MAX = 5

Case = tuple[Judged, dict[str, Any]]


@pytest.fixture
def grounds() -> Iterator[Grounds]:
    found = Grounds()
    yield found
    found.close()


@pytest.fixture
def opa(grounds: Grounds, opa_program: Path, tmp_path: Path) -> Iterator[OpaEngine]:
    process = OpaProcess(opa_program, tmp_path / "opa", grounds.config)
    process.start()
    engine = grounds.engine(process.url)
    yield engine
    grounds.do(engine.close())
    process.kill()


def test_both_engines_rule_alike(grounds: Grounds, opa: OpaEngine) -> None:
    sets = list(judged_sets())
    embedded = RegorusEngine()
    answers: Counter[tuple[str, str]] = Counter()
    wrong: list[str] = []
    right = jsonschema_rs.Draft202012Validator(
        msgspec.json.decode((Path(__file__).parents[2] / "policies" / "input.schema.json").read_bytes())
    )

    for judged in sets:
        cases = list(_cases(judged, sets))
        found = relocated(judged)
        _hold(grounds, opa, found)
        theirs = grounds.do(_rulings(opa, judged, cases))
        ours = asyncio.run(_rulings(embedded, judged, cases))
        for asked, one, other in zip(cases, ours, theirs, strict=True):
            is_right = _is_right(right, asked)
            answers["right" if is_right else "hostile", one.answer] += 1
            alike = _ruled(one) == _ruled(other) if is_right else (one.answer == "allow") == (other.answer == "allow")
            if not alike:
                wrong.append(f"{judged.name}, {'right' if is_right else 'hostile'}:\n  {asked}\n  {one}\n  {other}")

    total = sum(answers.values())
    by_answer = {answer: sum(n for (_, a), n in answers.items() if a == answer) for _, answer in answers}
    sys.stdout.write(f"{total} inputs, {dict(sorted(answers.items()))}, {opa.counts.by_end}" + "\n")
    assert not wrong, f"{len(wrong)} of {total}\n" + "\n".join(wrong[:SHOWN_MAX])
    assert total >= 5_000
    assert opa.counts.by_end["ruled"] > total / 2
    assert min(by_answer[answer] for answer in ("allow", "deny", "escalate")) >= SHARE_MIN * total, answers


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=modules(), documents=st.lists(inputs, min_size=6, max_size=10), data=values)
def test_on_any_policy_neither_allows_what_the_other_does_not(
    grounds: Grounds, opa: OpaEngine, text: str, documents: list[dict[str, Any]], data: Any
) -> None:
    judged = Judged("any", (("guard", text), ("permit", PERMIT)), (("d", json.dumps(data)),))
    try:
        _hold(grounds, opa, relocated(judged))
    except InvalidWorkspace:
        event("refused by one of them")
        _start_anew(grounds)
        return

    theirs = grounds.do(_rulings(opa, judged, documents))
    ours = asyncio.run(_rulings(RegorusEngine(), judged, documents))

    for given_input, one, other in zip(documents, ours, theirs, strict=True):
        event(one.answer)
        assert (one.answer == "allow") == (other.answer == "allow"), (given_input, one, other)


def _start_anew(grounds: Grounds) -> None:
    """What OPA refuses would keep it from the next bundle as well."""

    async def emptied() -> None:
        grounds.shelf.offer([])

    grounds.do(emptied())


def _cases(judged: Judged, sets: list[Judged]) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"{SEED}/{judged.name}")
    count = INPUTS * judged.weight // sum(each.weight for each in sets) + 1
    for _ in range(count):
        make = hostile_input if rng.random() < HOSTILE_SHARE else valid_input
        yield make(rng, judged.favours)


def _hold(grounds: Grounds, opa: OpaEngine, found: Any) -> None:
    async def held() -> None:
        grounds.shelf.hold(found)
        opa.know(found)
        await opa.confirm(found)

    grounds.do(held())


async def _rulings(engine: RegorusEngine | OpaEngine, judged: Judged, cases: list[dict[str, Any]]) -> list[Ruling]:
    questions = [Question(id="decision-1", input=given) for given in cases]
    if not engine.concurrent:
        gc.disable()  # Its limit is processor time, and looking for cycles among all these inputs takes more than that.
        try:
            return [await engine.rule(question, judged) for question in questions]
        finally:
            gc.enable()
    found: list[Ruling] = []
    for start in range(0, len(questions), AT_A_TIME):
        chunk = questions[start : start + AT_A_TIME]
        found += await asyncio.gather(*[engine.rule(question, judged) for question in chunk])
    return found


def _ruled(ruling: Ruling) -> tuple[str, list[tuple[str, str]]]:
    """All of a ruling but its sentences."""
    return ruling.answer, sorted((reason.by, reason.code) for reason in ruling.reasons)


def _is_right(schema: Any, given: Any) -> bool:
    """As an engine gets it: JSON knows no NaN."""
    try:
        return bool(schema.is_valid(msgspec.json.decode(msgspec.json.encode(given))))
    except (ValueError, TypeError, RecursionError):
        return False
