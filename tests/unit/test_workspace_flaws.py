"""A file that is wrong is named with its place, what is wrong and the cure. One table per kind of file."""

from pathlib import Path

import pytest

from tests.unit.workspace_world import SOUND, flaws_of, read


def spoilt(path: str, old: str, new: str) -> str:
    """A sound file with some of its text replaced."""
    assert old in SOUND[path]
    return SOUND[path].replace(old, new)


INTENT, ROW, RULE = "intents/restart.yaml", "rows/health.yaml", "agents/memory_guard.yaml"
SHOP, PROBES, AGENT = "executors/shop.yaml", "triggers/probes.yaml", "agents/scout.py"
SETTINGS, SCHEMA, DATA = "setpoint.yaml", "schemas/process.measured.json", "policies/data.yaml"
PERMIT, PERMIT_TEST = "policies/permits/own.rego", "policies/permits/own_test.rego"

INTENTS = {
    "a misspelt key": (
        "executor: shop",
        "executer: shop",
        "3:1: there is no key executer here. Did you mean executor?",
    ),
    "a missing key": ("subject_kind: service\n", "\n", "1:1: subject_kind is missing. Add `subject_kind:` with text"),
    "an unknown executor": (
        "executor: shop",
        "executor: shoop",
        "3:11: the intent restart_service names the executor shoop, which nothing declares. Did you mean shop?",
    ),
    "a name of another form": (
        "restart_service",
        "Restart service",
        "1:9: intent cannot be called 'Restart service'. Write a name",
    ),
    "parameters that are no schema": ("type: object", "type: objekt", "4:13: parameters are no JSON Schema"),
    "a wrong duration": (
        "executor: shop",
        "executor: shop\n        deadline: 30 s",
        "4:11: deadline cannot be '30 s'. Write text: 500ms, 5s, 10m or 24h.",
    ),
    "a limit out of bounds": (
        "executor: shop",
        "executor: shop\n        limits: {per_subject: {max: 99, window: 1h}}",
        "4:29: max cannot be 99. Write a whole number from 1 to 32.",
    ),
    "no head": (
        "intent: restart_service",
        "intnet: restart_service",
        "1:1: this document does not say which intent it declares. Write `intent:` instead of `intnet:`.",
    ),
    "a rule among the intents": (
        "intent: restart_service",
        "rule: restart_service",
        "1:1: a rule stands where intents are declared. Move it to agents/.",
    ),
    "no mapping": (
        "intent: restart_service",
        "- restart_service\n        ---\n        intent: restart_service",
        "1:1: this document is no intent. Begin it with `intent: NAME`.",
    ),
}

ROWS = {
    "two ways of folding": (
        "{last: data.rss_mb}",
        "{last: data.rss_mb, first: data.rss_mb}",
        "4:11: field 'rss_mb' is folded in 2 ways. Name exactly one of last",
    ),
    "no way of folding": ("{last: data.rss_mb}", "{}", "4:11: field 'rss_mb' is folded in 0 ways."),
    "an unknown way": ("last: data", "lasst: data", "4:12: there is no key lasst here. Did you mean last?"),
    "an expression that is none": (
        "last: data.rss_mb",
        "last: data.rss_mb +",
        "4:31: last is no expression: the expression ends",
    ),
    "something that is no data": (
        "last: data.rss_mb",
        "last: rows.health.rss_mb",
        "4:18: last reads rows, which is not there when it is evaluated. It may read data.",
    ),
    "an unknown variable": (
        "last: data.rss_mb",
        "last: 1.0 + dat.rss_mb",
        "4:24: last reads dat, which is unknown. Did you mean data?",
    ),
    "nothing to feed it": ("[process.measured]", "[]", "2:5: on is empty. Put at least one thing in it"),
    "a word that is no event type": (
        "[process.measured]",
        "[measured]",
        "2:6: on cannot be 'measured'. Write text: Past tense",
    ),
    "a count of what does not come": (
        "{last: data.rss_mb}",
        "{count: {of: service.probed, window: 5s}}",
        "4:24: rss_mb counts service.probed, but the row is not fed by it.",
    ),
    "a window of no length": (
        "{last: data.rss_mb}",
        "{max: {of: data.rss_mb}}",
        "4:17: window is missing. Add `window:` with text: 500ms, 5s, 10m or 24h.",
    ),
    "the same row twice": (
        "row: health",
        "row: health\n        on: [a.b]\n        fields: {x: {last: data.x}}\n        ---\n        row: health",
        "5:1: row health is declared a second time; it is in rows/health.yaml:1 already.",
    ),
}

