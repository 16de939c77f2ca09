"""A service in this process, from its start to the signal that ends it."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from control_plane.api.keys import check_door
from control_plane.bootstrap.service import Service
from control_plane.bootstrap.workshop import load_workspace
from control_plane.cli.exits import FOUND_WRONG, INTERRUPTED
from control_plane.cli.output import put, put_json
from control_plane.cli.workspace import summary, summary_text
from control_plane.errors import InvalidSettings
from control_plane.settings import Settings, without_password
from control_plane.workspace.diffing import summary_of

CHANGES_SHOWN_MAX: Final = 20

STOP_TIMEOUT_S: Final = 8.0
"""How long a service may take to stop; what waits for it to end (systemd, Kubernetes) must wait for longer."""


def run_service(workspace: Path, settings: Settings, roles: Sequence[str] | None, *, as_json: bool) -> None:
    """Run until SIGINT or SIGTERM. Raises a SetpointError when it cannot start, or when what it rests on fails."""
    loaded = load_workspace(workspace, builtin_policies=settings.policies_builtin)
    service = Service(settings, loaded, roles)
    if "api" in service.roles:
        check_door(settings)
    _make(settings.data_dir)
    asyncio.run(_serve(service, as_json))


def _make(data_dir: Path) -> None:
    """The data directory. Raises InvalidSettings when nothing can be written there."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        problem = "" if os.access(data_dir, os.W_OK | os.X_OK) else "it is read-only"
    except OSError as exc:
        problem = exc.strerror or str(exc)
    if problem:
        raise InvalidSettings(
            f"data_dir: {data_dir} cannot be written ({problem}). Nothing was started. Make it a folder that this user "
            "may write to, or name another: --data-dir DIR"
        )


async def _serve(service: Service, as_json: bool) -> None:
    stopping = asyncio.create_task(_signalled().wait())
    work = asyncio.create_task(_work(service, as_json))
    try:
        await asyncio.wait([work, stopping], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        stopping.cancel()
        work.cancel()
        # A service that is cancelled while it starts takes back by itself what it had opened.
        await asyncio.wait([work])
        await _stopped(service)


async def _stopped(service: Service) -> None:
    """Stop in good order, and for so long only: whoever runs us kills what does not end."""
    stopping = asyncio.create_task(service.stop())
    await asyncio.wait([stopping], timeout=STOP_TIMEOUT_S)
    if stopping.done():
        return stopping.result()
    print(  # noqa: T201 - a terminal is what a command has
        f"setpoint: this process did not stop in good order within {STOP_TIMEOUT_S:g} s and ends where it stands. What "
        "was acknowledged is kept; what was not is taken again. See why the log or the store does not answer: "
        "setpoint doctor",
        file=sys.stderr,
        flush=True,
    )
    os._exit(FOUND_WRONG)


async def _work(service: Service, as_json: bool) -> None:
    await service.start()
    _announce(service, as_json)
    await service.run()


def _signalled() -> asyncio.Event:
    """An event that the first signal sets. A second one ends the process where it stands, which is always safe."""
    stopping = asyncio.Event()

    def signalled() -> None:
        if stopping.is_set():
            os._exit(INTERRUPTED)
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    return stopping


def _announce(service: Service, as_json: bool) -> None:
    if as_json:
        put_json(_said(service), indent=None)
    else:
        settings, loaded = service.settings, service.workspace
        put(f"workspace  {settings.workspace}: {summary_text(loaded)}; revision {loaded.controls.revision}")
        for line in _beginning_lines(service):
            put(f"controls   {line}")
        put(f"log        {settings.backbone}, {settings.partitions} partitions, durability {settings.durability}")
        put(f"store      {without_password(settings.store)}")
        put(f"roles      {', '.join(sorted(service.roles))}")
        if service.rest is not None:
            key = "SETPOINT_API_KEY" if settings.api_key else settings.api_key_file
            put(f"listening  {service.rest.url}  (docs at {service.rest.url}/docs; the key is {key})")
        put("running; stop with Ctrl-C. Elsewhere: setpoint events tail")
    sys.stdout.flush()


def _beginning_lines(service: Service) -> Iterator[str]:
    """What the start did about the controls that it found in force, if there were any."""
    found = service.beginning
    assert found is not None, "a service that has started has controls"
    if found.before is not None and found.changes:
        yield f"{found.before} was in force and {found.revision} is now: {summary_of(found.changes)} by this folder"
        yield from (f"  {change.how}: {change.title}" for change in found.changes[:CHANGES_SHOWN_MAX])
        if len(found.changes) > CHANGES_SHOWN_MAX:
            yield f"  and {len(found.changes) - CHANGES_SHOWN_MAX} more"
    if found.overtaken:
        yield f"{found.revision} stays in force: it was applied after this folder was last edited, which would make"
        yield f"  {summary_of(found.overtaken)}. To go back to the folder: setpoint apply {service.settings.workspace}"


def _said(service: Service) -> dict[str, Any]:
    settings, loaded, found = service.settings, service.workspace, service.beginning
    assert found is not None, "a service that has started has controls"
    return {
        "url": service.rest.url if service.rest else None,
        "workspace": str(settings.workspace),
        "revision": loaded.controls.revision,
        "in_force": found.revision,
        "was_in_force": found.before,
        "declares": summary(loaded),
        "roles": sorted(service.roles),
        "backbone": settings.backbone,
        "store": without_password(settings.store),
    }
