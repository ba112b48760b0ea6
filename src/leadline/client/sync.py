"""The same client for code that waits: an AsyncClient on a loop of its own, in a thread of its own. Nothing is done twice."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from leadline.client.aio import CLOSED, DEPTH, NOT_OPEN, TARGET, TIMEOUT_S, AsyncClient
from leadline.client.history import Coverage, Seconds, Snapshots, Trades
from leadline.client.records import Book, Policy, ToolInfo, TradeNews
from leadline.clock import Clock
from leadline.core.errors import Unreachable

T = TypeVar("T")


class Client:
    """As AsyncClient, waiting for each answer; used as `with`. Its methods may be called from several threads."""

    def __init__(
        self, target: str = TARGET, token: str = "", *, timeout_s: float = TIMEOUT_S, clock: Clock | None = None
    ) -> None:
        self._client = AsyncClient(target, token, timeout_s=timeout_s, clock=clock)
        self._loop: _Loop | None = None

    def __enter__(self) -> Self:
        self._loop = _Loop()
        self._wait(self._client.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Whatever is still asked ends, streams too."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.end(self._client.close)

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """One answer of one tool (docs/tools.md), as it is."""
        return self._wait(self._client.call(tool, **arguments))

    def tools(self) -> list[ToolInfo]:
        """Everything that can be called."""
        return self._wait(self._client.tools())

    def book(self, symbol: str, depth: int = DEPTH, *, max_age_ms: int | None = None) -> Book:
        """The book now; see AsyncClient.book."""
        return self._wait(self._client.book(symbol, depth, max_age_ms=max_age_ms))

    def stream_book(
        self, symbols: str | Sequence[str], depth: int = DEPTH, policy: Policy | str = Policy.CONFLATE
    ) -> "Stream[Book]":
        """Books as they change; see AsyncClient.stream_book."""
        return self._stream(self._client.stream_book(symbols, depth, policy))

    def stream_trades(self, symbols: str | Sequence[str], policy: Policy | str = Policy.CONFLATE) -> "Stream[TradeNews]":
        """Trades as they come; see AsyncClient.stream_trades."""
        return self._stream(self._client.stream_trades(symbols, policy))

    def snapshots(self, symbol: str, from_s: int, to_s: int, *, step_s: int = 1) -> Snapshots:
        """Stored snapshots of [from_s, to_s), all of them."""
        return self._wait(self._client.snapshots(symbol, from_s, to_s, step_s=step_s))

    def snapshot_pages(self, symbol: str, from_s: int, to_s: int, *, step_s: int = 1, page_rows: int = 0) -> "Stream[Snapshots]":
        """The same page by page."""
        return self._stream(self._client.snapshot_pages(symbol, from_s, to_s, step_s=step_s, page_rows=page_rows))

    def trades(self, symbol: str, from_s: int, to_s: int) -> Trades:
        """Stored trades of [from_s, to_s), all of them."""
        return self._wait(self._client.trades(symbol, from_s, to_s))

    def trade_pages(self, symbol: str, from_s: int, to_s: int, *, page_rows: int = 0) -> "Stream[Trades]":
        """The same page by page."""
        return self._stream(self._client.trade_pages(symbol, from_s, to_s, page_rows=page_rows))

    def coverage(self, symbol: str, from_s: int, to_s: int) -> Coverage:
        """What of [from_s, to_s) has a live book, and why the rest has none."""
        return self._wait(self._client.coverage(symbol, from_s, to_s))

    def seconds(self, symbol: str, from_s: int, to_s: int, *, fields: Sequence[str] = ()) -> Seconds:
        """Stored records of [from_s, to_s), all of them."""
        return self._wait(self._client.seconds(symbol, from_s, to_s, fields=fields))

    def second_chunks(self, symbol: str, from_s: int, to_s: int, *, fields: Sequence[str] = ()) -> "Stream[Seconds]":
        """The same in slices of some minutes."""
        return self._stream(self._client.second_chunks(symbol, from_s, to_s, fields=fields))

    # Inside ------------------------------------------------------------------

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError(NOT_OPEN)
        try:
            return self._loop.wait(work)
        except CancelledError as error:
            raise Unreachable(self._client.target, CLOSED) from error

    def _stream(self, source: AsyncGenerator[T]) -> "Stream[T]":
        if self._loop is None:
            raise RuntimeError(NOT_OPEN)
        return Stream(source, self._loop)


class Stream(Generic[T]):
    """Items of an asynchronous stream, one by one; used in `for`. `close` or `with` leaves it, and a closed client ends it."""

    def __init__(self, source: AsyncGenerator[T], loop: "_Loop") -> None:
        self._source = source
        self._loop = loop

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            found = self._loop.wait(self._next())
        except CancelledError:
            found = []
        if not found:
            raise StopIteration
        return found[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Nothing more is wanted."""
        with suppress(CancelledError):
            self._loop.wait(self._closed())

    async def _next(self) -> list[T]:
        async for item in self._source:
            return [item]
        return []

    async def _closed(self) -> None:
        await self._source.aclose()


class _Loop:
    """A loop in a thread of its own. What is asked of it before its end is ended by it, what comes later is not begun."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="leadline.client", daemon=True)
        self._door = threading.Lock()
        self._is_open = True
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What comes of it; interrupted, it is given up. Raises CancelledError when the loop is ended."""
        with self._door:
            future = asyncio.run_coroutine_threadsafe(work, self._loop) if self._is_open else _given_up(work)
        try:
            return future.result()
        finally:
            future.cancel()

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """The last thing that is done; then whatever others wait for is cancelled."""
        with self._door:
            self._is_open = False
            ended = asyncio.run_coroutine_threadsafe(self._ended(last), self._loop)
        ended.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _ended(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await last()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


def _given_up(work: Coroutine[Any, Any, T]) -> "Future[T]":
    work.close()
    future: Future[T] = Future()
    future.cancel()
    return future
