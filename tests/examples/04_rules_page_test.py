"""Every block of docs/rules.md: its rules pass the check, and what the page says of them is so."""

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
import yaml

from control_plane.catalogue.definitions import RuleDefinition
from tests.examples.page import DOCS, Example, examples_of
from tests.unit.workspace_world import read

EXAMPLES = examples_of("rules.md")
PAGE = (DOCS / "rules.md").read_text()


def workspace_of(example: Example) -> Mapping[str, str]:
    """The rule of an example with an intent for what it proposes."""
    intent = yaml.safe_load(example.declarations)["propose"]["intent"]
    return {
        "agents/example.yaml": example.declarations,
        "intents/example.yaml": f"intent: {intent}\nsubject_kind: service\nexecutor: shop\n",
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
def test_what_the_page_says_is_so(example: Example) -> None:
    example.run()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"line {example.line}")
def test_what_the_page_declares_passes_the_check(tmp_path: Path, example: Example) -> None:
    others = {"agents/memory_guard.yaml": None, "intents/restart.yaml": None}

    assert read(tmp_path, {**others, **workspace_of(example)}).warnings == ()


def test_the_page_names_every_key_of_a_rule() -> None:
    keys = {field.encode_name for field in msgspec.structs.fields(RuleDefinition)} - {"rule", "version"}

    assert not [key for key in keys if f"| `{key}" not in PAGE]
