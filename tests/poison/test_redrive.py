"""What is redriven after the mend has exactly one effect, on both backbones, whoever asks and whoever dies."""

import asyncio

import pytest

from tests.poison.house import House, subjects
from tests.poison.killing import redrive_under_kills
from tests.poison.kinds import UNDECLARED, good
from tests.poison.redrive import MENDED, bury, letters, letters_at_least, not_once, sweep
from tests.unit.cli_world import process

pytestmark = pytest.mark.timeout(300)
MACHINES = subjects(12, "mended")


async def test_before_the_mend_nothing_goes_back_and_after_it_each_event_has_one_effect(house: House) -> None:
    async with house.alive() as life, life.client() as client:
        ids = await bury(life, MACHINES)
        early = await sweep(client)
        await life.apply(**MENDED)

        # Everybody at once, one by one and all together.
        answers = await asyncio.gather(
            *(client.post(f"/v1/dead-letters/{id}/redrive") for id in ids for _ in range(2)),
            *(sweep(client) for _ in range(3)),
        )
        found = await life.until(lambda found: found.outcomes.keys() >= set(MACHINES))

        assert [early["done"], len(early["refused"])] == [[], 12]
        assert {answer.status_code for answer in answers[:24]} == {200}
        assert not_once(found, MACHINES) == []

    async with house.alive() as life, life.client() as client:
        redriven = await letters(client, "redriven")
        again = [await client.post(f"/v1/dead-letters/{id}/redrive") for id in ids]
        for machine in MACHINES:
            # The producer itself sends the event once more, and another one behind it.
            await life.send(good(machine, 1, type=UNDECLARED), key=machine.encode())
            await life.send(good(machine, 2, data={"celsius": 20.0}), key=machine.encode())
        await life.send(good("machine/last", 1), key=MACHINES[0].encode())
        found = await life.until(lambda found: found.outcomes["machine/last"] == 1)

        assert sorted(letter["id"] for letter in redriven) == sorted(ids)
        assert [answer.json()["state"] for answer in again] == ["redriven"] * 12
        assert not_once(found, MACHINES) == []
        assert found.buried == 12


FAILS = 'raise ValueError("not today")'
DECIDES = 'return [context.propose("slow_down", because="mended")]'
BROKEN = f"""\
from control_plane.sdk import Agent


class Broken(Agent):
    name = "broken"
    version = "1.0.0"
    listens_to = ("{UNDECLARED}",)
    intents = ("slow_down",)

    def decide(self, context):
        {FAILS}
"""
"""An agent that fails where the door cannot know it."""


async def test_what_is_buried_again_is_a_new_letter_that_follows_from_the_first(house: House) -> None:
    async with house.alive() as life, life.client() as client:
        [first] = await bury(life, ["machine/a"])
        await life.apply(**{"agents/broken.py": BROKEN})

        await sweep(client)
        [second] = await letters_at_least(client, "open", 1)
        shown = (await client.get(f"/v1/dead-letters/{first}")).json()

        await life.apply(**{"agents/broken.py": BROKEN.replace("1.0.0", "2.0.0").replace(FAILS, DECIDES)})
        for _ in range(3):
            await client.post(f"/v1/dead-letters/{second['id']}/redrive")
        found = await life.until(lambda found: found.outcomes["machine/a"] == 1)

    replaying = process("replay", "--backbone", house.url)
    said, _ = await asyncio.to_thread(replaying.communicate)

    assert not_once(found, ["machine/a"]) == []
    assert found.buried == 2
    assert (second["code"], second["agent"]) == ("agent_failed", "broken")
    assert second["causation_id"] == first
    assert second["correlation_id"] == shown["correlation_id"]
    assert (shown["state"], shown["again"]) == ("redriven", second["id"])
    assert (replaying.returncode, said.splitlines()[-1]) == (0, "equal"), said
    to = shown["resolution"]
    assert [to["to_topic"], to["to_partition"], to["to_offset"]] == [
        second["from_topic"],
        second["from_partition"],
        second["from_offset"],
    ]


@pytest.mark.kills
async def test_a_service_that_is_killed_while_it_redrives_does_each_once(house: House) -> None:
    kills = 1 if house.is_kafka else 3

    found = await redrive_under_kills(house, letters_=60, kills=kills, seed=11)

    assert found.violations == []
    assert found.kills == kills
