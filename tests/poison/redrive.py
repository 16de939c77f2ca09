"""Events of a type that nobody had declared, mended and given back: how often each of them had its effect."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.poison.house import FILES, PATIENCE_S, POLL_S, Found, Life
from tests.poison.kinds import TYPE, UNDECLARED, good

RULE = "agents/heat_guard.yaml"
MENDED = {RULE: FILES[RULE].replace(f"on: {TYPE}", f"on: [{TYPE}, {UNDECLARED}]")}
"""The rule listens to the type that nobody had declared."""


async def bury(life: Life, subjects: Sequence[str]) -> list[str]:
    """Send one event about each subject that the loop cannot know; the ids of their letters, once REST lists them."""
    for subject in subjects:
        await life.send(good(subject, 1, type=UNDECLARED), key=subject.encode())
    async with life.client() as client:
        return [letter["id"] for letter in await letters_at_least(client, "open", len(subjects))]


async def letters_at_least(client: Any, state: str, count: int) -> list[dict[str, Any]]:
    """What REST lists, once it lists so many."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := await letters(client, state)) < count:  # noqa: ASYNC110 - nobody tells when it is recorded
            await asyncio.sleep(POLL_S)
    return found


async def letters(client: Any, state: str) -> list[dict[str, Any]]:
    """What REST lists."""
    items: list[dict[str, Any]] = []
    after: int | None = 0
    while after is not None:
        page = (await client.get(f"/v1/dead-letters?state={state}&limit=200&order=oldest&after={after}")).json()
        items += page["items"]
        after = page["next_after"]
    return items


async def sweep(client: Any) -> Any:
    """Redrive all that are open of the type."""
    wish = {"reason": "type_unknown", "dry_run": False, "because": "the type is declared now"}
    answer = await client.post("/v1/dead-letters/redrive", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()


def not_once(found: Found, subjects: Sequence[str]) -> list[str]:
    """Subjects whose event did not have exactly one effect."""
    return [
        f"{subject}: {len(found.commands[subject])} commands, {found.outcomes[subject]} outcomes"
        for subject in subjects
        if not len(found.commands[subject]) == found.outcomes[subject] == 1
    ]
