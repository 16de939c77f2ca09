"""Every kind of poison, and the reason that its dead letter must give; and what is only odd, and must be taken.

One table for all who try it: on each log, under load, a few times or many.
"""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from control_plane.messages.bounds import NESTING_MAX
from control_plane.messages.envelope import (
    EVENT_BYTES_MAX,
    HOP_COUNT_READ_MAX,
    IDENTIFIER_CHARS_MAX,
    TRAIL_CHARS_MAX,
)
from control_plane.messages.subject import SUBJECT_BYTES_MAX

TYPE: Final = "machine.measured"
UNDECLARED: Final = "machine.moved"
HOT: Final = 95.0
HUGE_BYTES: Final = 10 * 1024 * 1024


@dataclass(frozen=True)
class Kind:
    """One kind. `make` gives the record of a subject, numbered; `code` is the reason, None where it must be taken.
    `is_huge` is tried less often; `has_key` says whether it is keyed by its subject, as all should be; `acts` whether
    something follows from one that is taken."""

    name: str
    make: Callable[[str, int], bytes]
    code: str | None
    is_huge: bool = False
    has_key: bool = True
    acts: bool = True


def good(about: str, n: int, /, **changes: Any) -> bytes:
    """An event that has an effect; `...` leaves an attribute out."""
    plain = {
        "specversion": "1.0",
        "id": f"{about}/{n}",
        "source": "stranger",
        "type": TYPE,
        "subject": about,
        "data": {"celsius": HOT},
    }
    return json.dumps({name: value for name, value in {**plain, **changes}.items() if value is not ...}).encode()


def _with(code: str | None, name: str, **changes: Any) -> Kind:
    return Kind(name, lambda subject, n: good(subject, n, **changes), code)


def _made(code: str | None, name: str, make: Callable[[bytes], bytes], **more: Any) -> Kind:
    """A good event, spoilt."""
    return Kind(name, lambda subject, n: make(good(subject, n)), code, **more)


def _bytes(code: str, name: str, value: bytes, **more: Any) -> Kind:
    return Kind(name, lambda subject, n: value, code, **more)


def _in_data(code: str | None, name: str, raw: bytes) -> Kind:
    """A value in the data that Python's encoder would not write."""
    return _made(code, name, lambda event: event.replace(b'"celsius": 95.0', b'"celsius": ' + raw))


def _padded(bytes_: int) -> Callable[[str, int], bytes]:
    def make(subject: str, n: int) -> bytes:
        empty = good(subject, n, data={"celsius": HOT, "pad": ""})
        return good(subject, n, data={"celsius": HOT, "pad": "x" * (bytes_ - len(empty))})

    return make


LONG: Final = "x" * (IDENTIFIER_CHARS_MAX + 1)
FUTURE: Final = "2126-01-01T00:00:00Z"
_DEEP: Final = b"[" * (NESTING_MAX + 1) + b"]" * (NESTING_MAX + 1)
_REVISION: Final[Mapping[str, Any]] = {"revision": "0123456789abcdef"}

