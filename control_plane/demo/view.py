"""The demo on a terminal: one line per step, and the scorecard at the end. Plain where there is no terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from control_plane.demo.scorecard import FaultReport, Scorecard
from control_plane.demo.story import Line

STYLES = {
    "start": "dim",
    "broken": "magenta",
    "seen": "yellow",
    "letter": "magenta",
    "silent": "yellow",
    "proposed": "cyan",
    "allowed": "green",
    "denied": "red",
    "escalate": "red",
    "refused": "red",
    "command": "blue",
    "outcome": "bold",
    "repaired": "bold green",
    "effect": "bold green",
    "end": "dim",
}
SERVICE_WIDTH = 6
STEP_WIDTH = 9


class View:
    """Writes to one console. `NO_COLOR` and pipes are respected by the console itself."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def tell(self, line: Line) -> None:
        """One step."""
        style = STYLES.get(line.step, "")
        text = Text(f"{line.at_s:7.2f} s  ", style="dim")
        text.append(f"{line.service:<{SERVICE_WIDTH}}  ")
        text.append(f"{line.step:<{STEP_WIDTH}}", style=style)
        text.append(f"  {line.text}")
        self._console.print(text)

    def show(self, card: Scorecard) -> None:
        """The end of it."""
        self._console.print()
        self._console.print(_faults(card))
        for sentence in _sentences(card):
            self._console.print(sentence)
        verdict = Text("every fault was repaired, nothing else was touched" if card.ok else "; ".join(card.problems))
        verdict.stylize("bold green" if card.ok else "bold red")
        self._console.print(verdict)


def _faults(card: Scorecard) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("fault", "service", "decided after", "repaired after", "effect"):
        table.add_column(heading, header_style="bold", no_wrap=True)
    for fault in card.faults:
        table.add_row(*_row(fault))
    for found in card.left_alone:
        table.add_row(found.kind, _name(found.subject), "", "", "left alone" if not found.commands else "acted on")
    return table


def _row(fault: FaultReport) -> tuple[str, ...]:
    return (
        fault.kind,
        _name(fault.subject),
        _seconds(fault.detected_s),
        _seconds(fault.repaired_s),
        fault.effect or "not judged",
    )


def _sentences(card: Scorecard) -> list[str]:
    replayed = "the same bytes" if card.replay.equal else "something else"
    verdicts = ", ".join(f"{count} {answer}" for answer, count in card.verdicts.items() if count)
    outcomes = ", ".join(f"{count} {status}" for status, count in card.outcomes.items())
    return [
        "",
        f"{card.decisions} decisions ({verdicts or 'no verdict'}), {card.commands} commands "
        f"({outcomes or 'no outcome'}), {card.duplicates} done twice, {card.lost} lost",
        f"first action {_seconds(card.first_action_s)} after the start; seed {card.seed}",
        f"replayed from the log: {replayed} ({card.replay.messages} messages, hash {card.replay.replayed_hash})",
    ]


def _name(subject: str) -> str:
    return subject.partition("/")[2]


def _seconds(duration_s: float | None) -> str:
    return "never" if duration_s is None else f"{duration_s:.2f} s"
