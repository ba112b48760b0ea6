"""MCP over HTTP: Streamable HTTP without sessions at /mcp, and the older SSE transport at /sse and /messages/.

A connection without a session survives a restart of the service, and clients that forget to end theirs leave nothing behind.
Hosts, origins and tokens are the guard's to check, for these paths as for all.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

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

from leadline.serve.mcp_cues import Cues

OPEN = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # the guard has looked already
MESSAGES = "/messages/"
LISTENERS_MAX = 256
EVENTS_MAX = 64


class Transports:
    """Both of them, over one server."""

    def __init__(self, build: Callable[[ListenHandler], "Server[Any]"], cues: Cues) -> None:
        self._listen = ListenHandler(cues, max_subscriptions=LISTENERS_MAX, max_buffered_events=EVENTS_MAX)
        self._server = build(self._listen)
        self._manager = StreamableHTTPSessionManager(self._server, stateless=True, security_settings=OPEN)
        self._sse = SseServerTransport(MESSAGES, security_settings=OPEN)
        self._outgoing: set[WriteStream[SessionMessage]] = set()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """As long as requests may come; at the end every stream is ended."""
        async with self._manager.run():
            try:
                yield
            finally:
                self._listen.close()
                for outgoing in list(self._outgoing):
                    await outgoing.aclose()

    async def streamable(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, /mcp."""
        await self._manager.handle_request(scope, receive, send)

    async def sse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, /sse: the stream of one client, as long as it stays."""
        if scope["method"] != "GET":
            await Response(status_code=405, headers={"Allow": "GET"})(scope, receive, send)
            return
        request = Request(scope, receive)
        async with self._sse.connect_sse(request.scope, receive, send) as (incoming, outgoing):
            self._outgoing.add(outgoing)
            try:
                await self._server.run(incoming, outgoing, self._server.create_initialization_options())
            finally:
                self._outgoing.discard(outgoing)

    async def messages(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, /messages/: what that client says."""
        await self._sse.handle_post_message(scope, receive, send)
