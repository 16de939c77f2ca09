"""Settings come from four places, each later one winning, and a wrong one says what, where from and what to write."""

from pathlib import Path
from typing import Any

import pytest

from control_plane.errors import InvalidSettings
from control_plane.settings import SETTINGS, Settings, unknown_variables, without_password

ROOT = Path("/srv/loop")


def refusal(mapping: dict[str, Any] | None = None, **sources: Any) -> str:
    with pytest.raises(InvalidSettings) as caught:
        Settings.load(ROOT, mapping, **sources)
    return str(caught.value)


def origins(settings: Settings) -> dict[str, str]:
    return {given.name: given.origin for given in settings.given}


def test_without_any_source_everything_lies_in_the_workspace() -> None:
    settings = Settings.load(ROOT)

    assert settings.backbone == "embedded:///srv/loop/data/log"
    assert settings.store == "sqlite+aiosqlite:////srv/loop/data/audit.db"
    assert settings.ledger == "sqlite+aiosqlite:////srv/loop/data/audit.ledger.db"
    assert (settings.listen_host, settings.listen_port) == ("127.0.0.1", 7070)
    assert (settings.policy_engine, settings.durability, settings.partitions) == ("embedded", "flush", 4)
    assert settings.api_key_file == Path("/srv/loop/data/api.key")
    assert settings.policies_builtin is True
    assert set(origins(settings).values()) == {"default"}


def test_each_source_wins_over_the_one_before_it_and_is_named() -> None:
    settings = Settings.load(
        ROOT,
        {"apiVersion": "setpoint/v1", "listen": "127.0.0.1:1", "partitions": 2, "durability": "fsync"},
        environ={"SETPOINT_LISTEN": "127.0.0.1:2", "SETPOINT_PARTITIONS": "8"},
        overrides={"listen": "127.0.0.1:3", "partitions": None},
    )

    assert (settings.listen_port, settings.partitions, settings.durability) == (3, 8, "fsync")
    named = origins(settings)
    assert named["listen"] == "--listen"
    assert named["partitions"] == "SETPOINT_PARTITIONS"
    assert named["durability"] == "setpoint.yaml"
    assert named["store"] == "default"


def test_log_and_store_follow_the_data_directory_until_they_are_told_otherwise() -> None:
    moved = Settings.load(ROOT, overrides={"data_dir": "/var/lib/loop"})
    assert moved.backbone == "embedded:///var/lib/loop/log"
    assert moved.store == "sqlite+aiosqlite:////var/lib/loop/audit.db"
    shown = {given.name: given.value for given in moved.given}
    assert shown["backbone"] == "embedded:///var/lib/loop/log"

    apart = Settings.load(ROOT, {"data_dir": "d", "backbone": "embedded://elsewhere?atomic=false"})
    assert apart.backbone == "embedded:///srv/loop/elsewhere?atomic=false"
    assert apart.store == "sqlite+aiosqlite:////srv/loop/d/audit.db"


def test_absolute_paths_and_kafka_stay_as_they_are() -> None:
    settings = Settings.load(
        ROOT, {"backbone": "kafka://a:9092,b:9093?replication=3", "store": "sqlite+aiosqlite:////x/y"}
    )

    assert settings.backbone == "kafka://a:9092,b:9093?replication=3"
    assert settings.store == "sqlite+aiosqlite:////x/y"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", "embedded://"),
        ("backbone", "embedded://p?atomic=maybe"),
        ("backbone", "kafka://"),
        ("backbone", "kafka://host"),
        ("backbone", "kafka://host:0"),
        ("backbone", "kafka://host:1,"),
        ("backbone", "redis://host:1"),
        ("backbone", 7),
        ("store", "sqlite:///x"),
        ("store", "sqlite+aiosqlite:///"),
        ("store", "sqlite+aiosqlite:///:memory:"),
        ("store", "postgresql://h/n"),
        ("policy_engine", "http://127.0.0.1"),
        ("listen", "7070"),
        ("listen", "127.0.0.1:65536"),
        ("listen", "a b:1"),
        ("listen", None),
        ("durability", "none"),
        ("partitions", 0),
        ("partitions", 1025),
        ("partitions", True),
        ("partitions", "4.0"),
        ("partitions", 4.5),
        ("partitions", [4]),
        ("data_dir", ""),
    ],
)
def test_a_wrong_value_names_the_setting_the_origin_and_the_cure(name: str, value: Any) -> None:
    message = refusal({name: value})

    assert message.startswith(f"{name}: ")
    assert "(from setpoint.yaml)" in message
    assert "Write " in message or "Give it one" in message


