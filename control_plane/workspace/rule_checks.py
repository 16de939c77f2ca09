"""Do a rule's keys make sense together? Each has its shape already; what they mean stands in `docs/rules.md`."""

import re
from collections.abc import Collection, Iterator, Mapping

from control_plane.catalogue.definitions import EVENT_TYPE_PATTERN, IntentDefinition, RowDefinition, RuleDefinition
from control_plane.durations import parse_duration_ms
from control_plane.messages.event import OF_THE_OWNER, TICK
from control_plane.workspace.flaws import Flaws, shown
from control_plane.workspace.yaml_tree import Node

CONDITIONS = ("count", "rate", "absent")
"""Keys that say what a rule waits for, instead of the last event alone."""

Complaint = tuple[Node, str, str]
"""Where, what, and the cure."""


def waits_for_silence(rule: RuleDefinition) -> bool:
    """Whether it fires because nothing comes: then there is no event to read from."""
    return rule.absent is not None or (rule.rate is not None and rule.rate.below is not None)


def check_rule(file: str, node: Node, rule: RuleDefinition, flaws: Flaws) -> None:
    """Add every flaw of one rule."""
    complaints = [
        *check_types(node, rule.rule, _listens_to(rule)),
        *_conditions(node, rule),
        *_without_end(node, rule),
        *_times(node, rule),
    ]
    for place, problem, cure in complaints:
        flaws.add(file, place, problem, cure)


def warn_of_stale_rows(
    file: str,
    node: Node,
    rule: RuleDefinition,
    intent: IntentDefinition,
    rows: Mapping[str, RowDefinition],
    flaws: Flaws,
) -> None:
    """A rule on silence that reads what only the missing events feed: the guard on freshness will always refuse it."""
    quiet = rule.absent or (rule.rate.window or rule.rate.per if rule.rate is not None and rule.rate.below else None)
    if quiet is None or parse_duration_ms(quiet) <= parse_duration_ms(intent.context_age_max):
        return
    for read in rule.reads:
        if read in rows and set(rows[read].on) <= set(_listens_to(rule)):
            problem = (
                f"{rule.rule} acts when nothing came for {quiet}, and reads {read}, which is {quiet} old by then; "
                f"{intent.intent} allows {intent.context_age_max}"
            )
            cure = f"Raise context_age_max of {intent.intent}, or do not read {read}."
            flaws.warn(file, node.get("reads"), problem, cure)


def warn_of_no_repeat(file: str, node: Node, rule: RuleDefinition, intent: IntentDefinition, flaws: Flaws) -> None:
    """A rule under a share of a fleet: denied for want of room, it must propose again, or nobody will."""
    repeats = rule.repeat_interval or intent.limits.cooldown
    if intent.limits.fleet_share_max is not None and repeats is None:
        problem = (
            f"{rule.rule} never repeats itself: when too much of the fleet is down for {intent.intent}, it is denied, "
            "and not heard of again while it fires"
        )
        cure = f"Give it a repeat_interval, or {intent.intent} a cooldown."
        flaws.warn(file, node.get("propose", "intent"), problem, cure)


def check_types(node: Node, name: str, heard: Collection[str]) -> Iterator[Complaint]:
    """What is wrong with what an agent listens to."""
    place = node.get("on") or node
    for event_type in heard:
        if not re.search(EVENT_TYPE_PATTERN, event_type):
            cure = "Write text: Past tense, as in service.started. Or: a list."
            yield place, f"on cannot be {shown(event_type)}", cure
    for event_type in sorted(OF_THE_OWNER.intersection(heard)):
        cure = "Use for or absent, or a timer in triggers/." if event_type == TICK else "Listen to another type."
        yield place, f"{name} listens to {event_type}, which no agent is shown", cure
    for event_type in sorted({t for t in heard if list(heard).count(t) > 1}):
        yield place, f"on lists {event_type} twice", "Take one of them out."


def _conditions(node: Node, rule: RuleDefinition) -> Iterator[Complaint]:
    named = [key for key in CONDITIONS if getattr(rule, key) is not None]
    if len(named) > 1:
        yield _key(node, named[1]), f"{' and '.join(named)} exclude one another", "Write a rule for each."
    if rule.rate is not None and (rule.rate.above is None) == (rule.rate.below is None):
        says = "neither above nor below" if rule.rate.above is None else "both above and below"
        yield _key(node, "rate"), f"rate says {says}", f"Name one of them, in matches per {rule.rate.per}."
    if rule.absent is not None and rule.for_ is not None:
        yield _key(node, "for"), "absent is a time already, and for would only add to it", "Make absent longer."


def _without_end(node: Node, rule: RuleDefinition) -> Iterator[Complaint]:
    """Keys on what comes after the condition, where nothing can ever end it."""
    if "when" in node.value or any(getattr(rule, key) is not None for key in CONDITIONS):
        return
    if rule.for_ is not None:
        problem = "for asks whether when goes on holding, and without a when nothing can end it"
        yield _key(node, "for"), problem, "Add when, or take for out."
    if rule.keep_firing_for is not None:
        problem = "keep_firing_for begins when when holds no longer, and without a when nothing can end it"
        yield _key(node, "keep_firing_for"), problem, "Add when, or take keep_firing_for out."


def _times(node: Node, rule: RuleDefinition) -> Iterator[Complaint]:
    for path in (("count", "window"), ("rate", "per"), ("rate", "window"), ("absent",)):
        place = node.get(*path)
        if place is not None and parse_duration_ms(place.value) == 0:
            yield place, f"{path[-1]} cannot be {place.value}: no time at all", "Write 1ms or more."
    once, repeat = rule.once_within, rule.repeat_interval
    if once is not None and repeat is not None and parse_duration_ms(repeat) < parse_duration_ms(once):
        problem = f"repeat_interval is {repeat}, and once_within lets it propose every {once} at most"
        yield _key(node, "repeat_interval"), problem, "Make repeat_interval longer, or take one of the two out."


def _listens_to(rule: RuleDefinition) -> list[str]:
    return [rule.on] if isinstance(rule.on, str) else rule.on


def _key(node: Node, key: str) -> Node:
    place: Node = node.value[key].key
    return place


def readable(rule: RuleDefinition, on_event: Collection[str], later: Collection[str]) -> Mapping[str, Collection[str]]:
    """What each expression of a rule may read. A rule that may fire on a tick has no event at hand then."""
    silence = waits_for_silence(rule)
    elsewhere = rule.propose.subject is not None
    by_tick = silence or rule.for_ is not None
    return {
        "when": on_event,
        "because": later if silence else on_event,
        "subject": later if by_tick else on_event,
        # On the other subject's row, where the event is the proposal.
        "still_when": later if by_tick or elsewhere else on_event,
        "where": later,
        "harm": later,
    }
