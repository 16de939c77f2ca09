"""What an expression reads, and the same expression over flat variables.

The CEL library copies every variable into its own values: a scope of nested objects costs 27 us, of which a rule reads
one or two fields. So `data.rss_mb > 400.0` becomes `__v_data_0rss_1mb > 400.0`, and only that number is copied, once
per event and not once per rule. The ranges of `all`, `exists`, `exists_one`, `map` and `filter` become variables of
their own as well, because the library walks a map in an order that differs from process to process, and replay must
give the same bytes; so does what is added to a list.
"""

import re
from dataclasses import dataclass

from control_plane.adapters.cel.addends import doubtful_addend, is_addend
from control_plane.adapters.cel.anchors import Anchor, anchor_of
from control_plane.adapters.cel.needs import BY_KEY, Need, Path
from control_plane.adapters.cel.tokens import Token, tokens_of
from control_plane.ports.expressions import ExpressionInvalid

REFERENCE = "reference"
"""The variable that holds whole tables: they are read by key and never copied."""

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_GETTERS = "FullYear Month Date DayOfMonth DayOfWeek DayOfYear Hours Minutes Seconds Milliseconds"
FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "type", "dyn"}
    | {"string", "int", "uint", "double", "bytes", "timestamp", "duration"}
    | {f"get{part}" for part in _GETTERS.split()}
)
_CONSTANTS = frozenset({"true", "false", "null", "in"})
_TYPES = frozenset({"bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"})
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_QUOTED_KEY = re.compile(r"""(['"])([^'"\\]+)\1""")
_QUOTED_FIELD = re.compile(r"""(['"])([A-Za-z_][A-Za-z0-9_]*)\1""")


@dataclass(frozen=True, slots=True)
class Flat:
    """An expression over flat variables, and the variables that it needs.

    A `demanding` one cannot be true unless all of them are there; only such a one may have an anchor.
    """

    text: str
    needs: tuple[Need, ...]
    demanding: bool
    anchor: Anchor | None


def flatten(text: str) -> Flat:
    """Rewrite text that the CEL parser accepts. Raises ExpressionInvalid for what would fail or differ at run time."""
    return _Rewriter(text).run()


