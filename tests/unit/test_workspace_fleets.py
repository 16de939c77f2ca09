"""`fleets/*.yaml`: every wrong file is named with its place, what is wrong and the cure."""

from pathlib import Path

import pytest

from tests.unit.workspace_world import SOUND, flaws_of, read

FILE = "fleets/web.yaml"
WEB = """\
fleet: web
members: subject.kind == "service"
healthy: rows.health.rss_mb < 400.0
"""

WRONG: dict[str, tuple[str | bytes, str]] = {
    "a misspelt key": (
        WEB.replace("members:", "member:"),
        "2:1: there is no key member here. Did you mean members?",
    ),
    "no members": ("fleet: web\n", "1:1: members is missing. Add `members:` with text: A CEL expression."),
    "members that are no text": (
        "fleet: web\nmembers: true\n",
        "2:10: members cannot be True. Write text: A CEL expression.",
    ),
    "everybody": (
        'fleet: web\nmembers: "true"\n',
        "2:10: members does not read subject, so it says the same whatever it is. Let it depend on subject.",
    ),
    "no expression": (
        WEB.replace('== "service"', "=="),
        "2:25: members is no expression: the expression ends too early. Expressions are CEL.",
    ),
    "a field that subjects do not have": (
        WEB.replace("subject.kind", "subject.kin"),
        "2:18: subject has no field kin. Did you mean kind?",
    ),
    "members by what only an event holds": (
        WEB.replace("subject.kind", "data.kind"),
        "2:10: members reads data, which is not there when it is evaluated. It may read subject.",
    ),
    "members by rows": (
        "fleet: web\nmembers: rows.health.rss_mb > 0.0\n",
        "2:10: members reads rows, which is not there when it is evaluated. It may read subject.",
    ),
    "health by an unknown row": (
        WEB.replace("rows.health", "rows.heath"),
        "3:15: healthy reads the row heath, which nothing declares. Did you mean health?",
    ),
    "health by an unknown field": (
        WEB.replace("rss_mb <", "rss <"),
        "3:22: the row health has no field rss. Did you mean rss_mb?",
    ),
    "health that no row says": (
        WEB.replace("rows.health.rss_mb < 400.0", 'subject.name != "web-1"'),
        "3:10: healthy does not read rows, so it says the same whatever it is. Let it depend on rows.",
    ),
    "a name of another form": (
        WEB.replace("fleet: web", "fleet: Web servers"),
        "1:8: fleet cannot be called 'Web servers'. Write a name: lower case, digits and underscores.",
    ),
    "declared twice": (
        f"{WEB}---\n{WEB}",
        "5:1: fleet web is declared a second time; it is in fleets/web.yaml:1 already. Rename one of them",
    ),
    "no head": (
        WEB.replace("fleet:", "flet:"),
        "1:1: this document does not say which fleet it declares. Write `fleet:` instead of `flet:`.",
    ),
    "a row among the fleets": (
        SOUND["rows/health.yaml"],
        "1:1: a row stands where fleets are declared. Move it to rows/.",
    ),
    "a list": ("- web\n", "1:1: this document is no fleet. Begin it with `fleet: NAME`."),
    "a tab": ("fleet: web\n\tmembers: x\n", "2:1: a tab stands where YAML wants spaces. Indent with spaces."),
    "no text": (b"fleet: web\0", "1:11: it is no text: it holds a zero byte. Save it as text, or take it out."),
    "itself in itself": (
        "fleet: &web [*web]\n",
        "1:14: *web refers to nothing before it, or to itself. Write the value",
    ),
    "too large": (b"#" * 1_000_001, " it has more than 1000000 bytes. Divide it into several files."),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_fleet_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    flaws = flaws_of(tmp_path, {FILE: text})

    assert any(flaw.startswith(f"{FILE}:{said}") for flaw in flaws), flaws


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("fleets.wep.healthy_share < 0.5", "when reads the fleet wep, which nothing declares. Did you mean web?"),
        ("fleets.web.helthy_share < 0.5", "a fleet has no figure helthy_share. Did you mean healthy_share?"),
        ("fleets.web == 3", "when reads no figure of a fleet. Write fleets.NAME.healthy_share, for one."),
    ],
)
def test_what_a_rule_reads_of_fleets_exists(tmp_path: Path, when: str, said: str) -> None:
    rule = SOUND["agents/memory_guard.yaml"].replace("data.rss_mb > 400.0", when)

    (flaw,) = flaws_of(tmp_path, {FILE: WEB, "agents/memory_guard.yaml": rule})

    assert flaw.startswith("agents/memory_guard.yaml:4:")
    assert flaw.endswith(said)


def test_a_rule_may_read_fleets(tmp_path: Path) -> None:
    rule = SOUND["agents/memory_guard.yaml"].replace("data.rss_mb > 400.0", "fleets.web.healthy_share < 0.5")

    assert read(tmp_path, {FILE: WEB, "agents/memory_guard.yaml": rule}).warnings == ()


def test_a_sound_fleet_travels_with_the_controls(tmp_path: Path) -> None:
    (item,) = read(tmp_path, {FILE: WEB}).controls.of_kind("fleet")

    assert (item.name, item.body) == (
        "web",
        '{"fleet":"web","healthy":"rows.health.rss_mb < 400.0","members":"subject.kind == \\"service\\""}',
    )


def test_an_empty_file_declares_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, {FILE: "# none yet\n"}).controls.of_kind("fleet") == ()


def test_more_fleets_than_partitions_can_tell_of_are_refused(tmp_path: Path) -> None:
    many = "---\n".join(WEB.replace("web", f"web_{number}") for number in range(65))

    assert flaws_of(tmp_path, {FILE: many}) == [f"{FILE}:257:1: there are more than 64 fleets. Join some of them."]


def test_an_intent_limited_to_a_share_of_what_nobody_declares_is_warned_about(tmp_path: Path) -> None:
    intent = SOUND["intents/restart.yaml"].replace(
        "executor: shop", "executor: shop\n        limits: {fleet_share_max: 0.4, cooldown: 30s}"
    )

    (warning,) = read(tmp_path, {"intents/restart.yaml": intent}).warnings

    assert str(warning) == (
        "intents/restart.yaml:4:27: restart_service is limited to a share of a fleet, and no fleet is declared. "
        "Declare one in fleets/, or it will always be denied."
    )
    assert read(tmp_path, {"intents/restart.yaml": intent, FILE: WEB}).warnings == ()
