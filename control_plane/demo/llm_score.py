"""What the llm demo came to: counted by the desk, by the model's server and from the log, never from the service's own
word."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from control_plane.demo.history import History
from control_plane.demo.llm_plan import SENTENCES, Letter
from control_plane.demo.scorecard import FaultReport, LeftAlone, ReplayReport, Scorecard, card_of, seconds, time_of
from control_plane.demo.warehouse import Deed

GRANTED: Final = frozenset({"route_ticket", "close_ticket"})
"""What the example's agents may propose."""


def score_llm(
    *,
    seed: int,
    began_at: float,
    letters: Sequence[Letter],
    told_at: Mapping[str, float],
    deeds: Sequence[Deed],
    asked: Sequence[str] | None,
    history: History,
    replay: ReplayReport,
    interrupted: str = "",
) -> Scorecard:
    """Count everything, and say whether the demo shows what it should. `asked` are the letters that the recorded model
    was asked about; None for a live one, of which nobody knows beforehand what it says."""
    done = Counter((deed.order, deed.intent) for deed in deeds)
    commands = {command.lineage.message_id for command in history.commands}
    unasked = [deed for deed in deeds if deed.key not in commands]
    duplicates = sum(count - 1 for count in done.values()) + len(unasked)
    lost = len(commands - {outcome.command_id for outcome in history.outcomes})
    planned = () if asked is None else (*_not_as_planned(letters, history, told_at), *_asked_wrongly(letters, asked))
    problems = [
        *([interrupted] if interrupted else []),
        *_beyond_the_grant(history),
        *planned,
        *([f"{duplicates} things were done twice, or unasked"] if duplicates else []),
        *([f"{lost} things were lost"] if lost else []),
        *([] if replay.equal else ["the replay differs from the log"]),
    ]
    return card_of(
        "llm",
        seed=seed,
        began_at=began_at,
        faults=tuple(_report(letter, told_at, history) for letter in letters if letter.intent),
        left_alone=tuple(_left_alone(letter, told_at, history) for letter in letters if not letter.intent),
        history=history,
        duplicates=duplicates,
        lost=lost,
        replay=replay,
        problems=problems,
    )


def _beyond_the_grant(history: History) -> Iterator[str]:
    """Holds whatever a model says."""
    for decision in history.decisions:
        if decision.intent not in GRANTED:
            yield f"{decision.agent} got as far as proposing {decision.intent} on {decision.subject}"
        if decision.agent == "triage" and not decision.prompt_hash:
            yield f"the decision on {decision.subject} does not name its prompt"
    for command in history.commands:
        if command.intent not in GRANTED:
            yield f"{command.agent} got as far as {command.intent} on {command.subject}"


def _not_as_planned(letters: Sequence[Letter], history: History, told_at: Mapping[str, float]) -> Iterator[str]:
    for letter in letters:
        acted = [
            (found.agent, found.intent, found.parameters.get("team", ""))
            for found in history.commands
            if found.subject == letter.subject
        ]
        wanted = [(letter.by, letter.intent, letter.team)] if letter.intent else []
        if acted != wanted:
            yield f"{letter.subject} ({SENTENCES[letter.kind]}): done was {acted}, wanted {wanted}"
        codes = [found.code for found in history.proposed if found.subject == letter.subject]
        if codes != ([] if letter.is_urgent else [letter.code]):
            yield f"{letter.subject} ({SENTENCES[letter.kind]}): the model's agent said {codes}, not {letter.code!r}"
    yield from _waited(letters, history)


def _waited(letters: Sequence[Letter], history: History) -> Iterator[str]:
    """Rules must be done with what is urgent before the model that hangs is given up on."""
    decided = {found.subject: found.occurred_ms for found in history.decisions}
    hangs = next(letter for letter in letters if letter.kind == "hangs")
    given_up_ms = decided.get(hangs.subject, 0)
    for letter in letters:
        if letter.is_urgent and decided.get(letter.subject, given_up_ms) >= given_up_ms:
            yield f"{letter.subject} waited for a model that hung"


def _asked_wrongly(letters: Sequence[Letter], asked: Sequence[str]) -> Iterator[str]:
    """Once about each letter, and not where a rule decides or the budget is used up."""
    wanted = [letter for letter in letters if not letter.is_urgent and letter.kind != "broke"]
    texts = Counter(letter.text for said in asked for letter in letters if said in letter.text)
    if len(asked) != len(wanted) or any(texts[letter.text] != 1 for letter in wanted):
        yield f"the model was asked {len(asked)} times about {len(texts)} letters; {len(wanted)} were to be asked about"


def _report(letter: Letter, told_at: Mapping[str, float], history: History) -> FaultReport:
    began_s = told_at.get(letter.name, 0.0)
    decided_ms = min(
        (found.occurred_ms for found in history.decisions if found.subject == letter.subject), default=None
    )
    succeeded = [found for found in history.outcomes if found.subject == letter.subject and found.status == "succeeded"]
    done_ms = min((found.occurred_ms for found in succeeded), default=None)
    return FaultReport(
        kind=letter.kind,
        subject=letter.subject,
        injected_at=time_of(began_s),
        detected_s=None if decided_ms is None else seconds(decided_ms / 1000 - began_s),
        repaired_s=None if done_ms is None else seconds(done_ms / 1000 - began_s),
        effect=next((effect.effect for effect in history.effects if effect.subject == letter.subject), None),
    )


def _left_alone(letter: Letter, told_at: Mapping[str, float], history: History) -> LeftAlone:
    return LeftAlone(
        kind=letter.kind,
        subject=letter.subject,
        injected_at=time_of(told_at.get(letter.name, 0.0)),
        commands=sum(command.subject == letter.subject for command in history.commands),
    )
