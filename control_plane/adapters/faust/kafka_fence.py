"""The producer of one partition's owner, which shuts out that of the former one.

Its transactional id is the partition's, so asking for a producer id raises the epoch that brokers accept: whatever a
former owner still sends is refused, in each log from the first record on that the new one has written there. No
transaction is ever begun.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, TransactionalIdAuthorizationFailed

from control_plane.errors import BackboneUnavailable, InvalidSettings

FENCE_TIMEOUT_S = 20.0
"""For one partition. A broker that starts may take some seconds until it knows its transactional ids."""
LAST_SENDS_S = 5.0
"""How long a producer that is let go may take to end; only who closes the log waits for it."""

NewProducer = Callable[[str], AIOKafkaProducer]
"""A producer with a transactional id, not started."""


class Fence:
    """Stands from `raise_up` to `close`. Its producer may be replaced by a newer one of the same id (`raise_up` again):
    brokers forget an id that is not asked for within days, and then keep nobody out any more."""

    def __init__(self, transactional_id: str, new_producer: NewProducer) -> None:
        self.transactional_id = transactional_id
        self._new_producer = new_producer
        self._producer: AIOKafkaProducer | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def producer(self) -> Any:
        assert self._producer is not None, "a fence is raised before anything is sent"
        return self._producer

    @property
    def has_ended(self) -> bool:
        """Whether all its producers are closed, once it was let go."""
        return not self._ending

    async def raise_up(self) -> None:
        """Shut out whoever wrote here before. Raises BackboneUnavailable, InvalidSettings."""
        producer = self._new_producer(self.transactional_id)
        # Never broken off in between: aiokafka would leave a connection open.
        starting = asyncio.create_task(_started(producer))
        try:
            async with asyncio.timeout(FENCE_TIMEOUT_S):
                await asyncio.shield(starting)
        except TransactionalIdAuthorizationFailed as error:
            self._end(producer, starting)
            raise InvalidSettings(
                f"Kafka does not let this user use the transactional id {self.transactional_id}. Nothing was taken. "
                "Allow Write and Describe on the transactional ids that begin with the service's prefix."
            ) from error
        except (KafkaError, TimeoutError) as error:
            self._end(producer, starting)
            raise BackboneUnavailable(
                f"Kafka did not give {self.transactional_id} a producer id within {FENCE_TIMEOUT_S:g} s: {error!r}. "
                "The partition was not taken. Check the brokers; the same call may work later."
            ) from error
        except BaseException:
            self._end(producer, starting)
            raise
        # From here on it is an idempotent producer like any other, with an epoch that a former one has not.
        producer._txn_manager.transactional_id = None
        former, self._producer = self._producer, producer
        if former is not None:
            self._end(former)

    def let_go(self) -> None:
        """Send no more; what is on its way may end, or be refused by the next owner's fence."""
        producer, self._producer = self._producer, None
        if producer is not None:
            self._end(producer)

    async def close(self) -> None:
        """Let go, and wait until all of it has ended."""
        self.let_go()
        if self._ending:
            await asyncio.wait(self._ending)

    def _end(self, producer: AIOKafkaProducer, starting: "asyncio.Task[None] | None" = None) -> None:
        task = asyncio.create_task(_stopped(producer, starting), name=f"end of {self.transactional_id}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


async def _started(producer: AIOKafkaProducer) -> None:
    await producer.start()
    await producer._txn_manager.wait_for_pid()


async def _stopped(producer: AIOKafkaProducer, starting: "asyncio.Task[None] | None") -> None:
    if starting is not None:
        _, late = await asyncio.wait([starting], timeout=LAST_SENDS_S)
        if late:
            starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    try:
        async with asyncio.timeout(LAST_SENDS_S):
            await producer.stop()
    except (KafkaError, TimeoutError):
        # Its records were refused or given up, which those who sent them have heard.
        if producer._sender.sender_task is not None:
            producer._sender.sender_task.cancel()
        await producer.client.close()
