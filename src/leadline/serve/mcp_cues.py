"""Cues for those who listen: this resource has changed, read it again if you care. At most one a second for each, no payload."""

import asyncio
from collections.abc import Callable, Iterator

from mcp.server.subscriptions import ResourceUpdated, ServerEvent

from leadline.clock import Clock
from leadline.serve.dispatch import Dispatcher

EVERY_S = 1.0
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
