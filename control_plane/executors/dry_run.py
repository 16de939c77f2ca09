"""The executor that acts on nothing and says so: for trying out a workspace, and for measuring everything else."""

from control_plane.executors.tools import ExecutorTools, Keys
from control_plane.sdk import Attempt, Command, Executor, Found

DETAIL = "dry run: nothing was done"


class DryRunKeys(Keys, frozen=True):
    """What `executors/*.yaml` says of this kind: nothing more."""


class DryRun(Executor):
    """Counts what it would have done. What it did not do is never found done."""

    settle_s = 0.0
    attempts_max = 3
    concurrency_max = 1_000

    def __init__(
        self, name: str = "dry_run", keys: DryRunKeys | None = None, tools: ExecutorTools | None = None
    ) -> None:
        self.name = name
        self.executed = 0

    async def execute(self, command: Command) -> Attempt:
        self.executed += 1
        return Attempt(result="succeeded", detail=DETAIL)

    async def reconcile(self, command: Command) -> Found:
        return Found(state="absent", detail=DETAIL)
