"""Cues for those who listen: this resource has changed, read it again if you care. At most one a second for each, no payload."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp.shared.exceptions import MCPError

from leadline.clock import Clock
from leadline.core.errors import InvalidRequest, LeadlineError
from leadline.serve.dispatch import Dispatcher
from leadline.serve.errors import failure_of
from leadline.serve.resources import resource_of

EVERY_S = 1.0
SUBSCRIBED_MAX = 1_000
OF_A_BOOK = ("book", "metrics")


class Cues:
    """A SubscriptionBus of the library. It looks at the books only while somebody listens."""

    def __init__(self, dispatcher: Dispatcher, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}
        self._wanted = asyncio.Event()

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    async def publish(self, event: ServerEvent) -> None:
        """To everybody who listens."""
        for listener in list(self._listeners.values()):
            listener(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Give back what ends it, as often as it is called."""
        token = object()
        self._listeners[token] = listener
        self._wanted.set()

        def leave() -> None:
            self._listeners.pop(token, None)

        return leave

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wanted.wait()
            seen = dict(self._books())
            while self._listeners:
                await self._clock.sleep_until(self._clock.monotonic() + EVERY_S)
                now = dict(self._books())
                for symbol in [symbol for symbol, state in now.items() if state != seen.get(symbol)]:
                    for name in OF_A_BOOK:
                        await self.publish(ResourceUpdated(f"market://{symbol}/{name}"))
                seen = now
            self._wanted.clear()

    def _books(self) -> Iterator[tuple[str, object]]:
        """What a book is known by, for each followed symbol."""
        desk = self._dispatcher.desk
        if desk is None or desk.books is None:
            return
        for symbol in desk.books.symbols:
            view = desk.books.view(symbol, 1)
            yield symbol, None if view is None else (view.state, view.epoch, view.update_id)


class Subscriptions:
    """What one session of an older revision has subscribed to (`resources/subscribe`). A slow one is told once."""

    def __init__(self, cues: Cues) -> None:
        self._cues = cues
        self._session: Any = None
        self._wanted: set[str] = set()
        self._changed: dict[str, None] = {}  # in order
        self._turn = asyncio.Event()

    async def subscribe(self, ctx: Any, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """A handler of the library."""
        uri = str(params.uri)
        try:
            resource_of(uri)
            if len(self._wanted) >= SUBSCRIBED_MAX:
                raise InvalidRequest("uri", "too many subscriptions", f"{SUBSCRIBED_MAX} a session")
        except LeadlineError as error:
            failure = failure_of(error)
            raise MCPError(types.INVALID_PARAMS, failure.message, msgspec.to_builtins(failure) | {"uri": uri}) from error
        self._session = ctx.session
        self._wanted.add(uri)
        self._turn.set()
        return types.EmptyResult()

    async def unsubscribe(self, _: Any, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """A handler of the library; of what was never subscribed to, too."""
        self._wanted.discard(str(params.uri))
        self._changed.pop(str(params.uri), None)
        return types.EmptyResult()

    async def run(self) -> None:
        """Tell the session, until cancelled. It listens from the first subscription on."""
        await self._turn.wait()
        leave = self._cues.subscribe(self._note)
        try:
            while True:
                self._turn.clear()
                while self._changed:
                    uri = next(iter(self._changed))
                    del self._changed[uri]
                    await self._session.send_resource_updated(uri)
                await self._turn.wait()
        finally:
            leave()

    def _note(self, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and event.uri in self._wanted:
            self._changed[event.uri] = None
            self._turn.set()
