"""Every setting that there is, with its default and its help."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from control_plane.settings.kafka import MECHANISMS, PASSWORD_VARIABLE, PROTOCOLS
from control_plane.settings.values import (
    parse_backbone,
    parse_durability,
    parse_endpoint,
    parse_flag,
    parse_kafka_mechanism,
    parse_kafka_protocol,
    parse_partitions,
    parse_perhaps,
    parse_policy_engine,
    parse_standbys,
    parse_store,
    parse_text,
    parse_variable,
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
        help="Who rules on decisions: embedded, in this process; an OPA at http://127.0.0.1:8181 or unix:///run/opa.sock.",
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
    Setting(
        name="kafka.standbys",
        default=1,
        parse=parse_standbys,
        help="How many other workers keep each partition's rows at hand, to take it over at once. The same on all.",
    ),
    Setting(
        name="kafka.security_protocol",
        default=PROTOCOLS[0],
        parse=parse_kafka_protocol,
        help="How Kafka is spoken to: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    ),
    Setting(
        name="kafka.sasl_mechanism",
        default=MECHANISMS[0],
        parse=parse_kafka_mechanism,
        help="How Kafka asks who we are: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.",
    ),
    Setting(name="kafka.username", default="", parse=parse_perhaps, help="The user that Kafka knows us as."),
    Setting(
        name="kafka.password_env",
        default=PASSWORD_VARIABLE,
        parse=parse_variable,
        help="The variable of the environment that holds the user's password.",
    ),
    Setting(
        name="kafka.ca_file",
        default="",
        parse=parse_perhaps,
        help="Certificates (PEM) that Kafka's own must be signed by. Without it those that this machine trusts.",
    ),
    Setting(
        name="kafka.cert_file",
        default="",
        parse=parse_perhaps,
        help="Our own certificate (PEM), where Kafka asks its clients for one.",
    ),
    Setting(name="kafka.key_file", default="", parse=parse_perhaps, help="The key (PEM) of our own certificate."),
)
