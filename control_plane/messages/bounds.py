"""What JSON from outside may hold, so that everything after the decoder can carry it: rows, expressions, policies.

Judges bytes, before they are decoded: what is nested too deeply fails at a depth of its own in each of them, and how
deep that is depends on who calls.
"""

import re

from control_plane.errors import InvalidMessage

NESTING_MAX = 64
"""Lists and objects inside one another."""

INTEGER_MIN, INTEGER_MAX = -(2**63), 2**64 - 1
"""What 64 bits hold."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_LONG_NUMBER = re.compile(rb"\d{19}")
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def check_bounds(raw: bytes) -> None:
    """Raises InvalidMessage when values are nested too deeply, or an integer has more than 64 bits.

    Most messages hold too few brackets and too short numbers to be looked at twice.
    """
    nested = raw.count(b"{") + raw.count(b"[") > NESTING_MAX
    long_number = _LONG_NUMBER.search(raw) is not None
    if not (nested or long_number):
        return
    values = _STRING.sub(b'""', raw)
    if nested:
        _check_nesting(values)
    if long_number:
        _check_integers(values)


def _check_nesting(values: bytes) -> None:
    depth = 0
    for bracket in _BRACKET.findall(values):
        depth += 1 if bracket in (b"{", b"[") else -1
        if depth > NESTING_MAX:
            raise InvalidMessage(
                "too_deep", f"values are nested more than {NESTING_MAX} deep", field="data", cure="Make data flatter."
            )


def _check_integers(values: bytes) -> None:
    for number in _NUMBER.findall(values):
        # Text that long is out of bounds unread: Python refuses to read what is very long.
        if number.lstrip(b"-").isdigit() and (len(number) > 21 or not INTEGER_MIN <= int(number) <= INTEGER_MAX):
            raise InvalidMessage(
                "integer_too_large",
                f"an integer does not fit into 64 bits: {number[:24].decode()}",
                field="data",
                cure="Send it as text, or as a number with a decimal point.",
            )
