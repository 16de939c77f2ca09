"""Messages on the wire: CloudEvents 1.0 as its own SDK reads them, the same bytes each time, strict about the rest."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from control_plane.causality import Lineage
from control_plane.errors import InvalidMessage
from control_plane.messages import (
    Command,
    Context,
    DeadLetter,
    Decision,
    Effect,
    Expectation,
    Outcome,
    Proposed,
    Reason,
    Resolution,
    Subject,
    Verdict,
)
from control_plane.messages.bounds import NESTING_MAX
from control_plane.messages.envelope import (
    EVENT_BYTES_MAX,
    HOP_COUNT_READ_MAX,
    IDENTIFIER_CHARS_MAX,
    MESSAGE_BYTES_MAX,
    TRAIL_CHARS_MAX,
)
from control_plane.messages.wire import (
    decode,
    decode_context,
    decode_event,
    effect_of,
    encode,
    encode_context,
    encode_event,
    ms_of,
    outcome_of,
    proposed_of,
    schema_of,
    utc,
)
from tests import builders

LINEAGE = Lineage.root("probe", "e1").child("decision/guard/0").returning("outcome", "0123abcd")
ENVELOPE: dict[str, Any] = {"lineage": LINEAGE, "subject": builders.WEB_1, "occurred_ms": builders.NOW_MS + 7}
WHO: dict[str, Any] = {"agent": "guard", "intent": "restart_service"}
DECISION = Decision(
    **ENVELOPE,
    **WHO,
    agent_version="1.0.0",
    parameters={"grace": "2s", "deep": [1, {"a": None}]},
    confidence=0.5,
    because="it is 'too' \"much\" ü",
    expects=Expectation(where="rows.health.rss < 1.0", within_ms=5, harm="false", samples_min=3),
    still_when="true",
    context_digest="d1",
    action_version=4,
    controls_revision="c1",
)
MESSAGES = [
    DECISION,
    Verdict(
        **ENVELOPE,
        **WHO,
        decision_id="d",
        answer="deny",
        stage="policy",
        reasons=(Reason("night", "nobody is on call", "setpoint.guardrails.night"), Reason("b", "c")),
        controls_revision="c1",
        policy_revision="p1",
        policy_input={"decision": {"a": 1}},
        problem="time-out",
    ),
    Command(
        **ENVELOPE,
        **WHO,
        decision_id="d",
        parameters={},
        executor="dry_run",
        action_class="lifecycle",
        idempotent=True,
        deadline_ms=9,
    ),
    Outcome(
        **ENVELOPE,
        **WHO,
        command_id="c",
        decision_id="d",
        action_class="lifecycle",
        executor="dry_run",
        status="failed",
        attempts=2,
        detail="no",
        begun_ms=3,
    ),
    Effect(**ENVELOPE, **WHO, decision_id="d", command_id="c", effect="harmful", samples=3, because="the harm holds"),
    Proposed(**ENVELOPE, context_id="x", agent="guard", agent_version="1", decisions=(DECISION,), problem=""),
    DeadLetter.of(
        topic="events.v1",
        partition=3,
        offset=9,
        recorded_ms=5,
        record=b"\xff\x00",
        reason=InvalidMessage("json_broken", "no", field="data.x", cure="Mend it."),
        subject=builders.WEB_1,
        agent="guard",
    ),
    Resolution(
        **ENVELOPE,
        letter_id="l",
        how="redriven",
        by="person/admin",
        because="mended",
        to_topic="events.v1",
        to_partition=3,
        to_offset=10,
    ),
]
PLAIN = {"specversion": "1.0", "id": "e1", "source": "probe", "type": "service.measured", "subject": "service/web-1"}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
json_objects = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), json_values, max_size=5)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_read_as_it_was_written(message: Any) -> None:
    assert decode(encode(message), type(message)) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_every_message_is_a_cloudevent_to_the_sdk(message: Any) -> None:
    read = JSONFormat().read(None, encode(message))

    assert read.get_specversion() == "1.0"
    assert (read.get_id(), read.get_source()) == (message.lineage.message_id, message.lineage.source)
    assert read.get_subject() == message.subject
    assert ms_of(read.get_time()) == message.occurred_ms
    assert read.get_dataschema() == schema_of(type(message))
    assert read.get_datacontenttype() == "application/json"
    assert read.get_extension("correlationid") == message.lineage.correlation_id
    assert read.get_extension("causationid") == message.lineage.causation_id
    assert JSONFormat().write(read) is not None


@given(data=json_objects, ms=st.integers(0, 4_000_000_000_000))
def test_an_event_that_the_sdk_wrote_is_read_as_it_was_meant(data: dict[str, Any], ms: int) -> None:
    written = CloudEvent({**PLAIN, "time": utc(ms), "hopcount": 2, "causationid": "parent"}, data)

    event = decode_event(JSONFormat().write(written), recorded_ms=0)

    assert event.data == data
    assert ms_of(event.occurred_at) == ms
    assert (event.lineage.source, event.lineage.message_id) == ("probe", "e1")
    assert (event.lineage.hop_count, event.lineage.causation_id) == (2, "parent")


@given(data=json_objects)
def test_an_event_that_we_wrote_says_the_same_to_the_sdk(data: dict[str, Any]) -> None:
    event = builders.event(data=data, at_ms=builders.NOW_MS + 1)

    read = JSONFormat().read(None, encode_event(event))

    assert read.get_data() == data
    assert decode_event(encode_event(event), recorded_ms=0) == event


@given(st.integers(-60_000_000_000_000, 250_000_000_000_000))
def test_no_millisecond_is_lost(ms: int) -> None:
    assert ms_of(utc(ms)) == ms


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_the_same_message_always_gives_the_same_bytes(message: Any) -> None:
    assert encode(message) == encode(decode(encode(message), type(message)))


def test_a_context_is_read_as_it_was_written() -> None:
    context = Context(
        agent="guard",
        agent_version="1.0.0",
        event=builders.event(data={"rss": 1.5}),
        subject=Subject.parse(builders.WEB_1),
        now_ms=builders.NOW_MS,
        rows={"health": {"rss": 1.0, "count": 3, "note": "ü", "last": None}},
        ages_ms={"health": 4},
        live=("lifecycle",),
        action_version=2,
    )

    read = decode_context(encode_context(context))

    assert read == context
    assert (read.lineage, read.digest) == (context.lineage, context.digest)


def test_outcomes_effects_and_proposals_come_back_as_events() -> None:
    by_type = {type(message): message for message in MESSAGES}

    assert outcome_of(decode_event(encode(by_type[Outcome]), 0)) == by_type[Outcome]
    assert effect_of(decode_event(encode(by_type[Effect]), 0)) == by_type[Effect]
    assert proposed_of(decode_event(encode(by_type[Proposed]), 0)) == by_type[Proposed]


def test_an_event_without_time_happened_when_the_log_took_it() -> None:
    assert ms_of(decode_event(json.dumps(PLAIN).encode(), recorded_ms=1234).occurred_at) == 1234


def test_a_flow_without_correlation_gets_the_same_one_each_time() -> None:
    raw = json.dumps(PLAIN).encode()

    assert decode_event(raw, 0).lineage.correlation_id == decode_event(raw, 9).lineage.correlation_id != ""


def nested(depth: int) -> bytes:
    """An event whose values are nested exactly so deep; the event and `data` are two of it."""
    return b"%s,%s}" % (
        json.dumps(PLAIN).encode()[:-1],
        b'"data":{"a":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}",
    )


def changed(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in {**PLAIN, **changes}.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("raw", "code", "field"),
    [
        pytest.param(b"", "json_broken", None, id="empty"),
        pytest.param(b"{", "json_broken", None, id="cut off"),
        pytest.param(b"\xff\xfe", "json_broken", None, id="no UTF-8"),
        pytest.param(b'{"specversion":NaN}', "json_broken", None, id="NaN"),
        pytest.param(changed(data={"a": 1})[:-2] + b'"\\ud800"}', "json_broken", None, id="half a surrogate"),
        pytest.param(b"[]", "envelope_broken", None, id="an array"),
        pytest.param(changed(id=...), "envelope_broken", "id", id="no id"),
        pytest.param(changed(id=""), "id_missing", "id", id="empty id"),
        pytest.param(changed(source=""), "source_missing", "source", id="empty source"),
        pytest.param(changed(type=""), "type_missing", "type", id="empty type"),
        pytest.param(changed(type=7), "envelope_broken", "type", id="type a number"),
        pytest.param(changed(specversion="0.3"), "specversion_unknown", "specversion", id="old version"),
        pytest.param(changed(time="2026-01-31T12:00:00"), "time_naive", "time", id="time without offset"),
        pytest.param(changed(time="yesterday"), "envelope_broken", "time", id="time in words"),
        pytest.param(changed(data=[1]), "data_not_object", "data", id="data an array"),
        pytest.param(changed(data_base64="AA=="), "data_binary", "data_base64", id="binary"),
        pytest.param(changed(hopcount=-1), "hopcount_invalid", "hopcount", id="negative hops"),
        pytest.param(changed(hopcount=HOP_COUNT_READ_MAX + 1), "hopcount_invalid", "hopcount", id="too many hops"),
        pytest.param(changed(hopcount=10**30), "hopcount_invalid", "hopcount", id="absurd hops"),
        pytest.param(changed(trail="a" * (TRAIL_CHARS_MAX + 1)), "trail_too_long", "trail", id="long trail"),
        pytest.param(changed(id="x" * (IDENTIFIER_CHARS_MAX + 1)), "id_too_long", "id", id="long id"),
        pytest.param(
            changed(correlationid="x" * (IDENTIFIER_CHARS_MAX + 1)),
            "correlationid_too_long",
            "correlationid",
            id="flow",
        ),
        pytest.param(changed(id="a\x1fb"), "id_unprintable", "id", id="separator in the id"),
        pytest.param(changed(subject="service/a\nb"), "subject_unprintable", "subject", id="line break"),
        pytest.param(changed(data={"n": 2**64}), "integer_too_large", "data", id="65 bits"),
        pytest.param(changed(data={"n": [-(2**63) - 1]}), "integer_too_large", "data", id="65 bits below zero"),
        pytest.param(nested(NESTING_MAX + 1), "too_deep", "data", id="deep"),
        pytest.param(b"[" * 100_000, "too_deep", "data", id="very deep"),
        pytest.param(changed(data={"pad": "x" * EVENT_BYTES_MAX}), "too_large", None, id="large"),
    ],
)
def test_what_is_no_event_is_refused_with_its_field_and_the_cure(raw: bytes, code: str, field: str | None) -> None:
    with pytest.raises(InvalidMessage) as caught:
        decode_event(raw, 0)

    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.detail
    assert caught.value.cure


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(changed(data={"n": [2**64 - 1, -(2**63)]}), id="64 bits"),
        pytest.param(changed(data={"text": "[" * 500 + "{" * 500}), id="brackets in text"),
        pytest.param(changed(data={"text": '\\"[[' * 100}), id="escaped quotes"),
        pytest.param(changed(data={"text": "9" * 100}), id="digits in text"),
        pytest.param(changed(data={"many": [[] for _ in range(500)]}), id="many lists"),
        pytest.param(nested(NESTING_MAX), id="as deep as may be"),
        pytest.param(changed(id="x" * IDENTIFIER_CHARS_MAX, source="y" * IDENTIFIER_CHARS_MAX), id="long ids"),
        pytest.param(changed(hopcount=HOP_COUNT_READ_MAX), id="hops"),
        pytest.param(changed(trail=",".join(["01234567"] * 16)), id="a whole trail"),
        pytest.param(changed(subject="service/ü b", time="2026-01-31T12:00:00+02:00"), id="umlaut, space, offset"),
        pytest.param(changed(data=None), id="no data"),
        pytest.param(changed(unheardof="x"), id="an extension of others"),
    ],
)
def test_what_is_unusual_but_allowed_is_read(raw: bytes) -> None:
    decode_event(raw, 0)


def test_an_event_as_large_as_may_be_is_read_and_its_verdict_too() -> None:
    data = {"pad": "x" * (EVENT_BYTES_MAX - len(changed(data={"pad": ""})))}
    raw = changed(data=data)
    verdict = Verdict(
        **ENVELOPE,
        **WHO,
        decision_id="d",
        answer="deny",
        stage="policy",
        reasons=(),
        controls_revision="c1",
        policy_input={"event": {"data": data}},
    )

    assert len(raw) == EVENT_BYTES_MAX
    assert decode_event(raw, 0).data == data
    assert decode(encode(verdict), Verdict) == verdict


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"dataschema": "urn:setpoint:schema:command:2"}, "schema_unknown", "dataschema"),
        ({"data": {}}, "schema_broken", "data.decision_id"),
        ({"time": None}, "time_missing", "time"),
        ({"time": "2026-01-31T12:00:00"}, "time_missing", "time"),
        ({"data": {"pad": "x" * MESSAGE_BYTES_MAX}}, "too_large", None),
    ],
)
def test_a_message_of_another_version_or_shape_is_refused(change: Mapping[str, Any], code: str, field: str) -> None:
    command = next(message for message in MESSAGES if isinstance(message, Command))

    with pytest.raises(InvalidMessage) as caught:
        decode(json.dumps({**json.loads(encode(command)), **change}).encode(), Command)

    assert (caught.value.code, caught.value.field) == (code, field)