RULES = {
    "a misspelt key": ("when: ", "wen: ", "4:1: there is no key wen here. Did you mean when?"),
    "an expression that ends too early": ("> 400.0", ">", "4:20: when is no expression: the expression ends too early"),
    "a function that is none": (
        "data.rss_mb > 400.0",
        "data.rss_mb > floor(400.0)",
        "4:21: when is no expression: there is no function floor",
    ),
    "an unknown variable": ("data.rss_mb > 400.0", "data.rss_mb > limit", "4:21: when reads limit, which is unknown."),
    "an unknown row": (
        "data.rss_mb > 400.0",
        "rows.helth.rss_mb > 400.0",
        "4:12: when reads the row helth, which nothing declares. Did you mean health?",
    ),
    "an unknown field": (
        "rows.health.rss_mb",
        "rows.health.rss",
        "7:30: the row health has no field rss. Did you mean rss_mb?",
    ),
    "a list of unknown rows": (
        "[health]",
        "[healht]",
        "5:9: reads lists the row healht, which nothing declares. Did you mean health?",
    ),
    "an unknown intent": (
        "intent: restart_service",
        "intent: restart_servic",
        "6:19: memory_guard proposes the intent restart_servic, which nothing declares. Did you mean restart_service?",
    ),
    "parameters that do not fit": (
        "because:",
        "parameters: {grace: 5}, because:",
        '6:56: the parameters do not fit the intent restart_service: 5 is not of type "string"',
    ),
    "a sentence with a hole that is none": ("{data.rss_mb}", "{data.}", "6:52: because is no expression"),
    "an effect judged on the event": (
        "where: rows.health.rss_mb",
        "where: data.rss_mb",
        "7:18: where reads data, which is not there when it is evaluated. It may read rows, subject.",
    ),
    "a version that is a number": (
        "version: 1.0.0",
        "version: 1.0",
        '2:10: version is the number 1.0, and text is wanted. Put it in quotes: "1.0".',
    ),
    "a confidence above one": (
        "because:",
        "confidence: 1.5, because:",
        "6:48: confidence cannot be 1.5. Write a number from 0.0 to 1.0.",
    ),
    "a field of the subject that is none": (
        "data.rss_mb > 400.0",
        "subject.nmae == 'x'",
        "4:15: subject has no field nmae. Did you mean name?",
    ),
    "more matches than are remembered": (
        "reads:",
        "count: {min: 65, window: 1h}\n        reads:",
        "5:14: min cannot be 65. Write a whole number from 1 to 64.",
    ),
    "two conditions": (
        "reads:",
        "count: {min: 3, window: 30s}\n        absent: 30s\n        reads:",
        "6:1: count and absent exclude one another. Write a rule for each.",
    ),
    "a rate without a limit": (
        "reads:",
        "rate: {per: 1m}\n        reads:",
        "5:1: rate says neither above nor below. Name one of them, in matches per 1m.",
    ),
    "a rate with two limits": (
        "reads:",
        "rate: {above: 5, below: 3, per: 1m}\n        reads:",
        "5:1: rate says both above and below. Name one of them, in matches per 1m.",
    ),
    "a rate of nothing": (
        "reads:",
        "rate: {below: 0, per: 1m}\n        reads:",
        "5:15: below cannot be 0. Write a number of more than 0.0.",
    ),
    "a window of no time": (
        "reads:",
        "count: {min: 2, window: 0s}\n        reads:",
        "5:25: window cannot be 0s: no time at all. Write 1ms or more.",
    ),
    "a wait for absence": (
        "reads:",
        "absent: 30s\n        for: 5s\n        reads:",
        "6:1: absent is a time already, and for would only add to it. Make absent longer.",
    ),
    "a wait that nothing can end": (
        "when: data.rss_mb > 400.0",
        "for: 5s",
        "4:1: for asks whether when goes on holding, and without a when nothing can end it. Add when, or take for out.",
    ),
    "an end that cannot come": (
        "when: data.rss_mb > 400.0",
        "keep_firing_for: 5s",
        "4:1: keep_firing_for begins when when holds no longer, and without a when nothing can end it.",
    ),
    "a repeat that may not be": (
        "reads:",
        "once_within: 1m\n        repeat_interval: 10s\n        reads:",
        "6:1: repeat_interval is 10s, and once_within lets it propose every 1m at most. Make repeat_interval longer,",
    ),
    "a sentence about an event that did not come": (
        "when: data.rss_mb > 400.0",
        "absent: 30s",
        "6:47: because reads data, which is not there when it is evaluated. It may read rows, subject.",
    ),
    "a condition on an event that is over": (
        "reads:",
        "for: 5s\n        still_when: data.rss_mb > 300.0\n        reads:",
        "6:13: still_when reads data, which is not there when it is evaluated. It may read rows, subject.",
    ),
    "the clock": (
        "on: process.measured",
        "on: clock.tick",
        "3:5: memory_guard listens to clock.tick, which no agent is shown. Use for or absent, or a timer in triggers/.",
    ),
    "a word that is no type": (
        "on: process.measured",
        "on: measured",
        "3:5: on cannot be 'measured'. Write text: Past tense, as in service.started. Or: a list.",
    ),
    "a list with a word that is no type": (
        "on: process.measured",
        "on: [process.measured, measured]",
        "3:24: on cannot be 'measured'. Write text: Past tense, as in service.started.",
    ),
    "a type twice": (
        "on: process.measured",
        "on: [process.measured, process.measured]",
        "3:5: on lists process.measured twice. Take one of them out.",
    ),
}


