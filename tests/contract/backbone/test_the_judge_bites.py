"""The judge of the crash tests finds what it is there to find; a judge that never complains shows nothing."""

import pytest

from control_plane.ports.backbone import Record, Start
from tests.contract.backbone.killing import every_input_has_its_output, rows_are_a_commits

INPUTS = [
    Record(topic="events.v1", partition=0, offset=n, key=b"k%d" % (n % 2), value=b"v", recorded_ms=0) for n in range(4)
]
OUTPUTS = [b"k0:1:0", b"k1:1:1", b"k0:2:2", b"k1:2:3"]


def outputs(*values: bytes) -> list[Record]:
    return [
        Record(topic="decisions.v1", partition=0, offset=n, key=b"k", value=value, recorded_ms=0)
        for n, value in enumerate(values)
    ]


def start_at(offset: int) -> Start:
    return Start(next_offset=offset, mark=b"m", record_before=None)


def test_complete_outputs_pass_also_twice() -> None:
    every_input_has_its_output(INPUTS, outputs(*OUTPUTS, *OUTPUTS[1:]))


def test_a_lost_output_is_found() -> None:
    with pytest.raises(AssertionError, match="output of offset 2"):
        every_input_has_its_output(INPUTS, outputs(*OUTPUTS[:2], OUTPUTS[3]))


def test_an_unequal_copy_is_found() -> None:
    with pytest.raises(AssertionError, match="output of offset 2"):
        every_input_has_its_output(INPUTS, outputs(*OUTPUTS, b"k0:3:2"))


@pytest.mark.parametrize("committed", [0, 2, 3])
def test_rows_of_a_commit_at_or_after_the_offset_pass(committed: int) -> None:
    rows_are_a_commits({b"k0": (2, 2), b"k1": (1, 1)}, INPUTS, start_at(committed))


@pytest.mark.parametrize(
    ("rows", "committed"),
    [
        ({b"k0": (3, 2), b"k1": (1, 1)}, 0),  # counted twice
        ({b"k0": (2, 2)}, 0),  # half of a commit
        ({b"k0": (1, 0), b"k1": (1, 1)}, 4),  # behind the committed offset
        ({}, 1),  # lost
    ],
)
def test_rows_of_no_commit_are_found(rows: dict[bytes, tuple[int, int]], committed: int) -> None:
    with pytest.raises(AssertionError, match="rows as of offset"):
        rows_are_a_commits(rows, INPUTS, start_at(committed))
