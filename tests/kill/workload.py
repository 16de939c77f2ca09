"""The load on the parcels: events posted at a steady rate, each until it is acknowledged."""

import json
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

SUBJECTS_HOT = 20
"""Half of the load is on these: they meet commands that are still live, and the storm brake."""
SUBJECTS = 2_000
BELTS = 12
"""A fleet; its members are registered before anything else happens."""
EVENTS_PER_POST = 5
WEIGHED_SHARE, DAMAGED_SHARE, SLOWED_SHARE = 0.25, 0.05, 0.10
KEY = "kill-harness-key-0001"
SCANNED, WEIGHED, DAMAGED = "parcel.scanned", "parcel.weighed", "parcel.damaged"
SLOWED, REGISTERED = "belt.slowed", "subject.registered"


@dataclass
class Load:
    """Events posted at a steady rate until stopped; one that was not acknowledged is posted again, with the same id.

    `acknowledged` holds the ids that REST answered 202 for: those must not be lost.
    """

    url: str
    seed: int
    events_per_s: float = 150.0
    acknowledged: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    posts_failed: int = 0

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._given_up = threading.Event()
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._random = random.Random(self.seed)

    def start(self) -> None:
        """Begin posting."""
        self._thread.start()

    def until_acknowledged(self, more: int, timeout_s: float = 60.0) -> None:
        """Return once so many more events are acknowledged."""
        wanted = len(self.acknowledged) + more
        with self._grown:
            in_time = self._grown.wait_for(lambda: len(self.acknowledged) >= wanted, timeout_s)
        assert in_time, f"the service did not take {more} events within {timeout_s:g} s"

    def stop(self, timeout_s: float = 60.0) -> None:
        """Stop making new events, and return once all that were made are acknowledged."""
        self._stop.set()
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), "the last events were never acknowledged: the service is not up"

    def give_up(self) -> None:
        """End the thread, whatever was acknowledged: for a run that failed."""
        self._stop.set()
        self._given_up.set()
        self._thread.join()

    def _run(self) -> None:
        interval_s = EVENTS_PER_POST / self.events_per_s
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10.0) as client:
            while not self._stop.is_set():
                began = time.monotonic()
                self._post(client, [self._event() for _ in range(EVENTS_PER_POST)])
                self._stop.wait(max(0.0, interval_s - (time.monotonic() - began)))

    def _event(self) -> dict[str, Any]:
        if len(self.order) < BELTS:
            return self._of(REGISTERED, f"belt/{len(self.order)}", {})
        share = self._random.random()
        if share < SLOWED_SHARE:
            return self._of(SLOWED, f"belt/{self._random.randrange(BELTS)}", {"mpm": self._random.randrange(20)})
        parcel = f"parcel/{self._random.randrange(SUBJECTS_HOT if self._random.random() < 0.5 else SUBJECTS)}"
        if share < SLOWED_SHARE + DAMAGED_SHARE:
            return self._of(DAMAGED, parcel, {"dent": self._random.random() < 0.5})
        if share < SLOWED_SHARE + DAMAGED_SHARE + WEIGHED_SHARE:
            return self._of(WEIGHED, parcel, self._weight())
        return self._of(SCANNED, parcel, {"n": len(self.order) + 1, "ship": self._random.random() < 0.5})

    def _of(self, event_type: str, subject: str, data: dict[str, Any]) -> dict[str, Any]:
        self.order.append(f"event-{self.seed}-{len(self.order) + 1}")
        envelope = {"specversion": "1.0", "id": self.order[-1], "source": "kill-harness"}
        return {**envelope, "type": event_type, "subject": subject, "data": data}

    def _weight(self) -> dict[str, Any]:
        return {"kg": round(self._random.uniform(0.0, 40.0), 2)}

    def _post(self, client: httpx.Client, events: list[dict[str, Any]]) -> None:
        body = json.dumps(events)
        while not self._given_up.is_set():
            try:
                answer = client.post(
                    "/v1/events", content=body, headers={"Content-Type": "application/cloudevents-batch+json"}
                )
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 202:
                with self._grown:
                    self.acknowledged.update(event["id"] for event in events)
                    self._grown.notify_all()
                return
            assert answer is None or answer.status_code >= 500, f"{answer.status_code} {answer.text}"
            self.posts_failed += 1
            # The service is down; nothing tells when it listens again but asking.
            self._given_up.wait(0.05)