@pytest.mark.parametrize(("old", "new", "said"), INTENTS.values(), ids=list(INTENTS))
def test_a_wrong_intent_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    _only(flaws_of(tmp_path, {INTENT: spoilt(INTENT, old, new)}), f"{INTENT}:{said}")


@pytest.mark.parametrize(("old", "new", "said"), ROWS.values(), ids=list(ROWS))
def test_a_wrong_row_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    _only(flaws_of(tmp_path, {ROW: spoilt(ROW, old, new)}), f"{ROW}:{said}")


@pytest.mark.parametrize(("old", "new", "said"), RULES.values(), ids=list(RULES))
def test_a_wrong_rule_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    _only(flaws_of(tmp_path, {RULE: spoilt(RULE, old, new)}), f"{RULE}:{said}")


def test_a_rule_on_silence_that_reads_what_is_too_old_by_then_is_warned_about(tmp_path: Path) -> None:
    silence = spoilt(RULE, "when: data.rss_mb > 400.0", "absent: 2m").replace("{data.rss_mb} MB", "nothing came")

    workspace = read(tmp_path, {RULE: silence})

    (warning,) = [str(found) for found in workspace.warnings if "reads health" in str(found)]
    assert warning == (
        f"{RULE}:5:8: memory_guard acts when nothing came for 2m, and reads health, which is 2m old by then; "
        "restart_service allows 1m. Raise context_age_max of restart_service, or do not read health."
    )


def _only(flaws: list[str], said: str) -> None:
    assert any(flaw.startswith(said) for flaw in flaws), flaws
