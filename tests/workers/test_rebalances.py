"""Workers come and go under load, and whoever looks from outside finds nothing lost and nothing done twice."""

from pathlib import Path

import pytest

from tests.workers.rebalances import Rebalances

pytestmark = [pytest.mark.kafka, pytest.mark.kills, pytest.mark.timeout(300)]

ROUNDS = 3


def test_one_joins_one_is_killed_and_one_leaves(kafka_url: str, tmp_path: Path) -> None:
    ordeal = Rebalances(tmp_path, kafka_url, seed=3)

    findings = ordeal.run(ROUNDS)

    assert findings.violations == []
    assert set(ordeal.happened) == {"join", "kill", "leave"}
    assert findings.counts["acknowledged"] > 300
    assert findings.counts["commands"] > 50
