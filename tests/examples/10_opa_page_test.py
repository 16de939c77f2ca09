"""docs/opa.md: its setting is one, and the OPA that its commands start pulls from the service."""

import json
import re
import shlex
import time
from pathlib import Path

import pytest
import yaml

from control_plane.settings import Settings
from tests.opa_world import OpaProcess
from tests.real_parts import free_port
from tests.unit.service_world import BARE, Running, running, written

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "opa.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PATIENCE_S = 30.0


def test_the_page_shows_a_setting_and_commands_and_nothing_else() -> None:
    assert [language for language, _ in BLOCKS] == ["yaml", ""]


def test_both_settings_of_the_page_are_taken() -> None:
    text = BLOCKS[0][1]
    addresses = [yaml.safe_load(text)["policy_engine"], text.partition("# or ")[2].strip()]

    taken = [Settings.load(Path(), {"policy_engine": address}).policy_engine for address in addresses]

    assert taken == addresses == ["http://127.0.0.1:8181", "unix:///run/opa.sock"]


def _all_current(service: Running) -> bool:
    listed = service.setpoint("opa", "list", "--json")
    opas = json.loads(listed.output)["opas"]
    return bool(opas) and listed.exit_code == 0


@pytest.mark.opa
def test_the_commands_of_the_page_start_an_opa_that_rules(tmp_path: Path, opa_program: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    folder = written(tmp_path, **{"setpoint.yaml": f"{BARE['setpoint.yaml']}policy_engine: {address}\n"})
    configure, start = BLOCKS[1][1].strip().splitlines()
    output = tmp_path / "opa.yaml"

    with running(folder) as service:
        made = service.setpoint(*shlex.split(configure)[1:-1], str(output), "-w", str(folder))
        assert made.exit_code == 0, made.output
        assert output.stat().st_mode & 0o077 == 0
        process = OpaProcess(opa_program, tmp_path / "opa", output.read_text(), address)
        shown = shlex.split(start)
        assert set(shown[1:]) - {"127.0.0.1:8181", "opa.yaml"} <= set(process.call)
        process.start()
        try:
            until = time.monotonic() + PATIENCE_S
            while not _all_current(service):
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            process.kill()
