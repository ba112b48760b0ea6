"""The other side of the wire, on loopback: a WebSocket server that does what the test says, and a REST server that answers so."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

T = TypeVar("T")


async def soon(what: Awaitable[T]) -> T:  # a hung test must end
    return await asyncio.wait_for(what, 10)


class Peer:
    """One connection, seen from the server."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        assert socket.request is not None
        self.path = socket.request.path
        self.over = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        return json.loads(await soon(self.socket.recv()))

    async def send(self, message: dict[str, Any] | str | bytes) -> None:
        await self.socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def accept_subscription(self) -> list[str]:
        message = await self.receive()
        await self.send({"result": None, "id": message["id"]})
        return message["params"]


class FakeStreamServer:
    """refuses: handshakes are answered with 503. open_max: most connections that were open at one time."""

    def __init__(self) -> None:
        self.url = ""
        self.refuses = False
        self.open_max = 0
        self._open = 0
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def connection(self) -> Peer:
        """The next connection somebody opened."""
        return await soon(self._peers.get())

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator["FakeStreamServer"]:
        self = cls()
        peers: list[Peer] = []

        async def handle(socket: ServerConnection) -> None:
            peer = Peer(socket)
            peers.append(peer)
            self._open += 1
            self.open_max = max(self.open_max, self._open)
            self._peers.put_nowait(peer)
            await asyncio.wait(
                [asyncio.ensure_future(peer.over.wait()), asyncio.ensure_future(socket.wait_closed())],
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._open -= 1

        def door(socket: ServerConnection, request: Request) -> Response | None:
            return socket.respond(503, "later") if self.refuses else None

        options: dict[str, Any] = {"ping_interval": None, "compression": None, "close_timeout": 0.2, "process_request": door}
        async with serve(handle, "127.0.0.1", 0, **options) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield self
            finally:
                for peer in peers:
                    peer.over.set()


class FakeRestServer:
    """Answers what `reply` says; remembers (path, query) of each request."""

    def __init__(self, reply: Callable[[web.Request], web.Response | Awaitable[web.Response]]) -> None:
        self.url = ""
        self.requests: list[tuple[str, dict[str, str]]] = []
        self._reply = reply

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, dict(request.query)))
        answer = self._reply(request)
        return answer if isinstance(answer, web.Response) else await answer

    @classmethod
    @asynccontextmanager
    async def running(
        cls, reply: Callable[[web.Request], web.Response | Awaitable[web.Response]]
    ) -> AsyncIterator["FakeRestServer"]:
        self = cls(reply)
        runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()


def json_answer(body: str, status: int = 200, **headers: str) -> web.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.Response(text=body, status=status, headers=named, content_type="application/json")
