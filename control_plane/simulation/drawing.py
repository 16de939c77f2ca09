"""One seed in, one plan out: which house, what producers send, and what goes wrong when."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import msgspec

from control_plane.messages.event import SUBJECT_REGISTERED
from control_plane.messages.wire import utc
from control_plane.simulation.palette import Data
from control_plane.simulation.plan import How, Input, Plan, Setting, Spell, Strike, What
from control_plane.simulation.scouting import START_MS, Scouted, Story

STORIES = (4, 9)
NOISE = (10, 30)
ACTIVE_MS = (20_000, 45_000)
FAULTS = (5, 14)
AGAIN_MAX = 50
DAY_MS = 86_400_000

POISON: tuple[bytes, ...] = (
    b"",
    b"no json",
    b'\xff\xfe{"specversion":"1.0"}',
    b'{"specversion":"0.3","id":"p","source":"t","type":"a.b","subject":"service/a"}',
    b'{"specversion":"1.0","source":"t","type":"a.b","subject":"service/a"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"a.b","subject":"nobody"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"a.never_declared","subject":"service/a"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"clock.tick","subject":"partition/0"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"controls.adopted","subject":"partition/0"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"decision.proposed","subject":"service/a"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"command.succeeded","subject":"service/a","data":{}}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"a.b","subject":"service/a","data":{"n":NaN}}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"a.b","subject":"service/a","time":"yesterday"}',
    b'{"specversion":"1.0","id":"p","source":"t","type":"a.b","subject":"service/a","data":'
    + b"[" * 80
    + b"]" * 80
    + b"}",
)

_OWNER_CALLS = {"atomic": ("log.commit",), "stepwise": ("log.rows", "log.outputs", "log.offset")}
_ACTING_CALLS = ("ledger.take", "ledger.begin", "ledger.finish", "target.ask", "target.answer", "log.append")
_OTHER_CALLS = (
    *("log.claim", "log.fetch", "group.offset"),
    *("ledger.lease", "ledger.published", "ledger.release", "target.look"),
)
_HOW: tuple[How, ...] = ("die before", "die after", "freeze", "lose request", "lose answer", "delay")
_ENGINES: tuple[What, ...] = ("engine down", "engine slow", "engine undefined", "engine garbage")
_SPELLS: tuple[tuple[What, ...], ...] = (
    *(("kill",), ("kill",), ("pause",), ("pause",), _ENGINES, _ENGINES, ("targets hang", "targets refuse")),
    *(("skew",), ("leave",), ("log down",), ("ledger down",), ("stale command",), ("cancel",)),
)
_SKEWS_MS = (300_000, -300_000, DAY_MS, -DAY_MS, 2_000, -2_000)


def draw(seed: int, scouted: Scouted) -> Plan:
    """The same seed on the same workspace gives the same plan."""
    random = Random(seed)
    setting = _setting(seed, random)
    inputs = [*_registrations(scouted), *_stories(scouted, setting, random), *_noise(scouted, setting, random)]
    inputs += _poison(setting, random)
    numbered = [_wire(number, one, setting) for number, one in enumerate(inputs)]
    return Plan(
        setting=setting,
        inputs=tuple(sorted(numbered, key=lambda one: one.at_ms)),
        strikes=tuple(_strikes(setting, random)),
        spells=tuple(_spells(setting, random)),
    )


class _Sent(msgspec.Struct, frozen=True, kw_only=True):
    """One event before it has a form."""

    at_ms: int
    subject: str
    type: str
    data: Data
    late_ms: int = 0
    again_ms: tuple[int, ...] = ()
    raw: bytes | None = None


def _setting(seed: int, random: Random) -> Setting:
    workers = random.choice((1, 1, 2, 3))
    return Setting(
        seed=seed,
        partitions=random.choice((1, 2, 3)),
        workers=workers,
        order="atomic" if workers == 1 and random.random() < 0.5 else "stepwise",
        batch_records=random.choice((1, 3, 20, 200)),
        grain_ms=random.choice((1, 1, 100, 500)),
        latency_ms=random.choice((0.3, 1.0, 5.0, 20.0)),
        concurrent_engine=random.random() < 0.5,
        session_s=random.choice((2.0, 4.0)),
        settle_s=random.choice((2.5, 4.0)),
        attempts_max=random.choice((1, 3, 6)),
        active_ms=random.randint(*ACTIVE_MS),
        start_ms=START_MS + random.randrange(DAY_MS),
        two_revisions=random.random() < 0.3,
        ending=random.choice(("", "", "", "", "", "", "cut", "wiped")),
    )


def _registrations(scouted: Scouted) -> Iterator[_Sent]:
    if scouted.palette.has_fleets:
        for kind, names in scouted.names.items():
            for name in dict.fromkeys([*names, *scouted.palette.names]):
                yield _Sent(at_ms=1_000, subject=f"{kind}/{name}", type=SUBJECT_REGISTERED, data={})


def _stories(scouted: Scouted, setting: Setting, random: Random) -> Iterator[_Sent]:
    """What is known to lead to an act, each on a subject of its own as far as there are any."""
    count = random.randint(*STORIES)
    for number in range(count):
        story = random.choice(scouted.stories)
        subject = f"{story.kind}/{random.choice(scouted.names[story.kind])}"
        begin_ms = 1_500 + (setting.active_ms * number) // count
        yield from _told(story, subject, begin_ms, setting, random)


def _told(story: Story, subject: str, begin_ms: int, setting: Setting, random: Random) -> Iterator[_Sent]:
    at_ms = begin_ms
    for number, one in enumerate(story.events):
        # How long before its first event nothing happened does not matter to a story.
        at_ms += one.after_ms if number else 0
        if at_ms > setting.active_ms + 15_000:
            return
        yield _Sent(
            at_ms=at_ms,
            subject=subject,
            type=one.type,
            data=one.data,
            again_ms=_again(random),
            late_ms=_late(random, 0.03),
        )


def _noise(scouted: Scouted, setting: Setting, random: Random) -> Iterator[_Sent]:
    """Events about anybody, some of them late, some from clocks that are wrong."""
    for _ in range(random.randint(*NOISE)):
        kind = random.choice(sorted(scouted.kinds))
        event_type = random.choice(scouted.kinds[kind])
        known = scouted.names.get(kind, ())
        names: Sequence[str] = known if known and random.random() < 0.7 else scouted.palette.names
        yield _Sent(
            at_ms=random.randint(1_500, setting.active_ms),
            subject=f"{kind}/{random.choice(names)}",
            type=event_type,
            data=random.choice(scouted.palette.data.get(event_type, ({},))),
            again_ms=_again(random),
            late_ms=_late(random, 0.3),
        )


def _poison(setting: Setting, random: Random) -> Iterator[_Sent]:
    for _ in range(random.choice((0, 1, 1, 3))):
        raw = random.choice(POISON)
        yield _Sent(
            at_ms=random.randint(1_500, setting.active_ms),
            subject=f"service/{random.randrange(9)}",
            type="poison",
            data={},
            raw=raw,
        )


def _again(random: Random) -> tuple[int, ...]:
    """When a producer that heard no answer sends the same again."""
    draw = random.random()
    if draw < 0.9:
        return ()
    return tuple(random.randint(0, 4_000) for _ in range(1 if draw < 0.99 else random.randint(2, AGAIN_MAX)))


def _late(random: Random, share: float) -> int:
    """How much earlier than now the event says that it occurred."""
    if random.random() > share:
        return 0
    return random.choice((200, 2_000, 40_000, 600_000, 3_600_000, -60_000, -290_000, -400_000))


def _wire(number: int, sent: _Sent, setting: Setting) -> Input:
    """As it is appended. An event from too far ahead is a dead letter, and so no good one."""
    at_ms = (sent.at_ms // setting.grain_ms) * setting.grain_ms if setting.grain_ms > 1 else sent.at_ms
    if sent.raw is not None:
        return Input(at_ms=at_ms, key=sent.subject, value=sent.raw, good=False)
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": f"producer-{number % 3}",
        "type": sent.type,
        "subject": sent.subject,
        "time": utc(setting.start_ms + at_ms - sent.late_ms).isoformat().replace("+00:00", "Z"),
        "data": sent.data,
    }
    return Input(
        at_ms=at_ms,
        key=sent.subject,
        value=msgspec.json.encode(envelope),
        good=sent.late_ms > -250_000,
        again_ms=sent.again_ms,
        late_ms=sent.late_ms,
    )


def _strikes(setting: Setting, random: Random) -> Iterator[Strike]:
    """Calls that go wrong. Most often it is those by which the one write is made, and those around an act: there
    exactness is made."""
    calls = (_OWNER_CALLS[setting.order], _ACTING_CALLS, _OTHER_CALLS)
    for _ in range(random.randint(*FAULTS)):
        at_ms = random.randint(1_500, setting.active_ms)
        if random.random() < 0.08:
            call = random.choice(("executors.take", "agents.take"))
            yield Strike(at_ms=at_ms, call=call, how="again", times=random.randint(2, AGAIN_MAX))
            continue
        call = random.choice(random.choices(calls, (45, 40, 15))[0])
        how = random.choice(_HOW)
        delays_ms = (1_500, 5_000, 9_000) if how == "freeze" else (100, 800, 3_000)
        yield Strike(at_ms=at_ms, call=call, how=how, delay_ms=random.choice(delays_ms))


def _spells(setting: Setting, random: Random) -> Iterator[Spell]:
    end_ms = setting.active_ms
    if setting.two_revisions:
        yield Spell(at_ms=random.randint(3_000, end_ms), what="other controls")
    for _ in range(random.randint(2, 6)):
        at_ms, who = random.randint(2_000, end_ms), random.randrange(setting.workers)
        for_ms = random.choice((300, 1_500, 5_000, 9_000))
        kinds = random.choice(_SPELLS)
        what = random.choice(kinds)
        by_ms = random.choice(_SKEWS_MS) if what == "skew" else 0
        yield Spell(at_ms=at_ms, what=what, who=who, by_ms=by_ms, for_ms=20_000 if what == "skew" else for_ms)
