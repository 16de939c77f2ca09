"""A person's word: how a partition that was stopped goes on, in whichever process it is.

The word stands in the changelog of the partition's rows, where its next owner reads it. A process with stopped
partitions looks for it from time to time and then has the group share them anew.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from aiokafka.errors import KafkaError

from control_plane.adapters.faust.parts import GroupPart
from control_plane.adapters.faust.pinned import GroupApp
from control_plane.adapters.faust.topics import Names
from control_plane.errors import BackboneUnavailable, InvalidSettings
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import WentOn

LOOK_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where the loop stands in a partition of `events.v1`, and what is kept of it."""

    committed: int | None
    first: int
    end: int


class WordLog(Protocol):
    """Where words stand."""

    async def word_on(self, partition: int) -> WentOn:
        """The last one. Raises BackboneUnavailable and KafkaError."""

    async def say(self, word: WentOn) -> None:
        """Have one stand there. Raises BackboneUnavailable."""

    async def place(self, partition: int) -> Place:
        """Raises BackboneUnavailable and KafkaError."""


class Words:
    """Runs from the start of a backbone to its stop."""

    def __init__(self, log: WordLog, apps: Mapping[str, GroupApp], names: Names) -> None:
        """`apps` by the plain name of their group."""
        self._log = log
        self._apps = apps
        self._names = names
        self._spoken = asyncio.Event()
        self._task = asyncio.create_task(self._listen_for_ever(), name="words")

    def stopped(self) -> Mapping[tuple[str, str, int], str]:
        """Why each partition that is stopped is."""
        return {
            (group, self._names.above(tp.topic), tp.partition): found.why
            for group, app in self._apps.items()
            for tp, found in app.part.stopped.items()
        }

    async def say(self, partition: int, from_offset: int | None) -> WentOn:
        """Let a partition go on. Raises BackboneUnavailable, InvalidSettings."""
        if not 0 <= partition < self._names.partitions:
            raise InvalidSettings(
                f"{EVENTS} has no partition {partition}, only 0 to {self._names.partitions - 1}. Nothing was changed."
            )
        try:
            last, place = await self._log.word_on(partition), await self._log.place(partition)
        except KafkaError as error:
            raise BackboneUnavailable(f"Kafka did not answer: {error!r}. Nothing was changed. Try again.") from error
        word = WentOn(partition=partition, generation=last.generation + 1, next_offset=_next_offset(place, from_offset))
        await self._log.say(word)
        self._spoken.set()
        return word

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _listen_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._spoken.wait(), LOOK_EVERY_S)
            self._spoken.clear()
            try:
                await self._listen()
            except (KafkaError, BackboneUnavailable, OSError) as error:
                _log.debug("no word can be read", extra={"why": str(error)})

    async def _listen(self) -> None:
        partitions = {tp.partition for app in self._apps.values() for tp in app.part.stopped}
        words = {partition: await self._log.word_on(partition) for partition in partitions}
        for app in self._apps.values():
            heard = [
                words[tp.partition]
                for tp, found in app.part.stopped.items()
                if tp.partition in words and words[tp.partition].generation > found.generation
            ]
            if heard:
                if isinstance(app.part, GroupPart):
                    app.part.words |= {word.partition: word for word in heard}
                _log.warning("partitions go on at a person's word", extra={"partitions": [w.partition for w in heard]})
                await app.consumer.rejoin()


def _next_offset(place: Place, from_offset: int | None) -> int:
    if from_offset is not None:
        if not place.first <= from_offset <= place.end:
            raise InvalidSettings(
                f"the log holds offsets {place.first} to {place.end}, not {from_offset}. Nothing was changed."
            )
        return from_offset
    lost_its_beginning = place.committed is not None and place.committed <= place.first
    return place.first if lost_its_beginning else place.end
