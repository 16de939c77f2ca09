"""How a Kafka lets us in is set like all else; the secret comes from the environment and is shown nowhere."""

from pathlib import Path
from typing import Any

import pytest

from control_plane.errors import InvalidSettings
from control_plane.settings import KafkaSecurity, Settings, unknown_variables

ROOT = Path("/srv/loop")


def test_without_settings_nothing_is_encrypted_and_nobody_is_asked() -> None:
    security = Settings.load(ROOT).kafka

    assert security == KafkaSecurity()
    assert (security.encrypts, security.names_a_user) == (False, False)


def test_the_file_says_how_and_the_environment_holds_the_secret() -> None:
    settings = Settings.load(
        ROOT,
        {"kafka": {"security_protocol": "sasl_ssl", "username": "loop", "password_env": "MINE", "ca_file": "ca.pem"}},
        environ={"MINE": "hush", "SETPOINT_KAFKA_PASSWORD": "other", "SETPOINT_KAFKA_SASL_MECHANISM": "plain"},
    )

    security = settings.kafka
    assert (security.protocol, security.mechanism) == ("SASL_SSL", "PLAIN")
    assert (security.username, security.password) == ("loop", "hush")
    assert (security.ca_file, security.cert_file) == (ROOT / "ca.pem", None)
    assert security.encrypts
    assert security.names_a_user
    assert "hush" not in repr(settings) + str([given.value for given in settings.given])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"security_protocol": "tls"}, "Write one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ({"sasl_mechanism": "GSSAPI"}, "Write one of SCRAM-SHA-512, SCRAM-SHA-256, PLAIN"),
        ({"password_env": "my secret!"}, "Write the name of the one that holds the secret"),
        ({"passwort_env": "X"}, "Did you mean 'kafka.password_env'?"),
        ({"ca_file": 7}, "kafka.ca_file: '7'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(written: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.load(ROOT, {"kafka": written})

    assert said in str(refused.value)


def test_a_section_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InvalidSettings) as refused:
        Settings.load(ROOT, {"kafka": "yes"})

    assert "kafka: 'yes' (from setpoint.yaml) is no mapping" in str(refused.value)
    assert "Write kafka: {security_protocol: SASL_SSL}." in str(refused.value)


def test_the_variable_with_the_password_is_no_stray() -> None:
    assert unknown_variables({"SETPOINT_KAFKA_PASSWORD": "x"}) == []
    assert unknown_variables({"SETPOINT_KAFKA_PASSWD": "x"}) == [("SETPOINT_KAFKA_PASSWD", "SETPOINT_KAFKA_PASSWORD")]
