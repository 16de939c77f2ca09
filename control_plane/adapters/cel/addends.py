"""What is added to a list must not be a map: the library would take the map's keys, in an order of chance.

A path that is all that is added is looked at when its value is there (`Need.use` is `addend`). Of anything else the
text must say that it is no map. Map plus anything is an error in the library, so only the right side matters.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from control_plane.adapters.cel.tokens import Token

_OPENS: Final = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_OPERATORS: Final = frozenset({"+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in", "!"})
_ENDS_SUM: Final = frozenset({"==", "!=", "<", "<=", ">", ">=", "in", "&&", "||", "?", ":", ","})
_CONSTANTS: Final = frozenset({"true", "false", "null"})

Variables = Mapping[int, tuple[int, str]]
"""Where a path begins, the index after its last token, and its flat variable."""


def is_addend(tokens: Sequence[Token], at: int, end: int) -> bool:
    """Whether the path from `at` to before `end` is all that is added, with or without brackets around it."""
    opened = 0
    while at - 1 - opened >= 0 and tokens[at - 1 - opened].text == "(":
        opened += 1
    if at - 1 - opened < 0 or tokens[at - 1 - opened].text != "+":
        return False
    closed = all(token.text == ")" for token in tokens[end : end + opened])
    return closed and tokens[end + opened].text not in (".", "[")


def doubtful_addend(tokens: Sequence[Token], variables: Variables) -> Token | None:
    """The first `+` after which a map may stand that nobody looks at."""
    is_no_list = [False]
    for at, token in enumerate(tokens):
        if token.kind != "mark" and token.text != "in":
            continue
        if token.text == "+":
            # What text or a number was added to is no list any more, whatever is added to it next.
            is_no_list[-1] = is_no_list[-1] or tokens[at - 1].kind in ("text", "number")
            if not is_no_list[-1] and _may_be_map(tokens, at + 1, variables):
                return token
        elif _OPENS.get(token.text) == 1:
            is_no_list.append(False)
        elif _OPENS.get(token.text) == -1:
            is_no_list.pop()
        elif token.text in _ENDS_SUM:
            is_no_list[-1] = False
    return None


def _may_be_map(tokens: Sequence[Token], at: int, variables: Variables) -> bool:
    """Of the operand that begins here."""
    while tokens[at].text == "(":
        sure = _sure_of_group(tokens, at)
        if sure is not None:
            return sure
        at += 1
    if at in variables:
        return tokens[variables[at][0]].text == "["
    if tokens[at].text == "[":
        return tokens[_after(tokens, at)].text == "["
    if tokens[at].kind == "name" and tokens[at].text not in _CONSTANTS:
        return _name_may_be_map(tokens, at)
    return tokens[at].text == "{"


def _sure_of_group(tokens: Sequence[Token], at: int) -> bool | None:
    """Of what stands in brackets: a sum or a comparison is no map, and what a function gives is none either. None when
    all hangs on the operand in them."""
    after = _after(tokens, at)
    if tokens[after].text in (".", "["):
        return tokens[after + 2].text != "("
    inside = tokens[at + 1 : after - 1]
    if any(token.text == "?" for token in inside):
        return True
    return False if any(token.text in _OPERATORS for token in inside) else None


def _name_may_be_map(tokens: Sequence[Token], at: int) -> bool:
    """Of a function's answer, which is none but for `dyn`; or of what a macro walks, which may be anything."""
    if tokens[at + 1].text == "(":
        return tokens[at].text == "dyn" or tokens[_after(tokens, at + 1)].text == "["
    while tokens[at + 1].text == ".":
        at += 2
    return tokens[at + 1].text != "("


def _after(tokens: Sequence[Token], at: int) -> int:
    """The index after the bracket that closes the one that opens here."""
    depth = 0
    for index in range(at, len(tokens)):
        depth += _OPENS.get(tokens[index].text, 0) if tokens[index].kind == "mark" else 0
        if depth == 0:
            return index + 1
    raise AssertionError("the parser accepted brackets that do not close")
