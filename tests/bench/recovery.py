"""How soon a killed service acts again, with many rows: from its start to a command that rests on what it knew before.

Run as `python -m tests.bench.recovery [SUBJECTS]`. Prints JSON. The event that makes it act is posted as soon as REST
answers; the agent acts only if the subject's row, folded before the kill, is there.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_settings, load_workspace
from control_plane.causality import Lineage
from control_plane.messages import Event, topics
from control_plane.messages.wire import encode_event, utc
from control_plane.ports.backbone import Output
from tests.bench.ours import FEED_RECORDS, Watch
from tests.bench.workspace import write_workspace

SUBJECTS = 100_000
KEY = "bench-recovery-key-0001"
LISTEN = "127.0.0.1:17171"
TIMEOUT_S = 120.0

_AGENT = '''\
"""Ships a parcel that was scanned before."""

from control_plane.sdk import Agent


class Shipper(Agent):
    name = "shipper"
    version = "1.0.0"
    listens_to = ("parcel.scanned",)
    reads = ("parcel_log",)
    intents = ("ship_parcel",)

    def decide(self, context):
        data = context.event.data
        if not data["ship"] or context.rows["parcel_log"]["weight_max"] < 1000:
            return ()
        return (context.propose("ship_parcel", because="heavy before", parameters={"n": data["n"]}),)
'''


def measure(subjects: int) -> dict[str, float]:
    """Fill, kill, start again, and see it act."""
    with tempfile.TemporaryDirectory(prefix="setpoint-recovery-") as folder:
        root = Path(folder)
        write_workspace(root)
        (root / "agents" / "shipper.py").write_text(_AGENT, encoding="utf-8")
        filler = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.bench.recovery", "fill", folder, str(subjects)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert filler.stdout is not None
        assert filler.stdout.readline() == "filled\n", "the rows could not be filled"
        filler.send_signal(signal.SIGKILL)
        filler.wait()
        return {"subjects": subjects, **_again(root)}


def _again(root: Path) -> dict[str, float]:
    began = time.perf_counter()
    environment = {**os.environ, "SETPOINT_API_KEY": KEY, "SETPOINT_LISTEN": LISTEN}
    command = [sys.executable, "-m", "control_plane.cli.main", "up", str(root)]
    service = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://{LISTEN}", headers={"Authorization": f"Bearer {KEY}"}) as client:
            _posted(client, began)
            accepted_s = time.perf_counter() - began
            while not client.get("/v1/commands").json()["items"]:
                assert time.perf_counter() - began < TIMEOUT_S, "it never acted"
                time.sleep(0.005)
            return {"event_accepted_s": accepted_s, "acted_s": time.perf_counter() - began}
    finally:
        service.terminate()
        service.wait(30)


def _posted(client: httpx.Client, began: float) -> None:
    event = {
        "specversion": "1.0",
        "id": "after-the-kill",
        "source": "bench",
        "type": "parcel.scanned",
        "subject": "parcel/7",
        "data": {"n": 7, "ship": True, "weight_kg": 1, "site": "site-7"},
    }
    while True:
        assert time.perf_counter() - began < TIMEOUT_S, "it never came up"
        try:
            answer = client.post("/v1/events", json=event, headers={"Content-Type": "application/cloudevents+json"})
            assert answer.status_code == 202, answer.text
            return
        except httpx.ConnectError:
            time.sleep(0.005)


async def fill(root: Path, subjects: int) -> None:
    """One event about each subject, folded and committed; then wait to be killed."""
    workspace = load_workspace(root)
    settings = load_settings(root, {}, {"listen": "127.0.0.1:0"}, workspace)
    service, watch = Service(settings, workspace, ("loop", "recorder")), Watch()
    service.observe(watch)
    await service.start()
    now_ms = time.time_ns() // 1_000_000
    for first in range(0, subjects, FEED_RECORDS):
        await service.backbone.append([_heavy(n, now_ms) for n in range(first, min(subjects, first + FEED_RECORDS))])
    assert service.recorder is not None
    while watch.folded < subjects or service.recorder.taken < subjects:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
    print("filled", flush=True)
    await asyncio.sleep(TIMEOUT_S)


def _heavy(n: int, now_ms: int) -> Output:
    subject = f"parcel/{n}"
    event = Event(
        lineage=Lineage.root("bench", f"before-{n}"),
        type="parcel.scanned",
        subject=subject,
        occurred_at=utc(now_ms),
        data={"n": n, "ship": False, "weight_kg": 2000, "site": f"site-{n % 7}"},
    )
    return Output(topics.EVENTS, subject.encode(), encode_event(event))


if __name__ == "__main__":
    if sys.argv[1:2] == ["fill"]:
        asyncio.run(fill(Path(sys.argv[2]), int(sys.argv[3])))
    else:
        print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else SUBJECTS)))
