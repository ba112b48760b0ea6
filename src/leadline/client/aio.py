"""The client of a running service, asynchronous: calls, streams that find their way back, stored rows to the end of a window.

What messages mean is worked out elsewhere (books, trades, history); here they are asked for, and asked for again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc
import msgspec
from google.protobuf.empty_pb2 import Empty

from leadline.client.books import BookCopy, Broken, book_now
from leadline.client.failures import failure
from leadline.client.history import (
    Coverage,
    Pages,
    Rows,
    Seconds,
    Snapshots,
    Trades,
    coverage_of,
    joined_coverage,
    joined_seconds,
    joined_snapshots,
    joined_trades,
    seconds_of,
    snapshots_of,
    trades_page_of,
)
from leadline.client.records import Book, Policy, ToolInfo, TradeNews
from leadline.client.trades import TradeTape
from leadline.clock import Clock, SystemClock
from leadline.core.errors import InvalidRequest, LeadlineError, Malformed, SlowReader, Unreachable
from leadline.serve.proto import market_data_pb2 as data
from leadline.serve.proto import provider_pb2 as provider
from leadline.serve.proto.market_data_pb2_grpc import MarketDataStub
from leadline.serve.proto.provider_pb2_grpc import ProviderStub

TARGET = "127.0.0.1:50053"
DEPTH = 20  # levels a side; what 0 means, too
TIMEOUT_S = 60.0  # for one answer
SILENCE_S = 5.0  # heartbeats come each second: five that stay away, and nobody is there
PAUSES_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)  # before a connection is made anew; the last one from then on
SCAN_S = 31 * 86_400  # the service scans no longer window at once
CLOSED = "the client was closed"
NOT_OPEN = "the client is not open: use it in `with Client()` or `async with AsyncClient()`"

OPTIONS = (
    ("grpc.max_receive_message_length", -1),  # what the service sends has bounds of its own
    ("grpc.http2.bdp_probe", 0),  # a small window: what lies unread here is old, and the service is to notice
    ("grpc.http2.lookahead_bytes", 2**16),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, or one client's failures would hold up another
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # pauses are ours
)

Item_co = TypeVar("Item_co", covariant=True)
Item = TypeVar("Item")
Part = TypeVar("Part", bound=Rows)
Message = TypeVar("Message")


class Copy(Protocol[Item_co]):
    """One symbol of a stream as it is put together: books.BookCopy, trades.TradeTape."""

    def begin(self) -> data.Position | None:
        """A connection is made anew."""
        ...

    def lost(self, reason: str) -> Item_co:
        """It is lost."""
        ...

    def take(self, event: Any) -> Item_co | None:
        """A message."""
        ...


class AsyncClient:
    """A running service at target, HOST:PORT, with its token if it wants one; plain text, as the service speaks.

    Used as `async with`. Every call raises the LeadlineError that the service would have raised, and Unreachable where none
    answers. timeout_s: for one answer; streams last until they are left.
    """

    def __init__(
        self,
        target: str = TARGET,
        token: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Clock | None = None,
    ) -> None:
        self.target = target
        self.timeout_s = timeout_s
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._clock = clock or SystemClock()
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self.target, options=OPTIONS)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Whatever is still asked ends."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    # Tools -------------------------------------------------------------------

    async def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """One answer of one tool (docs/tools.md), as it is."""
        payload = provider.Json(value=msgspec.json.encode(arguments))
        request = provider.InvokeRequest(tool_name=tool, payload=payload)
        answer = await self._ask(self._provider.Invoke, request)
        found: dict[str, Any] = msgspec.json.decode(answer.result.value)
        return found

    async def tools(self) -> list[ToolInfo]:
        """Everything that can be called."""
        found = await self._ask(self._provider.ListCapabilities, Empty())
        decode = msgspec.json.decode
        return [
            ToolInfo(tool.name, tool.description, decode(tool.input_schema.value), decode(tool.output_schema.value))
            for tool in found.tools
        ]

    # Live --------------------------------------------------------------------

    async def book(self, symbol: str, depth: int = DEPTH, *, max_age_ms: int | None = None) -> Book:
        """The book now: depth 5, 20, 100 or 1000 levels a side.

        STALE with its reason: the last good one, lost not longer than max_age_ms (5000 unless given) ago. BookNotLive: there is
        none.
        """
        request = _request(data.BookRequest, symbol=symbol, depth=depth, max_age_ms=max_age_ms)
        try:
            return book_now(await self._ask(self._data.GetBook, request))
        except Broken as error:
            raise Malformed("book", str(error)) from error

    def stream_book(
        self, symbols: str | Sequence[str], depth: int = DEPTH, policy: Policy | str = Policy.CONFLATE
    ) -> AsyncGenerator[Book]:
        """Books of one or more symbols as they change, each checked, until it is left.

        At least one item a second for each symbol: where nothing changes it says so (quiet). A lost connection is told
        (state UNKNOWN, no levels) and made anew, for as long as it takes; the book goes on where it was, or anew with `skipped`
        saying so. Raises what the first attempt meets, later what trying again cannot mend, and SlowReader where the policy ends
        a slow reader.
        """
        names = _symbols(symbols)
        self._open()
        chosen = _policy(policy)

        def opened(places: Sequence[data.Position]) -> Any:
            request = _request(data.StreamBookRequest, symbols=names, depth=depth, policy=chosen, resume=places)
            return self._data.StreamBook(request, metadata=self._metadata)

        return self._followed(opened, {name: BookCopy(name, depth or DEPTH) for name in names})

    def stream_trades(self, symbols: str | Sequence[str], policy: Policy | str = Policy.CONFLATE) -> AsyncGenerator[TradeNews]:
        """Trades of one or more symbols, in id order; what is missing is told as a hole. Else as stream_book."""
        names = _symbols(symbols)
        self._open()
        chosen = _policy(policy)

        def opened(places: Sequence[data.Position]) -> Any:
            request = _request(data.StreamTradesRequest, symbols=names, policy=chosen, resume=places)
            return self._data.StreamTrades(request, metadata=self._metadata)

        return self._followed(opened, {name: TradeTape(name) for name in names})

    # Stored ------------------------------------------------------------------

    async def snapshots(self, symbol: str, from_s: int, to_s: int, *, step_s: int = 1) -> Snapshots:
        """Stored snapshots of [from_s, to_s) at multiples of step_s, all of them. Unix seconds."""
        return joined_snapshots([page async for page in self.snapshot_pages(symbol, from_s, to_s, step_s=step_s)])

    def snapshot_pages(
        self, symbol: str, from_s: int, to_s: int, *, step_s: int = 1, page_rows: int = 0
    ) -> AsyncGenerator[Snapshots]:
        """The same page by page, for windows that are too long to be held; page_rows 0: as the service likes, at most 3600."""
        request = _request(data.RangeRequest, symbol=symbol, from_s=from_s, to_s=to_s, step_s=step_s, page_size=page_rows)
        return self._paged(lambda: self._data.GetSnapshots, request, lambda page: (snapshots_of(page), page.next_page_token))

    async def trades(self, symbol: str, from_s: int, to_s: int) -> Trades:
        """Stored trades of [from_s, to_s) by trade time, all of them. Unix seconds."""
        return joined_trades([page async for page in self.trade_pages(symbol, from_s, to_s)])

    def trade_pages(self, symbol: str, from_s: int, to_s: int, *, page_rows: int = 0) -> AsyncGenerator[Trades]:
        """The same page by page; page_rows 0: as the service likes, at most 20000; a page ends at a whole second."""
        request = _request(data.RangeRequest, symbol=symbol, from_s=from_s, to_s=to_s, page_size=page_rows)
        return self._paged(lambda: self._data.GetTrades, request, lambda page: (trades_page_of(page), page.next_page_token))

    async def coverage(self, symbol: str, from_s: int, to_s: int) -> Coverage:
        """What of the seconds [from_s, to_s) has a live book, and why the others have none."""
        request = _request(data.RangeRequest, symbol=symbol, from_s=from_s, to_s=to_s)
        pages = Pages(from_s, to_s)
        parts: list[Coverage] = []
        while not parts or request.page_token:
            page = await self._ask(self._data.GetCoverage, request)
            parts.append(coverage_of(page))
            pages.take(parts[-1], page.next_page_token)
            request.page_token = page.next_page_token
        return joined_coverage(parts)

    async def seconds(self, symbol: str, from_s: int, to_s: int, *, fields: Sequence[str] = ()) -> Seconds:
        """Stored records of [from_s, to_s); fields: names of docs/records.md, none means all. Unix seconds."""
        return joined_seconds([chunk async for chunk in self.second_chunks(symbol, from_s, to_s, fields=fields)])

    async def second_chunks(self, symbol: str, from_s: int, to_s: int, *, fields: Sequence[str] = ()) -> AsyncGenerator[Seconds]:
        """The same in slices of some minutes."""
        pages = Pages(from_s, to_s)
        while True:
            end_s = min(to_s, pages.at_s + SCAN_S)
            request = _request(data.RangeRequest, symbol=symbol, from_s=pages.at_s, to_s=end_s, fields=fields)
            call = self._data.ScanSeconds(request, metadata=self._metadata)
            try:
                async for chunk in call:
                    part = seconds_of(chunk)
                    pages.take(part.coverage, "" if part.coverage.to_s == to_s else "more")
                    yield part
            except grpc.RpcError as error:
                raise failure(error, self.target, self.timeout_s) from error
            finally:
                call.cancel()
            if pages.at_s != end_s:
                raise Malformed("seconds", f"ended at {pages.at_s} of {end_s}")
            if end_s == to_s:
                return

    # Inside ------------------------------------------------------------------

    @property
    def _data(self) -> Any:
        return MarketDataStub(self._open())

    @property
    def _provider(self) -> Any:
        return ProviderStub(self._open())

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise RuntimeError(NOT_OPEN)
        return self._channel

    async def _ask(self, method: Any, request: Any) -> Any:
        """One answer. Raises LeadlineError."""
        try:
            return await method(request, metadata=self._metadata, timeout=self.timeout_s)
        except grpc.RpcError as error:
            raise failure(error, self.target, self.timeout_s) from error
        except asyncio.CancelledError as error:
            if self._channel is None and not _cancelled():
                raise Unreachable(self.target, CLOSED) from error
            raise

    async def _paged(
        self, method: Callable[[], Any], request: data.RangeRequest, read: Callable[[Any], tuple[Part, str]]
    ) -> AsyncGenerator[Part]:
        pages = Pages(request.from_s, request.to_s)
        while True:
            part, token = read(await self._ask(method(), request))
            pages.take(part.coverage, token)
            yield part
            if not token:
                return
            request.page_token = token

    async def _followed(
        self, opened: Callable[[Sequence[data.Position]], Any], copies: Mapping[str, Copy[Item]]
    ) -> AsyncGenerator[Item]:
        """Items of a stream, and of the next one when it is lost."""
        pauses = _Pauses()
        while self._channel is not None:
            places = [place for copy in copies.values() if (place := copy.begin()) is not None]
            call = opened(places)
            try:
                async for event in _Heard(call, self._clock):
                    copy = copies.get(event.symbol)
                    if copy is None:
                        raise Broken(f"a message about {event.symbol!r}")
                    item = copy.take(event)
                    pauses.over()
                    if item is not None:
                        yield item
                reason = "the stream ended"
            except grpc.RpcError as error:
                failed = failure(error, self.target, self.timeout_s)
                if not pauses.has_worked or not _mends(failed):
                    raise failed from error
                reason = str(failed)
            except Broken as error:
                reason = f"broken chain: {error}"
            except asyncio.CancelledError:
                if self._channel is None and not _cancelled():
                    return  # the client was closed
                raise
            except _Silent:
                reason = f"nothing heard for {SILENCE_S:g} s"
            finally:
                call.cancel()
            for copy in copies.values():
                yield copy.lost(reason)
            await self._clock.sleep_until(self._clock.monotonic() + pauses.next_s())


class _Pauses:
    """How long to wait before the next attempt. has_worked: there has been a message, ever."""

    def __init__(self) -> None:
        self.has_worked = False
        self._lost = 0

    def over(self) -> None:
        """There is a message."""
        self.has_worked, self._lost = True, 0

    def next_s(self) -> float:
        """One more attempt failed."""
        pause_s = PAUSES_S[min(self._lost, len(PAUSES_S) - 1)]
        self._lost += 1
        return pause_s


class _Silent(Exception):
    """Not even a heartbeat."""


class _Heard:
    """Messages of a call. Raises _Silent when none comes for SILENCE_S."""

    def __init__(self, call: Any, clock: Clock) -> None:
        self._call = call
        self._clock = clock

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        event: Any = None
        failed: grpc.RpcError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                silence = tasks.create_task(self._silence(), name="client.silence")
                try:
                    event = await self._call.read()
                except grpc.RpcError as error:
                    failed = error  # a group would wrap it
                silence.cancel()
        except* _Silent:
            event = None
        if failed is not None:
            raise failed
        if event is None:
            raise _Silent
        if event is grpc.aio.EOF:
            raise StopAsyncIteration
        return event

    async def _silence(self) -> None:
        await self._clock.sleep_until(self._clock.monotonic() + SILENCE_S)
        raise _Silent


def _cancelled() -> bool:
    """Somebody wants this task to end, not only the call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _mends(failed: LeadlineError) -> bool:
    """Whether a lost stream may come back: a policy that ends slow readers means it."""
    return (failed.retryable or isinstance(failed, Unreachable)) and not isinstance(failed, SlowReader)


def _policy(policy: Policy | str) -> str:
    """Its name. Raises InvalidRequest."""
    try:
        return Policy(policy).value
    except ValueError as error:
        raise InvalidRequest("policy", repr(policy), ", ".join(Policy)) from error


def _request(kind: Callable[..., Message], **fields: Any) -> Message:
    """A message. Raises InvalidRequest for a number that it cannot hold."""
    try:
        return kind(**fields)
    except ValueError as error:
        raise InvalidRequest("request", str(error)) from error


def _symbols(symbols: str | Sequence[str]) -> list[str]:
    """Each once, as the exchange names them."""
    return list(dict.fromkeys(name.strip().upper() for name in ([symbols] if isinstance(symbols, str) else symbols)))
