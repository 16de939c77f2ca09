"""A real OPA that dies, stands still, or is given bundles that it must not take: it keeps the last good one, or nothing
is allowed. What is wrong is said, and what is right again is noticed by itself."""

import gzip
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control_plane.adapters.opa.bundle import build
from control_plane.adapters.opa.engine import OpaEngine
from control_plane.adapters.opa.relocation import relocated
from control_plane.adapters.opa.shelf import HELD_SETS_MAX
from control_plane.adapters.opa.signing import BundleKey
from control_plane.errors import InvalidWorkspace, PolicyEngineUnavailable
from control_plane.messages import Ruling
from control_plane.ports.policy_engine import RULING_TIMEOUT_MS
from tests.contract.policy_engine.asking import PERMIT, Policies
from tests.opa_world import Grounds, OpaProcess
from tests.real_parts import free_port

pytestmark = pytest.mark.opa

BACK_S_MAX = 2.0
PATIENCE_S = 20.0
PULLS_PER_S_MAX = 12
ALLOWING = Policies((("permit", PERMIT),))
GUARD = 'package setpoint.guardrails.g\n\ndeny contains {"code": "no", "msg": "no"} if data.open != true\n'
CLOSED = Policies((("permit", PERMIT), ("guard", GUARD)), (("open", "false"),))
OPENED = Policies(CLOSED.modules, (("open", "true"),))


class Scene:
    """An OPA that runs a bundle in which `CLOSED` denies."""

    def __init__(self, grounds: Grounds, process: OpaProcess, engine: OpaEngine) -> None:
        self.grounds = grounds
        self.process = process
        self.engine = engine

    def rule(self, policies: Policies) -> Ruling:
        """The ruling on nothing in particular."""
        return self.grounds.rule(self.engine, policies)

    def offer(self, policies: Policies) -> None:
        """As a service does with what is to be in force next. Raises what `confirm` raises."""
        self.grounds.hold(policies)
        found = next(each for each in self.grounds.shelf.sets if each.revision == policies.revision)
        self.grounds.do(self.engine.confirm(found))

    def until(self, holds: Callable[[], bool]) -> float:
        """How long it takes until something holds."""
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() - begun < PATIENCE_S
            self.grounds.turn()
        return time.monotonic() - begun

    def said(self) -> str:
        """What OPA says against the last bundle."""
        return next((each.problem for each in self.grounds.shelf.seen()), "")


@pytest.fixture
def scene(opa_program: Path, tmp_path: Path) -> Iterator[Scene]:
    grounds = Grounds()
    process = OpaProcess(opa_program, tmp_path / "opa", grounds.config, f"http://127.0.0.1:{free_port()}")
    process.start()
    found = Scene(grounds, process, grounds.engine(process.url, RULING_TIMEOUT_MS))
    found.offer(CLOSED)
    yield found
    grounds.do(found.engine.close())
    process.kill()
    grounds.close()


def no_ruling(ruling: Ruling) -> bool:
    return ruling.answer == "deny" and bool(ruling.problem) and ruling.reasons[0].code == "no_ruling"


def test_an_opa_that_is_killed_and_started_again_rules_by_itself(scene: Scene) -> None:
    scene.offer(OPENED)
    scene.until(lambda: scene.rule(OPENED).answer == "allow")

    for _ in range(3):
        scene.process.kill()
        assert all(no_ruling(scene.rule(OPENED)) for _ in range(50))
        scene.process.start()
        assert scene.until(lambda: scene.rule(OPENED).answer == "allow") <= BACK_S_MAX


def test_an_opa_that_stands_still_is_as_good_as_none(scene: Scene) -> None:
    scene.offer(OPENED)
    scene.until(lambda: scene.rule(OPENED).answer == "allow")

    scene.process.pause()
    assert all(no_ruling(scene.rule(OPENED)) for _ in range(50))
    scene.process.go_on()

    assert scene.until(lambda: scene.rule(OPENED).answer == "allow") <= BACK_S_MAX


def forged(key: BundleKey) -> bytes:
    """A bundle in which the very revision that is in force allows everything."""
    lenient = Policies(ALLOWING.modules, revision=CLOSED.revision)
    return build([relocated(Policies(ALLOWING.modules, revision=OPENED.revision)), relocated(lenient)], key).body


