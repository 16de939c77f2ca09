"""What a setting may be: each parser gives the value that is meant, or raises ValueError with what to write instead."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import parse_qsl

from control_plane.settings.kafka import MECHANISMS, PROTOCOLS

PARTITIONS_MAX: Final = 1024
STANDBYS_MAX: Final = 8

_ENDPOINT = re.compile(r"\[([0-9A-Fa-f:.]+)\]:(\d{1,5})|([A-Za-z0-9._-]+):(\d{1,5})")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def parse_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it is not a text. Give it one, or leave it out.")
    return value.strip()


def parse_backbone(value: Any) -> str:
    text = parse_text(value)
    scheme, _, rest = text.partition("://")
    place, _, query = rest.partition("?")
    if scheme == "embedded" and place:
        _check_query(query, {"atomic": r"true|false"})
        return text
    if scheme == "kafka" and place:
        for server in place.split(","):
            parse_endpoint(server, port_min=1)
        _check_query(query, {"replication": r"-1|[1-9]\d*", "prefix": r"[a-zA-Z0-9._-]{1,64}"})
        return text
    raise ValueError(
        "it is no log. Write embedded://PATH, embedded://PATH?atomic=false or kafka://host:9092,host2:9092."
    )


def _check_query(query: str, allowed: Mapping[str, str]) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed or not re.fullmatch(allowed[name], value):
            known = " or ".join(f"{one}={form}" for one, form in sorted(allowed.items()))
            raise ValueError(f"{name}={value} is not known behind the question mark. Write {known}, or nothing.")


def parse_perhaps(value: Any) -> str:
    """A text that may be left empty."""
    return "" if value == "" else parse_text(value)


def parse_kafka_protocol(value: Any) -> str:
    return _one_of(PROTOCOLS, value)


def parse_kafka_mechanism(value: Any) -> str:
    return _one_of(MECHANISMS, value)


def _one_of(known: Sequence[str], value: Any) -> str:
    text = parse_text(value).upper()
    if text not in known:
        raise ValueError(f"it is not known. Write one of {', '.join(known)}.")
    return text


def parse_variable(value: Any) -> str:
    text = parse_text(value)
    if not _VARIABLE.fullmatch(text):
        raise ValueError(
            "it is no name of a variable. Write the name of the one that holds the secret, not the secret."
        )
    return text


def parse_store(value: Any) -> str:
    text = parse_text(value)
    scheme, _, rest = text.partition("://")
    if scheme == "sqlite+aiosqlite" and rest.startswith("/") and len(rest) > 1 and rest != "/:memory:":
        return text
    if scheme == "postgresql+asyncpg" and rest:
        import importlib.util

        if importlib.util.find_spec("asyncpg") is None:
            raise ValueError(
                "the driver asyncpg is not installed. Install it, or use sqlite+aiosqlite:///data/audit.db."
            )
        return text
    raise ValueError("it is no database. Write sqlite+aiosqlite:///PATH or postgresql+asyncpg://user@host/name.")


def parse_policy_engine(value: Any) -> str:
    text = parse_text(value)
    if text == "embedded" or (text.startswith("unix:///") and len(text) > len("unix:///")):
        return text
    scheme, _, place = text.partition("://")
    if scheme in ("http", "https") and place:
        parse_endpoint(place.rstrip("/"), port_min=1)
        return text.rstrip("/")
    raise ValueError(
        "there is no such policy engine. Write embedded, or where an OPA is: http://127.0.0.1:8181, unix:///run/opa.sock."
    )


def parse_endpoint(value: Any, *, port_min: int = 0) -> tuple[str, int]:
    found = _ENDPOINT.fullmatch(parse_text(value))
    host, port = (found[1] or found[3], int(found[2] or found[4])) if found else ("", -1)
    if not port_min <= port <= 65535:
        raise ValueError(
            f"{value!r} is no address with a port from {port_min} to 65535. Write host:port, as in 127.0.0.1:7070."
        )
    return host, port


def parse_durability(value: Any) -> str:
    text = parse_text(value)
    if text not in ("flush", "fsync"):
        raise ValueError(
            "there is no such durability. Write flush (survives the process) or fsync (survives the power)."
        )
    return text


def parse_partitions(value: Any) -> int:
    return _count(value, 1, PARTITIONS_MAX)


def parse_standbys(value: Any) -> int:
    return _count(value, 0, STANDBYS_MAX)


def _count(value: Any, least: int, most: int) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal() or str(int(text)) != text or not least <= int(text) <= most:
        raise ValueError(f"it is no count. Write a whole number from {least} to {most}.")
    return int(text)


def parse_flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("it is neither yes nor no. Write true or false.")
    return text in _TRUE
