"""CEL text as tokens. Only for text that the CEL parser has accepted: it judges nothing."""

import re
from typing import Literal, NamedTuple

Kind = Literal["name", "number", "text", "mark", "end"]

_TOKEN = re.compile(
    r"""
    (?P<skip>(?:\s+|//[^\n]*)+)
  | (?P<text>[bB]?[rR](?:\"\"\".*?\"\"\"|'''.*?'''|"[^"\n]*"|'[^'\n]*')
          |[bB]?(?:\"\"\"(?:\\.|.)*?\"\"\"|'''(?:\\.|.)*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<mark>&&|\|\||==|!=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """One token and where it stands: `start` and `end` count characters from 0."""

    kind: Kind
    text: str
    start: int
    end: int


LOOK_AHEAD = 4
"""How many tokens may be looked at from any one of them."""


def tokens_of(text: str) -> list[Token]:
    """All tokens but white space and comments, followed by `LOOK_AHEAD` of kind `end`."""
    found = [
        Token(match.lastgroup, match.group(), match.start(), match.end())  # type: ignore[arg-type]
        for match in _TOKEN.finditer(text)
        if match.lastgroup != "skip"
    ]
    return found + [Token("end", "", len(text), len(text))] * LOOK_AHEAD
