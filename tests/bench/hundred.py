"""A hundred rules on one event type, as a workspace of ours and as a rulebook of ansible-rulebook, and events for both.

Both are written from the same rules, and both read the same bytes. Which event fires which rule is known before either
has run.
"""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from control_plane.causality import Lineage
from control_plane.messages import Event, topics
from control_plane.messages.wire import encode_event, utc
from control_plane.ports.backbone import Output
from tests.bench.load import SUBJECTS
from tests.bench.workspace import write_workspace

RULES = 100
FIRING_EVERY = 100
EVENT_TYPE = "parcel.scanned"

_RULE = """\
rule: {name}
version: 1.0.0
on: {on}
when: data.weight_kg > {limit} && data.site == "{site}"
propose: {{intent: ship_parcel, because: "too heavy for its site"}}
"""
# Without the type, which is the same for all that the source gives: to ask each time would only cost them.
_CONDITION = 'event.data.weight_kg > {limit} and event.data.site == "{site}"'


class HeavyAt(NamedTuple):
    """One of the rules: what weighs more than its limit, at its site."""

    name: str
    limit: int
    site: str


def the_rules() -> list[HeavyAt]:
    """All of them, each with a limit and a site of its own."""
    return [HeavyAt(f"heavy_{n}", 50 + n, f"site-{n}") for n in range(RULES)]


def write_rules(root: Path) -> None:
    """The workspace that the other measures have, with these rules for its agents and nothing to remember."""
    write_workspace(root)
    shutil.rmtree(root / "rows")
    shutil.rmtree(root / "agents")
    (root / "agents").mkdir()
    for rule in the_rules():
        text = _RULE.format(on=EVENT_TYPE, **rule._asdict())
        (root / "agents" / f"{rule.name}.yaml").write_text(text, encoding="utf-8")


def write_rulebook(path: Path, source: str, arguments: dict[str, Any]) -> None:
    """The rulebook, as JSON, which is YAML. Its action does nothing but say that it was done."""
    rules = [
        {
            "name": rule.name,
            "condition": _CONDITION.format(**rule._asdict()),
            "action": {"none": {}},
        }
        for rule in the_rules()
    ]
    ruleset = {"name": "hundred", "hosts": "all", "sources": [{source: arguments}], "rules": rules}
    path.write_text(json.dumps([ruleset], indent=1), encoding="utf-8")


def scans(count: int, now_ms: int, *, firing: bool = True, prefix: str = "scan") -> list[Output]:
    """Events at the rules' sites in turn, each a little too light for the rule of its site, but for the last of each
    hundred, which fires that rule and no other.

    Those that fire have a subject of their own: a subject has one live command at a time.
    """
    found, rules = [], the_rules()
    for n in range(count):
        rule, fires = _rule_of(n, rules), firing and _fires(n)
        weight = rule.limit + 1 + n % 7 if fires else (n * 37) % (rule.limit + 1)
        subject = f"parcel/own-{n}" if fires else f"parcel/{n % SUBJECTS}"
        event = Event(
            lineage=Lineage.root("bench", f"{prefix}-{n}"),
            type=EVENT_TYPE,
            subject=subject,
            occurred_at=utc(now_ms),
            data={"n": n, "weight_kg": weight, "site": rule.site},
        )
        found.append(Output(topics.EVENTS, subject.encode(), encode_event(event)))
    return found


def fired(count: int) -> Counter[str]:
    """How often each rule fires on so many events."""
    rules = the_rules()
    return Counter(_rule_of(n, rules).name for n in range(count) if _fires(n))


def _fires(n: int) -> bool:
    return n % FIRING_EVERY == FIRING_EVERY - 1


def _rule_of(n: int, rules: list[HeavyAt]) -> HeavyAt:
    """Each hundred events begin one rule further on, so that in time every rule fires."""
    return rules[(n + n // FIRING_EVERY) % len(rules)]
