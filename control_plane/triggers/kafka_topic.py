"""A topic that somebody else writes to. Kind `kafka`.

A record is one event, by its topic, partition, offset and time: read again, it has the same id. How far each partition
was read is kept with us, after its events are safe; the group on their side shares partitions out and shows the lag.
"""

import logging
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from control_plane.catalogue.definitions import Expression
from control_plane.errors import InvalidMessage
from control_plane.messages import topics
from control_plane.triggers.formats import FORMATS
from control_plane.triggers.kafka_taking import Taken
from control_plane.triggers.mapping import EventKeys, EventMapping, examine_event
from control_plane.triggers.patience import RETRY_PAUSE_S, until_done
from control_plane.triggers.reading import json_value
from control_plane.triggers.sorting import Arrived, Place, Sorted, Sorter
from control_plane.triggers.tools import Declared, Keys, TriggerTools, VariableName
from control_plane.workspace.examined import Examined, Formula, Problem

SECRET_CHARS_MIN: Final = 1
"""Passwords of others are theirs to choose."""
_OURS: Final = frozenset({*topics.KEYED_BY_SUBJECT, *topics.CONTROLS})
_BINARY: Final = "ce_"
"""Begins the headers of a CloudEvent in binary mode."""

Server = Annotated[str, Meta(pattern=r"^[^\s:/,]+:\d{1,5}$", max_length=300, description="host:port.")]
FileName = Annotated[str, Meta(min_length=1, max_length=500, description="a file in PEM, from the workspace on.")]
TopicName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="a topic's name.")]

_log = logging.getLogger(__name__)


class SecurityKeys(Keys, frozen=True):
    """How to be let in. Without it nothing is encrypted and nobody is asked."""

    protocol: Literal["SSL", "SASL_SSL", "SASL_PLAINTEXT"] = "SASL_SSL"
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username_env: VariableName | None = None
    password_env: VariableName | None = None
    ca_file: FileName | None = None
    cert_file: FileName | None = None
    key_file: FileName | None = None


class KafkaKeys(Keys, frozen=True):
    """What `triggers/*.yaml` says of this kind. `start` is where a partition begins that was never read."""

    servers: Annotated[list[Server], Meta(min_length=1, max_length=20)]
    topic: TopicName
    group: TopicName | None = None
    start: Literal["earliest", "latest"] = "earliest"
    format: Literal["json", "cloudevents"] = "json"
    when: Expression | None = None
    event: EventKeys = EventKeys()
    security: SecurityKeys | None = None


def examine_kafka(keys: KafkaKeys) -> Examined:
    """What is wrong in a definition whose shape is right, and what it reads."""
    form = FORMATS[keys.format]
    readable = form.reads | {"key", "headers", "partition", "offset"}
    said = examine_event(keys.event, form, readable)
    formulas = said.formulas + ((Formula(path=("when",), variables=readable),) if keys.when is not None else ())
    problems = list(said.problems)
    if keys.topic in _OURS:
        problem = f"the topic {keys.topic} is Setpoint's own: what is read from it would be written to it"
        problems.append(Problem(path=("topic",), problem=problem, cure="Name a topic of another system."))
    security = keys.security
    if security is not None and security.protocol != "SSL" and not (security.username_env and security.password_env):
        problem = f"{security.protocol} wants a user and a password"
        problems.append(Problem(path=("security",), problem=problem, cure="Add username_env and password_env."))
    if security is not None and security.key_file is not None and security.cert_file is None:
        problem = "a key is of no use without its certificate"
        problems.append(Problem(path=("security", "key_file"), problem=problem, cure="Add cert_file."))
    return Examined(problems=tuple(problems), formulas=formulas, types=said.types)


