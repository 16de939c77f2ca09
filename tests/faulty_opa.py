"""A local server that speaks like an OPA and fails on purpose: what no real OPA can be made to do at will.

It judges nothing: when well it allows everything under whatever revision it is asked for.
"""

import asyncio
import json
import re
from typing import Any

ASKED = re.compile(rb"POST /v1/data/setpoint/rulings/r_(\w+)/ruling\?")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
SLOW_S = 0.5
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"

WELL = "well"
MODES = (
    *("slow", "hangs", "drips", "500", "503", "429", "404", "redirect", "no content", "no http", "bad headers"),
    *("cut before", "cut after", "reset", "empty", "html", "not utf-8", "other json", "null", "undefined", "too long"),
    *("no provenance", "other bundle", "other revision", "odd reasons", "nan", "nested", "flapping"),
)  # fmt: skip


class FaultyOpa:
    """One server; `mode` says how it fails."""

    def __init__(self) -> None:
        self.mode = WELL
        self.asked = 0
        """Requests that came in."""
        self.at_once_max = 0
        self._at_once = 0
        self._server: asyncio.Server
        self.url = ""

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Listen no more. Connections end with their clients."""
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client has left, which is its right.
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False when the connection is to be closed."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        self._at_once += 1
        self.at_once_max = max(self.at_once_max, self._at_once)
        try:
            length, asked = LENGTH.search(head), ASKED.match(head)
            await reader.readexactly(int(length[1]) if length else 0)
            revision = asked[1].decode() if asked else ""
            mode = ("503" if self.asked % 2 else "undefined") if self.mode == "flapping" else self.mode
            return await self._answer(mode, revision, writer)
        finally:
            self._at_once -= 1

    async def _answer(self, mode: str, revision: str, writer: asyncio.StreamWriter) -> bool:
        match mode:
            case "slow":
                await asyncio.sleep(SLOW_S)
                return await _send(writer, _http(_well(revision)))
            case "hangs":
                await asyncio.sleep(3_600)
            case "drips":
                for byte in _http(_well(revision)):
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.01)
            case "cut before":
                return False
            case "cut after":
                await _send(writer, _http(_well(revision))[:-20])
                return False
            case "reset":
                writer.transport.abort()
                return False
            case "too long":
                await _send(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    await _send(writer, CHUNK)
            case _:
                return await _send(writer, _spoken(mode, revision))
        return False


async def _send(writer: asyncio.StreamWriter, answer: bytes) -> bool:
    writer.write(answer)
    await writer.drain()
    return True


def _spoken(mode: str, revision: str) -> bytes:
    """What is said at once and in one piece."""
    if mode.isdigit():
        return _http(b'{"code":"internal_error","message":"no","errors":[]}', status=mode)
    if mode in _RAW:
        return _RAW[mode]
    return _http(_BODIES[mode] if mode in _BODIES else json.dumps(_altered(mode, revision)).encode())


_RAW = {
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/v1/data\r\nContent-Length: 0\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "no http": b"allow\n" * 100,
    "bad headers": b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n: x\r\n\r\nallow",
}
_BODIES = {
    "empty": b"",
    "html": b"<html>allow</html>",
    "not utf-8": b'{"result":"\xff\xfe"}',
    "other json": b'{"result":true,"allow":true}',
    "null": b"null",
    "nan": b'{"result":NaN}',
    "nested": b"[" * 100_000,
}


def _altered(mode: str, revision: str) -> dict[str, Any]:
    """A good answer with one thing wrong in it."""
    answer: dict[str, Any] = json.loads(_well(revision))
    match mode:
        case "undefined":
            del answer["result"]
        case "no provenance":
            del answer["provenance"]
        case "other bundle":
            answer["provenance"]["bundles"] = {"authz": {"revision": revision}}
        case "other revision":
            answer["result"]["revision"] = "another"
        case "odd reasons":
            answer["result"]["found"] = [["allow", "permits.p", {"code": "Not A Code", "msg": "m"}]]
    return answer


def _well(revision: str) -> bytes:
    answer = {
        "provenance": {"bundles": {"setpoint": {"revision": revision}}},
        "result": {"revision": revision, "found": [["allow", "permits.p", {"code": "fine", "msg": "m"}]]},
    }
    return json.dumps(answer).encode()


def _http(body: bytes, status: str = "200") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
