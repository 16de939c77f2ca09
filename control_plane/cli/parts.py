"""The parts that the settings name, each asked whether it is there: log, store, policy engine. Nothing is changed."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from control_plane.cli.finding import Finding, looked_at
from control_plane.errors import PolicyEngineUnavailable, SetpointError
from control_plane.settings import Settings, without_password

ANSWER_TIMEOUT_S: Final = 3.0
EMBEDDED: Final = "embedded"


def parts(settings: Settings) -> Iterator[Finding]:
    """Each part in the order in which a start would need it."""
    log = _log(settings)
    yield log
    if log.state == "ok":
        yield from _topics(settings)
    yield _store(settings)
    yield looked_at("policy engine", lambda: _policy_engine(settings.policy_engine))


def _log(settings: Settings) -> Finding:
    from control_plane.bootstrap.records import open_reader

    shown = without_password(settings.backbone)
    path = Path(settings.backbone.removeprefix("embedded://").partition("?")[0])
    if settings.backbone.startswith("embedded://") and not path.exists():
        return Finding(subject="log", state="ok", detail=f"{shown} is made at the first start")

    def read() -> str:
        reader = open_reader(settings)
        try:
            partitions = reader.partitions("events.v1")
        finally:
            reader.close()
        return (
            f"{shown} answers, {partitions} partitions"
            if partitions
            else f"{shown} answers, its topics are not made yet"
        )

    return looked_at("log", read)


def _topics(settings: Settings) -> Iterator[Finding]:
    """Whether the topics of a shared log are as they must be."""
    from control_plane.bootstrap.records import topic_findings

    try:
        found = topic_findings(settings)
    except SetpointError as exc:
        yield Finding(subject="topics", state="problem", detail=str(exc), cure="See what is said of the log.")
        return
    for finding in found:
        yield Finding(
            subject="topics", state="problem" if finding.refused else "note", detail=str(finding), cure=finding.cure
        )


def _store(settings: Settings) -> Finding:
    from control_plane.bootstrap.stores import look_at_store

    return looked_at("store", lambda: f"{without_password(settings.store)} answers, {look_at_store(settings)}")


def _policy_engine(address: str) -> str:
    """Raises PolicyEngineUnavailable."""
    if address == EMBEDDED:
        from importlib.metadata import version

        return f"embedded, regorus {version('gordon-to-regorus')}"
    return f"{address} answers, OPA {_opa_version(address)}"


def _opa_version(address: str) -> str:
    import httpx

    parsed = urlsplit(address)
    by_socket = parsed.scheme == "unix"
    way = httpx.HTTPTransport(uds=parsed.path) if by_socket else httpx.HTTPTransport()
    base = "http://localhost" if by_socket else address
    try:
        if by_socket:
            with socket.socket(socket.AF_UNIX) as probe:  # The client would leave open one that nobody answers.
                probe.connect(parsed.path)
        with httpx.Client(transport=way, base_url=base, timeout=ANSWER_TIMEOUT_S, trust_env=False) as opa:
            opa.get("/health").raise_for_status()
            told = opa.post("/v1/query", json={"query": "version = opa.runtime().version"}).json()
            return str(told["result"][0]["version"])
    except (httpx.HTTPError, OSError) as exc:
        raise PolicyEngineUnavailable(
            f"no OPA answers at {address} ({exc}). Start it with the output of `setpoint opa config`, or correct "
            "`policy_engine`; until it answers nothing is allowed."
        ) from exc
    except (ValueError, KeyError, IndexError, TypeError):
        # It is healthy, and its own rules may keep strangers from asking what it is.
        return "of a version that it does not tell"
