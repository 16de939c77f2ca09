"""Rules do what the plainest model does, to the millisecond, whatever comes late or twice, and restarts between."""

from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from agents.rules import Rule
from agents.rules.conditions import Heard
from agents.rules.counting import Count
from control_plane.catalogue import Controls
from control_plane.loop.arrival import Arrival
from control_plane.loop.step import Ask, Done, step
from control_plane.messages import Context, Decision
from state.rows import Row, decode_row, encode_row
from tests import builders
from tests.builders import NOW_MS, WEB_1
from tests.property.rule_model import Happening, Model, Settings

SEEDS = 800
SABOTAGED_SEEDS = 60
HAPPENINGS_PER_RUN = 40
SOURCE = "probe"
HOT, COOL, MISSING = {"rss": 500.0}, {"rss": 1.0}, {"swap": 500.0}


def test_a_rule_proposes_when_the_model_does_and_is_what_the_model_is() -> None:
    happened: Counter[str] = Counter()
    for seed in range(SEEDS):
        disagreement = compared(seed, happened)
        assert disagreement is None, disagreement

    for what in (*CONDITIONS, *BEFALLEN):
        assert happened[what] > 50, f"the runs were too quiet: {what} happened {happened[what]} times"


@pytest.mark.parametrize("sabotage", ["arrival for occurrence", "no repeats known", "one more millisecond", "no ticks"])
def test_a_rule_that_is_off_is_found_out(monkeypatch: pytest.MonkeyPatch, sabotage: str) -> None:
    taken: dict[str, tuple[type, str, Any]] = {
        "arrival for occurrence": (Rule, "_heard", _heard_when_it_came),
        "no repeats known": (Row, "seen_with", lambda row, source, message_id: row.seen),
        "one more millisecond": (Count, "ends_ms", lambda count, kept: _one_more(_ENDS_MS(count, kept))),
        "no ticks": (Rule, "wakes_at", lambda rule, kept: None),
    }
    monkeypatch.setattr(*taken[sabotage])

    assert any(compared(seed, Counter()) for seed in range(SABOTAGED_SEEDS))


_ENDS_MS, _HEARD = Count.ends_ms, Rule._heard


def _one_more(ends_ms: int | None) -> int | None:
    return None if ends_ms is None else ends_ms + 1


def _heard_when_it_came(rule: Rule, context: Context, matches: bool, aged: dict[str, Any]) -> Heard:
    return replace(_HEARD(rule, context, matches, aged), occurred_ms=context.now_ms)


def compared(seed: int, happened: Counter[str]) -> str | None:
    """Where a rule and the model do not agree; None when they do."""
    random = Random(seed)
    rule = drawn_rule(random)
    world, model = World(controls_of(rule)), Model(rule)
    for number, (happening, again) in enumerate(drawn_history(random)):
        proposed = world.take(happening, again=again)
        if not again:
            model.take(number, happening)
        found, expected = world.state(happening.at_ms), model.state_at(happening.at_ms)
        if found != expected or proposed != (model.proposals[-1:] == [number]):
            return f"seed {seed}, {rule}, {number}: {happening}: {found}, {proposed}; the model says {expected}"
        happened.update(befell(rule, happening, again, proposed, world.row))
    return None


CONDITIONS = ("when", "count", "above", "below", "absent")
BEFALLEN = ("by tick", "pending", "kept on", "owed", "looked again", "late", "again", "one in the row")


def drawn_rule(random: Random) -> Settings:
    """Any rule, its durations close to the gaps between what happens."""
    condition = random.choice(CONDITIONS)
    window_ms = random.choice((10, 20, 21, 40, 400))
    rate = (random.choice((0.5, 1, 2, 2.5)), random.choice((10, 20)), window_ms)
    return Settings(
        count=(random.randint(1, 4), window_ms) if condition == "count" else None,
        above=rate if condition == "above" else None,
        below=rate if condition == "below" else None,
        absent_ms=random.choice((10, 20, 21, 400)) if condition == "absent" else 0,
        for_ms=random.choice((0, 0, 1, 20, 21)) if condition != "absent" else 0,
        once_ms=random.choice((0, 0, 20, 60)),
        keep_ms=random.choice((0, 0, 1, 20, 60)),
        repeat_ms=random.choice((None, None, 1, 20, 300)),
        fresh_ms=random.choice((0, 20, 60_000)),
    )


