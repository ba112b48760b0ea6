"""Services for clients to meet: one that answers what a test tells it to, and a house on a loop of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from tests.serve.market import House

from leadline.serve.grpc_door import answering
from leadline.serve.proto.market_data_pb2_grpc import MarketDataServicer, add_MarketDataServicer_to_server


class Told(MarketDataServicer):
    """streams: what each connection is sent; then it stays open, or ends at None. asked: the requests as they came.

    pages: answers of any other method. error: raised by them instead, inside the real door's refusal.
    """

    def __init__(self, *streams: list[Any], pages: list[Any] | None = None, error: Exception | None = None) -> None:
        self.streams, self.pages, self.error = list(streams), pages or [], error
        self.asked: list[Any] = []

    async def StreamBook(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        for event in self.streams.pop(0):
            if event is None:
                return
            await context.write(event)
        await asyncio.Event().wait()

    StreamTrades = StreamBook

    async def GetBook(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        async with answering(context, "GetBook"):
            if self.error is not None:
                raise self.error
            return self.pages.pop(0)

    GetSnapshots = GetTrades = GetCoverage = GetBook

    async def ScanSeconds(self, request: Any, context: Any) -> None:
        self.asked.append(request)
        for chunk in self.pages:
            await context.write(chunk)


@asynccontextmanager
async def door_of(told: MarketDataServicer) -> AsyncIterator[str]:
    """Its address."""
    server = grpc.aio.server()
    add_MarketDataServicer_to_server(told, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


class Neighbour:
    """A house on a loop in another thread, for clients that block this one."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self.house, self.port = house, port
        self._loop = loop

    def do(self, work: Callable[[], Any]) -> Any:
        """There, and waited for."""

        async def done() -> Any:
            found = work()
            return await found if asyncio.iscoroutine(found) else found

        return asyncio.run_coroutine_threadsafe(done(), self._loop).result(30)


@contextmanager
def neighbour(house: House) -> Iterator[Neighbour]:
    opened, found = threading.Event(), list[Any]()

    async def serve() -> None:
        stop = asyncio.Event()
        async with house.open(grace_s=0) as door:
            found.extend([asyncio.get_running_loop(), door.port, stop])
            opened.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert opened.wait(30)
    loop, port, stop = found
    try:
        yield Neighbour(house, loop, port)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()