NO_JSON: Final = (
    _bytes("json_broken", "empty value", b""),
    _bytes("json_broken", "null bytes", b"\x00" * 64),
    _bytes("json_broken", "no UTF-8", b"\xff\xfe\xfa"),
    _bytes("json_broken", "words", b"machine 7 is hot"),
    _bytes("json_broken", "XML", b"<event><id>1</id></event>"),
    _made("json_broken", "cut off", lambda event: event[: len(event) // 2]),
    _made("json_broken", "something behind it", lambda event: event + b"}"),
    _made("json_broken", "two in one", lambda event: event + b"\n" + event),
    _made("json_broken", "byte order mark", lambda event: b"\xef\xbb\xbf" + event),
    _made("json_broken", "UTF-16", lambda event: event.decode().encode("utf-16")),
    _made("json_broken", "Latin-1", lambda event: event.replace(b"stranger", "fremd\xe4".encode("latin-1"))),
    _made("json_broken", "compressed", gzip.compress),
    _made("json_broken", "single quotes", lambda event: event.replace(b'"', b"'")),
    _in_data("json_broken", "NaN", b"NaN"),
    _in_data("json_broken", "Infinity", b"-Infinity"),
    _in_data("json_broken", "half a surrogate", b'"\\ud800"'),
    _in_data("json_broken", "control character in text", b'"a\x01b"'),
)
TOO_MUCH: Final = (
    _bytes("too_deep", "brackets without end", b"[" * 100_000),
    _in_data("too_deep", "deep", _DEEP),
    Kind("a byte too many", _padded(EVENT_BYTES_MAX + 1), "too_large"),
    Kind("10 MB event", _padded(HUGE_BYTES), "too_large", is_huge=True),
    _bytes("too_large", "10 MB of nothing", b"\x00" * HUGE_BYTES, is_huge=True),
    _in_data("integer_too_large", "65 bits", str(2**64).encode()),
    _in_data("integer_too_large", "400 digits", b"9" * 400),
)
NO_EVENT: Final = (
    _made("envelope_broken", "array of events", lambda event: b"[" + event + b"]"),
    _bytes("envelope_broken", "a string", b'"machine"'),
    _bytes("envelope_broken", "a number", b"7"),
    _bytes("envelope_broken", "null", b"null"),
    _bytes("envelope_broken", "empty object", b"{}"),
    *(_with("envelope_broken", f"no {name}", **{name: ...}) for name in ("id", "source", "type", "specversion")),
    *(_with(f"{name}_missing", f"empty {name}", **{name: ""}) for name in ("id", "source", "type")),
    *(_with(f"{name}_too_long", f"long {name}", **{name: LONG}) for name in ("id", "source", "type", "causationid")),
    *(_with("envelope_broken", f"{name} a number", **{name: 7}) for name in ("id", "source", "type", "subject")),
    _with("id_unprintable", "line break in the id", id="a\nb"),
    _with("source_unprintable", "null in the source", source="a\x00b"),
    _with("specversion_unknown", "old specversion", specversion="0.3"),
    _with("specversion_unknown", "next specversion", specversion="2.0"),
    _with("envelope_broken", "time in words", time="yesterday"),
    _with("envelope_broken", "time a number", time=1_700_000_000),
    _with("envelope_broken", "time that is none", time="2026-13-41T25:00:00Z"),
    _with("time_naive", "time without offset", time="2026-01-31T12:00:00"),
    _with("from_future", "from the future", time=FUTURE),
    _with("data_not_object", "data an array", data=[1]),
    _with("data_not_object", "data text", data="hot"),
    _with("data_binary", "binary data", data_base64="AAEC"),
    _with("hopcount_invalid", "negative hops", hopcount=-1),
    _with("hopcount_invalid", "huge hops", hopcount=HOP_COUNT_READ_MAX + 1),
    _with("envelope_broken", "hops in words", hopcount="many"),
    _with("trail_too_long", "long trail", trail="a" * (TRAIL_CHARS_MAX + 1)),
)
NOT_THEIRS: Final = (
    Kind("no subject", lambda subject, n: good(subject, n, subject=...), "subject_missing", has_key=False),
    _with("subject_malformed", "no kind in the subject", subject="machine"),
    _with("subject_too_long", "long subject", subject="machine/" + "x" * SUBJECT_BYTES_MAX),
    _with("subject_unprintable", "null in the subject", subject="machine/a\x00b"),
    _with("subject_reserved", "a partition's own row", subject="partition/0"),
    _with("type_unknown", "undeclared type", type=UNDECLARED),
    _with("schema_broken", "not as its schema wants", data={"celsius": "hot"}),
    _with("schema_broken", "empty data", data={}),
    _with("type_reserved", "a stranger's tick", type="clock.tick"),
    _with("type_reserved", "a stranger's adoption", type="controls.adopted", data=_REVISION),
    _with("type_reserved", "a stranger's summary", type="partition.summarised", data={}),
    _with("schema_broken", "forged outcome", type="command.succeeded", data={"command_id": "c"}),
    _with("schema_broken", "forged effect", type="effect.judged", data={"effect": "effective"}),
    _with("schema_broken", "forged proposal", type="decision.proposed", data={"agent": "person/admin"}),
    _with("schema_broken", "forged cancellation", type="cancellation.requested", data={"because": "I say so"}),
)
POISON: Final = (*NO_JSON, *TOO_MUCH, *NO_EVENT, *NOT_THEIRS)
"""All that must be buried."""

ODD: Final = (
    Kind("as large as may be", _padded(EVENT_BYTES_MAX), None),
    Kind("no key", good, None, has_key=False),
    _made(None, "white space around it", lambda event: b"\r\n\t " + event + b"\n"),
    _made(None, "the same key twice", lambda event: event.replace(b"{", b'{"subject": "machine/other", ', 1)),
    Kind("from the past", lambda subject, n: good(subject, n, time="1970-01-01T00:00:00Z"), None, acts=False),
    _with(None, "extensions of others", vendorthing="x", another={"a": 1}),
    _with(None, "a causation that nobody knows", causationid="never-heard-of", hopcount=3),
    _with(None, "letters of every script", source="żółw/機械/🦊"),
    _with(None, "the mark of a redrive", redriveof="not/one"),
)
"""What is unusual and allowed: each has its effect, unless it is too old to act on."""
