"""What the packages of a policy set said, as one ruling: the same for every engine that runs Rego."""

import re
from typing import Final, Literal, get_args

import msgspec

from control_plane.messages import Reason, Ruling
from control_plane.messages.ruling import Answer

REASONS_MAX: Final = 100
MSG_CHARS_MAX: Final = 500
CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

NO_PERMIT: Final = Reason("no_permit", "no permit allows this", "policy_engine")
_STRONGEST_FIRST: Final[tuple[Answer, ...]] = ("deny", "escalate", "allow")

assert set(_STRONGEST_FIRST) == set(get_args(Answer))


class NoRuling(Exception):
    """Why there is no ruling."""


class Given(msgspec.Struct):
    """A reason as a policy gives it."""

    code: str
    msg: str


Found = list[tuple[Literal["deny", "escalate", "allow", "fault"], str, Given]]
"""(kind, package, reason) each."""


def weighed(found: Found, revision: str) -> Ruling:
    """Deny beats escalate beats allow, and all reasons are kept: the strongest first, then by who gives them. Raises
    NoRuling."""
    if len(found) > REASONS_MAX:
        raise NoRuling(f"it has {len(found)} reasons, more than {REASONS_MAX}")
    by_strength: dict[str, list[Reason]] = {kind: [] for kind in _STRONGEST_FIRST}
    for kind, by, given in found:
        if not CODE.fullmatch(given.code):
            raise NoRuling(f"{by} gave a reason with the code {given.code[:64]!r}, which is none")
        by_strength[kind].append(Reason(given.code, given.msg[:MSG_CHARS_MAX], by))
    if not by_strength["allow"]:
        by_strength["deny"].append(NO_PERMIT)
    reasons = [reason for each in _STRONGEST_FIRST for reason in sorted(by_strength[each], key=_order)]
    answer = next(each for each in _STRONGEST_FIRST if by_strength[each])
    return Ruling(answer=answer, reasons=tuple(reasons), revision=revision)


def _order(reason: Reason) -> tuple[str, str, str]:
    return reason.by, reason.code, reason.msg
