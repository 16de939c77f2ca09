"""Whatever anybody writes onto the log: it is kept with its reason and its place, and what is behind it has its
effect."""

import pytest

from tests.poison.house import House
from tests.poison.kinds import ODD, POISON
from tests.poison.ordeal import Ordeal, under_load

pytestmark = pytest.mark.timeout(300)


def test_there_are_at_least_thirty_kinds_and_each_has_a_name_of_its_own() -> None:
    names = [kind.name for kind in (*POISON, *ODD)]

    assert len(POISON) >= 30
    assert len(set(names)) == len(names)


async def test_every_kind_is_buried_with_its_reason_and_what_is_behind_it_has_its_effect(house: House) -> None:
    async with house.alive() as life:
        findings = await Ordeal(life, each=1).run()

    assert findings.violations == []
    assert findings.poisoned == len(POISON)
    assert findings.effects == len(POISON) + sum(kind.acts for kind in ODD)


async def test_one_in_a_hundred_under_load_loses_nothing(house: House) -> None:
    async with house.alive() as life:
        findings = await under_load(life, events=400, per_second=200)

    assert findings.violations == []
    assert (findings.poisoned, findings.effects) == (4, 400)
