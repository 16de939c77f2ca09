"""Commands that talk to a service: they print what is there, send what is given, and say what was refused."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from control_plane.errors import BackboneUnavailable
from tests.builders import NOW_MS, event
from tests.unit.api_world import KEY, Loop, MemoryAudit
from tests.unit.cli_world import PATIENCE_S, Served, served, setpoint

EVENT = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "probe",
    "type": "service.measured",
    "subject": "service/web-1",
    "data": {"rss": 500},
}


@pytest.fixture(scope="module")
def _served() -> Iterator[Served]:
    with served() as service:
        yield service


@pytest.fixture
def service(_served: Served) -> Served:
    """One service for all, emptied before each test."""
    world = _served.world
    assert isinstance(world.audit, MemoryAudit)
    world.audit.kept.clear()
    world.appended.clear()
    world.append_raises = None
    return _served


def one_round(service: Served) -> None:
    loop = Loop()
    service.record(*loop.feed(event(data={"rss": 500.0})))
    service.record(*loop.feed(event(data={"rss": 100.0}, message_id="e2", at_ms=NOW_MS + 1_000), NOW_MS + 1_000))
    service.record(*loop.tick(NOW_MS + 6_000))


def sent(service: Served) -> list[Any]:
    return [json.loads(output.value) for output in service.world.appended]


def test_decisions_are_listed_in_columns_wide_and_as_json(service: Served) -> None:
    one_round(service)

    columns = service.setpoint("decisions", "list")
    wide = service.setpoint("decisions", "list", "-o", "wide")
    as_json = service.setpoint("decisions", "list", "--json")

    head, line = columns.stdout.splitlines()
    assert head.split() == ["ID", "TIME", "AGENT", "INTENT", "SUBJECT", "VERDICT", "STAGE", "REASON"]
    assert line.split()[2:] == ["memory_guard", "restart_service", "service/web-1", "allow", "policy", "routine"]
    assert "rss 500 is too much" in wide.stdout
    assert "rss 500 is too much" not in columns.stdout
    [item] = json.loads(as_json.stdout)
    assert item["verdict"]["answer"] == "allow"
    assert json.loads(service.setpoint("decisions", "list", "-o", "json").stdout) == [item]
    assert "\x1b" not in columns.stdout, "no colours where no terminal is"


def test_a_decision_is_shown_with_what_followed_from_it(service: Served) -> None:
    one_round(service)
    [item] = json.loads(service.setpoint("decisions", "list", "--json").stdout)

    shown = service.setpoint("decisions", "show", item["id"]).stdout
    as_json = json.loads(service.setpoint("decisions", "show", item["id"], "--json").stdout)

    assert "agent: memory_guard\n" in shown
    assert "  outcome:\n" in shown
    assert "effect: effective\n" in shown
    assert as_json["effect"]["effect"] == "effective"


def test_commands_are_listed_and_shown_with_what_came_of_them(service: Served) -> None:
    one_round(service)

    [item] = json.loads(service.setpoint("commands", "list", "--json").stdout)
    line = service.setpoint("commands", "list").stdout.splitlines()[1].split()
    wide = service.setpoint("commands", "list", "-o", "wide").stdout

    assert line[2:] == ["restart_service", "service/web-1", "dry_run", "succeeded", "1"]
    assert item["decision_id"] in wide
    assert "status: succeeded\n" in service.setpoint("commands", "show", item["id"]).stdout


def test_lists_are_filtered_by_subject_and_gathered_over_pages(service: Served) -> None:
    for n in range(12):
        about = f"service/web-{n % 2}"
        service.record(*Loop().feed(event(data={"rss": 500.0}, message_id=f"e{n}", subject=about)))

    def listed(*options: str) -> Any:
        return json.loads(service.setpoint("decisions", "list", "--json", *options).stdout)

    assert len(listed()) == 12
    assert len(listed("--limit", "5")) == 5
    assert {item["subject"] for item in listed("--subject", "service/web-1")} == {"service/web-1"}
    assert service.setpoint("decisions", "list", "--subject", "service/none").stdout.endswith("none is recorded yet\n")


def test_what_others_wrote_cannot_command_the_terminal(service: Served) -> None:
    cause, decision, *rest = Loop().feed(event(data={"rss": 500.0}))
    evil = "red \x1b[31m and a title \x1b]0;x\x07"
    service.record(cause, replace(decision, because=evil, agent=evil), *rest)
    raw = json.dumps(EVENT | {"type": evil}).encode()
    service.do(lambda: service.world.record_raw("events.v1", raw))

    [item] = json.loads(service.setpoint("decisions", "list", "--json").stdout)
    printed = [
        service.setpoint(*arguments)
        for arguments in (
            ["decisions", "list"],
            ["decisions", "list", "-o", "wide"],
            ["decisions", "show", item["id"]],
            ["events", "tail", "--after", "0", "-n", "3"],
        )
    ]

    assert item["because"] == evil
    assert all("red ?[31m" in result.stdout for result in printed)
    assert not any("\x1b" in result.stdout or "\x07" in result.stdout for result in printed)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (json.dumps(EVENT), ["e-1"]),
        (json.dumps(EVENT, indent=2), ["e-1"]),
        (json.dumps([EVENT | {"id": "a"}, EVENT | {"id": "b"}]), ["a", "b"]),
        (json.dumps(EVENT | {"id": "a"}) + "\n\n" + json.dumps(EVENT | {"id": "b"}) + "\n", ["a", "b"]),
        ("[]", []),
    ],
)
def test_one_event_an_array_or_one_a_line_are_sent_from_a_file_and_from_stdin(
    service: Served, tmp_path: Path, text: str, ids: list[str]
) -> None:
    file = tmp_path / "events"
    file.write_text(text)

    from_file = service.setpoint("events", "send", str(file))
    from_stdin = service.setpoint("events", "send", "-", "--json", input=text)

    assert (from_file.exit_code, from_stdin.exit_code) == (0, 0), from_file.stderr
    assert from_file.stdout == f"{len(ids)} {'event' if len(ids) == 1 else 'events'} accepted\n"
    assert [item["id"] for item in json.loads(from_stdin.stdout)] == ids
    assert [event["id"] for event in sent(service)] == ids + ids


def test_many_events_are_sent_in_batches_that_the_service_takes(service: Served) -> None:
    lines = "\n".join(
        json.dumps(EVENT | {"id": f"e-{n}", "data": {"rss": 1, "pad": "x" * 5_000}}) for n in range(1_234)
    )

    result = service.setpoint("events", "send", "-", input=lines)

    assert result.stdout == "1234 events accepted\n"
    assert [event["id"] for event in sent(service)] == [f"e-{n}" for n in range(1_234)]


def test_one_event_can_be_sent_from_options(service: Served) -> None:
    arguments = ["events", "send", "--type", "service.measured", "--subject", "service/web-1", "--data", '{"rss": 7}']

    first, second = service.setpoint(*arguments), service.setpoint(*arguments, "--id", "mine", "--source", "me")

    assert (first.exit_code, second.exit_code) == (0, 0)
    one, two = sent(service)
    assert (one["data"], one["source"], one["subject"]) == ({"rss": 7}, "setpoint-cli", "service/web-1")
    assert len(one["id"]) == 32
    assert (two["id"], two["source"]) == ("mine", "me")


@pytest.mark.parametrize(
    ("arguments", "text", "code", "said"),
    [
        ([], None, 2, "nothing to send"),
        (["--type", "a.b"], None, 2, "nothing to send"),
        (["-", "--type", "a.b"], "{}", 2, "not both"),
        (["--type", "a.b", "--subject", "a/b", "--data", "{"], None, 2, "--data is not JSON"),
        (["no-such-file"], None, 2, "no-such-file cannot be read"),
        (["-"], "hello", 1, "holds no events"),
        (["-"], "", 1, "holds no events"),
        (["-"], "[1,", 1, "is not JSON"),
        (["-"], '{"a": 1}\n{"b"', 1, "-:2: not JSON"),
        (["-"], "{}", 1, "specversion"),
        (["-"], json.dumps(EVENT | {"type": "nobody.knows"}), 1, "type: nothing is declared"),
        (["-"], json.dumps([EVENT, EVENT | {"data": {"rss": "x"}}]), 1, "[1].data.rss"),
    ],
)
def test_what_cannot_be_sent_is_told_with_its_cure(
    service: Served, arguments: list[str], text: str | None, code: int, said: str
) -> None:
    result = service.setpoint("events", "send", *arguments, input=text)

    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert result.stdout == ""
    assert service.world.appended == []


def test_a_refused_batch_says_how_many_were_accepted_before_it(service: Served) -> None:
    events = [EVENT | {"id": f"e-{n}"} for n in range(600)]
    events[550] = events[550] | {"subject": "nobody"}

    result = service.setpoint("events", "send", "-", input=json.dumps(events))

    assert result.exit_code == 1
    assert "counted from event 501 on: [50].subject" in result.stderr
    assert "500 events before were accepted" in result.stderr
    assert len(service.world.appended) == 500


def test_a_log_that_is_away_is_exit_code_3(service: Served) -> None:
    service.world.append_raises = BackboneUnavailable("Kafka at h:1 does not answer. Nothing was appended.")

    result = service.setpoint("events", "send", "-", input=json.dumps(EVENT))

    assert (result.exit_code, "Kafka at h:1 does not answer" in result.stderr) == (3, True)


def test_events_are_followed_as_they_come(service: Served) -> None:
    service.record(event(data={"rss": 1.0}, message_id="e1"), event(data={"rss": 2.0}, message_id="e2"))

    as_lines = service.setpoint("events", "tail", "--after", "0", "--count", "2")
    as_json = service.setpoint("events", "tail", "--after", "1", "--count", "1", "--json")
    filtered = service.setpoint("events", "tail", "--after", "0", "-n", "1", "--type", "service.measured")

    assert as_lines.stdout.splitlines() == [
        '2026-01-01T00:00:00Z  service.measured  service/web-1  {"rss": 1.0}',
        '2026-01-01T00:00:00Z  service.measured  service/web-1  {"rss": 2.0}',
    ]
    assert json.loads(as_json.stdout)["id"] == "e2"
    assert filtered.stdout.splitlines() == as_lines.stdout.splitlines()[:1]


def test_what_is_tailed_as_json_can_be_sent_again(service: Served) -> None:
    service.record(event(data={"rss": 1.0}, message_id="e1"))

    tailed = service.setpoint("events", "tail", "--after", "0", "-n", "1", "--json").stdout
    result = service.setpoint("events", "send", "-", input=tailed)

    assert result.exit_code == 0, result.stderr
    assert sent(service)[0]["id"] == "e1"


def test_a_tail_that_is_cut_off_goes_on_where_it_was() -> None:
    audit = MemoryAudit()
    with served(audit=audit) as before:
        port = before.server.port
        before.record(event(data={"rss": 1.0}, message_id="e1"))
        tail = before.process("events", "tail", "--after", "0", "-n", "2", "--json")
        assert tail.stdout is not None
        first = tail.stdout.readline()
    with served(audit=audit, port=port) as after:
        after.record(event(data={"rss": 1.0}, message_id="e2"))
        rest, complaints = tail.communicate(timeout=PATIENCE_S)

    assert tail.returncode == 0, complaints
    assert [json.loads(line)["id"] for line in (first, rest)] == ["e1", "e2"]


def test_a_wrong_key_is_bad_usage_and_tells_where_the_key_is(service: Served) -> None:
    result = service.setpoint("decisions", "list", SETPOINT_API_KEY="not-the-right-key-at-all")

    assert result.exit_code == 2
    assert "data/api.key" in result.stderr


def test_what_is_not_there_is_found_wrong(service: Served) -> None:
    result = service.setpoint("decisions", "show", "nothing")

    assert result.exit_code == 1
    assert "no decision 'nothing' is recorded" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["decisions", "list"], ["commands", "show", "x"], ["events", "tail"], ["events", "send", "-"]],
)
def test_a_service_that_does_not_answer_is_exit_code_3(arguments: list[str]) -> None:
    result = setpoint(*arguments, "--url", "http://127.0.0.1:1", input=json.dumps(EVENT), SETPOINT_API_KEY=KEY)

    assert result.exit_code == 3
    assert "http://127.0.0.1:1 cannot be reached" in result.stderr
    assert "setpoint up" in result.stderr


def test_the_service_and_its_key_are_found_through_the_workspace(service: Served, tmp_path: Path) -> None:
    (tmp_path / "setpoint.yaml").write_text(f"listen: 127.0.0.1:{service.server.port}\ndata_dir: kept\n")
    (tmp_path / "kept").mkdir()
    key = tmp_path / "kept" / "api.key"
    key.write_text(KEY + "\n")
    key.chmod(0o600)

    assert setpoint("decisions", "list", "-w", str(tmp_path)).exit_code == 0

    key.chmod(0o644)
    refused = setpoint("decisions", "list", "-w", str(tmp_path))
    assert (refused.exit_code, "chmod 600" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("yaml", "arguments", "said"),
    [
        ("listen: 127.0.0.1:7070\n", [], "there is no key"),
        ("listen: 127.0.0.1:0\n", [], "Give --url"),
        ("listen: nowhere\n", [], "listen: 'nowhere'"),
        ("", ["--url", "localhost:7070"], "is no URL"),
        ("", ["-w", "no-such-folder"], "is no folder"),
    ],
)
def test_a_service_that_cannot_be_named_is_bad_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, yaml: str, arguments: list[str], said: str
) -> None:
    (tmp_path / "setpoint.yaml").write_text(yaml or "{}\n")
    monkeypatch.chdir(tmp_path)

    result = setpoint("decisions", "list", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr


def test_something_that_is_no_setpoint_cannot_be_reached_as_one() -> None:
    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Not a word."""

    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        answering = threading.Thread(target=stranger.handle_request)
        answering.start()
        url = f"http://127.0.0.1:{stranger.server_port}"
        result = setpoint("decisions", "list", "--url", url, SETPOINT_API_KEY=KEY)
        answering.join(PATIENCE_S)

    assert result.exit_code == 3
    assert "that is no Setpoint. Check --url." in result.stderr
