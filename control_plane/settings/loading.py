"""The settings of one process: all sources together, checked, with what they come to."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from control_plane.errors import InvalidSettings
from control_plane.settings.declared import SETTINGS
from control_plane.settings.kafka import NO_SECURITY, KafkaSecurity
from control_plane.settings.sources import API_KEY_VARIABLE, BUNDLE_KEY_VARIABLE, written

_PASSWORD = re.compile(r"(://[^:/@?]*):[^@/]*@")


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
    standbys: int = 0
    """Other workers that keep each partition's rows at hand, where the log is on Kafka."""
    kafka: KafkaSecurity = NO_SECURITY
    """How the log's Kafka, if it is on one, lets us in."""
    api_key: str | None = field(default=None, repr=False)
    """The key that was given explicitly; without one, a service on loopback makes its own."""
    bundle_key: str | None = field(default=None, repr=False)
    """The secret that bundles for OPA are signed with, likewise."""
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
        found = written(mapping or {}, environ, overrides or {}, flaws)
        values, given = {}, []
        for setting in SETTINGS:
            value, origin = found.get(setting.name, (setting.default, "default"))
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
            standbys=values["kafka.standbys"],
            kafka=KafkaSecurity.of(values, workspace, environ),
            api_key=environ.get(API_KEY_VARIABLE) or None,
            bundle_key=environ.get(BUNDLE_KEY_VARIABLE) or None,
            given=tuple(_with_followers(given, values["data_dir"])),
        )

    @property
    def ledger(self) -> str:
        """The ledger's database. SQLite lets one writer write at a time, and a command must not wait until the recorder
        has written its batch: so there the ledger is a file of its own beside the store."""
        scheme, _, rest = self.store.partition("://")
        if not scheme.startswith("sqlite"):
            return self.store
        path, mark, query = rest.partition("?")
        stem = path.removesuffix(".db")
        return f"{scheme}://{stem}.ledger.db{mark}{query}"

    @property
    def api_key_file(self) -> Path:
        """Where a service on loopback keeps the key that it made."""
        return self.data_dir / "api.key"

    @property
    def bundle_key_file(self) -> Path:
        """Where a service on loopback keeps the secret that it signs bundles with."""
        return self.data_dir / "bundle.key"


def without_password(url: str) -> str:
    """A URL fit to be shown."""
    return _PASSWORD.sub(r"\1:***@", url)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else without_password(str(value))


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


def _with_followers(given: list[Given], data_dir: str) -> Iterator[Given]:
    """What is shown for a setting that follows the data directory."""
    shown = {"backbone": f"embedded://{data_dir}/log", "store": f"sqlite+aiosqlite:///{data_dir}/audit.db"}
    for one in given:
        if one.origin == "default" and one.name in shown:
            yield Given(name=one.name, value=shown[one.name], origin=one.origin, help=one.help)
        else:
            yield one
