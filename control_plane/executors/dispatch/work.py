"""One command in memory, the queues that it stands in, and the places at its executor."""

from collections import deque
from collections.abc import Callable

from control_plane.loop.execution import Standing, Terms
from control_plane.messages import Command
from control_plane.ports.executor import Executor
from control_plane.ports.ledger import Entry


class Work:
    """What is under way for one command. Changed only by dispatch; `standing` is how the pure part sees it."""

    __slots__ = (
        "attempt_over_ms",
        "attempts",
        "begun_ms",
        "command",
        "command_id",
        "doubtful",
        "first_look_ms",
        "gate",
        "looks",
        "to_look",
    )

    def __init__(self, entry: Entry, gate: "Gate | None") -> None:
        self.command: Command = entry.command
        self.command_id = entry.command.lineage.message_id
        self.gate = gate
        self.attempts = entry.attempts
        self.begun_ms = entry.begun_ms if entry.attempts else None
        self.doubtful = entry.begun
        timeout_ms = gate.terms.attempt_timeout_ms if gate else 0
        self.attempt_over_ms = (entry.begun_ms or 0) + timeout_ms
        self.looks = 0
        self.first_look_ms = 0
        self.to_look = False

    def standing(self) -> Standing:
        """What is known now."""
        return Standing(
            command=self.command,
            attempts=self.attempts,
            begun_ms=self.begun_ms,
            doubtful=self.doubtful,
            attempt_over_ms=self.attempt_over_ms,
            looks=self.looks,
            first_look_ms=self.first_look_ms,
        )


class Gate:
    """The places of one executor. Whoever finds none waits in line; who hangs takes no place of another executor."""

    def __init__(self, executor: Executor, terms: Terms, enter: Callable[[Work], None]) -> None:
        self.executor = executor
        self.terms = terms
        self._free = executor.concurrency_max
        self._enter = enter
        self._line: deque[Work] = deque()
        self._emptied: Callable[[], None] | None = None

    def ask(self, work: Work) -> None:
        """Go in now, or when somebody leaves."""
        if self._free:
            self._free -= 1
            self._enter(work)
        else:
            self._line.append(work)

    def leave(self) -> None:
        """Give the place to the next in line."""
        if self._line:
            self._enter(self._line.popleft())
            return
        self._free += 1
        self._say_if_empty()

    def retire(self, emptied: Callable[[], None]) -> deque[Work]:
        """Those inside end here, and `emptied` is called once the last has left. Gives those who stood in line."""
        waiting, self._line = self._line, deque()
        self._emptied = emptied
        self._say_if_empty()
        return waiting

    def _say_if_empty(self) -> None:
        if self._emptied is not None and self._free == self.executor.concurrency_max:
            self._emptied()
            self._emptied = None


class Lanes:
    """Commands by subject, in order: only the first of a lane is under way."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Work]] = {}

    def join(self, work: Work) -> bool:
        """Stand in line; True when it is this one's turn at once."""
        lane = self._lanes.get(work.command.subject)
        if lane is None:
            self._lanes[work.command.subject] = deque((work,))
            return True
        lane.append(work)
        return False

    def find(self, subject: str, command_id: str) -> Work | None:
        """A command that stands in its subject's lane."""
        return next((work for work in self._lanes.get(subject, ()) if work.command_id == command_id), None)

    def leave(self, work: Work) -> Work | None:
        """The first one is over; gives the next."""
        lane = self._lanes[work.command.subject]
        over = lane.popleft()
        assert over is work, "only the first of a lane can be over"
        if lane:
            return lane[0]
        del self._lanes[work.command.subject]
        return None
