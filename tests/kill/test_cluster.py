"""A few harms to a whole crew on real parts; `make kills BACKBONE=kafka N=60` does many."""

from pathlib import Path

import pytest

from tests.kill.cluster import ClusterOrdeal

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.opa,
    pytest.mark.postgres,
    pytest.mark.toxiproxy,
    pytest.mark.kills,
    pytest.mark.timeout(600),
]

HARMS = 3
SEED = 5


def test_a_crew_on_kafka_postgresql_and_opa_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    ordeal = ClusterOrdeal(tmp_path, SEED)

    findings = ordeal.run(HARMS)

    assert findings.violations == []
    assert ordeal.kills.total() == HARMS
    assert findings.counts["effects in the world"] == findings.counts["command.succeeded"] > 0
    assert findings.counts["replays equal"] == 1
