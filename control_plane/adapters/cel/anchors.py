"""What an expression hangs on, where that is plain: `data.site == "north"` or `data.celsius > 90.0`.

Of ten thousand conditions on the same variable those that may hold are then looked up instead of evaluated.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from control_plane.adapters.cel.tokens import Token

EXACT_MAX = 2**53
"""Whole numbers up to here are the same as whole and as floating ones, so that comparing them is exact everywhere."""

Compares = Literal["==", ">", ">=", "<", "<="]

_MIRRORED: Mapping[str, Compares] = {"==": "==", ">": "<", ">=": "<=", "<": ">", "<=": ">="}


class Anchor(NamedTuple):
    """A comparison of one flat variable with a literal. `whole` says that the expression is nothing else; without it,
    the comparison is one of those that must all hold."""

    name: str
    compares: Compares
    literal: str | float
    whole: bool


def anchor_of(tokens: Sequence[Token], variables: Mapping[int, tuple[int, str]]) -> Anchor | None:
    """The anchor of an expression whose outermost parts are joined by `&&` alone.

    Args:
        tokens: the expression, without what ends it.
        variables: where a variable begins, the index after its last token and its flat name.
    """
    found = [_comparison(tokens, start, stop, variables) for start, stop in _parts(tokens)]
    if len(found) == 1 and found[0] is not None:
        return found[0]._replace(whole=True)
    # Text tells more apart than a number does, and a limit tells least.
    known = [each for each in found if each is not None]
    return min(known, key=lambda each: (each.compares != "==", not isinstance(each.literal, str)), default=None)


def _parts(tokens: Sequence[Token]) -> list[tuple[int, int]]:
    """From where to where each part stands; `&&` within brackets does not occur."""
    cuts = [at for at, token in enumerate(tokens) if token.text == "&&"]
    return list(zip([0, *(at + 1 for at in cuts)], [*cuts, len(tokens)], strict=True))


def _comparison(
    tokens: Sequence[Token], start: int, stop: int, variables: Mapping[int, tuple[int, str]]
) -> Anchor | None:
    if start in variables:
        after, name = variables[start]
        literal = _literal(tokens[after + 1 : stop])
        compares = _MIRRORED.get(tokens[after].text) if after < stop else None
        return None if literal is None or compares is None else Anchor(name, _MIRRORED[compares], literal, False)
    at = next((at for at in range(start, stop) if at in variables), stop)
    if at == stop or variables[at][0] != stop:
        return None
    literal, compares = _literal(tokens[start : at - 1]), _MIRRORED.get(tokens[at - 1].text)
    return None if literal is None or compares is None else Anchor(variables[at][1], compares, literal, False)


def _literal(tokens: Sequence[Token]) -> str | float | None:
    """A plain text or a number, negative or not; None for everything else."""
    sign = -1 if len(tokens) == 2 and tokens[0].text == "-" else 1
    if len(tokens) != (2 if sign < 0 else 1):
        return None
    token = tokens[-1]
    if token.kind == "text" and sign > 0:
        plain = token.text[0] in "'\"" and token.text[:3] not in ("'''", '"""') and "\\" not in token.text
        return token.text[1:-1] if plain else None
    if token.kind != "number" or token.text[-1] in "uU" or token.text[:2] in ("0x", "0X"):
        return None
    number = sign * (int(token.text) if token.text.isdigit() else float(token.text))
    return number if abs(number) <= EXACT_MAX else None