class _Rewriter:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._needs: dict[str, Need] = {}
        self._variables: dict[int, tuple[int, str]] = {}
        """Where a path begins, the index after its last token, and its flat variable."""
        self._pieces: list[str] = []
        self._copied_to = 0
        self._bound: list[tuple[str, int]] = []
        """Variables of macros, each with the index of the token that ends its life."""

    def run(self) -> Flat:
        at = 0
        while self._tokens[at].kind != "end":
            self._bound = [(name, end) for name, end in self._bound if at < end]
            at = self._name(at) if self._tokens[at].kind == "name" else self._other(at)
        self._pieces.append(self._text[self._copied_to :])
        doubtful = doubtful_addend(self._tokens[: at + 1], self._variables)
        if doubtful is not None:
            detail = "what is added here may be a map, whose order is left to chance: write double(...) or string(...)"
            raise _invalid(detail, doubtful)
        demanding = self._is_demanding()
        anchor = anchor_of(self._tokens[:at], self._variables) if demanding else None
        return Flat("".join(self._pieces), tuple(self._needs.values()), demanding, anchor)

    def _is_demanding(self) -> bool:
        """Whether a missing variable is sure to keep the whole from being true: nothing but `&&` between its outermost
        parts, and nothing in them that can pass a variable by."""
        depth = 0
        for token in self._tokens:
            depth += _DEPTH.get(token.text, 0) if token.kind == "mark" else 0
            if token.text in ("||", "?") or token.text in MACROS or token.text == "has":
                return False
            if token.text == "&&" and depth:
                return False
        return True

    def _other(self, at: int) -> int:
        """A token that is no name at the head of a chain: a macro on a list in brackets begins with its dot."""
        token, after = self._tokens[at], self._tokens[at + 1]
        quoted = _QUOTED_KEY.fullmatch(token.text)
        if quoted and after.text == "in" and self._is_table(at + 2):
            path = (REFERENCE, self._tokens[at + 4].text, quoted.group(2))
            self._replace(at, at + 5, Need.of(path, "has"))
            return at + 5
        if token.text != "." or after.kind != "name":
            return at + 1
        if at == 0 or not _ends_operand(self._tokens[at - 1]):
            raise _invalid("a name may not begin with a dot", token)
        if self._tokens[at + 2].text != "(":
            return at + 2
        if self._is_macro(at + 1):
            if self._tokens[at - 1].text != "]" or not self._closes_list(at - 1):
                raise _invalid(f"{after.text} must stand on a path such as data.items, or on a list in brackets", after)
            self._bind(at + 1)
            return at + 5
        return self._function(at + 1)

    def _name(self, at: int) -> int:
        token = self._tokens[at]
        if token.text in _CONSTANTS:
            return at + 1
        if token.text.startswith("__"):
            raise _invalid("names that begin with two underscores are taken", token)
        if self._tokens[at + 1].text == "(":
            return self._has(at) if token.text == "has" else self._function(at)
        if self._tokens[at + 1].text == "{":
            raise _invalid(f"{token.text} is no type that can be built", token)
        path, end = self._chain(at)
        if self._is_bound(token.text):
            return self._bound_chain(end)
        if len(path) == 1 and token.text in _TYPES:
            return at + 1
        if self._tokens[end].text == "in" and self._is_table(end + 1):
            return self._key_in(at, path, end + 1)
        path, key, end = self._looked_up(at, path, end)
        if self._tokens[end].text == "." and self._is_macro(end + 1):
            self._replace(at, end, Need.of(path, "range", key))
            self._bind(end + 1)
            return end + 5
        self._replace(at, end, Need.of(path, "addend" if is_addend(self._tokens, at, end) else "value", key))
        return end

    def _looked_up(self, at: int, path: Path, end: int) -> tuple[Path, Path, int]:
        """A path with the key that it goes through, where it reads a table: `reference.sites[data.site].region`."""
        if path[0] != REFERENCE or len(path) > 2:
            return path, (), end
        if len(path) < 2 or self._tokens[end].text != "[":
            shown = ".".join(path)
            raise _invalid(
                f"{shown} is read by table and key, as in reference.sites[data.site].region", self._tokens[at]
            )
        quoted = _QUOTED_KEY.fullmatch(self._tokens[end + 1].text)
        key, closing = ((), end + 2) if quoted else self._key_path(end + 1)
        if self._tokens[closing].text != "]":
            raise _invalid("the key of a table is a path, such as data.site, or text in quotes", self._tokens[end + 1])
        fields, end = self._fields(closing + 1)
        return (*path, quoted.group(2) if quoted else BY_KEY, *fields), key, end

    def _key_path(self, at: int) -> tuple[Path, int]:
        token = self._tokens[at]
        if token.kind != "name" or token.text in _CONSTANTS or token.text == REFERENCE or self._is_bound(token.text):
            raise _invalid("the key of a table is a path, such as data.site, or text in quotes", token)
        return self._chain(at)

    def _is_table(self, at: int) -> bool:
        """Whether a whole table stands here."""
        reference, dot, name, after = self._tokens[at : at + 4]
        whole = (reference.text, dot.text, name.kind) == (REFERENCE, ".", "name")
        return whole and after.text not in (".", "[") and not self._is_bound(REFERENCE)

    def _key_in(self, at: int, key: Path, table_at: int) -> int:
        """`data.site in reference.sites`: whether the table has the key."""
        if key[0] == REFERENCE:
            raise _invalid("the key of a table is a path, such as data.site, or text in quotes", self._tokens[at])
        table = self._tokens[table_at + 2].text
        self._replace(at, table_at + 3, Need.of((REFERENCE, table, BY_KEY), "has", key))
        return table_at + 3

    def _bound_chain(self, end: int) -> int:
        if self._tokens[end].text == "." and self._is_macro(end + 1):
            raise self._nested(self._tokens[end + 1])
        return end

    def _has(self, at: int) -> int:
        """`has(a.b.c)` on a plain path becomes a variable; on anything else the library judges it."""
        path, end = self._chain(at + 2)
        if self._is_bound(path[0]):
            return at + 2
        path, key, end = self._looked_up(at + 2, path, end)
        if len(path) < 2 or self._tokens[end].text != ")":
            return at + 2
        self._replace(at, end + 1, Need.of(path, "has", key))
        return end + 1

    def _function(self, at: int) -> int:
        token = self._tokens[at]
        if token.text not in FUNCTIONS:
            raise _invalid(f"there is no function {token.text}", token)
        return at + 1

    def _chain(self, at: int) -> tuple[Path, int]:
        """The fields from a name on, as far as they are constant, and the index of the token after them."""
        fields, end = self._fields(at + 1)
        return (self._tokens[at].text, *fields), end

    def _fields(self, at: int) -> tuple[Path, int]:
        """The constant fields from here on, and the index of the token after them."""
        fields = []
        while True:
            first, second, third = self._tokens[at : at + 3]
            quoted = _QUOTED_FIELD.fullmatch(second.text)
            if first.text == "." and second.kind == "name" and third.text != "(":
                fields.append(second.text)
                at += 2
            elif first.text == "[" and quoted and third.text == "]":
                fields.append(quoted.group(2))
                at += 3
            else:
                return tuple(fields), at

    def _is_macro(self, at: int) -> bool:
        """Whether a macro stands here: `exists(x, ...)`."""
        name, bracket, variable, comma = self._tokens[at : at + 4]
        return name.text in MACROS and bracket.text == "(" and variable.kind == "name" and comma.text == ","

    def _is_bound(self, name: str) -> bool:
        return any(name == bound for bound, _ in self._bound)

    def _bind(self, at: int) -> None:
        """Let the macro's variable live from here to the bracket that ends the macro."""
        if self._bound:
            raise self._nested(self._tokens[at])
        variable = self._tokens[at + 2]
        if variable.text.startswith("__"):
            raise _invalid("names that begin with two underscores are taken", variable)
        self._bound.append((variable.text, self._closing(at + 1)))

    def _nested(self, token: Token) -> ExpressionInvalid:
        # Two of them, one in the other, cost the product of their lengths, and lengths come from outside.
        return _invalid(f"{token.text} may not stand inside another of {', '.join(sorted(MACROS))}", token)

    def _closing(self, at: int) -> int:
        depth = 0
        for index in range(at, len(self._tokens)):
            depth += {"(": 1, ")": -1}.get(self._tokens[index].text, 0)
            if depth == 0:
                return index
        raise AssertionError("the parser accepted brackets that do not close")

    def _closes_list(self, at: int) -> bool:
        """Whether the bracket that closes here was opened as a list, and not as an index."""
        depth = 0
        for index in range(at, -1, -1):
            depth += {"]": 1, "[": -1}.get(self._tokens[index].text, 0)
            if depth == 0:
                return index == 0 or not _ends_operand(self._tokens[index - 1])
        raise AssertionError("the parser accepted brackets that do not open")

    def _replace(self, at: int, end: int, need: Need) -> None:
        self._needs[need.name] = need
        self._variables[at] = (end, need.name)
        self._pieces += (self._text[self._copied_to : self._tokens[at].start], need.name)
        self._copied_to = self._tokens[end - 1].end


def _ends_operand(token: Token) -> bool:
    """Whether a value ends here, so that a dot or a bracket after it belongs to it."""
    return token.text in (")", "]", "}") if token.kind == "mark" else token.text != "in"


def _invalid(detail: str, token: Token) -> ExpressionInvalid:
    return ExpressionInvalid(detail, token.start + 1)
