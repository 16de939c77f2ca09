"""What differs between two workspaces, told item by item."""

from control_plane.catalogue import ControlItem
from control_plane.workspace.diffing import changes_between, summary_of
from tests import builders


def test_what_is_the_same_is_not_told() -> None:
    assert changes_between([builders.rule(), builders.intent()], [builders.intent(), builders.rule()]) == ()
    assert summary_of(()) == "nothing"


def test_each_item_that_came_changed_or_went_is_told_by_kind_and_name() -> None:
    before = [builders.intent(), builders.row(), builders.rule()]
    after = [builders.intent(), builders.rule(when="data.rss > 600.0"), builders.rule("other_guard")]

    changes = changes_between(before, after)

    assert [(change.title, change.how) for change in changes] == [
        ("row health", "removed"),
        ("rule memory_guard", "changed"),
        ("rule other_guard", "added"),
    ]
    assert summary_of(changes) == "1 added, 1 changed, 1 removed"


def test_a_change_is_shown_as_the_lines_that_differ() -> None:
    [change] = changes_between([builders.rule()], [builders.rule(when="data.rss > 600.0")])

    lines = change.lines()

    assert lines[:2] == ["--- rule/memory_guard", "+++ rule/memory_guard"]
    assert [line for line in lines[2:] if line.startswith(("-", "+"))] == [
        "-when: data.rss > 400.0",
        "+when: data.rss > 600.0",
    ]


def test_policies_and_python_are_shown_as_they_were_written() -> None:
    before = ControlItem("policy", "permits/a", "package a\n\n# why\nallow := 1\n")
    [change] = changes_between([before], [ControlItem("policy", "permits/a", "package a\n\n# why not\nallow := 1\n")])

    assert [line for line in change.lines()[2:] if line.startswith(("-", "+"))] == ["-# why", "+# why not"]


def test_what_is_new_is_shown_whole() -> None:
    [change] = changes_between([], [builders.row()])

    assert change.lines()[:2] == ["--- none", "+++ row/health"]
    assert "+row: health" in change.lines()


def test_an_item_of_a_newer_setpoint_is_shown_as_it_is() -> None:
    [change] = changes_between([ControlItem("spell", "x", "abra\ncadabra")], [])

    assert change.lines()[3:] == ["-abra", "-cadabra"]
