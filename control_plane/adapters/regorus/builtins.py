"""The built-in functions that a policy may call: bounded, deterministic, and the same here as in OPA.

A function that is missing here is refused, not found out at run time.
"""

from difflib import get_close_matches
from typing import Final

_BY_ARITY: Final[dict[int, tuple[str, ...]]] = {
    1: (
        *("abs", "ceil", "floor", "round", "count", "sum", "product", "max", "min", "sort", "to_number", "type_name"),
        *("is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string"),
        *("trim_space", "array.reverse", "object.keys", "intersection", "union"),
        *("time.parse_rfc3339_ns", "time.parse_duration_ns", "time.clock", "time.date", "time.weekday"),
    ),
    2: (
        *("contains", "startswith", "endswith", "concat", "indexof", "split", "sprintf", "format_int"),
        *("trim", "trim_left", "trim_prefix", "trim_right", "trim_suffix"),
        *("strings.any_prefix_match", "strings.any_suffix_match", "regex.match"),
        *("array.concat", "object.filter", "object.remove", "object.subset", "object.union"),
    ),
    3: ("array.slice", "object.get", "replace", "substring"),
}

ARITY: Final[dict[str, int]] = {name: arity for arity, names in _BY_ARITY.items() for name in names}

TEST_ONLY: Final[frozenset[str]] = frozenset({"print"})

BANNED: Final[dict[str, str]] = {
    "http.send": "Policy sees its input and data only: let code gather the fact and put it into the event.",
    "opa.runtime": "Policy sees its input and data only.",
    "time.now_ns": "Use input.now, so that a replay gives the same ruling.",
    "numbers.range": "It takes as long as its arguments say: walk what is in input or data.",
    "numbers.range_step": "It takes as long as its arguments say: walk what is in input or data.",
    "walk": "It takes as long as its input is large: name the path.",
    "trace": "Give a reason with its own code instead.",
    "print": "Give a reason with its own code instead; print is for tests.",
}
_BANNED_FAMILIES: Final[dict[str, str]] = {
    "rand": "Rulings must be the same again on replay.",
    "uuid": "Rulings must be the same again on replay.",
    "net": "Policy sees its input and data only.",
    "io": "Check signatures where facts come in, at the trigger.",
    "crypto": "Check signatures where facts come in, at the trigger.",
}


def why_not(name: str) -> tuple[str, str]:
    """What is wrong with a call to a function that is neither allowed nor defined, and the cure."""
    if name in BANNED:
        return f"{name} may not be used in a policy", BANNED[name]
    family = name.split(".")[0]
    if family in _BANNED_FAMILIES and "." in name:
        return f"{name} may not be used in a policy", _BANNED_FAMILIES[family]
    near = get_close_matches(name, ARITY, n=1)
    cure = f"Write {near[0]}, or define it." if near else "Define it in this package or in a package setpoint.lib.NAME."
    return f"there is no function {name} that a policy may call", cure
