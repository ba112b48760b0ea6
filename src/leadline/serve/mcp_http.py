"""MCP over HTTP: Streamable HTTP without sessions at /mcp, and the older SSE transport at /sse and /messages/.

A connection without a session survives a restart of the service, and clients that forget to end theirs leave nothing behind.
Hosts, origins and tokens are the guard's to check, for these paths as for all.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import ListenHandler
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared._stream_protocols import WriteStream
from mcp.shared.message import SessionMessage
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from leadline.serve.mcp_cues import Cues, Subscriptions

log = logging.getLogger("leadline.serve")
logging.getLogger("mcp.server.sse").setLevel(logging.CRITICAL)  # it logs what clients send wrong, with tracebacks; they are told

OPEN = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # the guard has looked already
MESSAGES = "/messages/"
LISTENERS_MAX = 256
UNREAD_MAX = 128  # more than the guard lets one client ask at once, so nobody who reads has as many
EVENTS_MAX = 64


class Transports:
    """Both of them. At /mcp all share one server; a session at /sse has its own, which knows what it has subscribed to."""

    def __init__(self, build: Callable[..., "Server[Any]"], cues: Cues) -> None:
        self._build = build
        self._cues = cues
        self._listen = ListenHandler(cues, max_subscriptions=LISTENERS_MAX, max_buffered_events=EVENTS_MAX)
        self._manager = StreamableHTTPSessionManager(build(listen=self._listen), stateless=True, security_settings=OPEN)
        self._sse = SseServerTransport(MESSAGES, security_settings=OPEN)
        self._open: set[anyio.CancelScope] = set()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """As long as requests may come; at the end every stream is ended."""
        async with self._manager.run():
            try:
                yield
            finally:
                self._listen.close()
                for stream in self._open:
                    stream.cancel()

    async def streamable(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, /mcp."""
        await self._manager.handle_request(scope, receive, send)

    async def sse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, /sse: the stream of one client, as long as it stays."""
        if scope["method"] != "GET":
            await Response(status_code=405, headers={"Allow": "GET"})(scope, receive, send)
            return
        request, subscriptions = Request(scope, receive), Subscriptions(self._cues)
        server = self._build(listen=self._listen, subscriptions=subscriptions)
        async with self._sse.connect_sse(request.scope, receive, send) as (incoming, outgoing):
            with anyio.CancelScope() as stream:
                self._open.add(stream)
                said = _Said(outgoing, stream.cancel)
                async with asyncio.TaskGroup() as tasks:
                    telling = tasks.create_task(subscriptions.run(), name="mcp subscriptions")
                    try:
                        await server.run(incoming, said, server.create_initialization_options())
                    finally:
                        self._open.discard(stream)
                        telling.cancel()

    async def messages(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, /messages/: what that client says. It is acknowledged first: a stream that has ended since is no fault."""
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._sse.handle_post_message(scope, receive, send)


class _Said:
    """The way to one client; one that lets UNREAD_MAX answers wait for it to read is ended."""

    def __init__(self, stream: WriteStream[SessionMessage], end: Callable[[], None]) -> None:
        self._stream = stream
        self._end = end
        self._waiting = 0

    async def __aenter__(self) -> "_Said":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def send(self, item: SessionMessage, /) -> None:
        if self._waiting == UNREAD_MAX:
            log.warning("mcp_unread", extra={"waiting": self._waiting})
            self._end()
        self._waiting += 1
        try:
            await self._stream.send(item)
        finally:
            self._waiting -= 1
