"""The base class of Python executors."""

from abc import ABC, abstractmethod

from control_plane.messages import Command
from control_plane.ports.executor import ATTEMPT_TIMEOUT_S, CONCURRENCY_MAX, Attempt, Found


class Executor(ABC):
    """Carries out the commands of intents that name it; see `control_plane.ports.executor` for the whole contract."""

    name: str
    attempt_timeout_s: float = ATTEMPT_TIMEOUT_S
    settle_s: float = 1.0
    attempts_max: int = 1
    backoff_s: float = 1.0
    concurrency_max: int = CONCURRENCY_MAX

    async def start(self) -> None:  # noqa: B027 - most executors have nothing to open
        """Open what it needs."""

    @abstractmethod
    async def execute(self, command: Command) -> Attempt:
        """Do it once; the command's message id is the idempotency key."""

    @abstractmethod
    async def reconcile(self, command: Command) -> Found:
        """Was this very command carried out? Say `absent` only when that is sure."""

    async def stop(self) -> None:  # noqa: B027 - most executors have nothing to close
        """Close what it opened."""
