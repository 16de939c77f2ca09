"""Keys and values as bytes in the store, and back. Every value carries a checksum that also covers its key.

So a record in the wrong place is as damaged as one with a flipped bit. Keys of one partition sort by offset.
"""

from struct import Struct as Packer
from struct import error as PackingError  # noqa: N812 - the module's own name says nothing
from typing import Final
from zlib import crc32

from control_plane.ports.backbone import Record

META: Final = b"m"
TOPIC: Final = b"t"
COMMITTED: Final = b"g"
RECORD: Final = b"r"
KEPT: Final = b"f"
"""Per partition: the first kept offset, and up to where compaction has come."""
NEWEST: Final = b"k"
"""Per partition and record key: the newest offset that compaction has seen."""
TOMBSTONE: Final = b"x"
"""Per partition and offset: a kept tombstone and its record key, in the order in which they fall due."""

_PARTITION: Final = Packer(">II")
OFFSET: Final = Packer(">Q")
_CHECKSUM: Final = Packer("<I")
_HEAD: Final = Packer("<qQII")
"""recorded_ms, partition bytes before this record, key length, headers length."""
_HEADER: Final = Packer("<II")
_KEY_AT: Final = _CHECKSUM.size + _HEAD.size

OFFSET_MAX: Final = 2**64 - 1

Headers = tuple[tuple[str, bytes], ...]


class ChecksumBroken(Exception):
    """The bytes are not those that were written here."""


def partition_part(topic_id: int, partition: int) -> bytes:
    """The part of a key that names a partition."""
    return _PARTITION.pack(topic_id, partition)


def partition_of(part: bytes) -> tuple[int, int]:
    """(topic id, partition) from the part of a key that names a partition."""
    topic_id, partition = _PARTITION.unpack(part)
    return topic_id, partition


def sealed(key: bytes, body: bytes) -> bytes:
    """A value with its checksum in front."""
    return _CHECKSUM.pack(crc32(body, crc32(key))) + body


def unsealed(key: bytes, value: bytes) -> bytes:
    """The body of a sealed value. Raises ChecksumBroken."""
    if len(value) < _CHECKSUM.size or _CHECKSUM.unpack_from(value)[0] != crc32(memoryview(value)[4:], crc32(key)):
        raise ChecksumBroken
    return value[_CHECKSUM.size :]


def encode_record(
    store_key: bytes, recorded_ms: int, bytes_before: int, key: bytes, headers: Headers, value: bytes
) -> bytes:
    """A record as the store holds it."""
    if headers:
        packed = encode_headers(headers)
        body = b"".join((_HEAD.pack(recorded_ms, bytes_before, len(key), len(packed)), key, packed, value))
    else:
        body = b"".join((_HEAD.pack(recorded_ms, bytes_before, len(key), 0), key, value))
    return _CHECKSUM.pack(crc32(body, crc32(store_key))) + body


def decode_record(store_key: bytes, stored: bytes, topic: str, partition: int) -> Record:
    """A record from the store. Raises ChecksumBroken."""
    if len(stored) < _KEY_AT or _CHECKSUM.unpack_from(stored)[0] != crc32(memoryview(stored)[4:], crc32(store_key)):
        raise ChecksumBroken
    recorded_ms, _, key_length, headers_length = _HEAD.unpack_from(stored, 4)
    headers_at = _KEY_AT + key_length
    value_at = headers_at + headers_length
    return Record(
        topic=topic,
        partition=partition,
        offset=OFFSET.unpack_from(store_key, 9)[0],
        key=stored[_KEY_AT:headers_at],
        value=stored[value_at:],
        recorded_ms=recorded_ms,
        headers=decode_headers(stored[headers_at:value_at]) if headers_length else (),
    )


def time_and_bytes(store_key: bytes, stored: bytes) -> tuple[int, int, int]:
    """(recorded_ms, partition bytes before this record, its own bytes) of a stored record. Raises ChecksumBroken."""
    if len(stored) < _KEY_AT or _CHECKSUM.unpack_from(stored)[0] != crc32(memoryview(stored)[4:], crc32(store_key)):
        raise ChecksumBroken
    recorded_ms, bytes_before, _, _ = _HEAD.unpack_from(stored, 4)
    return recorded_ms, bytes_before, len(stored)


def encode_headers(headers: Headers) -> bytes:
    """Headers one after the other, each with its lengths."""
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_HEADER.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def decode_headers(packed: bytes) -> Headers:
    """What `encode_headers` made. Raises ChecksumBroken when the lengths do not add up."""
    headers: list[tuple[str, bytes]] = []
    at = 0
    try:
        while at < len(packed):
            name_length, value_length = _HEADER.unpack_from(packed, at)
            name_at = at + _HEADER.size
            value_at = name_at + name_length
            at = value_at + value_length
            headers.append((packed[name_at:value_at].decode(), packed[value_at:at]))
    except (PackingError, UnicodeDecodeError) as exc:
        raise ChecksumBroken from exc
    return tuple(headers)
