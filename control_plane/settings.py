"""What a process is told before it starts: each value, checked, with where it came from.

Reads no file and no clock: the caller gives the mapping of `setpoint.yaml`, the environment and the command line. A
later source wins: defaults, then the file, then `SETPOINT_...`, then the command line.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from control_plane.errors import InvalidSettings

API_VERSION: Final = "setpoint/v1"
PARTITIONS_MAX: Final = 1024
FILE: Final = "setpoint.yaml"

API_KEY_VARIABLE: Final = "SETPOINT_API_KEY"
URL_VARIABLE: Final = "SETPOINT_URL"
_VARIABLES_BESIDE: Final = frozenset({API_KEY_VARIABLE, URL_VARIABLE})
"""Variables of the environment that are no settings: a secret, and where a client finds the service."""

_ENDPOINT = re.compile(r"\[([0-9A-Fa-f:.]+)\]:(\d{1,5})|([A-Za-z0-9._-]+):(\d{1,5})")
_PASSWORD = re.compile(r"(://[^:/@?]*):[^@/]*@")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One thing that can be set. `parse` raises ValueError with what is wrong and what to write instead."""

    name: str
    default: Any
    help: str
    parse: Callable[[Any], Any]

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return "SETPOINT_" + self.name.replace(".", "_").upper()

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace(".", "-").replace("_", "-")


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """One setting as it is in force: its value as it was written, fit to be shown, and where that came from."""

    name: str
    value: str
    origin: str
    help: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Every setting of one process. Paths are absolute: relative ones were taken from the workspace."""

    workspace: Path
    backbone: str
    store: str
    policy_engine: str
    listen_host: str
    listen_port: int
    durability: str
    partitions: int
    data_dir: Path
    policies_builtin: bool
    api_key: str | None = field(default=None, repr=False)
    """The key that was given explicitly; without one, a service on loopback makes its own."""
    given: tuple[Given, ...] = ()

    @classmethod
    def load(
        cls,
        workspace_root: Path,
        mapping: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> "Settings":
        """Settings from all sources; an override of None was not given.

        Raises InvalidSettings with everything that is wrong, one line each.
        """
        flaws: list[str] = []
        environ = environ or {}
        written = _written(mapping or {}, environ, overrides or {}, flaws)
        values, given = {}, []
        for setting in SETTINGS:
            value, origin = written.get(setting.name, (setting.default, "default"))
            try:
                values[setting.name] = setting.parse(value)
            except ValueError as exc:
                flaws.append(f"{setting.name}: {_shown(value)!r} (from {origin}) cannot be used: {exc}")
                continue
            given.append(Given(name=setting.name, value=_shown(value), origin=origin, help=setting.help))
        if flaws:
            raise InvalidSettings("\n".join(flaws))
        return cls._of(Path(workspace_root).resolve(), values, given, environ)

    @classmethod
    def _of(
        cls, workspace: Path, values: Mapping[str, Any], given: list[Given], environ: Mapping[str, str]
    ) -> "Settings":
        data_dir = workspace / values["data_dir"]
        host, port = values["listen"]
        return cls(
            workspace=workspace,
            backbone=_backbone_in(workspace, data_dir, values["backbone"]),
            store=_store_in(workspace, data_dir, values["store"]),
            policy_engine=values["policy_engine"],
            listen_host=host,
            listen_port=port,
            durability=values["durability"],
            partitions=values["partitions"],
            data_dir=data_dir,
            policies_builtin=values["policies.builtin"],
            api_key=environ.get(API_KEY_VARIABLE) or None,
            given=tuple(_with_followers(given, values["data_dir"])),
        )

    @property
    def api_key_file(self) -> Path:
        """Where a service on loopback keeps the key that it made."""
        return self.data_dir / "api.key"


def setpoint_version() -> str:
    """The version that is installed; a tree that is run without being installed has none."""
    import importlib.metadata  # Costs 14 ms, which every command would pay.

    try:
        return importlib.metadata.version("setpoint")
    except importlib.metadata.PackageNotFoundError:
        return "0+tree"


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Variables that begin like settings and are none, each with the nearest that is one.

    They do not stop a start: schedulers inject variables of such names by themselves.
    """
    known = {setting.variable for setting in SETTINGS} | _VARIABLES_BESIDE
    strays = sorted(name for name in environ if name.startswith("SETPOINT_") and name not in known)
    return [(name, _nearest(name, known)) for name in strays]


