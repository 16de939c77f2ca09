"""What a person types about dead letters."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from control_plane.messages import DeadLetter, topics
from control_plane.messages.wire import encode_event
from tests.builders import event
from tests.unit.cli_world import Served
from tests.unit.letter_world import Logged, a_logged_world, buried, letter


class Desk(Served):
    """A service on which letters can be buried."""

    world: Logged

    def bury(self, *letters: DeadLetter) -> list[str]:
        found: list[str] = self.do(lambda: buried(self.world, *letters))
        return found


@pytest.fixture
def desk() -> Iterator[Desk]:
    service = Desk(a_logged_world(), 0)
    service.start()
    yield service
    service.stop()


def of_event(n: int, **changes: Any) -> DeadLetter:
    return letter(encode_event(event(data={"rss": 1.0}, message_id=f"e{n}")), n, **changes)


def test_a_letter_is_listed_with_its_reason_its_place_and_how_often_it_was_buried(desk: Desk) -> None:
    [id] = desk.bury(of_event(7))

    narrow, wide = desk.setpoint("dlq", "list"), desk.setpoint("dlq", "list", "-o", "wide")
    listed = json.loads(desk.setpoint("dlq", "list", "--json").stdout)

    head, line = narrow.stdout.splitlines()
    assert head.split() == ["ID", "TIME", "STATE", "REASON", "SUBJECT", "FROM", "OFTEN", "DETAIL"]
    assert line.split()[:7] == [
        id,
        "2026-01-01T00:00:00Z",
        "open",
        "schema_broken",
        "service/web-1",
        "events.v1/1@7",
        "1",
    ]
    assert "Mend it." in wide.stdout
    assert [item["id"] for item in listed] == [id]


def test_letters_are_open_until_somebody_resolves_them(desk: Desk) -> None:
    first, second, third = desk.bury(of_event(1), of_event(2), of_event(3))

    assert desk.setpoint("dlq", "redrive", first, "--because", "mended").exit_code == 0
    assert desk.setpoint("dlq", "discard", second).exit_code == 0

    def ids(*options: str) -> list[str]:
        return [item["id"] for item in json.loads(desk.setpoint("dlq", "list", "--json", *options).stdout)]

    assert ids() == [third]
    assert ids("--state", "redriven") == [first]
    assert ids("--state", "discarded") == [second]
    assert ids("--state", "all", "--limit", "2") == [third, second]
    assert "person/admin   mended" in desk.setpoint("dlq", "list", "--state", "redriven", "-o", "wide").stdout


def test_a_letter_is_shown_with_its_record_and_why_it_cannot_go_back(desk: Desk) -> None:
    [id] = desk.bury(letter(b'{"specversion":"0.3"}', code="specversion_unknown"))

    shown = desk.setpoint("dlq", "show", id).stdout

    assert 'record: {"specversion":"0.3"}' in shown
    assert "objection:" in shown
    assert "code: envelope_broken" in shown


def test_what_cannot_go_back_is_named_with_the_cure_and_the_others_do(desk: Desk) -> None:
    good, bad = desk.bury(of_event(1), letter(b"[]", offset=2))

    done = desk.setpoint("dlq", "redrive", good, bad)

    assert done.exit_code == 1
    assert f"{good}: redriven" in done.stdout
    assert f"{bad}: stays as it is" in done.stdout
    assert "1 redriven, 1 stay" in done.stdout
    assert len(desk.world.events) == 1


def test_a_dry_run_says_what_would_be_and_does_nothing(desk: Desk) -> None:
    good, bad = desk.bury(of_event(1), letter(b"[]", offset=2))

    by_id = desk.setpoint("dlq", "redrive", good, bad, "--dry-run", "--json")
    by_filter = desk.setpoint("dlq", "redrive", "--topic", topics.EVENTS, "--dry-run")

    found = json.loads(by_id.stdout)
    assert (found["done"], [each["id"] for each in found["refused"]]) == ([good], [bad])
    assert "1 would be redriven, 1 stay" in by_filter.stdout
    assert (by_id.exit_code, by_filter.exit_code) == (1, 1)
    assert desk.world.appended == []


@pytest.mark.parametrize(("answer", "redriven"), [("y\n", 3), ("n\n", 0), ("", 0)])
def test_what_a_filter_chooses_is_done_after_a_yes(desk: Desk, answer: str, redriven: int) -> None:
    desk.bury(*(of_event(n) for n in range(3)), of_event(9, code="row_too_large"))

    done = desk.setpoint("dlq", "redrive", "--reason", "schema_broken", input=answer)

    assert "redrive 3 dead letters?" in done.stderr
    assert len(desk.world.events) == redriven


def test_yes_beforehand_asks_nothing(desk: Desk) -> None:
    desk.bury(*(of_event(n) for n in range(3)))

    done = desk.setpoint("dlq", "discard", "--subject", "service/web-1", "--since", "2026-01-01T00:00:00Z", "--yes")

    assert (done.exit_code, done.stderr) == (0, "")
    assert "3 discarded, 0 stay" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("redrive",), "say which letters"),
        (("discard", "x", "--reason", "y"), "say which letters"),
        (("list", "--since", "yesterday"), "is no time"),
        (("list", "--since", "9999h"), "is no time"),
    ],
)
def test_what_cannot_be_meant_is_bad_usage(desk: Desk, arguments: tuple[str, ...], says: str) -> None:
    done = desk.setpoint("dlq", *arguments)

    assert done.exit_code == 2
    assert says in done.stderr


def test_a_letter_that_is_not_there_is_said_to_be_so(desk: Desk) -> None:
    shown = desk.setpoint("dlq", "show", "x")
    redriven = desk.setpoint("dlq", "redrive", "x")

    assert (shown.exit_code, redriven.exit_code) == (1, 1)
    assert "no dead letter 'x' is recorded" in shown.stderr
    assert "no dead letter 'x' is recorded" in redriven.stdout


def test_nothing_open_is_said_in_words(desk: Desk) -> None:
    assert desk.setpoint("dlq", "list").stdout.endswith("none is open\n")
