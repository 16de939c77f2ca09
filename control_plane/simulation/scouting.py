"""Finds out which stories lead to an act in a workspace: events are tried on the whole loop in memory, without faults.

So each run can hold a few that do, and no run is spent on a house in which nothing happens.
"""

from collections import Counter
from collections.abc import Sequence
from random import Random

from msgspec import Struct

from control_plane.catalogue import Controls
from control_plane.causality import Lineage
from control_plane.cycle import Cycle
from control_plane.errors import Flaw, InvalidWorkspace
from control_plane.loop.step import Said
from control_plane.messages import Command, Event, Outcome, Question, Ruling
from control_plane.messages.event import SUBJECT_REGISTERED
from control_plane.messages.outcome import Status
from control_plane.messages.wire import utc
from control_plane.ports.policy_engine import PolicyEngine
from control_plane.simulation.ledger import at_once
from control_plane.simulation.palette import Data, Palette, kinds_of

START_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""

TRIES_MAX = 900
IDLE_TRIES_MAX = 150
"""After so many tries that told nothing new no more are made."""
STORIES_PER_AGENT = 4
EVENTS_PER_STORY_MAX = 10
AFTERWARDS_MS = 61_000
"""How long is waited for what a rule does when nothing else comes."""


class Told(Struct, frozen=True, kw_only=True):
    """One event of a story, so long after the one before it."""

    after_ms: int
    type: str
    data: Data


class Story(Struct, frozen=True, kw_only=True):
    """Events on one subject after which these agents acted."""

    kind: str
    events: tuple[Told, ...]
    agents: tuple[str, ...]


class Scouted(Struct, frozen=True, kw_only=True):
    """What is known of a workspace before the first run. `names` are subjects that something was done to, by kind."""

    palette: Palette
    stories: tuple[Story, ...]
    names: dict[str, tuple[str, ...]]
    kinds: dict[str, tuple[str, ...]]


def scout(palette: Palette, controls: Controls, engine: PolicyEngine, name: str) -> Scouted:
    """Try until every agent has acted a few times, or long enough. Raises InvalidWorkspace when nothing ever acts."""
    random = Random(0)
    kinds = {kind: tuple(types) for kind, types in kinds_of(controls).items() if types}
    told: Counter[str] = Counter()
    stories: list[Story] = []
    names: dict[str, dict[str, None]] = {kind: {} for kind in kinds}
    wanted = {agent.agent.name for agent in controls.agents if not agent.slow}
    idle = 0
    for _ in range(TRIES_MAX if kinds else 0):
        idle += 1
        if stories and idle > IDLE_TRIES_MAX:
            break
        kind = random.choice(list(kinds))
        subject = random.choice(palette.names)
        story = _try(kind, subject, _drawn(kinds[kind], palette, random), palette, controls, engine)
        if story is None:
            continue
        names[kind].setdefault(subject)
        if any(told[agent] < STORIES_PER_AGENT for agent in story.agents):
            stories.append(story)
            told.update(story.agents)
            idle = 0
        if wanted and all(told[agent] >= STORIES_PER_AGENT for agent in wanted):
            break
    if not stories:
        raise InvalidWorkspace((_nothing_acts(name),))
    known = {kind: tuple(found) for kind, found in names.items() if found}
    return Scouted(palette=palette, stories=tuple(stories), names=known, kinds=kinds)


def _nothing_acts(name: str) -> Flaw:
    return Flaw(
        file=name,
        line=0,
        column=0,
        problem=f"{TRIES_MAX} stories of events were tried, and none of them led to a command",
        cure="See with `setpoint explain` why agents stay silent or policy denies.",
    )


def _drawn(types: Sequence[str], palette: Palette, random: Random) -> tuple[Told, ...]:
    """A few events that are mostly alike: what lasts and what is counted must come again."""
    favourites = {event_type: random.choice(palette.data[event_type]) for event_type in types}
    some = random.sample(list(types), random.randint(1, min(3, len(types))))
    after_ms = palette.span_ms(random)
    told = []
    for _ in range(random.randint(1, EVENTS_PER_STORY_MAX)):
        event_type = random.choice(some)
        data = favourites[event_type] if random.random() < 0.8 else random.choice(palette.data[event_type])
        told.append(
            Told(after_ms=after_ms if random.random() < 0.8 else palette.span_ms(random), type=event_type, data=data)
        )
    return tuple(told)


def _try(
    kind: str, name: str, told: tuple[Told, ...], palette: Palette, controls: Controls, engine: PolicyEngine
) -> Story | None:
    """The story, cut off where the last act followed; None when there was none."""
    subject, now_ms = f"{kind}/{name}", START_MS

    def rule(question: Question) -> Ruling:
        return at_once(engine.rule(question, controls.policies))

    cycle = Cycle(controls, rule, _succeed)
    if palette.has_fleets:
        for number, other in enumerate(dict.fromkeys([name, *palette.names])):
            list(cycle.feed(_event(SUBJECT_REGISTERED, f"{kind}/{other}", f"r{number}", {}, now_ms), now_ms))
    agents: dict[str, None] = {}
    last = 0
    for number, one in enumerate(told):
        now_ms += one.after_ms
        said = [*cycle.tick(now_ms), *cycle.feed(_event(one.type, subject, str(number), one.data, now_ms), now_ms)]
        if number == len(told) - 1:
            said += _waited(cycle, now_ms)
        for message in said:
            if isinstance(message, Command):
                agents.setdefault(message.agent)
                last = number + 1
    return Story(kind=kind, events=told[:last], agents=tuple(agents)) if agents else None


def _waited(cycle: Cycle, now_ms: int) -> list[Said | Outcome]:
    said: list[Said | Outcome] = []
    for after_ms in range(500, AFTERWARDS_MS, 500):
        said += cycle.tick(now_ms + after_ms)
        if not any(row.due_ms() is not None for row in cycle.rows.values()):
            break
    return said


def _succeed(_command: Command) -> Status:
    return "succeeded"


def _event(event_type: str, subject: str, event_id: str, data: Data, now_ms: int) -> Event:
    return Event(
        lineage=Lineage.root("scout", event_id), type=event_type, subject=subject, occurred_at=utc(now_ms), data=data
    )