def without_password(url: str) -> str:
    """A URL fit to be shown."""
    return _PASSWORD.sub(r"\1:***@", url)


def _written(
    mapping: Mapping[str, Any], environ: Mapping[str, str], overrides: Mapping[str, Any], flaws: list[str]
) -> dict[str, tuple[Any, str]]:
    """What each source says, with its origin; later sources replace earlier ones."""
    written: dict[str, tuple[Any, str]] = {}
    for name, value in _from_file(mapping, flaws):
        written[name] = (value, FILE)
    for setting in SETTINGS:
        if environ.get(setting.variable):
            written[setting.name] = (environ[setting.variable], setting.variable)
        if overrides.get(setting.name) is not None:
            written[setting.name] = (overrides[setting.name], setting.option)
    strangers = sorted(set(overrides) - {setting.name for setting in SETTINGS})
    assert not strangers, f"the command line offers settings that do not exist: {strangers}"
    return written


def _from_file(mapping: Mapping[str, Any], flaws: list[str]) -> Iterator[tuple[str, Any]]:
    top = {setting.name for setting in SETTINGS if "." not in setting.name} | {"policies", "apiVersion"}
    for key, value in mapping.items():
        if key == "apiVersion":
            if value != API_VERSION:
                flaws.append(f"apiVersion: {value!r} (from {FILE}) is not known. Write apiVersion: {API_VERSION}.")
        elif key not in top:
            flaws.append(_unknown_key(str(key), top))
        elif key == "policies":
            yield from _from_policies(value, flaws)
        else:
            yield key, value


def _from_policies(value: Any, flaws: list[str]) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        flaws.append(f"policies: {value!r} (from {FILE}) is no mapping. Write policies: {{builtin: true}}.")
        return
    known = {setting.name for setting in SETTINGS if setting.name.startswith("policies.")}
    for key, part in value.items():
        name = f"policies.{key}"
        if name in known:
            yield name, part
        else:
            flaws.append(_unknown_key(name, known))


def _unknown_key(key: str, known: set[str]) -> str:
    nearest = _nearest(key, known)
    cure = f"Did you mean {nearest!r}?" if nearest else f"Known are: {', '.join(sorted(known))}."
    return f"{key}: there is no such setting (from {FILE}). {cure}"


def _nearest(name: str, known: set[str] | frozenset[str]) -> str | None:
    folded = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else without_password(str(value))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it is not a text. Give it one, or leave it out.")
    return value.strip()


def _backbone(value: Any) -> str:
    text = _text(value)
    scheme, _, rest = text.partition("://")
    place, _, query = rest.partition("?")
    if scheme == "embedded" and place:
        _check_query(query, {"atomic": r"true|false"})
        return text
    if scheme == "kafka" and place:
        for server in place.split(","):
            _endpoint(server, port_min=1)
        _check_query(query, {"replication": r"-1|[1-9]\d*"})
        return text
    raise ValueError(
        "it is no log. Write embedded://PATH, embedded://PATH?atomic=false or kafka://host:9092,host2:9092."
    )


def _check_query(query: str, allowed: Mapping[str, str]) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in allowed or not re.fullmatch(allowed[name], value):
            known = " or ".join(f"{one}={form}" for one, form in sorted(allowed.items()))
            raise ValueError(f"{name}={value} is not known behind the question mark. Write {known}, or nothing.")


def _store(value: Any) -> str:
    text = _text(value)
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


def _policy_engine(value: Any) -> str:
    if _text(value) != "embedded":
        raise ValueError("there is no such policy engine. Write embedded.")
    return "embedded"


