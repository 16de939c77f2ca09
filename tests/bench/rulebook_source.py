"""The source plug-in that feeds ansible-rulebook, and counts what it did. Runs in its process, not in ours.

ansible-rulebook starts it by its path (`--source-dir`). It puts an event as soon as the one before is taken, each read
from its JSON as the other side reads it. Events that fire nothing come before the clock runs, so that Java has compiled
what is hot. The clock stops at the last action.
"""

import asyncio
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ansible_rulebook import rule_set_runner
from ansible_rulebook.action.noop import Noop

FIRED_AT_MOST_S = 60.0
LATE_ACTIONS_S = 0.5


class Fired:
    """How often each rule's action was carried out, and when the last one was."""

    def __init__(self, expected: int) -> None:
        self.by_rule: Counter[str] = Counter()
        self.last_at = 0.0
        self.all_there = asyncio.Event()
        self._expected = expected

    def note(self, rule: str) -> None:
        self.by_rule[rule] += 1
        self.last_at = time.perf_counter()
        if self.by_rule.total() == self._expected:
            self.all_there.set()


async def main(queue: Any, args: dict[str, Any]) -> None:
    """Called by ansible-rulebook. When it returns, ansible-rulebook stops."""
    fired = Fired(int(args["fires"]))
    _count_actions(fired)
    for line in Path(args["warm_up"]).read_text(encoding="utf-8").splitlines():
        await queue.put(json.loads(line))
    lines = Path(args["events"]).read_text(encoding="utf-8").splitlines()
    began = time.perf_counter()
    for line in lines:
        await queue.put(json.loads(line))
    try:
        await asyncio.wait_for(fired.all_there.wait(), FIRED_AT_MOST_S)
    finally:
        # What fired too often would come now. Too few is for the bench to say, which knows how many there must be.
        await asyncio.sleep(LATE_ACTIONS_S)
        took_s = fired.last_at - began
        answer = {"per_s": len(lines) / took_s if took_s > 0 else 0.0, "fired": dict(fired.by_rule)}
        Path(args["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _count_actions(fired: Fired) -> None:
    """Their cheapest action, `none`, counted in their process: printing would cost them more."""

    class Counted(Noop):  # type: ignore[misc]
        async def __call__(self) -> None:
            await super().__call__()
            fired.note(self.helper.metadata.rule)

    rule_set_runner.ACTION_CLASSES["none"] = Counted
