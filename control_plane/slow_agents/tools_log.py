"""What `tools.v1` holds of late, as far as slow agents need it: answers that stand there, and what was used up.

Read back once before the first question, then kept up with what this process appends, and with what it is told that
others did. Bounded: what is older than the bounds is as if it had never been; then a question may be asked again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from control_plane.messages import Learnt, Usage, topics
from control_plane.messages.wire import decode
from control_plane.ports.backbone import Position, Record
from control_plane.ports.log_reader import LogReader
from control_plane.slow_agents.spending import DAY_MS, Spending

READ_BACK_RECORDS_MAX: Final = 20_000
"""Of each partition, from its end."""

ANSWERS_BYTES_MAX: Final = 32 * 1024 * 1024
"""Answers that are at hand. They matter until the offset behind their context is committed."""

HELD_MAX: Final = 256
"""Answers that the log did not take when it was away."""

AGENTS_MAX: Final = 1_000
"""Agents whose spending is known; a log that names more was not written by this workspace."""


class _Head(Struct):
    agent: str
    invocation_id: str = ""
    at_most: Usage = Usage()
    usage: Usage = Usage()


class _Record(Struct):
    id: str
    data: _Head


_head_decoder = msgspec.json.Decoder(_Record)


class ToolsLog:
    """Answers by invocation, spending by agent."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, bytes] = OrderedDict()
        self._answers_bytes = 0
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._spending: dict[str, Spending] = {}
        self._own: dict[int, set[int]] = {}
        self._read_to: dict[int, int] = {}

    def read_back(self, reader: LogReader, now_ms: int) -> None:
        """What the log holds already, as far back as the longest window of a budget. Blocking."""
        for partition in range(reader.partitions(topics.TOOLS)):
            first, end = reader.bounds(topics.TOOLS, partition)
            first = max(first, end - READ_BACK_RECORDS_MAX)
            self._read_to[partition] = _first_since(reader, partition, first, end, now_ms - DAY_MS)
            for record in reader.read(topics.TOOLS, partition, self._read_to[partition]):
                self._read_to[partition] = record.offset + 1
                self._note(record.value, record.recorded_ms)

    def news(self, reader: LogReader) -> list[Record]:
        """What was appended since it was read last, by whoever; `heard` takes it in. Blocking, on any thread."""
        found: list[Record] = []
        for partition in range(reader.partitions(topics.TOOLS)):
            found += reader.read(topics.TOOLS, partition, self._read_to.get(partition, 0))
        return found

    def heard(self, records: Sequence[Record]) -> None:
        """Records that were read on; those of this process are known."""
        for record in records:
            self._read_to[record.partition] = record.offset + 1
            own = self._own.get(record.partition, set())
            if record.offset in own:
                own.discard(record.offset)
            else:
                self._note(record.value, record.recorded_ms)

    def appended(self, position: Position, value: bytes, at_ms: int, *, followed: bool) -> None:
        """One more record, of this process. `followed` says that it will be read as well."""
        if followed:
            if position.offset < self._read_to.get(position.partition, 0):
                return
            self._own.setdefault(position.partition, set()).add(position.offset)
        self._note(value, at_ms)

    def answer(self, invocation_id: str) -> Learnt | None:
        """What an invocation has taught, if that stands on the log."""
        found = self._answers.get(invocation_id)
        return None if found is None else decode(found, Learnt)

    def hold(self, invocation_id: str, learnt: bytes) -> None:
        """What was learnt and the log did not take: when its context comes again nobody is asked again."""
        self._held[invocation_id] = learnt
        while len(self._held) > HELD_MAX:
            self._held.popitem(last=False)

    def held(self, invocation_id: str) -> bytes | None:
        """What is held of an invocation; it is given back once."""
        return self._held.pop(invocation_id, None)

    def spending(self, agent: str) -> Spending:
        """What an agent has used up."""
        found = self._spending.get(agent)
        if found is None:
            while len(self._spending) >= AGENTS_MAX:
                del self._spending[next(iter(self._spending))]
            found = self._spending[agent] = Spending()
        return found

    def _note(self, value: bytes, at_ms: int) -> None:
        try:
            found = _head_decoder.decode(value)
        except msgspec.MsgspecError:
            return  # No record of ours: only Setpoint writes here, so a foreign one says nothing that is needed.
        spending = self.spending(found.data.agent)
        if not found.data.invocation_id:
            spending.invoked(found.id, at_ms, found.data.at_most)
            return
        spending.learnt(found.data.invocation_id, at_ms, found.data.usage)
        self._keep(found.data.invocation_id, value)

    def _keep(self, invocation_id: str, value: bytes) -> None:
        if invocation_id in self._answers:
            return  # The first one counts: it is what the agent was given.
        self._answers[invocation_id] = value
        self._answers_bytes += len(value)
        while self._answers_bytes > ANSWERS_BYTES_MAX:
            _, dropped = self._answers.popitem(last=False)
            self._answers_bytes -= len(dropped)


def _first_since(reader: LogReader, partition: int, first: int, end: int, since_ms: int) -> int:
    """The first of these offsets whose record is of that time or later. Append times never go back."""
    while first < end:
        middle = (first + end) // 2
        record = next(iter(reader.read(topics.TOOLS, partition, middle)), None)
        if record is not None and record.recorded_ms < since_ms:
            first = middle + 1
        else:
            end = middle
    return first
