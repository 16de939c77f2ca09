"""What doctor looks at, one finding each. Nothing is written and nothing is started."""

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final

from control_plane.cli.exits import CommandError
from control_plane.cli.finding import Finding, looked_at
from control_plane.cli.parts import parts
from control_plane.cli.places import settings_of
from control_plane.errors import Flaw, InvalidWorkspace, SetpointError
from control_plane.settings import Settings, unknown_variables

PYTHON_MIN: Final = (3, 11)
FREE_BYTES_MIN: Final = 1024 * 1024 * 1024
CONNECT_TIMEOUT_S: Final = 3.0
FLAWS_SHOWN_MAX: Final = 5

_IMPORTED: Final = ("faust", "aiokafka", "rocksdict", "sqlalchemy", "asyncpg", "regorus", "cel", "fastapi", "uvicorn")


def examine(workspace: Path) -> list[Finding]:
    """Everything, in the order in which a start would meet it."""
    findings = [_python(), *_packages(), *_environment()]
    try:
        settings = settings_of(workspace)
    except (CommandError, SetpointError) as exc:
        cure = "Correct setpoint.yaml or the environment; see: setpoint config show"
        return [*findings, Finding(subject="settings", state="problem", detail=str(exc), cure=cure), _java()]
    findings.append(
        Finding(subject="settings", state="ok", detail=f"{len(settings.given)} settings of {workspace.resolve()}")
    )
    findings += [_workspace(workspace, settings), *_data_dir(settings), _key(settings), _listen(settings)]
    return [*findings, *parts(settings), _java()]


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] < PYTHON_MIN:
        return Finding(
            subject="python", state="problem", detail=f"{found} is too old", cure="Install Python 3.11 or newer."
        )
    return Finding(subject="python", state="ok", detail=f"{found} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    """Is every package there, and where a version is pinned, that one? The hot path overrides private parts of some."""
    missing = [name for name in _IMPORTED if not _can_import(name)]
    if missing:
        cure = "Install Setpoint again: make setup, or pip install setpoint."
        yield Finding(
            subject="packages", state="problem", detail=f"cannot be imported: {', '.join(missing)}", cure=cure
        )
    wrong = [f"{name} {found} instead of {pinned}" for name, pinned, found in _pinned() if found != pinned]
    if wrong:
        cure = "Install exactly these: overrides of private parts are only proven with them."
        yield Finding(subject="packages", state="problem", detail=", ".join(wrong), cure=cure)
    if not missing and not wrong:
        yield Finding(
            subject="packages", state="ok", detail=f"{len(_IMPORTED)} looked at, pinned versions as they must be"
        )


def _can_import(name: str) -> bool:
    try:
        import_module(name)
    except ImportError:
        return False
    return True


def _pinned() -> Iterator[tuple[str, str, str]]:
    try:
        declared = requires("setpoint") or []
    except PackageNotFoundError:  # A tree that is run without being installed declares nothing.
        return
    for requirement in declared:
        name, exact, pinned = requirement.partition("==")
        if exact and ";" not in requirement:
            try:
                yield name, pinned, version(name)
            except PackageNotFoundError:
                yield name, pinned, "none"


def _environment() -> Iterator[Finding]:
    for name, nearest in unknown_variables(os.environ):
        cure = f"Did you mean {nearest}?" if nearest else "See: setpoint config show -o wide"
        yield Finding(subject="environment", state="note", detail=f"{name} is no setting and does nothing", cure=cure)


def _workspace(workspace: Path, settings: Settings) -> Finding:
    from control_plane.bootstrap.workshop import load_workspace
    from control_plane.cli.workspace import summary_text

    try:
        found = load_workspace(workspace, builtin_policies=settings.policies_builtin)
    except InvalidWorkspace as exc:
        return Finding(subject="workspace", state="problem", detail=_first(exc.flaws), cure="Run: setpoint check")
    detail = f"{summary_text(found)}; revision {found.controls.revision}"
    return Finding(subject="workspace", state="ok", detail=detail)


def _first(flaws: tuple[Flaw, ...]) -> str:
    shown = "; ".join(f"{flaw.file}:{flaw.line}: {flaw.problem}" for flaw in flaws[:FLAWS_SHOWN_MAX])
    more = len(flaws) - FLAWS_SHOWN_MAX
    return f"{shown}; and {more} more" if more > 0 else shown


def _data_dir(settings: Settings) -> Iterator[Finding]:
    path = settings.data_dir
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        cure = "Make it a folder that this user may write to, or set data_dir."
        yield Finding(subject="data directory", state="problem", detail=f"{existing} cannot be written", cure=cure)
        return
    free = shutil.disk_usage(existing).free
    detail = f"{path}, {free // 1024**2} MB free"
    if free < FREE_BYTES_MIN:
        cure = "Make room: a full disk stops all acting until there is some."
        yield Finding(subject="data directory", state="problem", detail=detail, cure=cure)
    else:
        yield Finding(subject="data directory", state="ok", detail=detail)


def _key(settings: Settings) -> Finding:
    from control_plane.api.keys import is_loopback, read_key

    if settings.api_key is not None:
        return Finding(subject="key", state="ok", detail="SETPOINT_API_KEY is set")
    if not is_loopback(settings.listen_host):
        detail = f"{settings.listen_host} can be reached from other machines and SETPOINT_API_KEY is not set"
        return Finding(subject="key", state="problem", detail=detail, cure="Set it, or listen on 127.0.0.1.")
    return looked_at(
        "key", lambda: f"in {settings.api_key_file}" if read_key(settings.api_key_file) else "made at the start"
    )


def _listen(settings: Settings) -> Finding:
    host, port = settings.listen_host, settings.listen_port
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return _who_listens(host, port)
        return Finding(
            subject="port",
            state="problem",
            detail=f"{host}:{port}: {exc.strerror}",
            cure="Set listen to an address of this machine.",
        )
    return Finding(subject="port", state="ok", detail=f"{host}:{port} is free")


def _who_listens(host: str, port: int) -> Finding:
    import httpx

    address = f"[{host}]" if ":" in host else host
    try:
        answer = httpx.get(f"http://{address}:{port}/health/live", timeout=CONNECT_TIMEOUT_S, trust_env=False)
        ours = answer.status_code == 200 and answer.json() == {"live": True}
    except (httpx.HTTPError, ValueError):
        ours = False
    if ours:
        return Finding(subject="port", state="ok", detail=f"a Setpoint serves on {host}:{port}")
    return Finding(
        subject="port",
        state="problem",
        detail=f"{host}:{port} is taken by another program",
        cure="Stop that one, or set listen, as in --listen 127.0.0.1:7071.",
    )


def _java() -> Finding:
    found = shutil.which("java")
    if found:
        return Finding(subject="java", state="ok", detail=f"{found}, for make services")
    detail = "none; only `make services` and tests on a real Kafka need one"
    return Finding(subject="java", state="note", detail=detail)
