"""What the hot path overrides or relies on in Faust, mode and aiokafka is still there, and is still called.

These are private parts. Each of them was measured to matter (docs/adr); when an upgrade moves one, this file says which
before an event is lost.
"""

import inspect
from collections.abc import Callable
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.producer.message_accumulator import MessageAccumulator
from aiokafka.producer.sender import Sender, SendProduceReqHandler
from aiokafka.producer.transaction_manager import TransactionManager
from faust.stores.rocksdb import RocksDBOptions, Store
from faust.tables.base import Collection
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport import base
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer, ThreadDelegateConsumer
from faust.transport.consumer import Fetcher as FaustFetcher
from faust.transport.drivers import aiokafka as driver
from mode.services import Service
from mode.threads import QueueServiceThread, ServiceThread

from control_plane.adapters.faust.embedded_transport import EmbeddedConsumer, EmbeddedProducer
from control_plane.adapters.faust.hot_path import HotPath
from control_plane.adapters.faust.kafka_transport import HotConsumer, KafkaConsumer, KafkaProducer
from control_plane.adapters.faust.pinned import GroupApp
from control_plane.adapters.faust.recovery import BulkRecovery, RowsTableManager
from control_plane.adapters.faust.row_store import RowsStore, RowsTable

OVERRIDDEN = [
    (HotPath, Consumer, "_drain_messages", "self fetcher"),
    (HotPath, Consumer, "perform_seek", "self"),
    (HotPath, Consumer, "force_commit", "self topics start_new_transaction"),
    (HotPath, Consumer, "wait_empty", "self"),
    (HotPath, Consumer, "on_partitions_revoked", "self revoked"),
    (HotPath, Consumer, "on_partitions_assigned", "self assigned generation_id"),
    (HotPath, Consumer, "on_stop", "self"),
    (KafkaConsumer, driver.Consumer, "_new_consumer_thread", "self"),
    (HotConsumer, driver.AIOKafkaConsumerThread, "_create_worker_consumer", "self transport"),
    (HotConsumer, QueueServiceThread, "on_thread_stop", "self"),
    (HotConsumer, QueueServiceThread, "call_thread", None),
    (HotConsumer, ServiceThread, "start", "self"),
    (HotConsumer, ServiceThread, "_stop_children", "self"),
    (HotConsumer, ServiceThread, "_stop_futures", "self"),
    (HotConsumer, ServiceThread, "_stop_exit_stacks", "self"),
    (KafkaProducer, driver.Producer, "_settings_extra", "self"),
    (KafkaProducer, driver.Producer, "flush", "self"),
    (KafkaProducer, driver.Producer, "create_topic", None),
    (BulkRecovery, Recovery, "need_recovery", "self"),
    (BulkRecovery, Recovery, "_build_highwaters", "self consumer tps destination title"),
    (BulkRecovery, Recovery, "_build_offsets", "self consumer tps destination title"),
    (BulkRecovery, Recovery, "_seek_offsets", "self consumer tps offsets title"),
    (BulkRecovery, Recovery, "on_recovery_completed", "self generation_id"),
    (BulkRecovery, Recovery, "_resume_streams", "self generation_id"),
    (RowsTableManager, TableManager, "on_start", "self"),
    (RowsTableManager, TableManager, "recovery", None),
    (RowsStore, Store, "_open_for_partition", "self partition"),
    (RowsStore, Store, "_try_open_db_for_partition", "self partition max_retries retry_delay generation_id"),
    (RowsStore, Store, "revoke_partitions", "self table tps"),
    (RowsStore, Store, "stop", "self"),
    (RowsTable, Collection, "_new_store_by_url", "self url"),
    (GroupApp, Service, "_crash", "self reason"),
    (EmbeddedConsumer, Consumer, "subscribe", None),
    (EmbeddedConsumer, Consumer, "assignment", None),
    (EmbeddedConsumer, Consumer, "_commit", "self offsets"),
    (EmbeddedConsumer, Consumer, "_getmany", "self active_partitions timeout"),
    (EmbeddedProducer, base.Producer, "send", "self topic key value partition timestamp headers transactional_id"),
]