def spoilt() -> dict[str, bytes]:
    good = build([relocated(OPENED), relocated(CLOSED)], BundleKey("a-bundle-key-for-tests-0123456789")).body
    other = forged(BundleKey("the key of somebody else, 32 chars"))
    unpacked = gzip.decompress(good)
    return {
        "forged": other,
        "half written": good[: len(good) // 2],
        "half packed": gzip.compress(unpacked[: len(unpacked) // 2]),
        "altered": gzip.compress(
            unpacked.replace(b"false", b"true ").replace(b"data.open != true", b"data.open == 77 ")
        ),
        "unsigned": gzip.compress(unpacked.replace(b".signatures.json", b".signed_no.json_")),
        "empty": b"",
        "no archive": b"<html>moved</html>",
    }


@pytest.mark.parametrize("kind", list(spoilt()))
def test_a_bundle_that_is_not_right_changes_nothing(scene: Scene, kind: str) -> None:
    scene.grounds.spoil = spoilt()[kind]
    pulls, begun = scene.grounds.pulls, time.monotonic()
    scene.grounds.hold(OPENED)

    scene.until(lambda: bool(scene.said()))
    for _ in range(25):
        assert [reason.code for reason in scene.rule(CLOSED).reasons] == ["no", "always"]
        assert no_ruling(scene.rule(OPENED))
    scene.until(lambda: time.monotonic() - begun > 0.5)
    assert scene.grounds.pulls - pulls <= PULLS_PER_S_MAX * (time.monotonic() - begun)

    scene.grounds.spoil = None
    assert scene.until(lambda: scene.rule(OPENED).answer == "allow") <= BACK_S_MAX


def test_an_opa_that_cannot_pull_rules_on_under_what_it_has_and_under_nothing_newer(scene: Scene) -> None:
    scene.grounds.spoil, scene.grounds.spoil_status = b"", 503
    scene.grounds.hold(OPENED)

    scene.until(lambda: bool(scene.said()))
    for _ in range(25):
        assert [reason.code for reason in scene.rule(CLOSED).reasons] == ["no", "always"]
        ruling = scene.rule(OPENED)
        assert no_ruling(ruling)
        assert f"does not hold the policies {OPENED.revision}, but {CLOSED.revision}" in str(ruling.problem)

    scene.grounds.spoil = None
    assert scene.until(lambda: scene.rule(OPENED).answer == "allow") <= BACK_S_MAX


def test_policies_that_opa_refuses_are_named_and_not_waited_for(scene: Scene) -> None:
    wrong = 'package setpoint.guardrails.wrong\n\ndeny contains {"code": "no", "msg": "no"} if count(7) > 1\n'
    begun = time.monotonic()

    with pytest.raises(InvalidWorkspace, match=r"guardrails/wrong:3: count: invalid argument"):
        scene.offer(Policies((("permit", PERMIT), ("guardrails/wrong", wrong))))

    assert time.monotonic() - begun < PATIENCE_S
    assert [reason.code for reason in scene.rule(CLOSED).reasons] == ["no", "always"]


def test_policies_that_opa_does_not_come_to_run_are_not_put_in_force(scene: Scene) -> None:
    hasty = scene.grounds.engine(scene.process.url, RULING_TIMEOUT_MS, confirm_timeout_s=0.3)
    scene.process.pause()

    with pytest.raises(PolicyEngineUnavailable, match=r"They were not put in force"):
        scene.grounds.do(hasty.confirm(relocated(OPENED)))

    scene.process.go_on()
    scene.grounds.do(hasty.close())


def test_the_newest_sets_are_held_side_by_side_and_the_oldest_goes(scene: Scene) -> None:
    sets = [Policies(CLOSED.modules, (("n", str(n)), ("open", "true"))) for n in range(HELD_SETS_MAX)]
    for policies in sets:
        scene.offer(policies)

    assert all(scene.rule(policies).answer == "allow" for policies in sets)
    assert no_ruling(scene.rule(CLOSED))


def test_conflicting_policies_are_no_ruling_and_others_go_on(scene: Scene) -> None:
    conflicting = 'package setpoint.guardrails.c\n\ndeny contains {"code": "no", "msg": "no"} if limit > 3\n\n'
    conflicting += "limit := 1 if input.a\n\nlimit := 2 if input.a\n"
    policies = Policies((("permit", PERMIT), ("guardrails/c", conflicting)))
    scene.offer(policies)

    for _ in range(50):
        ruling = scene.grounds.rule(scene.engine, policies, {"a": True})
        assert no_ruling(ruling)
        assert "guardrails/c:" in str(ruling.problem)
        assert scene.grounds.rule(scene.engine, policies, {}).answer == "allow"


def test_policy_data_of_any_kind_is_signed_as_opa_reads_it(scene: Scene) -> None:
    odd = (
        '{"\\u2028 <>&\\"\\\\/\\u0000\\u001f\\u007f": ["\\b\\f\\n\\r\\t", "é🙂", "\\ud83d\\ude42", "\\uffff"]}',
        "[0, -0.0, 1e300, 1.5e-7, 12345678901234567890, 0.1, 1E5, -7]",
        '[null, true, {"b": 1, "a": 2, "é": 3, "Z": 4, "": 5, "\\ue000": 6, "\\ud800\\udc00": 7}]',
    )
    for text in odd:
        policies = Policies(CLOSED.modules, (("odd", text), ("open", "true")))
        scene.offer(policies)
        assert scene.rule(policies).answer == "allow"
