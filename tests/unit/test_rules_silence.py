"""Why a rule stayed silent: the key that kept it so, the values that it read, and how long it would have waited."""

import pytest
from msgspec.structs import replace

from tests import builders
from tests.unit.rule_world import COOL, HOT, Subject


def test_an_event_that_does_not_match_says_which_value_it_was() -> None:
    silence = Subject().why_not(0, COOL)

    assert silence is not None
    assert (silence.clause, silence.state, silence.wait_ms) == ("when", "inactive", None)
    assert silence.because == "the event does not match: data.rss > 400.0 is false"
    assert silence.read == {"data.rss": 1.0}


@pytest.mark.parametrize(
    ("rss", "missing", "says"), [(None, ("data.rss",), "data.rss is missing"), ("much", (), "No such overload")]
)
def test_a_missing_field_and_a_wrong_type_are_told_apart(rss: str | None, missing: tuple[str, ...], says: str) -> None:
    silence = Subject().why_not(0, rss)

    assert silence is not None
    assert silence.missing == missing
    assert says in silence.because


def test_a_rule_that_proposes_was_not_silent() -> None:
    assert Subject().why_not(0, HOT) is None


def test_a_wait_says_how_long_still() -> None:
    subject = Subject(**{"for": "5s"})
    subject.measure(0, HOT)

    silence = subject.why_not(2_000, HOT)

    assert silence is not None
    assert (silence.clause, silence.state, silence.wait_ms) == ("for", "pending", 3_000)
    assert silence.because == "it holds for 2000 ms, and it takes 5s"


def test_a_word_that_is_too_old_to_act_on_says_so() -> None:
    subject = Subject(context_age_max="3s", **{"for": "5s"})
    subject.measure(0, HOT)

    silence = subject.why_not(5_000, by_tick=True)

    assert silence is not None
    assert silence.because == (
        "it holds for 5000 ms, and it takes 5s, but the last match is older than 3s, and nothing was heard since"
    )


def test_too_few_say_how_many_they_are() -> None:
    subject = Subject(count={"min": 3, "window": "30s"})
    subject.measure(0, HOT)

    silence = subject.why_not(1_000, HOT)

    assert silence is not None
    assert (silence.clause, silence.because) == ("count", "2 matches lie within 30000 ms, and it takes 3")


def test_a_rate_says_what_it_is() -> None:
    above = Subject(rate={"above": 5, "per": "10s"}).why_not(0, HOT)
    below = Subject(rate={"below": 5, "per": "10s"})
    below.measure(0, HOT)

    assert above is not None
    assert (above.clause, above.because) == ("rate", "1 matches lie within 10000 ms, and it takes more than 5")
    watched = below.why_not(4_000, by_tick=True)
    assert watched is not None
    assert watched.because == "it is watched for 10000 ms before it counts, and 6000 ms of that are left"
    assert watched.wait_ms == 6_000


def test_a_silent_source_is_named() -> None:
    subject = Subject(absent="30s")
    subject.measure(0, HOT)

    silence = subject.why_not(30_000, by_tick=True)

    assert silence is not None
    assert silence.clause == "absent"
    assert silence.because == (
        "probe itself was last heard 30000 ms ago, so that its silence says nothing of the subject"
    )
    assert silence.wait_ms == 7_500


def test_a_rule_that_has_spoken_says_when_it_will_again() -> None:
    once, repeating, never = Subject(once_within="1m"), Subject(repeat_interval="1m"), Subject()
    for subject in (once, repeating, never):
        subject.measure(0, HOT)
    once.measure(1_000, COOL)

    asked = [subject.why_not(20_000, HOT) for subject in (once, repeating, never)]

    assert [(found.clause, found.state, found.wait_ms) for found in asked if found is not None] == [
        ("once_within", "firing", 40_000),
        ("repeat_interval", "firing", 40_000),
        ("repeat_interval", "firing", None),
    ]


def test_a_command_under_way_is_named() -> None:
    subject = Subject(repeat_interval="1m")
    (first,) = subject.measure(0, HOT)
    subject.row = replace(subject.row, live=(builders.live_command(first),))

    silence = subject.why_not(60_000, HOT)

    assert silence is not None
    assert (silence.clause, silence.because) == ("live", "a command is under way: restart_service")
