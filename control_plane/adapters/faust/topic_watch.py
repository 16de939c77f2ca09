"""Looks after the topics' settings while a process runs: what somebody changes under it is noticed.

What is unusual is logged and counted; what would make the loop wrong ends this process's part.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka.errors import KafkaError

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.adapters.faust.kafka_topics import check_none_refused, look_at_topics, prepare_topics
from control_plane.adapters.faust.topic_settings import TopicFinding
from control_plane.adapters.faust.topics import TopicPlan
from control_plane.errors import InvalidSettings, SetpointError

LOOK_INTERVAL_S: Final = 30.0

_log = logging.getLogger(__name__)


class TopicWatch:
    """The topics of one process. `findings` are those of the last look."""

    def __init__(
        self,
        address: KafkaAddress,
        plan: Sequence[TopicPlan],
        failed: Callable[[BaseException], None],
        interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self.findings: tuple[TopicFinding, ...] = ()
        self._address = address
        self._plan = plan
        self._failed = failed
        self._interval_s = interval_s
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Have every topic there, and look again from time to time. Raises BackboneUnavailable, InvalidSettings."""
        self._note(await prepare_topics(self._address, self._plan))
        self._task = asyncio.create_task(self._run(), name="topic settings")

    async def close(self) -> None:
        """Look no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                self._note(await look_at_topics(self._address, self._plan))
            except (SetpointError, KafkaError, OSError, TimeoutError) as error:
                # Whoever writes finds out by itself that Kafka is away; this only looks.
                _log.debug("the topics' settings cannot be looked at", extra={"reason": str(error)})
                continue
            try:
                check_none_refused(self.findings)
            except InvalidSettings as error:
                self._failed(error)
                return

    def _note(self, findings: tuple[TopicFinding, ...]) -> None:
        for finding in findings:
            if finding not in self.findings:
                _log.warning("a topic is set in an unusual way", extra={"finding": str(finding), "cure": finding.cure})
        self.findings = findings
