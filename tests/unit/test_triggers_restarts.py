"""A real service with triggers, killed again and again while facts come in: none is lost, none has two ids."""

import json
import random
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import pytest

from tests.unit.cli_world import setpoint
from tests.unit.killed_world import PATIENCE_S, listed, up

KILLS = 3
FILES = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "rows/orders.yaml": "row: orders\non: [order.placed, clock.struck]\nfields: {n: {count: {window: 1h}}}\n",
    "triggers/lines.yaml": """
trigger: lines
kind: folder
path: inbox
interval: 50ms
event: {type: order.placed, subject: '"order/" + string(item.n % 7)'}
""",
    "triggers/seconds.yaml": """
trigger: seconds
kind: timer
every: 200ms
event: {type: clock.struck, subject: '"clock/here"'}
""",
}


@pytest.mark.kills
@pytest.mark.timeout(300)
def test_kills_neither_lose_a_line_nor_a_moment_nor_give_one_two_ids(tmp_path: Path) -> None:
    chance = random.Random(7)
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.lstrip())
    (tmp_path / "inbox").mkdir()
    log, written = tmp_path / "inbox" / "a.jsonl", 0

    def write(count: int) -> None:
        nonlocal written
        with log.open("a") as file:
            for n in range(written, written + count):
                file.write(json.dumps({"n": n}) + "\n")
        written += count

    for n in range(KILLS):
        write(300)
        with up(tmp_path):
            write(300)
            if n % 2:
                log.rename(log.with_name(f"a.jsonl.{n}"))
            write(300)
            time.sleep(chance.uniform(0.0, 0.3))  # The kill comes whenever it comes.
    with up(tmp_path) as client:
        ends = time.monotonic() + PATIENCE_S
        while len(lines := listed(client, "order.placed")) < written:
            assert time.monotonic() < ends, f"{len(lines)} of {written}"
            time.sleep(0.1)
        moments = listed(client, "clock.struck")

    ids_of: dict[int, set[str]] = defaultdict(set)
    for event in lines:
        ids_of[event["data"]["n"]].add(event["id"])
    assert sorted(ids_of) == list(range(written))
    assert [n for n, ids in ids_of.items() if len(ids) > 1] == []
    assert len(moments) == len({event["id"] for event in moments})
    struck = [datetime.fromisoformat(event["id"]) for event in moments]
    assert struck == sorted(struck)
    equal = setpoint("replay", "--data", str(tmp_path / "data"))
    assert (equal.exit_code, equal.stdout.splitlines()[-1]) == (0, "equal")
