"""A wrong `triggers/*.yaml` is named by file, line and column, with its cure, before anything starts."""

from pathlib import Path
from textwrap import dedent

import pytest

from control_plane.bootstrap.workshop import load_workspace
from control_plane.errors import InvalidWorkspace
from control_plane.workspace.reading import Workspace

FILE = "triggers/it.yaml"
SOUND = {
    "setpoint.yaml": "apiVersion: setpoint/v1\n",
    "rows/seen.yaml": """
        row: seen
        on: [alert.fired, alert.resolved, order.placed, clock.struck]
        fields: {n: {count: {window: 1h}}}
        """,
}

WRONG: dict[str, tuple[str | bytes, str]] = {
    "an unknown kind": (
        "trigger: it\nkind: web_hook",
        "2:7: there is no kind of trigger web_hook. Did you mean webhook?",
    ),
    "a misspelt key": (
        "trigger: it\nkind: timer\nevry: 5s\nevent: {type: clock.struck, subject: '\"a/b\"'}",
        "3:1: there is no key evry here. Did you mean every?",
    ),
    "a wrong type": (
        "trigger: it\nkind: webhook\nitems_max: many",
        "3:12: items_max cannot be 'many'. Write a whole number from 1 to 1000.",
    ),
    "an unknown format": (
        "trigger: it\nkind: webhook\nformat: alertmanger",
        "3:9: format cannot be 'alertmanger'. Write one of json, cloudevents, alertmanager, grafana.",
    ),
    "alerts without a subject": (
        "trigger: it\nkind: webhook\nformat: alertmanager",
        """1:1: event says no subject. Add `subject:` with an expression, as in '"service/" + item.service'.""",
    ),
    "plain JSON without an id": (
        "trigger: it\nkind: webhook\nevent:\n  type: order.placed\n  subject: item.order",
        "4:3: event says no id. Add `id:` with an expression that is the same whenever the sender repeats itself",
    ),
    "a subject that is no expression": (
        "trigger: it\nkind: webhook\nevent: {type: order.placed, subject: order/1, id: item.id}",
        "3:38: event.subject reads order, which is unknown. Read what is there. Known: body, headers, item.",
    ),
    "an expression that does not parse": (
        'trigger: it\nkind: webhook\nevent:\n  {type: order.placed, subject: item.s, id: item.id, data: {a: "1 +"}}',
        "4:68: event.data.a is no expression: the expression ends too early. Expressions are CEL.",
    ),
    "what cannot be read here": (
        "trigger: it\nkind: webhook\neach: item.orders\nevent: {type: order.placed, subject: item.s, id: item.id}",
        "3:7: each reads item, which is unknown.",
    ),
    "a type that is none": (
        "trigger: it\nkind: webhook\nevent: {type: order placed, subject: item.s, id: item.id}",
        "3:15: type 'order placed' is no event type. Write it as in order.placed.",
    ),
    "a brace without its partner": (
        'trigger: it\nkind: webhook\nevent: {type: "order.{item.state", subject: item.s, id: item.id}',
        "3:15: type 'order.{item.state' has a brace without its partner.",
    ),
    "a type for which nothing is declared": (
        "trigger: it\nkind: webhook\nevent: {type: order.plaecd, subject: item.s, id: item.id}",
        "3:15: it publishes order.plaecd, for which nothing is declared: such events become dead letters. "
        "Did you mean order.placed?",
    ),
    "a type that only Setpoint publishes": (
        "trigger: it\nkind: webhook\nevent: {type: command.succeeded, subject: item.s, id: item.id}",
        "3:15: only Setpoint itself publishes events of type command.succeeded.",
    ),
    "two ways to be let in": (
        "trigger: it\nkind: webhook\nformat: cloudevents\nauth: {bearer_env: A, hmac: {header: X, secret_env: B}}",
        "4:7: auth says bearer_env and hmac. Write bearer_env, or hmac: one of them.",
    ),
    "no way to be let in": (
        "trigger: it\nkind: webhook\nformat: cloudevents\nauth: {}",
        "4:7: auth says nothing. Write bearer_env, or hmac: one of them.",
    ),
    "a secret instead of its variable": (
        "trigger: it\nkind: webhook\nformat: cloudevents\nauth: {bearer_env: s3cr3t!}",
        "4:20: bearer_env cannot be 's3cr3t!'. Write text: the name of an environment variable.",
    ),
    "no cron expression": (
        'trigger: it\nkind: timer\ncron: "61 * * * *"\nevent: {type: clock.struck, subject: \'"a/b"\'}',
        "3:7: cron '61 * * * *' is no schedule: bad minute. Write minute, hour, day, month and weekday",
    ),
    "a day that never comes": (
        'trigger: it\nkind: timer\ncron: "0 0 31 2 *"\nevent: {type: clock.struck, subject: \'"a/b"\'}',
        "3:7: cron '0 0 31 2 *' is no schedule: bad day-of-month.",
    ),
    "an unknown time zone": (
        'trigger: it\nkind: timer\ncron: "0 0 * * *"\ntimezone: Europe/Berln\n'
        "event: {type: clock.struck, subject: '\"a/b\"'}",
        "4:11: there is no time zone 'Europe/Berln'. Write it as Europe/Berlin, or UTC.",
    ),
    "a timer that says two things": (
        'trigger: it\nkind: timer\ncron: "0 0 * * *"\nevery: 5s\nevent: {type: clock.struck, subject: \'"a/b"\'}',
        "1:1: the timer says cron and every. Write cron, or every: one of them.",
    ),
    "a pace that is too fast": (
        "trigger: it\nkind: timer\nevery: 1ms\nevent: {type: clock.struck, subject: '\"a/b\"'}",
        "3:8: every is shorter than 100 ms. Write a longer one.",
    ),
    "a path in the pattern": (
        "trigger: it\nkind: folder\npath: in\nglob: a/*.jsonl\nevent: {type: order.placed, subject: item.s}",
        "4:7: glob 'a/*.jsonl' holds a slash. Name the folder in path, and only names of files in glob.",
    ),
    "a topic of our own": (
        'trigger: it\nkind: kafka\nservers: ["a:9092"]\ntopic: events.v1\nevent: {type: order.placed, subject: item.s}',
        "4:8: the topic events.v1 is Setpoint's own: what is read from it would be written to it.",
    ),
    "a server without a port": (
        "trigger: it\nkind: kafka\nservers: [a]\ntopic: orders\nevent: {type: order.placed, subject: item.s}",
        "3:11: servers cannot be 'a'. Write text: host:port.",
    ),
    "a user without a password": (
        'trigger: it\nkind: kafka\nservers: ["a:9092"]\ntopic: orders\nsecurity: {username_env: A}\n'
        "event: {type: order.placed, subject: item.s}",
        "5:11: SASL_SSL wants a user and a password. Add username_env and password_env.",
    ),
    "the same name twice": (
        "trigger: it\nkind: webhook\nformat: cloudevents\n---\ntrigger: it\nkind: webhook",
        "5:1: trigger it is declared a second time; it is in triggers/it.yaml:1 already.",
    ),
    "no name": (
        "kind: webhook",
        "1:1: this document does not say which trigger it declares. Begin it with `trigger: NAME`.",
    ),
    "a tab": ("trigger: it\nkind: webhook\nevent:\n\tid: item.id", "4:1: a tab stands where YAML wants spaces."),
    "an anchor in itself": ("trigger: it\nkind: webhook\nevent: &a\n  data: *a", "4:9: "),
    "a binary file": (b"trigger: it\x00\x01\x02", "1:12: it is no text: it holds a zero byte."),
    "ten megabytes": (b"# " + b"x" * 10_000_000, " it has more than 1000000 bytes."),
}