class KafkaTrigger:
    """One topic."""

    def __init__(self, declared: Declared, keys: KafkaKeys, tools: TriggerTools) -> None:
        form = FORMATS[keys.format]
        mapping = EventMapping(declared, keys.event, form, tools.expressions, keys.when)
        self.name = declared.name
        self._format = keys.format
        self.group = keys.group or f"setpoint-trigger-{declared.name}"
        self._tools = tools
        self._sorter = Sorter(declared, form, mapping, tools)
        self.servers: Sequence[str] = tuple(keys.servers)
        self.topic: str = keys.topic
        self.begins_at_end = keys.start == "latest"
        self.options = _options(declared, keys.security, tools)

    async def run(self) -> None:
        """Read until cancelled. Raises StorageFull, or what else no waiting can mend."""
        # Only who reads a topic pays for loading its client.
        from control_plane.triggers.kafka_reader import Away, read

        complained = False
        while True:
            try:
                await read(self)
            except Away as away:
                if not complained:
                    reason = f"{', '.join(self.servers)}: {away}"
                    _log.warning("a foreign Kafka is away", extra={"trigger": self.name, "reason": reason})
                complained = True
            await self._tools.clock.sleep(RETRY_PAUSE_S)

    async def positions(self) -> Mapping[int, int]:
        """The next offset of each partition that was ever read."""
        kept = await self._patiently(lambda: self._tools.positions.read(self.name))
        prefix = f"{self.topic}/"
        return {int(key.removeprefix(prefix)): at for key, at in kept.items() if key.startswith(prefix)}

    async def keep(self, positions: Mapping[int, int]) -> None:
        """Keep the next offset of partitions."""
        written = {f"{self.topic}/{partition}": offset for partition, offset in positions.items()}
        await self._patiently(lambda: self._tools.positions.write(self.name, written))

    async def publish(self, records: Sequence[Taken]) -> None:
        """Make events of records; returns once they are safe."""
        into = Sorted()
        for record in records:
            self._sort(record, into)
        await self._patiently(lambda: self._sorter.bring_in(into))

    def _sort(self, record: Taken, into: Sorted) -> None:
        where = f"{self.topic}/{record.partition}/{record.offset}"
        place = Place(
            words=f"topic {self.topic}, partition {record.partition}, offset {record.offset}",
            # With its time, because a topic that was deleted and made anew counts from 0 again.
            identity=f"{where}@{record.timestamp_ms}",
            partition=record.partition,
            offset=record.offset,
        )
        headers = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
        raw = record.value or b""
        try:
            if self._format == "cloudevents" and f"{_BINARY}specversion" in headers:
                raw = _structured(headers, raw)
            value = json_value(raw, "the record") if self._sorter.needs_value else None
        except InvalidMessage as reason:
            self._sorter.refuse(raw, place, reason, into)
            return
        beside = {
            "key": None if record.key is None else record.key.decode(errors="replace"),
            "headers": headers,
            "partition": record.partition,
            "offset": record.offset,
        }
        self._sorter.sort(Arrived(raw=raw, value=value, place=place, beside=beside, places={"item": ""}), into)

    async def _patiently(self, call: Any) -> Any:
        return await until_done(call, trigger=self.name, clock=self._tools.clock)


def _structured(headers: Mapping[str, str], value: bytes) -> bytes:
    """A CloudEvent whose attributes stand in headers, in one piece."""
    attributes = {name.removeprefix(_BINARY): text for name, text in headers.items() if name.startswith(_BINARY)}
    data = {"data": json_value(value, "the record")} if value else {}
    return msgspec.json.encode({**attributes, **data})


def _options(declared: Declared, security: SecurityKeys | None, tools: TriggerTools) -> Mapping[str, Any]:
    """How brokers let the client in. Raises InvalidWorkspace when a secret is not there or a file cannot be used."""
    if security is None:
        return {}
    options: dict[str, Any] = {"security_protocol": security.protocol}
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = _encryption(declared, security, tools.root)
    if security.username_env and security.password_env:
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": declared.secret(tools, security.username_env, SECRET_CHARS_MIN),
            "sasl_plain_password": declared.secret(tools, security.password_env, SECRET_CHARS_MIN),
        }
    return options


def _encryption(declared: Declared, security: SecurityKeys, root: Path) -> ssl.SSLContext:
    ca_file, cert_file, key_file = (
        root / name if name is not None else None for name in (security.ca_file, security.cert_file, security.key_file)
    )
    try:
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file is not None:
            # A key that asks for its pass phrase would wait at a terminal that a service has not.
            context.load_cert_chain(cert_file, key_file, password=lambda: b"")
    except (OSError, ssl.SSLError) as exc:
        problem = f"its certificates cannot be used: {exc}"
        cure = "Name files in PEM that this user may read: ca_file, cert_file, and key_file without a pass phrase."
        raise declared.wrong(problem, cure) from exc
    return context
