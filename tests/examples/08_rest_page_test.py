"""The requests on the page about REST, as a reader would paste them."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli_world import KEY
from tests.unit.service_world import running, written

ROOT = Path(__file__).resolve().parent.parent.parent
BLOCKS = re.findall(r"^```\n(curl .*?)^```", (ROOT / "docs/rest.md").read_text(), re.MULTILINE | re.DOTALL)
WORKSPACE = {
    "intents/restart_service.yaml": "intent: restart_service\nsubject_kind: service\nexecutor: dry_run\n"
    "parameters: {type: object, properties: {grace: {type: string}}, additionalProperties: false}\n",
    "rows/service_health.yaml": "row: service_health\non: [service.probed]\nfields: {up: {last: data.up}}\n",
}


@pytest.mark.timeout(300)
def test_every_request_of_the_page_is_accepted(tmp_path: Path) -> None:
    folder = written(tmp_path / "w", **WORKSPACE)
    with running(folder) as service:
        (folder / "data/api.key").write_text(KEY)
        answers = [pasted(block.replace("http://127.0.0.1:7070", service.url), folder) for block in BLOCKS]

    assert ["accepted" in answer or "decision_id" in answer for answer in answers] == [True, True]


def pasted(block: str, folder: Path) -> dict[str, Any]:
    """What a shell in the workspace makes of a block."""
    ran = subprocess.run(
        ["bash", "-c", block.replace("curl", "curl --noproxy '*' --silent --fail-with-body --max-time 30")],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer
