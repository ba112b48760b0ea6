"""A WebSocket client of plain streams, for what libraries do by themselves: it answers no ping and reads only when told."""

import asyncio
import base64
import socket
import struct
from typing import Self


class RawSocket:
    """One connection, or a refused attempt: see `status` and `headers` (names in lower case)."""

    TEXT, CLOSE, PING, PONG = 1, 8, 9, 10

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, host: str, port: int, path: str, *, receive_buffer: int | None = None) -> Self:
        plain = socket.socket()
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, (host, port))
        reader, writer = await asyncio.open_connection(sock=plain, limit=1 << 16)
        self = cls(reader, writer)
        key = base64.b64encode(b"0123456789abcdef").decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(head[0].split(" ")[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        return self

    @property
    def pending(self) -> bool:
        """Whether something has come that was not received."""
        return bool(self._reader._buffer)

    async def receive(self) -> tuple[int, bytes]:
        """(opcode, payload) of the next frame."""
        first, length = await self._reader.readexactly(2)
        if length == 126:
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
        return first & 15, await self._reader.readexactly(length)

    async def send(self, opcode: int, payload: bytes) -> None:
        """One short frame, masked with zeros."""
        assert len(payload) < 126
        self._writer.write(bytes((0x80 | opcode, 0x80 | len(payload))) + b"\0\0\0\0" + payload)
        await self._writer.drain()

    def stop_reading(self) -> None:
        """From now on what comes stays in the buffers of the system, until they are full."""
        self._writer.transport.pause_reading()

    def abort(self) -> None:
        self._writer.transport.abort()
