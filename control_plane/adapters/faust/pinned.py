"""How every Faust app of ours is set up: one app per consumer group, all settings in one place.

Pinned because Faust's defaults lose time or events (a restart after a kill takes a minute, the web server binds a
port, commits run on a timer). Only the backbone builds apps.
"""

# mypy: disallow-subclassing-any=False

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import faust

from control_plane.adapters.faust.library_logs import SERVICES
from control_plane.adapters.faust.row_store import RowsTable
from control_plane.adapters.faust.topics import Names
from control_plane.ports.backbone import RECORD_BYTES_MAX

SESSION_TIMEOUT_S = 6.0
REBALANCE_TIMEOUT_S = 5.0
HEARTBEAT_S = 1.0
REQUEST_TIMEOUT_S = 20.0
NEVER_S = 10 * 365 * 24 * 3600.0
PRODUCER_BATCH_BYTES_MAX = 128 * 1024
REQUEST_BYTES_MAX = RECORD_BYTES_MAX + 64 * 1024
"""So that Kafka takes what the embedded log takes."""

TABLE = "rows"

NO_OPTIONS: Mapping[str, Any] = {}


class GroupApp(faust.App):
    """The Faust app of one consumer group in this process. `part` is what is done with its partitions."""

    logger = SERVICES
    part: Any
    gave_up: Callable[[BaseException], None]

    def _crash(self, reason: BaseException) -> None:
        """A service of the app gave up. Faust would stop quietly at its worker; there is none here, so say it."""
        super()._crash(reason)
        self.gave_up(reason)


class NoHttpClient:
    """Stands for the HTTP client of Faust's agents and tables over HTTP, which we have not."""


def new_app(
    group: str,
    *,
    broker: str,
    names: Names,
    data_dir: Path,
    member: str,
    standbys: int = 0,
    options: Mapping[str, Any] = NO_OPTIONS,
) -> GroupApp:
    """A Faust app that is not started and has no transport yet. `group` is its name on the log; `standbys` how many
    other members keep each partition's rows; `options` say how a broker lets it in."""
    app = GroupApp(
        group,
        broker=broker,
        datadir=data_dir,
        store="rocksdb://",
        autodiscover=False,
        web_enabled=False,
        # Its leader topic would be one more topic and rebalance, for a leader that nobody asks for.
        topic_disable_leader=True,
        topic_partitions=names.partitions,
        table_standby_replicas=standbys,
        # Tables and offsets are kept apart by us; exactly_once loses and duplicates (docs/adr).
        processing_guarantee="at_least_once",
        consumer_group_instance_id=f"{group}-{member}",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_S,
        broker_request_timeout=REQUEST_TIMEOUT_S,
        # Offsets are committed by the write path, never on a timer.
        broker_commit_interval=NEVER_S,
        broker_max_poll_interval=NEVER_S / 1000,
        producer_acks=-1,
        producer_linger=0.0,
        producer_max_batch_size=PRODUCER_BATCH_BYTES_MAX,
        producer_max_request_size=REQUEST_BYTES_MAX,
        producer_request_timeout=REQUEST_TIMEOUT_S,
        stream_recovery_delay=0.0,
        Table=RowsTable,
        TableManager="control_plane.adapters.faust.recovery:RowsTableManager",
        # Named so that Faust does not load its own, see library.py.
        HttpClient=NoHttpClient,
        **options,
    )
    app.finalize()
    return app


def add_rows_table(app: GroupApp, names: Names) -> RowsTable:
    """The table of the loop group: raw keys and values, a compacted changelog without retention."""
    table: RowsTable = app.Table(
        TABLE,
        partitions=names.partitions,
        schema=faust.Schema(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"),
        options={
            "max_open_files": 128,
            "write_buffer_size": 16 * 1024 * 1024,
            "max_write_buffer_number": 2,
            "block_cache_size": 32 * 1024 * 1024,
        },
    )
    assert table.changelog_topic_name == names.changelog, "the changelog's name is Faust's to make, ours to foresee"
    return table