def _endpoint(value: Any, *, port_min: int = 0) -> tuple[str, int]:
    found = _ENDPOINT.fullmatch(_text(value))
    host, port = (found[1] or found[3], int(found[2] or found[4])) if found else ("", -1)
    if not port_min <= port <= 65535:
        raise ValueError(
            f"{value!r} is no address with a port from {port_min} to 65535. Write host:port, as in 127.0.0.1:7070."
        )
    return host, port


def _durability(value: Any) -> str:
    text = _text(value)
    if text not in ("flush", "fsync"):
        raise ValueError(
            "there is no such durability. Write flush (survives the process) or fsync (survives the power)."
        )
    return text


def _partitions(value: Any) -> int:
    try:
        count = 0 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        count = 0
    if not 1 <= count <= PARTITIONS_MAX or str(count) != str(value).strip():
        raise ValueError(f"it is no count. Write a whole number from 1 to {PARTITIONS_MAX}.")
    return count


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ValueError("it is neither yes nor no. Write true or false.")
    return text in _TRUE


def _backbone_in(workspace: Path, data_dir: Path, url: str | None) -> str:
    """The log's URL with an absolute path; without one of its own the log lies in the data directory."""
    if url is None:
        return f"embedded://{data_dir / 'log'}"
    scheme, _, rest = url.partition("://")
    if scheme != "embedded":
        return url
    path, mark, query = rest.partition("?")
    return f"embedded://{workspace / path}{mark}{query}"


def _store_in(workspace: Path, data_dir: Path, url: str | None) -> str:
    """The store's URL with an absolute path; four slashes begin one, three a path in the workspace."""
    if url is None:
        return f"sqlite+aiosqlite:///{data_dir / 'audit.db'}"
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("sqlite"):
        return url
    path, mark, query = rest[1:].partition("?")
    return f"{scheme}:///{workspace / path}{mark}{query}"


def _unless_default(parse: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: None if value is FOLLOWS_DATA_DIR else parse(value)


def _with_followers(given: list[Given], data_dir: str) -> Iterator[Given]:
    """What is shown for a setting that follows the data directory."""
    shown = {"backbone": f"embedded://{data_dir}/log", "store": f"sqlite+aiosqlite:///{data_dir}/audit.db"}
    for one in given:
        if one.origin == "default" and one.name in shown:
            yield Given(name=one.name, value=shown[one.name], origin=one.origin, help=one.help)
        else:
            yield one


FOLLOWS_DATA_DIR: Final = object()
"""Default of what lies in the data directory unless it is told otherwise."""

SETTINGS: Final = (
    Setting(
        name="backbone",
        default=FOLLOWS_DATA_DIR,
        parse=_unless_default(_backbone),
        help="The log: embedded://PATH on one machine, kafka://host:9092,host2:9092 on many.",
    ),
    Setting(
        name="store",
        default=FOLLOWS_DATA_DIR,
        parse=_unless_default(_store),
        help="The database of ledger and audit store, as an SQLAlchemy URL.",
    ),
    Setting(
        name="policy_engine",
        default="embedded",
        parse=_policy_engine,
        help="Who rules on decisions: embedded, in this process.",
    ),
    Setting(
        name="listen",
        default="127.0.0.1:7070",
        parse=_endpoint,
        help="Where REST is served, host:port. Port 0 takes a free one. Beyond loopback it needs SETPOINT_API_KEY.",
    ),
    Setting(
        name="durability",
        default="flush",
        parse=_durability,
        help="What the embedded log survives: flush the death of the process, fsync the loss of power.",
    ),
    Setting(
        name="partitions",
        default=4,
        parse=_partitions,
        help="Partitions of each topic. Set once, ahead of need: it cannot be changed on data that is there.",
    ),
    Setting(
        name="data_dir",
        default="data",
        parse=_text,
        help="Where Setpoint writes: log, tables, audit.db, api.key. Nothing else may write there.",
    ),
    Setting(
        name="policies.builtin",
        default=True,
        parse=_flag,
        help="Whether the built-in permits and guardrails are in force beside the workspace's own.",
    ),
)
