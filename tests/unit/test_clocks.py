"""What executors that share a ledger agree on, however wrong their machines' clocks are."""

import time

import pytest

from control_plane.adapters.system import SharedClock

DAY_MS = 86_400_000


def test_a_shared_clock_goes_on_from_what_it_was_told() -> None:
    first = SharedClock(1_000)
    between_ms = first.now_ms()

    assert 1_000 <= between_ms <= first.now_ms() < 1_000 + DAY_MS


def test_nobody_who_sets_the_machines_clock_sets_a_shared_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = SharedClock(1_000)

    monkeypatch.setattr(time, "time_ns", lambda: time.monotonic_ns() + DAY_MS * 1_000_000)

    assert shared.now_ms() < 1_000 + DAY_MS
