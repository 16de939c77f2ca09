"""A disk that takes no more: the caller hears it, the process gives up, and nothing is half written."""

from tests.contract.backbone.killing import finish, judge, worker
from tests.contract.backbone.worker import STORAGE_FULL
from tests.contract.backbone.world import World

FILE_BYTES_MAX = 300_000
ROUNDS = 400


async def test_a_full_disk_is_said_and_nothing_is_half_written(world: World) -> None:
    """The limit is the process's own: no file of it may grow further, as on a disk that is full."""
    async with worker(world, rounds=ROUNDS, file_bytes_max=FILE_BYTES_MAX) as process:
        said, _ = await process.communicate()
        assert process.returncode == STORAGE_FULL, said[-500:]

    owner = await finish(world)
    await judge(world, owner)