def loaded(folder: Path, trigger: str | bytes) -> Workspace:
    """The workspace with one file in `triggers/`."""
    for name, text in SOUND.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text).lstrip())
    (folder / FILE).parent.mkdir(exist_ok=True)
    (folder / FILE).write_bytes(trigger if isinstance(trigger, bytes) else trigger.encode())
    return load_workspace(folder)


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_trigger_is_named_with_its_cure(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidWorkspace) as wrong:
        loaded(tmp_path, text)

    flaws = [str(flaw) for flaw in wrong.value.flaws]
    assert any(flaw.startswith(f"{FILE}:{said}") for flaw in flaws), "\n".join(flaws)


def test_everything_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    text = """
        trigger: it
        kind: webhook
        each: items
        event: {type: order placed, data: {a: itm.x}}
        auth: {}
        """
    with pytest.raises(InvalidWorkspace) as wrong:
        loaded(tmp_path, dedent(text).lstrip())

    said = [flaw.problem for flaw in wrong.value.flaws]
    assert [problem.split()[0] for problem in said] == ["each", "event", "event", "type", "event.data.a", "auth"]


@pytest.mark.parametrize(
    "text",
    [
        "trigger: it\nkind: webhook\nformat: alertmanager\nevent: {subject: '\"service/\" + labels.service'}",
        "trigger: it\nkind: webhook\nformat: cloudevents",
        'trigger: it\nkind: timer\ncron: "*/5 * * * *"\ntimezone: Europe/Berlin\n'
        "event: {type: clock.struck, subject: '\"a/b\"'}",
        "trigger: it\nkind: folder\npath: in\nevent: {type: order.placed, subject: item.s}",
        'trigger: it\nkind: kafka\nservers: ["a:9092"]\ntopic: orders\nevent: {type: "order.{item.x}", subject: key}',
    ],
)
def test_a_sound_trigger_passes_without_a_warning(tmp_path: Path, text: str) -> None:
    assert loaded(tmp_path, text).warnings == ()


def test_a_file_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    assert loaded(tmp_path, "").triggers == ()


def test_one_of_several_types_that_nobody_hears_is_a_warning(tmp_path: Path) -> None:
    row = SOUND["rows/seen.yaml"].replace("alert.resolved, ", "")
    loaded(tmp_path, "")
    (tmp_path / "rows/seen.yaml").write_text(dedent(row).lstrip())
    (tmp_path / FILE).write_text("trigger: it\nkind: webhook\nformat: grafana\nevent: {subject: labels.s}\n")

    [warning] = load_workspace(tmp_path).warnings

    assert warning.problem.startswith("it publishes alert.resolved, for which nothing is declared")
    assert warning.line == 4


def test_types_that_a_schema_an_agent_or_a_rule_declares_are_declared(tmp_path: Path) -> None:
    loaded(tmp_path, "")
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas/tide.turned.json").write_text('{"type": "object"}')
    (tmp_path / FILE).write_text("trigger: it\nkind: timer\nevery: 1h\nevent: {type: tide.turned, subject: '\"a/b\"'}")

    assert load_workspace(tmp_path).warnings == ()