def drawn_history(random: Random) -> Iterator[tuple[Happening, bool]]:
    """Events, some of them late, and ticks; and whether it is an earlier event once more."""
    before: list[Happening] = []
    now_ms = 0
    gaps = random.choice(((0, 1, 2, 5), (0, 1, 9, 10, 11, 19, 20, 21), (1, 20, 39, 40, 41, 250, 400)))
    hot = random.choice((0.3, 0.6, 0.9))
    for _ in range(HAPPENINGS_PER_RUN):
        now_ms += random.choice(gaps)
        kind = random.random()
        if kind < 0.35:
            yield Happening(now_ms, heard_ms=now_ms - random.choice((0, 0, 0, 5, 10, 11, 300))), False
        elif kind < 0.45 and before:
            found = random.choice(before[-5:])
            yield Happening(now_ms, found.matches, found.occurred_ms, number=found.number), True
        else:
            late_ms = random.choice((0, 0, 0, 1, 5, 10, 19, 20, 21, 30))
            before.append(Happening(now_ms, random.random() < hot, now_ms - late_ms, number=len(before) + 1))
            yield before[-1], False


def befell(rule: Settings, happening: Happening, again: bool, proposed: bool, row: Row) -> Iterator[str]:
    """What a step was an instance of, so that the test can tell that the runs were not idle."""
    own = row.own.get("memory_guard", {})
    if proposed:
        yield next((kind for kind in CONDITIONS if getattr(rule, kind, None)), "absent" if rule.absent_ms else "when")
        if happening.matches is None:
            yield "by tick"
    yield own.get("state", "inactive")
    yield from (
        name for name, key in (("kept on", "ends_ms"), ("owed", "owed"), ("looked again", "look_ms")) if key in own
    )
    if own:
        yield "one in the row"
    if again:
        yield "again"
    if happening.matches and happening.occurred_ms < happening.at_ms:
        yield "late"


class World:
    """One subject under one rule. Its row is stored and read again after every record, and policy allows nothing."""

    def __init__(self, controls: Controls) -> None:
        self.controls = controls
        self.row = Row(subject=WEB_1)
        self._offset = 0

    def take(self, happening: Happening, *, again: bool = False) -> bool:
        """Whether the rule proposes."""
        self._offset += 1
        at_ms = NOW_MS + happening.at_ms
        if happening.matches is None:
            due_ms = self.row.due_ms()
            if due_ms is None or due_ms > at_ms:
                return False
            event = builders.tick(at_ms=at_ms)
        else:
            silent = (COOL, MISSING)[happening.number % 2]
            event = builders.event(
                data=HOT if happening.matches else silent,
                message_id=f"e{happening.number}",
                source=SOURCE,
                at_ms=NOW_MS + happening.occurred_ms,
            )
        arrival = Arrival(event, self._offset, at_ms, heard={SOURCE: NOW_MS + happening.heard_ms})
        done = answered(step(self.controls, self.row, arrival))
        assert not done.failures
        self.row = decode_row(encode_row(done.row))
        due_ms = self.row.due_ms()
        assert happening.matches is not None or due_ms is None or due_ms > at_ms, "ticks would be wanted for ever"
        return any(isinstance(message, Decision) for message in done.said)

    def state(self, at_ms: int) -> str:
        (found,) = self.controls.agents
        assert isinstance(found.agent, Rule)
        return found.agent.state(self.row.own.get(found.agent.name), NOW_MS + at_ms)


def answered(result: Done | Ask) -> Done:
    while isinstance(result, Ask):
        result = result.resume({question.id: builders.deny(question) for question in result.questions})
    return result


def controls_of(rule: Settings) -> Controls:
    """A control set with this rule and the intent that says for how long an event may be acted on."""
    keys: dict[str, Any] = {
        "for": rule.for_ms,
        "once_within": rule.once_ms,
        "keep_firing_for": rule.keep_ms,
        "absent": rule.absent_ms,
    }
    body: dict[str, Any] = {key: f"{ms}ms" for key, ms in keys.items() if ms}
    if rule.repeat_ms is not None:
        body["repeat_interval"] = f"{rule.repeat_ms}ms"
    if rule.count:
        body["count"] = {"min": rule.count[0], "window": f"{rule.count[1]}ms"}
    for side, rate in (("above", rule.above), ("below", rule.below)):
        if rate:
            body["rate"] = {side: rate[0], "per": f"{rate[1]}ms", "window": f"{rate[2]}ms"}
    return builders.controls(builders.intent(context_age_max=f"{rule.fresh_ms}ms"), builders.rule(**body))
