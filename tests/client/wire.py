"""A connection that tests can cut, hold or lead elsewhere, between a client and a door."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class Wire:
    """Forwards bytes to a port. is_shut: whoever knocks is turned away; held: nothing is carried any more."""

    def __init__(self, to_port: int) -> None:
        self.to_port = to_port
        self.port = 0
        self.is_shut = False
        self.connections = 0
        self._held = asyncio.Event()
        self._held.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def cut(self) -> None:
        """Every connection breaks off."""
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        self._held.clear()

    def let_go(self) -> None:
        self._held.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_shut:
            writer.transport.abort()
            return
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self.to_port)
        self._writers |= {writer, back}
        for source, target in ((reader, back), (there, writer)):
            task = asyncio.ensure_future(self._carry(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(65536):
                await self._held.wait()
                target.write(chunk)
                await target.drain()
        except OSError:
            pass
        finally:
            target.transport.abort()
            self._writers.discard(target)

    async def end(self) -> None:
        self.let_go()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def wire_to(port: int) -> AsyncIterator[Wire]:
    wire = Wire(port)
    server = await asyncio.start_server(wire.accept, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        await wire.end()
