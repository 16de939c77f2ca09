"""Every setting that there is, with its default and its help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from control_plane.settings.values import (
    parse_backbone,
    parse_durability,
    parse_endpoint,
    parse_flag,
    parse_partitions,
    parse_policy_engine,
    parse_store,
    parse_text,
)


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


def _unless_default(parse: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda value: None if value is FOLLOWS_DATA_DIR else parse(value)


FOLLOWS_DATA_DIR: Final = object()
"""Default of what lies in the data directory unless it is told otherwise."""

SETTINGS: Final = (
    Setting(
        name="backbone",
        default=FOLLOWS_DATA_DIR,
        parse=_unless_default(parse_backbone),
        help="The log: embedded://PATH on one machine, kafka://host:9092,host2:9092 on many.",
    ),
    Setting(
        name="store",
        default=FOLLOWS_DATA_DIR,
        parse=_unless_default(parse_store),
        help="The database of audit store and ledger, an SQLAlchemy URL. With SQLite the ledger is a file beside it.",
    ),
    Setting(
        name="policy_engine",
        default="embedded",
        parse=parse_policy_engine,
        help="Who rules on decisions: embedded, in this process.",
    ),
    Setting(
        name="listen",
        default="127.0.0.1:7070",
        parse=parse_endpoint,
        help="Where REST is served, host:port. Port 0 takes a free one. Beyond loopback it needs SETPOINT_API_KEY.",
    ),
    Setting(
        name="durability",
        default="flush",
        parse=parse_durability,
        help="What the embedded log survives: flush the death of the process, fsync the loss of power.",
    ),
    Setting(
        name="partitions",
        default=4,
        parse=parse_partitions,
        help="Partitions of each topic. Set once, ahead of need: it cannot be changed on data that is there.",
    ),
    Setting(
        name="data_dir",
        default="data",
        parse=parse_text,
        help="Where Setpoint writes: log, tables, audit.db, audit.ledger.db, api.key. Nothing else may write there.",
    ),
    Setting(
        name="policies.builtin",
        default=True,
        parse=parse_flag,
        help="Whether the built-in permits and guardrails are in force beside the workspace's own.",
    ),
)
