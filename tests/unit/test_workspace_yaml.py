"""YAML of users: values that know where they stand, and files that could hurt."""

import pytest

from control_plane.workspace.flaws import Flaws
from control_plane.workspace.yaml_tree import NESTING_MAX, VALUES_MAX, Node, read_yaml

MULTIPLYING = "- &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"- &{chr(98 + at)} [{', '.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(8)
)

REFUSED = {
    "a tab": ("a:\n\t- b\n", "f:2:1: a tab stands where YAML wants spaces. Indent with spaces."),
    "an open bracket": ("a: [1\n", "f:2:1: this is no YAML: did not find expected ',' or ']'"),
    "an open quote": ("a: 'x\n", "f:2:1: this is no YAML: found unexpected end of stream"),
    "two colons": ("because: rss: too high\n", "f:1:13: this is no YAML: mapping values are not allowed"),
    "a control character": ("a: b\nc: \x01", "f:2:4: this is no YAML: control characters are not allowed"),
    "a key twice": ("a: 1\nb: 2\na: 3\n", "f:3:1: the key a stands here a second time; it is on line 1 already."),
    "a number as key": ("a: {1: x}\n", "f:1:5: the key 1 is no text. Put it in quotes."),
    "a list as key": ("? [a]\n: b\n", "f:1:5: a key is a list or a mapping"),
    "a tag": ("a: !!python/object:os.system x", "f:1:4: the tag !!python/object:os.system is not understood."),
    "an anchor in itself": ("a: &a [*a]", "f:1:8: *a refers to nothing before it, or to itself."),
    "an anchor that is not there": ("a: *b", "f:1:4: *b refers to nothing before it, or to itself."),
    "anchors that multiply": (MULTIPLYING, f"f:5:27: the file holds more than {VALUES_MAX} values."),
    "deep nesting": ("[" * 40 + "]" * 40, f"f:1:33: values are nested more than {NESTING_MAX} deep."),
    "very deep nesting": ("[" * 100_000, f"f:1:33: values are nested more than {NESTING_MAX} deep."),
}


def documents(text: str) -> tuple[Node, ...]:
    flaws = Flaws()
    found = read_yaml("f", text, flaws)
    assert list(flaws) == []
    assert found is not None
    return found


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_no_yaml_of_ours_is_refused_with_its_place(text: str, said: str) -> None:
    flaws = Flaws()

    assert read_yaml("f", text, flaws) is None

    assert str(next(iter(flaws))).startswith(said)


def test_values_are_those_of_json() -> None:
    (node,) = documents(
        "on: 12:30\na: 2026-01-01\nb: 0x1F\nc: 1e400\nd: '  q'\ne: -.5\nf: yes\ng: true\nh: ~\ni: 7\nj: '7'\nk: 1.0.0\n"
    )

    assert node.plain() == {
        "on": "12:30",
        "a": "2026-01-01",
        "b": "0x1F",
        "c": "1e400",
        "d": "  q",
        "e": -0.5,
        "f": "yes",
        "g": True,
        "h": None,
        "i": 7,
        "j": "7",
        "k": "1.0.0",
    }


def test_a_file_holds_many_documents_and_empty_ones_are_left_out() -> None:
    found = documents("---\n# nothing\n---\nrow: a\n---\nrow: b\n")

    assert [node.plain() for node in found] == [{"row": "a"}, {"row": "b"}]
    assert documents("") == ()


def test_an_anchor_repeats_a_value_where_it_is_used() -> None:
    (node,) = documents("a: &limits {max: 3}\nb: *limits\n")

    assert node.plain() == {"a": {"max": 3}, "b": {"max": 3}}
    repeated = node.get("b")
    assert repeated is not None
    assert (repeated.line, repeated.column) == (2, 4)


def test_a_character_of_a_text_has_its_place_where_the_text_stands_as_it_is() -> None:
    (node,) = documents("a: data.x\nb: 'data.x'\nc: \"data\\tx\"\nd: |\n  data.x\n")

    def column(key: str) -> int:
        found = node.get(key)
        assert found is not None
        return found.inside(6).column

    assert column("a") == 9
    assert column("b") == 10
    assert column("c") == 4, "an escape shifts what follows it, so the value's own place is given"
    assert column("d") == 4
