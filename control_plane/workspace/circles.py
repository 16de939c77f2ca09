"""Circles: an agent that acts on what follows from its own action, by itself or through others.

Seen is what Setpoint itself says of an action: its outcome, and its judged effect. What executors and the world send
back by other ways nobody can know before it comes.
"""

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from control_plane.catalogue.definitions import IntentDefinition, RuleDefinition
from control_plane.causality.lineage import HOP_COUNT_MAX
from control_plane.messages.event import EFFECT_JUDGED, OUTCOME_PREFIX
from control_plane.workspace.flaws import Flaws, Place
from control_plane.workspace.rule_checks import waits_for_silence

AGENTS_MAX = 256
"""Of more agents that hear of actions, only those are named that are a circle by themselves: paths among them cost the
square of their number."""

_ONLY_INTENT = re.compile(r"""\bdata\.intent\s*==\s*(["'])(?P<intent>\w+)\1""")
_MAY_HOLD_OTHERWISE = re.compile(r"\|\||\?|!(?!=)|\bin\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearer:
    """An agent that hears of actions, with where it says so. `of` is the intent that it asks for, None for any;
    `elsewhere` says that it acts on other subjects than it hears of."""

    name: str
    file: str
    place: Place | None
    heard: tuple[str, ...]
    intents: tuple[str, ...]
    is_judged: bool = True
    of: str | None = None
    on_ticks: bool = False
    elsewhere: bool = False


def hearer_of(rule: RuleDefinition, file: str, place: Place | None) -> Hearer | None:
    """A rule that hears of actions; None for one that does not."""
    heard = of_actions((rule.on,) if isinstance(rule.on, str) else rule.on)
    if not heard:
        return None
    return Hearer(
        name=rule.rule,
        file=file,
        place=place,
        heard=heard,
        intents=(rule.propose.intent,),
        is_judged=rule.expects is not None,
        of=_only_intent(rule.when),
        on_ticks=rule.for_ is not None or waits_for_silence(rule),
        elsewhere=rule.propose.subject is not None,
    )


def of_actions(types: Collection[str]) -> tuple[str, ...]:
    """Those event types that tell what came of an action."""
    return tuple(found for found in types if found.startswith(OUTCOME_PREFIX) or found == EFFECT_JUDGED)


def warn_of_circles(
    hearers: Sequence[Hearer], intents: Mapping[str, IntentDefinition], flaws: Flaws, agents_max: int = AGENTS_MAX
) -> None:
    """Warn of each circle once, at the first of its agents."""
    met: set[frozenset[str]] = set()
    for start in hearers:
        others = hearers if len(hearers) <= agents_max else [start]
        circle = _shortest(start, others)
        names = frozenset(agent.name for agent in circle)
        if circle and names not in met:
            met.add(names)
            problem = f"{start.name} acts on what follows from its own action: {_shown(circle)}"
            flaws.warn(start.file, start.place, problem, _bound(circle, intents))


def _shortest(start: Hearer, hearers: Sequence[Hearer]) -> tuple[Hearer, ...]:
    """The shortest way from an agent back to itself; empty when there is none."""
    paths: deque[tuple[Hearer, ...]] = deque([(start,)])
    met: set[str] = set()
    while paths:
        path = paths.popleft()
        for follower in _followers(path[-1], hearers):
            if follower.name == start.name:
                return path
            if follower.name not in met:
                met.add(follower.name)
                paths.append((*path, follower))
    return ()


def _followers(agent: Hearer, hearers: Sequence[Hearer]) -> Iterator[Hearer]:
    return (other for other in hearers if _link(agent, other) is not None)


def _link(agent: Hearer, other: Hearer) -> tuple[str, str] | None:
    """The intent and the event type by which one agent's action comes to another."""
    intent = other.of if other.of in agent.intents else None if other.of is not None else agent.intents[0]
    types = [found for found in other.heard if agent.is_judged or found != EFFECT_JUDGED]
    return (intent, types[0]) if intent is not None and types else None


def _shown(circle: Sequence[Hearer]) -> str:
    steps = [circle[0].name]
    for agent, other in zip(circle, (*circle[1:], circle[0]), strict=True):
        steps += [*(_link(agent, other) or ()), other.name]
    return " -> ".join(steps)


def _bound(circle: Sequence[Hearer], intents: Mapping[str, IntentDefinition]) -> str:
    """What ends it as things are, and what would end it sooner."""
    sooner = "Let a condition on it leave out what it leads to, as with data.intent."
    elsewhere = [agent.name for agent in circle if agent.elsewhere]
    if not any(agent.on_ticks for agent in circle):
        if elsewhere:
            return (
                f"{elsewhere[0]} acts on other subjects, so only the hop limit ends it, after {HOP_COUNT_MAX}. {sooner}"
            )
        return f"Within one flow nobody does the same to a subject twice, so it ends after one round on each. {sooner}"
    named = {intent for agent in circle for intent in agent.intents}
    cooldowns = {name: intents[name].limits.cooldown for name in sorted(named) if name in intents}
    slowing = [f"the cool-down of {name} ({time})" for name, time in cooldowns.items() if time is not None]
    waits = next(agent.name for agent in circle if agent.on_ticks)
    slowed = f"only {' and '.join(slowing)} slows it" if slowing else "no cool-down slows it"
    return f"{waits} decides when time has passed, which begins a new flow, so {slowed}. {sooner}"


def _only_intent(when: str) -> str | None:
    """The one intent whose outcomes a condition takes, if it says so and nothing in it says otherwise."""
    found = _ONLY_INTENT.search(when)
    return found["intent"] if found is not None and not _MAY_HOLD_OTHERWISE.search(when) else None
