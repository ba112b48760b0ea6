"""The MCP door on the HTTP port. Its library takes long to load: that happens beside all else, and who comes early waits."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from leadline.clock import Clock
from leadline.core.errors import LeadlineError
from leadline.serve import search
from leadline.serve.bounded import HTTP_BYTES_MAX
from leadline.serve.dispatch import Dispatcher
from leadline.serve.errors import Failed, door_of
from leadline.serve.listing import Offer


class McpDoor:
    """Routes that can be given to the HTTP door at once."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock, offer: Offer, *, legacy_sse: bool) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._offer = offer
        self._transports: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self.routes: list[BaseRoute] = [Route("/mcp", _Endpoint(self, "streamable"))]
        if offer.public_url:
            self.routes.append(Route("/answers/{document:path}", self._document))
        if legacy_sse:
            self.routes += [Route("/sse", _Endpoint(self, "sse")), Mount("/messages", _Endpoint(self, "messages"))]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """As long as the block lasts; at its end every stream is ended, and who comes then is sent away."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve(), name="mcp")
            try:
                yield
            finally:
                self._over.set()

    async def transports(self) -> Any:
        """When they are there; None: it is over."""
        return None if self._over.is_set() else await asyncio.shield(self._transports)

    async def _document(self, request: Request) -> Response:
        """What an address that `search` gave shows in a browser."""
        try:
            document = request.path_params["document"]
            found = await search.opened(self._dispatcher, document, transport="http", bytes_max=HTTP_BYTES_MAX)
        except LeadlineError as error:
            return Response(str(error), door_of(error).http, media_type="text/plain")
        except Failed as failed:
            return Response(failed.failure.message, failed.door.http, media_type="text/plain")
        return Response(found.text, media_type=found.mime_type)

    async def _serve(self) -> None:
        cues_type, mcp_server, transports_type = await asyncio.to_thread(_load)
        cues = cues_type(self._dispatcher, self._clock)
        transports = transports_type(functools.partial(mcp_server, self._dispatcher, self._offer), cues)
        async with asyncio.TaskGroup() as tasks, transports.run():
            looking = tasks.create_task(cues.run(), name="mcp cues")
            self._transports.set_result(transports)
            await self._over.wait()
            looking.cancel()


def _load() -> tuple[Any, Any, Any]:
    from leadline.serve.mcp_cues import Cues
    from leadline.serve.mcp_http import Transports
    from leadline.serve.mcp_server import mcp_server

    return Cues, mcp_server, Transports


class _Endpoint:
    """ASGI application of one path."""

    def __init__(self, door: McpDoor, name: str) -> None:
        self._door = door
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transports = await self._door.transports()
        answer = Response(status_code=503) if transports is None else getattr(transports, self._name)
        await answer(scope, receive, send)
