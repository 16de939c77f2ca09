"""Which rows a tick steps is found without looking at those that wait longer; timers that are moved leave nothing."""

from collections.abc import Iterator
from random import Random

from control_plane.partition.rows import TIMERS_MIN, PartitionRows
from control_plane.ports.backbone import Start
from state.rows import Row, encode_row
from tests import builders


class Nothing:
    """A store without a row."""

    def get(self, key: bytes) -> None:
        return None

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(())


class Waiting:
    """Rows that want a tick, and beside them what should come of it."""

    def __init__(self) -> None:
        self.rows = PartitionRows(Nothing(), Start(next_offset=0, mark=b"", record_before=None))
        self.due: dict[str, int] = {}

    def wait(self, subject: str, due_ms: int | None) -> None:
        self.due.pop(subject, None)
        if due_ms is not None:
            self.due[subject] = due_ms
        row = Row(subject=subject, timers={} if due_ms is None else {"guard": due_ms})
        touched = self.rows.touch({}, subject)
        self.rows.replace(touched, row, encode_row(row), [])

    def found(self, now_ms: int) -> list[str]:
        return self.rows.waiting_for(builders.record(b"", recorded_ms=now_ms))

    def expected(self, now_ms: int) -> list[str]:
        return sorted(subject for subject, due_ms in self.due.items() if due_ms <= now_ms)


def test_a_tick_steps_exactly_the_rows_that_are_due() -> None:
    random, waiting = Random(1), Waiting()
    for now_ms in range(2_000):
        subject = f"service/web-{random.randrange(30)}"
        waiting.wait(subject, random.choice((None, now_ms + random.randrange(100))))
        assert waiting.found(now_ms) == waiting.expected(now_ms)
        assert waiting.rows.due_ms() == min(waiting.due.values(), default=None)


def test_timers_that_are_set_and_moved_on_do_not_pile_up() -> None:
    waiting = Waiting()
    for number in range(3 * TIMERS_MIN):
        waiting.wait("service/web-1", 10_000_000 + number)

    assert len(waiting.rows._timers) <= TIMERS_MIN + 3
    assert waiting.found(10_000_000 + 3 * TIMERS_MIN) == ["service/web-1"]