CALLED = [
    # Who must still call what, or an override is dead and Faust's own way is back.
    (FaustFetcher._fetcher.fun, "consumer._drain_messages(self)"),
    (Recovery.on_recovery_completed, "consumer.perform_seek()"),
    (Recovery._resume_streams, "consumer.perform_seek()"),
    (Recovery._restart_recovery.fun, "self.need_recovery()"),
    (Recovery._restart_recovery.fun, "self._build_highwaters"),
    (Recovery._restart_recovery.fun, "self._build_offsets"),
    (Recovery._restart_recovery.fun, "self._seek_offsets"),
    (Recovery._restart_recovery.fun, "self.on_recovery_completed"),
    (Recovery._restart_recovery.fun, "self._resume_streams"),
    (Recovery._restart_recovery.fun, "producer.flush"),
    (Consumer.commit, "self.force_commit"),
    (faust.App._consumer_wait_empty, "consumer.wait_empty()"),
    (TableManager._update_channels, "self._tables_registered.set()"),
    (Conductor._subscriber.fun, "self.app.consumer.subscribe"),
    (Store._db_for_partition, "self._open_for_partition(partition)"),
    (Store.on_rebalance, "self.revoke_partitions(self.table, revoked)"),
    (Collection._new_store, "self._new_store_by_url"),
    (ServiceThread._shutdown_thread, "self.on_thread_stop()"),
    (ServiceThread._shutdown_thread, "self._default_stop_children()"),
    (ServiceThread._shutdown_thread, "self._default_stop_futures()"),
    (ServiceThread._shutdown_thread, "self._default_stop_exit_stacks()"),
    (ServiceThread._serve, "self._default_start()"),
    (Service.stop, "self._stop_children()"),
    (ThreadDelegateConsumer.__init__, "self._new_consumer_thread()"),
    (driver.Producer._new_producer, "self._settings_extra()"),
    (Service.crash, "._crash(reason)"),
    (driver.ConsumerRebalanceListener.on_partitions_assigned, "consumer_generation_id"),
    (AIOKafkaConsumer.start, "fetch_max_wait_ms=self._fetch_max_wait_ms"),
    (AIOKafkaConsumer.start, "fetch_min_bytes=self._fetch_min_bytes"),
    (GroupCoordinator._maybe_leave_group, "self._group_instance_id is None"),
    (Fetcher._fetch_requests_routine, "self._notify(waiter)"),
    # The fence: an id that is asked for at the start, and whose transactions nobody asks about after that.
    (AIOKafkaProducer.__init__, "self._txn_manager = TransactionManager("),
    (AIOKafkaProducer.start, "self._sender.start()"),
    (Sender.start, "self._maybe_wait_for_pid()"),
    (Sender._sender_routine, "txn_manager.transactional_id is not None"),
    (SendProduceReqHandler.create_request, "self._sender._txn_manager.transactional_id"),
    (SendProduceReqHandler.handle_response, "exc = ProducerFenced()"),
    (MessageAccumulator.create_builder, "self._txn_manager.transactional_id is not None"),
]

RELIED_ON = [
    # (where, private names that are used there)
    (Consumer, "_is_changelog_tp should_stop add_future"),
    (Recovery, "actives_for_table"),
    (TableManager, "_update_channels"),
    (Store, "_db_for_partition partition_path offset_key"),
    (RocksDBOptions, "as_options open"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer __post_init__ _default_start"),
    (driver.Producer, "_ensure_producer _new_producer"),
    (TransactionManager, "wait_for_pid has_pid"),
    (driver, "ensure_aiokafka_TP ensure_aiokafka_TPset"),
    (Fetcher, "fetched_records _create_fetch_waiter"),
    (GroupCoordinator, "fetch_committed_offsets request_rejoin"),
    (MessageAccumulator, "add_batch create_builder"),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "name", "parameters"),
    OVERRIDDEN,
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_what_is_overridden_is_still_there(ours: type, theirs: type, name: str, parameters: str | None) -> None:
    assert name in vars(ours), f"{ours.__name__} no longer overrides {name}: take it off this list"
    assert hasattr(theirs, name), f"{theirs.__name__}.{name} is gone: nobody calls our override any more"
    if parameters is not None:
        assert list(inspect.signature(getattr(theirs, name)).parameters) == parameters.split()


@pytest.mark.parametrize(
    ("caller", "call"), CALLED, ids=lambda value: getattr(value, "__qualname__", None) or str(value)
)
def test_overrides_are_still_called(caller: Callable[..., Any], call: str) -> None:
    assert call in inspect.getsource(caller)


@pytest.mark.parametrize(("where", "names"), RELIED_ON, ids=lambda value: getattr(value, "__name__", None) or "names")
def test_private_parts_that_are_used_are_still_there(where: Any, names: str) -> None:
    assert [name for name in names.split() if not hasattr(where, name) and name not in where.__annotations__] == []


def test_the_hot_path_overrides_nothing_unnamed() -> None:
    """Each override of a Consumer is on the list above, with its parameters."""
    listed = {name for ours, _, name, _ in OVERRIDDEN if ours is HotPath}
    overridden = {name for name in vars(HotPath) if hasattr(Consumer, name) and not name.startswith("__")}
    assert overridden - {"app", "logger"} == listed


def test_faust_names_the_changelog_as_foreseen() -> None:
    assert "{self.app.conf.id}-{self.name}-changelog" in inspect.getsource(Collection._changelog_topic_name)


def test_each_override_says_why() -> None:
    """In its docstring; a reader of Faust's code must know what is different, and for what reason."""
    silent = [
        f"{ours.__name__}.{name}"
        for ours, _, name, _ in OVERRIDDEN
        if ours is not EmbeddedConsumer
        and ours is not EmbeddedProducer
        and not inspect.getdoc(
            vars(ours)[name] if not isinstance(vars(ours)[name], property) else vars(ours)[name].fget
        )
    ]
    assert silent == []
