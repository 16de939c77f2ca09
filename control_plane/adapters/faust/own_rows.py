"""What the backbone itself keeps beside a partition's rows, in the same changelog: who took it, and a person's word.

The loop never sees them. The first record of a new owner shuts the former one out of the changelog, a claim says which
epoch the owner has, a word is read at the next taking.
"""

import msgspec
from msgspec import Struct

from control_plane.ports.backbone import EPOCH_HEADER, Record, WentOn

FENCE_KEY = b"__setpoint\0fence__"
CLAIM_KEY = b"__setpoint\0claim__"
WORD_KEY = b"__setpoint\0word__"
CHANGELOG_KEYS = frozenset((FENCE_KEY, CLAIM_KEY, WORD_KEY))

Headers = tuple[tuple[str, bytes], ...]


class Claim(Struct, frozen=True):
    """Who took the partition last, and as which owner."""

    epoch: int
    owner: str


_json = msgspec.json.Encoder()
_claims = msgspec.json.Decoder(Claim)
_words = msgspec.json.Decoder(WentOn)


def encode_claim(claim: Claim) -> bytes:
    return _json.encode(claim)


def epoch_in(raw: bytes | None) -> int:
    """The epoch of the last claim; 0 where nobody has claimed."""
    return _claims.decode(raw).epoch if raw else 0


def encode_word(word: WentOn) -> bytes:
    return _json.encode(word)


def decode_word(raw: bytes | None, partition: int) -> WentOn:
    """A person's last word on a partition; nobody has said anything where there is none."""
    return WentOn(partition=partition) if not raw else _words.decode(raw)


def epoch_headers(epoch: int) -> Headers:
    """As an owner's records carry it."""
    return ((EPOCH_HEADER, str(epoch).encode()),)


def epoch_of(record: Record) -> int:
    """The epoch of the owner that wrote a record; 0 is nobody's."""
    for name, value in record.headers:
        if name == EPOCH_HEADER and value.isdigit():
            return int(value)
    return 0


def packed(generation: int, mark: bytes) -> bytes:
    """What is committed beside an offset."""
    return b"%d." % generation + mark


def unpacked(metadata: bytes) -> tuple[int, bytes]:
    """The log's generation and the mark. What some tool has committed has neither."""
    generation, dot, mark = metadata.partition(b".")
    return (int(generation), mark) if dot and generation.isdigit() else (0, b"")
