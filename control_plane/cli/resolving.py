"""One call of `setpoint dlq redrive` or `discard`: letters that are named, or all that a filter chooses.

What a filter chooses is shown before anything is done about it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import typer

from control_plane.cli.client import Client
from control_plane.cli.exits import BAD_USAGE, FOUND_WRONG, CommandError
from control_plane.cli.output import printable, put, put_json
from control_plane.cli.places import LETTERS

_DONE: Final[Mapping[str, str]] = {"redrive": "redriven", "discard": "discarded"}


class Resolving:
    """One call of `redrive` or `discard`."""

    def __init__(self, client: "Client", doing: str, because: str, *, as_json: bool) -> None:
        self._client = client
        self._doing = doing
        self._because = because
        self._as_json = as_json

    def run(self, ids: Sequence[str], wanted: Mapping[str, str], *, dry_run: bool, yes: bool) -> None:
        """Resolve what was named. Raises CommandError, and Exit where a letter stays as it is."""
        if bool(ids) == bool(wanted):
            raise CommandError(
                f"say which letters to {self._doing}: by their ids, or by --reason, --topic, --subject, --agent or "
                "--since. Nothing was done.",
                BAD_USAGE,
            )
        answer = self._named(ids, dry_run=dry_run) if ids else self._chosen(wanted, dry_run=dry_run, yes=yes)
        if self._as_json:
            put_json(answer)
        else:
            self._put(answer)
        if answer["refused"]:
            raise typer.Exit(FOUND_WRONG)

    def _named(self, ids: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
        done, refused = [], []
        for letter_id in ids:
            found = self._one(letter_id, dry_run=dry_run)
            if isinstance(found, str):
                refused.append({"id": letter_id, "detail": found})
            else:
                done.append(letter_id)
        return {"dry_run": dry_run, "done": done, "refused": refused}

    def _one(self, letter_id: str, *, dry_run: bool) -> dict[str, Any] | str:
        """What the service answers, or why it does not do it."""
        if dry_run:
            found: dict[str, Any] = self._client.get(f"{LETTERS}/{letter_id}")
            objection = found["objection"] if self._doing == "redrive" else None
            return found if objection is None else f"{objection['detail']}. {objection['cure']}"
        body = json.dumps({"because": self._because}).encode()
        try:
            answer: dict[str, Any] = self._client.post(f"{LETTERS}/{letter_id}/{self._doing}", body, "application/json")
        except CommandError as exc:
            if exc.code != FOUND_WRONG:
                raise
            return str(exc)
        return answer

    def _chosen(self, wanted: Mapping[str, str], *, dry_run: bool, yes: bool) -> dict[str, Any]:
        if not yes:
            shown = self._swept(wanted, dry_run=True)
            if dry_run or not shown["done"]:
                return shown
            self._ask(shown)
        return self._swept(wanted, dry_run=dry_run)

    def _ask(self, shown: Mapping[str, Any]) -> None:
        many = len(shown["done"])
        question = f"{self._doing} {many} dead letter{'s' if many > 1 else ''}?"
        if not typer.confirm(question, default=False, err=True):
            raise CommandError(f"nothing was done to {many} letters. To do it without a question: --yes", FOUND_WRONG)

    def _swept(self, wanted: Mapping[str, str], *, dry_run: bool) -> dict[str, Any]:
        """All of them, over as many requests as that takes."""
        done: list[str] = []
        refused: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            wish = {**wanted, "because": self._because, "dry_run": dry_run, "after": after}
            answer = self._client.post(f"{LETTERS}/{self._doing}", json.dumps(wish).encode(), "application/json")
            done += answer["done"]
            refused += answer["refused"]
            after = answer["next_after"]
        return {"dry_run": dry_run, "done": done, "refused": refused}

    def _put(self, answer: Mapping[str, Any]) -> None:
        for letter_id in answer["done"]:
            put(f"{letter_id}: {'would be ' if answer['dry_run'] else ''}{_DONE[self._doing]}")
        for found in answer["refused"]:
            cure = f". {found['cure']}" if "cure" in found else ""
            put(printable(f"{found['id']}: stays as it is: {found['detail']}{cure}"))
        many = len(answer["done"])
        put(f"{many} {'would be ' if answer['dry_run'] else ''}{_DONE[self._doing]}, {len(answer['refused'])} stay")
