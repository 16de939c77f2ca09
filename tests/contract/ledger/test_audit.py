"""What the audit store promises, on every database."""

import asyncio
from typing import Any

import pytest

from control_plane.adapters.sql import Database, SqlAudit
from control_plane.ports.audit import PAGE_MESSAGES_MAX, Appended, Page, RecordedMessage


@pytest.fixture
def audit(database: Database) -> SqlAudit:
    return SqlAudit(database)


def a_message(offset: int = 0, message_id: str | None = None, **changes: Any) -> RecordedMessage:
    fields: dict[str, Any] = {
        "message_id": message_id or f"m{offset}",
        "source": "setpoint",
        "topic": "decisions.v1",
        "partition": 0,
        "offset": offset,
        "type": "setpoint.decision",
        "subject": "service/web-1",
        "correlation_id": "flow-1",
        "causation_id": None,
        "occurred_ms": 1_000,
        "recorded_ms": 2_000,
        "body": b'{"id": "m"}',
    }
    return RecordedMessage(**{**fields, **changes})


async def everything(audit: SqlAudit) -> list[RecordedMessage]:
    return [kept.message for kept in await audit.query(Page(limit=PAGE_MESSAGES_MAX))]


async def test_messages_come_back_as_they_went_in(audit: SqlAudit) -> None:
    messages = [
        a_message(0),
        a_message(1, causation_id="m0", body=bytes(range(256))),
        a_message(2, "ünï'\"\\u0000", subject="service/häß", body=b""),
        a_message(2**40, partition=7),
    ]

    appended = await audit.append(messages)

    assert appended == Appended(stored=4, copies=0, known=0, contradicting=0)
    assert await everything(audit) == messages


async def test_a_nul_that_no_column_can_hold_is_replaced_where_it_is_no_body(audit: SqlAudit) -> None:
    await audit.append([a_message(0, "m\x00a", body=b"\x00"), a_message(1, "m\x00b")])

    (kept,) = await audit.get("m\x00a")

    assert (kept.message.message_id, kept.message.body) == ("m\ufffda", b"\x00")


async def test_a_batch_that_comes_again_is_not_written_again(audit: SqlAudit) -> None:
    messages = [a_message(n) for n in range(3)]
    await audit.append(messages[:2])

    again = await audit.append(messages)

    assert (again.stored, again.known) == (1, 2)
    assert await everything(audit) == messages


async def test_a_second_copy_of_a_message_is_counted_and_not_stored(audit: SqlAudit) -> None:
    await audit.append([a_message(0, "m"), a_message(1, "m")])

    appended = await audit.append([a_message(2, "m")])
    redelivered = await audit.append([a_message(1, "m"), a_message(2, "m")])

    assert (appended.stored, appended.copies) == (0, 1)
    assert (redelivered.copies, redelivered.known) == (0, 2)
    assert [(kept.copies, kept.message.offset) for kept in await audit.get("m")] == [(3, 0)]


async def test_one_id_in_two_topics_or_from_two_sources_is_two_messages(audit: SqlAudit) -> None:
    await audit.append([a_message(0, "m"), a_message(0, "m", topic="events.v1"), a_message(1, "m", source="sensor")])

    assert [(kept.message.topic, kept.message.source) for kept in await audit.get("m")] == [
        ("decisions.v1", "setpoint"),
        ("events.v1", "setpoint"),
        ("decisions.v1", "sensor"),
    ]


async def test_another_message_at_a_known_position_is_noticed(audit: SqlAudit) -> None:
    await audit.append([a_message(0, "m0")])

    appended = await audit.append([a_message(0, "other"), a_message(1, "m1")])

    assert appended == Appended(stored=1, copies=0, known=0, contradicting=1)


async def test_nothing_is_found_under_an_unknown_id(audit: SqlAudit) -> None:
    assert await audit.get("nobody") == []


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (Page(topic="events.v1"), ["e1", "e2"]),
        (Page(type="disk.filled"), ["e2"]),
        (Page(subject="service/web-2"), ["e2", "d1"]),
        (Page(correlation_id="flow-2"), ["d1"]),
        (Page(topic="events.v1", subject="service/web-2"), ["e2"]),
        (Page(subject="nobody"), []),
    ],
)
async def test_filters_narrow_a_page(audit: SqlAudit, page: Page, found: list[str]) -> None:
    await audit.append(
        [
            a_message(0, "e1", topic="events.v1", type="disk.measured"),
            a_message(1, "e2", topic="events.v1", type="disk.filled", subject="service/web-2"),
            a_message(0, "d1", subject="service/web-2", correlation_id="flow-2"),
        ]
    )

    assert [kept.message.message_id for kept in await audit.query(page)] == found


async def test_pages_backwards_begin_with_the_newest(audit: SqlAudit) -> None:
    await audit.append([a_message(n) for n in range(5)])

    first = await audit.query(Page(limit=2, newest_first=True))
    second = await audit.query(Page(limit=2, newest_first=True, after=first[-1].sequence))

    assert [kept.message.offset for kept in (*first, *second)] == [4, 3, 2, 1]


async def test_a_page_is_bounded_whatever_is_asked_for(audit: SqlAudit) -> None:
    await audit.append([a_message(n) for n in range(PAGE_MESSAGES_MAX + 1)])

    assert len(await audit.query(Page(limit=10**9))) == PAGE_MESSAGES_MAX


async def test_a_reader_that_pages_while_rows_arrive_neither_skips_nor_repeats(audit: SqlAudit) -> None:
    batches = [[a_message(b * 7 + n, partition=p) for n in range(7)] for b in range(15) for p in range(3)]
    batches = [[a_message(m.offset, f"{m.partition}/{m.offset}", partition=m.partition) for m in b] for b in batches]

    async def append_all() -> None:
        await asyncio.gather(*(audit.append(batch) for batch in batches))

    seen: list[str] = []
    after = 0
    appending = asyncio.create_task(append_all())
    while True:
        all_arrived = appending.done()
        page = await audit.query(Page(limit=10, after=after))
        seen += [kept.message.message_id for kept in page]
        after = page[-1].sequence if page else after
        if all_arrived and not page:
            break

    assert sorted(seen) == sorted(m.message_id for batch in batches for m in batch)
