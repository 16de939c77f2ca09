"""The command that says why: of a decision from what was recorded, of an agent's silence from the log itself."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from control_plane.cli.exits import FOUND_WRONG, CommandError
from control_plane.cli.log import Backbone, Data, log_settings, opened
from control_plane.cli.output import AsJson, paint, printable, put, put_json
from control_plane.cli.places import HERE, Url, WorkspaceOption

_COLOUR_OF: Mapping[str, str] = {"passed": "ok", "stopped": "deny"}
ANSWER_CHARS_MAX = 600
"""What is shown of an answer from outside."""

_SAID: Mapping[str, str] = {
    "proposed": "it did propose",
    "silent": "it was shown the event and proposed nothing",
    "not shown": "it was not shown the event: the event had come before, or is a dead letter",
    "decides apart": "it decides in a group of its own: contexts.v1 has what it was sent, tools.v1 what it learnt, "
    "events.v1 its answer",
    "not listening": "it does not listen to events of this type",
    "not in force": "no agent of this name was in force then",
}


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    id: Annotated[str, typer.Argument(metavar="ID", help="Of a decision or what followed from it; or of an event.")],
    agent: Annotated[str | None, typer.Option(help="Why this agent said nothing on the event ID.")] = None,
    url: Url = None,
    workspace: WorkspaceOption = HERE,
    data: Data = None,
    backbone: Backbone = None,
    as_json: AsJson = False,
) -> None:
    """Why something was decided, or why an agent stayed silent.

    A decision is explained by the service; with --agent the log is read again up to the event, which works beside a
    running service and without one.
    """
    if agent is None:
        _explain_decision(id, url, workspace, as_json)
    else:
        _explain_silence(id, agent, log_settings(data, backbone, workspace), as_json)


def _explain_decision(id: str, url: str | None, workspace: Any, as_json: bool) -> None:
    from control_plane.cli.client import service

    with service(url, workspace) as client:
        dossier = client.get(f"/v1/decisions/{id}/dossier")
    if as_json:
        put_json(dossier)
        return
    _put_fact(dossier["event"])
    _put_known(dossier)
    _put_state(dossier["decision"].get("own"))
    _put_journal(dossier["journal"])
    _put_decision(dossier["decision"])
    _put_guards(dossier)
    _put_done(dossier)


def _put_fact(event: Mapping[str, Any] | None) -> None:
    if event is None:
        _put("event", "is not recorded yet")
        return
    said = event["event"] or {}
    _put("event", f"{said.get('type')} on {event['subject']} from {said.get('source')}, {event['occurred_at']}")
    _put("", f"{event['topic']}/{event['partition']} offset {event['offset']}, id {event['id']}")
    _put("", _compact(said.get("data")))


def _put_known(dossier: Mapping[str, Any]) -> None:
    if dossier["rows"] is None:
        _put("known", "not recorded: a guard stopped it before policy was asked")
        return
    for part, row in dossier["rows"].items():
        _put("known", f"rows.{part} {_compact(row)}")
    _put("facts", _compact(dossier["facts"]))


def _put_state(own: Any) -> None:
    """What the agent had kept of the subject. Of a rule that is its state; an inactive one keeps nothing."""
    if own is None:
        _put("state", "the agent had kept nothing of the subject; a rule is inactive then")
    elif isinstance(own, dict) and "state" in own:
        _put("state", f"the rule was {own['state']}{_since(own)}")
        _put("", _compact(own))
    else:
        _put("state", _compact(own))


def _since(own: Mapping[str, Any]) -> str:
    times = (("since_ms", "since"), ("proposed_ms", "and had proposed at"))
    return "".join(f" {word} {_time(own[key])}" for key, word in times if key in own)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _put_journal(journal: list[Mapping[str, Any]]) -> None:
    """What the agent asked outside. `--json` has questions and answers whole."""
    for item in journal:
        place = f"{item['topic']}/{item['partition']} offset {item['offset']}"
        request = item["request"]
        whom = " ".join(str(request[key]) for key in ("model", "url") if key in request)
        _put("asked", f"{item['tool']} {whom}, {place}")
        if item["took_ms"] is None:
            _put("", "its answer is not recorded")
            continue
        used = f"{item['took_ms']} ms, {item['tokens']} tokens, {item['cost_micros'] / 1_000_000:.6f} spent"
        answer = item["answer"]
        said = item["problem"] if answer is None else str(answer.get("content") or _compact(answer))
        _put("learnt", f"{said[:ANSWER_CHARS_MAX]} ({used})", item["code"])


def _put_decision(decision: Mapping[str, Any]) -> None:
    wanted = f"{decision['intent']} {_compact(decision['parameters'])} on {decision['subject']}"
    _put("decision", f"{decision['agent']} {decision['agent_version']} wants {wanted}")
    _put("", f"because {decision['because']} (confidence {decision['confidence']})")
    if decision["prompt_hash"]:
        _put("", f"prompt {decision['prompt_hash']}")
    _put("", f"{decision['topic']}/{decision['partition']} offset {decision['offset']}, id {decision['id']}")


def _put_guards(dossier: Mapping[str, Any]) -> None:
    verdict = dossier["verdict"]
    if verdict is None:
        _put("verdict", "is not recorded yet")
        return
    for guard in dossier["guards"]:
        _put("guard", guard["stage"], guard["answer"])
        for reason in guard["reasons"]:
            _put("", f"  {reason['code']}: {reason['msg']} ({reason['by']})")
    revisions = f"controls {verdict['controls_revision'][:12]}, policy {verdict['policy_revision'][:12] or '-'}"
    _put("verdict", f"at {verdict['stage']}, under {revisions}", verdict["answer"])


def _put_done(dossier: Mapping[str, Any]) -> None:
    command, effect = dossier["command"], dossier["effect"]
    if command is None:
        return
    _put("command", f"{command['intent']} by {command['executor']}, deadline {command['deadline_at']}")
    _put("", f"{command['topic']}/{command['partition']} offset {command['offset']}, id {command['id']}")
    outcome = command["outcome"]
    if outcome is None:
        _put("outcome", "has not come back yet")
        return
    _put("outcome", f"attempts: {outcome['attempts']}; {outcome['detail'] or 'no detail'}", outcome["status"])
    if effect is not None:
        _put("effect", f"{effect['because']} ({effect['samples']} samples)", effect["effect"])
    elif dossier["decision"]["expects"] is not None and outcome["status"] == "succeeded":
        _put("effect", "its window has not closed yet")


def _explain_silence(id: str, agent: str, settings: Any, as_json: bool) -> None:
    import asyncio

    import msgspec

    reader = opened(settings)
    from control_plane.bootstrap.records import instant

    try:
        found = asyncio.run(instant(reader, id, agent))
    finally:
        reader.close()
    if found is None:
        raise CommandError(
            f"no event with the id {id!r} is on the log at {settings.backbone}. See: setpoint events tail", FOUND_WRONG
        )
    plain = msgspec.to_builtins(found)
    if as_json:
        put_json(plain)
        return
    _put_instant(plain)


def _put_instant(found: Mapping[str, Any]) -> None:
    _put(
        "event", f"{found['event_type']} on {found['subject']}, events.v1/{found['partition']} offset {found['offset']}"
    )
    _put("agent", f"{found['agent']}, under controls {found['controls_revision'][:12]}: {_SAID[found['why']]}")
    for part, row in found["rows"].items():
        _put("known", f"rows.{part} {_compact(row)}")
    for part, fields in found["gaps"].items():
        for field, gaps in fields.items():
            told = f"{gaps['late']} values came too late so far, {gaps['missed']} could not be read"
            _put("gaps", f"rows.{part}.{field}: {told}")
    if found["why"] in ("proposed", "silent"):
        _put_state(found["own"])
    silence = found["silence"]
    if silence is not None:
        _put("why", f"{silence['clause']}: {silence['because']}")
        for path, value in silence["read"].items():
            _put("read", f"{path} = {_compact(value)}")
        for path in silence["missing"]:
            _put("read", f"{path} is missing")
        waits = "" if silence["wait_ms"] is None else f", for another {silence['wait_ms']} ms if nothing comes"
        _put("", f"it is {silence['state']} now{waits}")
    for decision in found["decisions"]:
        _put("decision", f"{decision['intent']}, id {decision['lineage']['message_id']}")
        _put("", f"see: setpoint explain {decision['lineage']['message_id']}")


def _put(label: str, text: str, word: str = "") -> None:
    """One line; a word that has a colour comes first. The text may come from anybody, so it is cleaned."""
    painted = f"{paint(_COLOUR_OF.get(word, word), word)} " if word else ""
    put(f"{label:<10}{painted}{printable(text)}")


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
