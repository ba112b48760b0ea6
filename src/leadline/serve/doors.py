"""The doors of one service: gRPC and HTTP on its loop, open before the store and the exchange are there, closed first.

Until the service is ready every tool answers that it is starting.
"""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import uvicorn
from msgspec import Struct

from leadline.clock import Clock
from leadline.core.errors import InvalidRequest
from leadline.serve.dispatch import Dispatcher
from leadline.serve.grpc_server import grpc_door
from leadline.serve.guard import Rules
from leadline.serve.http import http_app, readiness
from leadline.serve.listing import Offer
from leadline.serve.mcp_door import McpDoor
from leadline.serve.metrics import Scrape, Watched
from leadline.serve.tokens import Tokens, metadata_routes
from leadline.service.fanout import Hub

GRACE_S = 3
UNREAD_S = 30  # a client that takes nothing of what is sent to it for so long is cut off, and what waits for it is freed


class Binds(Struct, frozen=True):
    """Where to listen, HOST:PORT; empty: that door stays closed. rules: who may come in by HTTP; its tokens are gRPC's too.

    offer, legacy_sse: what assistants are shown at /mcp, and whether at /sse too.
    """

    grpc: str
    http: str
    rules: Rules
    offer: Offer = Offer()
    legacy_sse: bool = True


class Doors:
    """What the composition root fills in when the service is ready: dispatcher.desk, hub.books, watched."""

    def __init__(self, clock: Clock, dispatcher: Dispatcher | None = None) -> None:
        self.clock = clock
        self.dispatcher = dispatcher or Dispatcher(clock)
        self.hub = Hub(clock, instance=uuid.uuid4().hex)
        self.watched: Watched | None = None
        self.grpc_port: int | None = None
        self.http_port: int | None = None

    @property
    def ready(self) -> bool:
        """Every followed book is LIVE."""
        return readiness(self.dispatcher, self.clock.wall_ns() // 1_000_000_000, live_only=True).ready

    @contextlib.asynccontextmanager
    async def open(self, binds: Binds) -> AsyncIterator[None]:
        """As long as the block lasts. Raises InvalidRequest for an address that cannot be had."""
        tokens = Tokens(self.clock, binds.rules.token, binds.rules.oauth)
        async with contextlib.AsyncExitStack() as stack:
            if binds.http:
                scrape = Scrape(self.dispatcher, self.hub, lambda: self.watched, lambda: self.clock.wall_ns() / 1e9)
                mcp = McpDoor(self.dispatcher, self.clock, binds.offer, legacy_sse=binds.legacy_sse)
                app = http_app(
                    self.dispatcher,
                    clock=self.clock,
                    rules=binds.rules,
                    tokens=tokens,
                    metrics=scrape.text,
                    more=[*mcp.routes, *metadata_routes(binds.rules.oauth)],
                )
                self.http_port = await stack.enter_async_context(_http_door(app, binds.http))
                await stack.enter_async_context(mcp.open())
            if binds.grpc:
                door = grpc_door(
                    self.dispatcher,
                    self.hub,
                    clock=self.clock,
                    ready=lambda: self.ready,
                    bind=binds.grpc,
                    tokens=tokens,
                    grace_s=GRACE_S,
                )
                self.grpc_port = await stack.enter_async_context(door)
            yield


class _Quiet(uvicorn.Server):
    """Leaves signals to the service: uvicorn would raise them anew when it has ended, before the store is closed."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


@contextlib.asynccontextmanager
async def _http_door(app: Callable[..., object], bind: str) -> AsyncIterator[int]:
    host, _, port = bind.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidRequest("http.bind", repr(bind), "HOST:PORT")
    listening = _socket(host.strip("[]"), int(port), bind)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE_S, lifespan="off", ws="none")
    server = _Quiet(config)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listening]), name="http")
        try:
            yield int(listening.getsockname()[1])
        finally:
            server.should_exit = True
            await asyncio.shield(serving)


def _socket(host: str, port: int, bind: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves Nagle's algorithm on for all connections: an answer then takes 40 ms more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: a full window counts too, see tcp(7); each connection inherits it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_S * 1000)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise InvalidRequest("http.bind", f"{bind}: {error.strerror or error}", "a free HOST:PORT of this machine") from error
    listening.listen(128)
    return listening
