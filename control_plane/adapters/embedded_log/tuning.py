"""How RocksDB is opened. All sizes are small on purpose: an edge box runs the rest of Setpoint beside it."""

from typing import Any, Final

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options

WRITE_BUFFER_BYTES: Final = 8 * 1024 * 1024
WRITE_BUFFERS_MAX: Final = 3
BLOCK_CACHE_BYTES: Final = 16 * 1024 * 1024
OPEN_FILES_MAX: Final = 128
TARGET_FILE_BYTES: Final = 32 * 1024 * 1024
COMPACTION_BYTES_MAX: Final = 2 * TARGET_FILE_BYTES
"""What RocksDB rewrites in one go, and so needs room for."""
BACKGROUND_JOBS_MAX: Final = 2
LOG_FILES_MAX: Final = 2
LOG_FILE_BYTES_MAX: Final = 1024 * 1024
WAL_BYTES_PER_SYNC: Final = 1024 * 1024
"""Dirty journal pages go to the device in pieces of this size, so that an fsync never meets many of them."""
TOMBSTONES_COMPACTED: Final = (4096, 2048, 0.5)
"""A table where half of 4,096 entries in a row are deletions is compacted at once: it holds space for nothing."""


def store_options(mode: Any) -> Options:
    """How every RocksDB here is opened; only what is done about a torn journal differs."""
    table = BlockBasedOptions()
    table.set_block_cache(Cache(BLOCK_CACHE_BYTES))
    table.set_cache_index_and_filter_blocks(True)  # so that the cache's bound holds for them, too
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    table.set_block_size(16 * 1024)
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(table)
    options.set_wal_recovery_mode(mode)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_MAX)
    options.set_max_total_wal_size(WRITE_BUFFER_BYTES * WRITE_BUFFERS_MAX)
    options.set_target_file_size_base(TARGET_FILE_BYTES)
    options.set_max_compaction_bytes(COMPACTION_BYTES_MAX)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_max_open_files(OPEN_FILES_MAX)
    options.set_max_background_jobs(BACKGROUND_JOBS_MAX)
    options.set_keep_log_file_num(LOG_FILES_MAX)
    options.set_max_log_file_size(LOG_FILE_BYTES_MAX)
    options.set_wal_bytes_per_sync(WAL_BYTES_PER_SYNC)
    options.set_skip_stats_update_on_db_open(True)
    options.add_compact_on_deletion_collector_factory(*TOMBSTONES_COMPACTED)
    return options
