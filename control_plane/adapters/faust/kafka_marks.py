"""What owners of the loop's partitions have committed, as any process may see it: the marks of all of them at once.

Takes part in no group. One admin client, kept between two looks.
"""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_topics import connected_admin
from control_plane.adapters.faust.own_rows import unpacked
from control_plane.adapters.faust.topics import APP_ID, Names
from control_plane.adapters.faust.unreachable import unreachable
from control_plane.messages.topics import EVENTS
from control_plane.ports.backbone import LOOP_GROUP
from control_plane.settings import NO_SECURITY, KafkaSecurity

LOOK_TIMEOUT_S = 5.0


class KafkaMarks:
    """For one task of the event loop at a time."""

    def __init__(self, url: str, *, partitions: int, security: KafkaSecurity = NO_SECURITY) -> None:
        self._address = KafkaAddress.parse(url, security)
        names = Names(prefix=self._address.prefix, app_id=APP_ID, partitions=partitions)
        self._group = names.group(LOOP_GROUP)
        self._asked = [TopicPartition(names.on_log(EVENTS), number) for number in range(partitions)]
        self._stack = AsyncExitStack()
        self._admin: Any = None

    async def read(self) -> Mapping[int, bytes]:
        """The mark of each partition, empty where none was committed. Raises BackboneUnavailable, InvalidSettings."""
        if self._admin is None:
            self._admin = await self._stack.enter_async_context(connected_admin(self._address))
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                found = await self._admin.list_consumer_group_offsets(self._group, partitions=self._asked)
        except (KafkaError, OSError, TimeoutError) as error:
            await self.close()
            raise unreachable(self._address) from error
        return {tp.partition: _mark(found[tp]) if tp in found else b"" for tp in self._asked}

    async def close(self) -> None:
        """Let go of the log; a later look connects again."""
        stack, self._stack, self._admin = self._stack, AsyncExitStack(), None
        await stack.aclose()


def _mark(committed: Any) -> bytes:
    if committed.offset < 0:
        return b""
    try:
        _, mark = unpacked(base64.b64decode(committed.metadata or "", validate=True))
    except binascii.Error:
        return b""
    return mark
