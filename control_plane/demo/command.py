"""`setpoint demo NAME`: where the demo runs, what it prints, and its exit code."""

import asyncio
import contextlib
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import psutil

from control_plane.demo.view import View
from control_plane.errors import BackboneUnavailable, DataInUse, InvalidSettings, InvalidWorkspace, SetpointError

if TYPE_CHECKING:
    from control_plane.demo.running import Run
    from control_plane.demo.scorecard import Scorecard

DEMOS: Final = ("incident", "orders", "llm")
SEED_MAX: Final = 1_000_000

OK: Final = 0
FOUND_WRONG: Final = 1
BAD_USAGE: Final = 2
CANNOT_REACH: Final = 3
INTERRUPTED: Final = 130

T = TypeVar("T")


def demo_command(
    name: str,
    *,
    seed: int | None = None,
    json_output: bool = False,
    data: Path | None = None,
    backbone: str | None = None,
    live: bool = False,
) -> int:
    """Run a demo to its end and give the exit code.

    Args:
        name: which demo.
        seed: draws what is broken, how and when; without one it is drawn, and shown at the end.
        json_output: exactly one object on standard output, and nothing else.
        data: keep what the demo wrote in this folder, which must be new or empty.
        live: ask a model rather than play recorded answers; only the llm demo can.
        backbone: another log than the embedded one, such as kafka://127.0.0.1:9092.
    """
    if name not in DEMOS:
        _complain(f"There is no demo {name}. Choose one of: {', '.join(DEMOS)}.")
        return BAD_USAGE
    if live and name != "llm":
        _complain(f"The demo {name} asks no model. Take --live out, or run: setpoint demo llm --live")
        return BAD_USAGE
    from control_plane.demo.running import Run  # The whole service: not for a misspelt name.

    view = View()
    with _folder(name, data) as folder, _logging_to(folder):
        run = Run(
            seed=secrets.randbelow(SEED_MAX) if seed is None else seed,
            folder=folder,
            # What Python took to start counts: a newcomer waits for it as well.
            began_at=psutil.Process().create_time(),
            tell=_nothing if json_output else view.tell,
            backbone=backbone,
            live=live,
        )
        try:
            card = asyncio.run(_until_signalled(_runner_of(name)(run)))
        except SetpointError as exc:
            _complain(str(exc))
            return _exit_code(exc)
        except (KeyboardInterrupt, asyncio.CancelledError):
            _complain("The demo was interrupted; its services were ended.")
            return INTERRUPTED
    if json_output:
        sys.stdout.write(msgspec.json.encode(card).decode() + "\n")
        sys.stdout.flush()
    else:
        view.show(card)
    return OK if card.ok else FOUND_WRONG


def _runner_of(name: str) -> "Callable[[Run], Coroutine[Any, Any, Scorecard]]":
    """What runs a demo; the others are not loaded."""
    if name == "orders":
        from control_plane.demo.orders import run_orders

        return run_orders
    if name == "llm":
        from control_plane.demo.llm import run_llm

        return run_llm
    from control_plane.demo.incident import run_incident

    return run_incident


async def _until_signalled(demo: Coroutine[Any, Any, T]) -> T:
    """What the demo gives; a request to end cancels it, and its services end with it."""
    running = asyncio.ensure_future(demo)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    return await running


@contextlib.contextmanager
def _folder(name: str, data: Path | None) -> Iterator[Path]:
    """Where the demo writes: for good where the user says, otherwise for as long as it runs."""
    if data is not None:
        yield data.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="setpoint-demo-"))
    try:
        yield folder / name
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _logging_to(folder: Path) -> Iterator[None]:
    """Keep the service's own log out of the way of the story: it goes to `demo.log`, beside the workspace."""
    path = folder.with_name(f"{folder.name}.log")
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    before, level = root.handlers, root.level
    root.handlers, root.level = [handler], logging.INFO
    logging.getLogger("httpx").setLevel(logging.WARNING)  # A line for every look at a service would bury the rest.
    try:
        yield
    finally:
        root.handlers, root.level = before, level
        logging.getLogger("httpx").setLevel(logging.NOTSET)
        handler.close()


def _exit_code(exc: SetpointError) -> int:
    if isinstance(exc, BackboneUnavailable):
        return CANNOT_REACH
    return BAD_USAGE if isinstance(exc, InvalidWorkspace | InvalidSettings | DataInUse) else FOUND_WRONG


def _nothing(line: object) -> None:
    """Tells nobody."""


def _complain(sentence: str) -> None:
    sys.stderr.write(sentence + "\n")