def test_a_wrong_value_of_the_environment_and_of_the_command_line_is_told_apart() -> None:
    assert "from SETPOINT_DURABILITY" in refusal(environ={"SETPOINT_DURABILITY": "x"})
    assert "from --durability" in refusal(overrides={"durability": "x"})
    assert "from SETPOINT_POLICIES_BUILTIN" in refusal(environ={"SETPOINT_POLICIES_BUILTIN": "perhaps"})


def test_everything_that_is_wrong_is_said_at_once() -> None:
    lines = refusal({"listen": "x", "partitions": 0, "durabilty": "flush", "apiVersion": "setpoint/v2"}).splitlines()

    assert len(lines) == 4
    assert any("'setpoint/v2'" in line and "setpoint/v1" in line for line in lines)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("durabilty", "durability"), ("Listen", "listen"), ("dataDir", "data_dir"), ("back_bone", "backbone")],
)
def test_a_misspelt_key_is_told_the_right_name(key: str, nearest: str) -> None:
    assert f"Did you mean '{nearest}'?" in refusal({key: "x"})


def test_a_key_like_no_other_is_told_all_names() -> None:
    message = refusal({"qqqq": 1})

    assert all(setting.name.split(".")[0] in message for setting in SETTINGS)


@pytest.mark.parametrize(
    ("given", "expected"), [(True, True), (False, False), ("off", False), ("1", True), ("TRUE", True), (0, False)]
)
def test_the_built_in_policies_can_be_left_out(given: Any, expected: bool) -> None:
    assert Settings.load(ROOT, {"policies": {"builtin": given}}).policies_builtin is expected


def test_policies_must_be_a_mapping_of_known_keys() -> None:
    assert "no mapping" in refusal({"policies": True})
    assert "Did you mean 'policies.builtin'?" in refusal({"policies": {"built_in": True}})


def test_a_port_may_be_left_to_the_system_and_a_host_may_be_ipv6() -> None:
    assert Settings.load(ROOT, {"listen": "127.0.0.1:0"}).listen_port == 0
    assert Settings.load(ROOT, {"listen": "[::1]:7070"}).listen_host == "::1"


def test_the_key_is_taken_from_the_environment_and_never_shown() -> None:
    settings = Settings.load(ROOT, environ={"SETPOINT_API_KEY": "s3cret"})

    assert settings.api_key == "s3cret"
    assert "s3cret" not in repr(settings)
    assert all("s3cret" not in given.value for given in settings.given)


def test_a_password_in_a_url_is_not_shown() -> None:
    assert without_password("postgresql+asyncpg://me:s3cret@host/name") == "postgresql+asyncpg://me:***@host/name"
    assert "s3cret" not in refusal({"store": "mysql://me:s3cret@host/name"})


def test_a_stray_variable_is_named_with_its_neighbour_and_stops_nothing() -> None:
    environ = {"SETPOINT_DURABILTY": "x", "SETPOINT_SERVICE_HOST": "10.0.0.1", "SETPOINT_URL": "u", "PATH": "/bin"}

    strays = dict(unknown_variables(environ))

    assert strays["SETPOINT_DURABILTY"] == "SETPOINT_DURABILITY"
    assert set(strays) == {"SETPOINT_DURABILTY", "SETPOINT_SERVICE_HOST"}
    assert Settings.load(ROOT, environ=environ).durability == "flush"


def test_every_setting_says_what_it_is_and_can_be_set_from_each_source() -> None:
    for setting in SETTINGS:
        assert setting.help.endswith(".")
        assert setting.variable.startswith("SETPOINT_")
        assert setting.option.startswith("--")
