"""Where a person's words stand on the embedded log (words.WordLog)."""

from control_plane.adapters.embedded_log import Append, EmbeddedLog
from control_plane.adapters.faust.own_rows import WORD_KEY, decode_word, encode_word
from control_plane.adapters.faust.topics import Names
from control_plane.adapters.faust.words import Place
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import LOOP_GROUP, WentOn


class EmbeddedWords:
    """Of all partitions."""

    def __init__(self, log: EmbeddedLog, names: Names) -> None:
        self._log = log
        self._names = names
        self._read: dict[int, tuple[int, WentOn]] = {}

    async def word_on(self, partition: int) -> WentOn:
        next_offset, word = self._read.get(partition, (0, WentOn(partition=partition)))
        while records := self._log.read(self._names.changelog, partition, next_offset):
            next_offset = records[-1].offset + 1
            for record in records:
                if record.key == WORD_KEY:
                    word = decode_word(record.value, partition)
        self._read[partition] = (next_offset, word)
        return word

    async def say(self, word: WentOn) -> None:
        self._log.write([Append(self._names.changelog, word.partition, WORD_KEY, encode_word(word))])
        await self._log.durable()

    async def place(self, partition: int) -> Place:
        committed = self._log.committed(self._names.group(LOOP_GROUP), EVENTS, partition)
        return Place(None if committed is None else committed.offset, *self._log.bounds(EVENTS, partition))
