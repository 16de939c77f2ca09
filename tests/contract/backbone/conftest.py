"""The logs that the contract suite runs on, and what one of them does not promise."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.contract.backbone.world import World

LOGS = [
    pytest.param("kafka", marks=pytest.mark.kafka),
    pytest.param("embedded"),
    pytest.param("embedded-not-atomic"),
]
IN_MEMORY = [pytest.param("memory"), pytest.param("memory-not-atomic")]
NOT_IN_MEMORY: Mapping[str, str] = {
    "test_compaction": "it keeps every record",
    "test_crashes": "it dies with its process; the property tests stop it between any two steps of its write instead",
    "test_disk_full": "it has no disk",
    "test_groups.test_a_group_is_joined_once_in_a_process": "two at once on one log are not kept apart",
    "test_groups_side_by_side": "it hands a group one batch after the other, as a log may",
    "test_lag.test_a_process_that_is_no_longer_given_records_leaves": "nothing is fetched, so nothing can stop coming",
    "test_lanes": "nothing is fetched ahead, so nothing can be missing in between",
    "test_rebalance": "its partitions never move",
    "test_recovery": "its rows are the log's own and need no recovery",
    "test_speed": "its time is the test's",
    "test_start_and_stop.test_a_data_directory_that_cannot_be_written_is_one_clear_error": "it has no directory",
    "test_start_and_stop.test_another_partition_count_is_refused": "the MemoryLog itself says how many there are",
    "test_start_and_stop.test_without_the_loop_a_data_directory_is_needed_all_the_same": "it has no directory",
}
"""What the backbone in memory does not promise: a file of this suite or one test of it, and why."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on every log that promises what it asks for."""
    if "world" in metafunc.fixturenames:
        file = metafunc.module.__name__.rpartition(".")[2]
        left_out = {file, f"{file}.{metafunc.function.__name__}"} & NOT_IN_MEMORY.keys()
        metafunc.parametrize("world", LOGS if left_out else [*LOGS, *IN_MEMORY], indirect=True)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """An empty log of each kind."""
    world = World(kind=request.param, url=_url(request, tmp_path), path=tmp_path)
    yield world
    await world.clean()


@pytest.fixture
async def kafka_world(kafka_address: str, tmp_path: Path) -> AsyncIterator[World]:
    """An empty log on Kafka only, for what has no meaning within one process."""
    world = World(kind="kafka", url=f"kafka://{kafka_address}", path=tmp_path)
    yield world
    await world.clean()


def _url(request: pytest.FixtureRequest, path: Path) -> str:
    kind: str = request.param
    if kind == "kafka":
        return f"kafka://{request.getfixturevalue('kafka_address')}"
    atomic = "false" if kind.endswith("not-atomic") else "true"
    return f"{kind.partition('-')[0]}://{path / 'log'}?atomic={atomic}"
