"""Kafka with TLS and users: every client of ours is let in by the same settings, and who is not is told why."""

import asyncio
import gc
import os
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from control_plane.adapters.faust import (
    FaustBackbone,
    KafkaMarks,
    open_log_reader,
    open_log_tail,
    topic_findings,
)
from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.errors import BackboneUnavailable, InvalidSettings
from control_plane.messages.topics import CONTROL_SETS, EVENTS
from control_plane.ports.backbone import Output
from control_plane.settings import NO_SECURITY, KafkaSecurity, Settings
from control_plane.triggers import build_trigger
from tests.contract.backbone.owners import CountingOwner, KeepingReader
from tests.contract.backbone.world import events
from tests.real_parts import free_port
from tests.unit.triggers_world import World, running
from tests.workers.processes import SETPOINT
from tests.workers.secured import PASSWORD, USER, Authority, Secured, secured_kafka

pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings("ignore:.*unclosed:ResourceWarning")]

PARTITIONS = 2


@pytest.fixture(autouse=True)
def what_a_refused_client_leaves_is_collected_here() -> Iterator[None]:
    """aiokafka lets go of a connection that is refused while it is being opened, without closing it."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    with secured_kafka(tmp_path_factory.mktemp("secured"), free_port()) as kafka:
        yield kafka


async def goes_round(server: str, security: KafkaSecurity, path: Path) -> None:
    """Every client of ours does its part: consumers, producers, admin, readers, the tail and the marks."""
    url = f"kafka://{server}?prefix=s{uuid.uuid4().hex[:8]}-"
    owner, reader = CountingOwner(), KeepingReader()
    backbone = FaustBackbone(url, partitions=PARTITIONS, data_dir=path, security=security)
    backbone.own_events(owner)
    backbone.join("recorder", [EVENTS], reader)
    await backbone.start()
    try:
        await backbone.append(events(10))
        await owner.until(lambda: len(owner.taken) == 10)
        await backbone.append([Output(CONTROL_SETS, b"key", b"value", 0)])
        tail = open_log_tail(url, {CONTROL_SETS: 0}, security=security)
        assert [record.value for record in await asyncio.wait_for(tail.next(), 20)] == [b"value"]
        await tail.close()
        marks = KafkaMarks(url, partitions=PARTITIONS, security=security)
        assert set(await marks.read()) == {0, 1}
        await marks.close()
    finally:
        await backbone.stop()
    assert await asyncio.to_thread(_count, url, security) >= 10
    assert await asyncio.to_thread(topic_findings, url, partitions=PARTITIONS, security=security) == ()


def _count(url: str, security: KafkaSecurity) -> int:
    with closing(open_log_reader(url, security=security)) as log:
        return sum(1 for partition in range(log.partitions(EVENTS)) for _ in log.read(EVENTS, partition))


async def test_a_user_over_tls(kafka: Secured, tmp_path: Path) -> None:
    await goes_round(kafka.users, kafka.user(mechanism="SCRAM-SHA-512"), tmp_path)


async def test_a_plain_user_over_tls(kafka: Secured, tmp_path: Path) -> None:
    await goes_round(kafka.users, kafka.user(mechanism="PLAIN"), tmp_path)


async def test_a_user_without_tls(kafka: Secured, tmp_path: Path) -> None:
    await goes_round(kafka.users_unencrypted, kafka.user(protocol="SASL_PLAINTEXT", ca_file=None), tmp_path)


async def test_a_certificate(kafka: Secured, tmp_path: Path) -> None:
    cert_file, key_file = kafka.authority.certify("worker")
    security = KafkaSecurity(protocol="SSL", ca_file=kafka.authority.ca_file, cert_file=cert_file, key_file=key_file)

    await goes_round(kafka.certificates, security, tmp_path)


@asynccontextmanager
async def closing_admin(options: dict[str, Any]) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_a_trigger_reads_a_topic_of_others_by_its_certificate(kafka: Secured, tmp_path: Path) -> None:
    cert_file, key_file = kafka.authority.certify("reader")
    security = {
        "protocol": "SSL",
        "ca_file": str(kafka.authority.ca_file),
        "cert_file": str(cert_file),
        "key_file": str(key_file),
    }
    theirs = KafkaSecurity(protocol="SSL", ca_file=kafka.authority.ca_file, cert_file=cert_file, key_file=key_file)
    options = KafkaAddress.parse(f"kafka://{kafka.certificates}", theirs).client_options()
    topic, world = f"orders-{uuid.uuid4().hex[:8]}", World(root=tmp_path)
    async with closing_admin(options) as admin, AIOKafkaProducer(**options) as producer:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        await producer.send_and_wait(topic, b'{"number": "7"}')
    declared = {
        "name": "orders",
        "kind": "kafka",
        "servers": [kafka.certificates],
        "topic": topic,
        "security": security,
    }
    event = {"type": "order.placed", "subject": '"order/" + item.number'}
    async with running(build_trigger({**declared, "event": event}, world.tools)):
        await world.until(lambda: [event.subject for event in world.events] == ["order/7"])


async def refusal(server: str, security: KafkaSecurity, path: Path) -> str:
    """What is said at the start; a reader and a tail say the same."""
    url = f"kafka://{server}"
    with pytest.raises((InvalidSettings, BackboneUnavailable)) as refused:
        await FaustBackbone(url, data_dir=path, security=security).start()
    with pytest.raises(type(refused.value)) as read:
        await asyncio.to_thread(open_log_reader, url, security=security)
    with pytest.raises(type(refused.value)) as followed:
        await open_log_tail(url, {CONTROL_SETS: 0}, security=security).next()
    assert str(read.value) == str(followed.value) == str(refused.value)
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_wrong_password_is_named_with_its_cure(kafka: Secured, tmp_path: Path, mechanism: str) -> None:
    said = await refusal(kafka.users, kafka.user(mechanism=mechanism, password="guessed"), tmp_path)

    assert f"refused the user '{USER}'" in said
    assert "the password in SETPOINT_KAFKA_PASSWORD" in said
    assert "guessed" not in said


async def test_a_broker_that_somebody_else_certified_is_named_with_its_cure(kafka: Secured, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger")

    said = await refusal(kafka.users, kafka.user(ca_file=stranger.ca_file), tmp_path)

    assert f"the certificate of Kafka at {kafka.users} cannot be trusted" in said
    assert f"Set kafka.ca_file to the certificates of those who signed it ({stranger.ca_file} now)" in said


async def test_a_name_that_the_certificate_is_not_made_out_to_is_refused(kafka: Secured, tmp_path: Path) -> None:
    elsewhere = f"127.0.0.2:{kafka.users.rpartition(':')[2]}"

    with pytest.raises((InvalidSettings, BackboneUnavailable)) as refused:
        await FaustBackbone(f"kafka://{elsewhere}", data_dir=tmp_path, security=kafka.user()).start()

    assert elsewhere in str(refused.value)


async def test_a_missing_certificate_is_named_with_its_cure(kafka: Secured, tmp_path: Path) -> None:
    security = KafkaSecurity(protocol="SSL", ca_file=kafka.authority.ca_file)

    said = await refusal(kafka.certificates, security, tmp_path)

    assert "kafka.cert_file" in said or "hangs up" in said


async def test_a_mechanism_that_the_broker_does_not_speak_is_named(kafka: Secured, tmp_path: Path) -> None:
    said = await refusal(kafka.users, kafka.user(mechanism="SCRAM-SHA-256"), tmp_path)

    assert "does not let users in by SASL_SSL with SCRAM-SHA-256" in said


async def test_speaking_openly_to_a_listener_with_tls_says_so(kafka: Secured, tmp_path: Path) -> None:
    said = await refusal(kafka.users, NO_SECURITY, tmp_path)

    assert "hangs up when it is spoken to as a Kafka by PLAINTEXT" in said
    assert "kafka.security_protocol" in said


async def test_speaking_tls_to_an_open_listener_says_so(kafka: Secured, tmp_path: Path) -> None:
    said = await refusal(kafka.plain, kafka.user(), tmp_path)

    assert "kafka.security_protocol" in said


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"username": ""}, "kafka.username is not set"),
        ({"password": ""}, "SETPOINT_KAFKA_PASSWORD holds no password"),
        ({"ca_file": Path("/nowhere/ca.pem")}, "kafka.ca_file: /nowhere/ca.pem cannot be used"),
        ({"cert_file": Path("/nowhere/me.pem")}, "kafka.cert_file or kafka.key_file: /nowhere/me.pem cannot be used"),
        ({"key_file": Path("/nowhere/me.key")}, "kafka.key_file is set and kafka.cert_file is not"),
    ],
)
async def test_settings_that_cannot_be_used_are_refused_before_anybody_is_asked(
    kafka: Secured, tmp_path: Path, changed: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidSettings, match="Nothing was opened") as refused:
        await FaustBackbone("kafka://127.0.0.1:1", data_dir=tmp_path, security=kafka.user(**changed)).start()

    assert said in str(refused.value)


def test_settings_and_environment_reach_the_clients_and_the_password_is_never_shown(
    kafka: Secured, tmp_path: Path
) -> None:
    (tmp_path / "setpoint.yaml").write_text(
        f"apiVersion: setpoint/v1\nbackbone: kafka://{kafka.users}\n"
        f"kafka: {{security_protocol: sasl_ssl, username: {USER}, password_env: KAFKA_SECRET, ca_file: ca.pem}}\n"
    )
    (tmp_path / "ca.pem").write_bytes(kafka.authority.ca_file.read_bytes())
    environ = {**os.environ, "KAFKA_SECRET": PASSWORD}

    def said(*words: str) -> str:
        call = [*SETPOINT, *words, "--json"]
        done = subprocess.run(call, env=environ, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    shown = said("config", "show", "-w", str(tmp_path))
    looked = said("doctor", str(tmp_path))

    assert ("KAFKA_SECRET" in shown, PASSWORD in shown) == (True, False), shown
    assert f"kafka://{kafka.users} answers" in looked, looked
    assert PASSWORD not in looked
    assert PASSWORD not in repr(Settings.load(tmp_path, {}, {"SETPOINT_KAFKA_PASSWORD": PASSWORD}))
