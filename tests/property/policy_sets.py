"""The policies that both engines are held to: the built-in ones, those of the examples, and some that nobody would
write, one for each corner of the language where two engines may part."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from control_plane.bootstrap.workshop import load_workspace
from control_plane.catalogue.controls import Policies
from control_plane.workspace.policies import built_in_policies

EXAMPLES_OF = {
    "incident": ("restart_service",),
    "minimal": ("slow_down", "slow_down", "restart_service"),
    "orders": ("refund_order", "hold_order", "expedite_order"),
}
EXAMPLES = Path(__file__).resolve().parents[2] / "control_plane" / "workspace" / "examples"

PERMIT = """package setpoint.permits.anything

allow contains {"code": "anything", "msg": "m"} if input.decision.intent != "forbidden"
"""

TEXTS = """package setpoint.guardrails.texts

d := input.event.data

deny contains {"code": "prefix", "msg": "m"} if startswith(d.s, "db")

deny contains {"code": "suffix", "msg": "m"} if endswith(d.s, "ß")

escalate contains {"code": "within", "msg": "m"} if contains(d.s, "🙂")

escalate contains {"code": "pattern", "msg": sprintf("%v", [d.s])} if regex.match(`^w[a-z]+-[0-9]$`, d.s)

deny contains {"code": "parts", "msg": "m"} if count(split(d.s, "-")) > 3

escalate contains {"code": "replaced", "msg": "m"} if replace(d.s, "-", "") == "web1"

deny contains {"code": "trimmed", "msg": "m"} if trim_space(d.s) != d.s

escalate contains {"code": "above", "msg": "m"} if d.s > "x"

deny contains {"code": "joined", "msg": "m"} if concat("/", [input.decision.subject.kind, d.s]) == "service/web-9"

deny contains {"code": "prefixes", "msg": "m"} if strings.any_prefix_match(d.s, {"evil", "é"})
"""

NUMBERS = """package setpoint.guardrails.numbers

d := input.event.data

deny contains {"code": "much", "msg": "m"} if d.n * 2 > 150

escalate contains {"code": "share", "msg": "m"} if 10 / d.n > 1

deny contains {"code": "rounded", "msg": "m"} if round(d.n) == 7

escalate contains {"code": "odd", "msg": "m"} if floor(d.n) % 2 == 1

deny contains {"code": "parsed", "msg": "m"} if {
	regex.match(`^[0-9]$`, d.s)
	to_number(d.s) > 3
}

deny contains {"code": "far", "msg": "m"} if abs(d.n - input.decision.confidence) > 1000000

escalate contains {"code": "total", "msg": "m"} if sum(d.list) > 10

deny contains {"code": "largest", "msg": "m"} if max(d.list) >= 50

deny contains {"code": "smaller", "msg": "m"} if d.n > d.s
"""

COLLECTIONS = """package setpoint.guardrails.collections

d := input.event.data

deny contains {"code": "member", "msg": "m"} if d.s in {"db-1", "evil", null}

escalate contains {"code": "first", "msg": "m"} if d.list[0] > 5

deny contains {"code": "all_big", "msg": "m"} if {
	count(d.list) > 0
	every n in d.list { n > 40 }
}

escalate contains {"code": "twice", "msg": "m"} if {
	some n, value in d.list
	some m, other in d.list
	n != m
	value == other
}

deny contains {"code": "deep", "msg": "m"} if d.object.a.b == true

escalate contains {"code": "key", "msg": "m"} if object.get(d.object, "mode", "calm") == "wild"

deny contains {"code": "few_keys", "msg": "m"} if count(object.keys(d.object)) > 3

deny contains {"code": "sorted", "msg": "m"} if sort(d.list) == [1, 2, 3]

deny contains {"code": "subset", "msg": "m"} if {n | some n in d.list} == {1, 2}

escalate contains {"code": "indexed", "msg": "m"} if data.zones[d.s].closed

deny contains {"code": "typed", "msg": "m"} if type_name(d.any) == "object"

deny contains {"code": "equal", "msg": "m"} if d.any == d.n
"""

FLOW = """package setpoint.guardrails.flow

import data.setpoint.lib.judging

deny contains {"code": "unknown", "msg": "m"} if not known

deny contains {"code": "unclear", "msg": "m"} if not is_clear

is_clear if judging.clear(input.event.data)

escalate contains {"code": "graded", "msg": "m"} if grade == "bad"

escalate contains {"code": "level", "msg": "m"} if judging.level(input.event.data.n) == 2

escalate contains {"code": "walked", "msg": "m"} if {
	some n in input.event.data.any
	n == "x"
}

deny contains {"code": "every", "msg": "m"} if {
	input.event.data.s == "x"
	every n in input.event.data.object { n != true }
}

escalate contains {"code": "marked", "msg": "m"} if input.event.data.any[_] == 1

deny contains {"code": "late_fault", "msg": "m"} if {
	1 / input.event.data.n > 100
	input.event.data.s == "web-1"
}

deny contains {"code": "found", "msg": "m"} if {
	found := [n | some n in input.event.data.list; n > 45]
	count(found) > 1
}

known if is_number(input.event.data.n)

known if is_string(input.event.data.s)

default grade := "good"

grade := "bad" if {
	input.event.data.flag == true
	input.facts.hour_utc in {2, 3, 4}
}
"""

LIBRARY = """package setpoint.lib.judging

clear(given) if is_object(given)

level(n) := 1 if n < 10

level(n) := 2 if {
	n >= 10
	n < 60
}

level(n) := 3 if n >= 60
"""


@dataclass(frozen=True)
class Judged:
    """One policy set, with its share of the inputs."""

    name: str
    modules: tuple[tuple[str, str], ...]
    data: tuple[tuple[str, str], ...] = ()
    favours: tuple[str, ...] = ("restart_service",)
    """Intents that most inputs are about."""
    weight: int = 1

    @cached_property
    def revision(self) -> str:
        """Of what it holds."""
        return sha256(repr((self.modules, self.data)).encode()).hexdigest()[:12]


def judged_sets() -> Iterator[Judged]:
    """All of them."""
    built_in = tuple(sorted(built_in_policies().items()))
    yield Judged("built-in", built_in, weight=4)
    limits = (("action_storm", '{"actions_max":3}'), ("low_confidence", '{"escalate_below":0.8}'))
    yield Judged("built-in, other limits", built_in, (*limits, ("unverified_fix", '{"failures_max":1}')), weight=2)
    for name, favours in EXAMPLES_OF.items():
        found = _example(name)
        yield Judged(name, found.modules, found.data, favours, weight=3)
    anything = ("permits/anything", PERMIT)
    yield Judged("texts", (("guardrails/texts", TEXTS), anything))
    yield Judged("numbers", (("guardrails/numbers", NUMBERS), anything))
    zones = '{"web-1":{"closed":false},"web-2":{"closed":true},"x":{"closed":null},"é🙂":{"closed":true}}'
    yield Judged("collections", (("guardrails/collections", COLLECTIONS), anything), (("zones", zones),))
    yield Judged("flow", (("guardrails/flow", FLOW), ("lib/judging", LIBRARY), anything))


def _example(name: str) -> Policies:
    return Policies.of(load_workspace(EXAMPLES / name).controls)
