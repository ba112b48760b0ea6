"""leadline.v1.MarketData: the book now, books and trades as they change, and what is stored of them."""

from leadline.clock import Clock
from leadline.core.errors import BookNotLive, InvalidRequest
from leadline.serve import grpc_history as history
from leadline.serve.dispatch import Dispatcher
from leadline.serve.grpc_door import Context, answering
from leadline.serve.grpc_messages import book_event, book_now, policy_of, positions_of, symbol_of, symbols_of, trade_event
from leadline.serve.proto import market_data_pb2 as pb
from leadline.serve.proto.market_data_pb2_grpc import MarketDataServicer
from leadline.service.fanout import DEPTHS, TRADES_A_MESSAGE, Hub
from leadline.service.queries import Desk
from leadline.service.queries.books import MAX_AGE_MS, book_of

DEPTH = 20
SYMBOLS_MAX = 500
AGE_MS_MAX = 60_000
NAME = "leadline.v1.MarketData"


class MarketData(MarketDataServicer):
    """Method names are the contract's."""

    def __init__(self, dispatcher: Dispatcher, hub: Hub, clock: Clock) -> None:
        self._dispatcher = dispatcher
        self._hub = hub
        self._clock = clock

    async def GetBook(self, request: pb.BookRequest, context: Context) -> pb.BookEvent:
        """One Snapshot."""
        async with answering(context, "GetBook"):
            desk, depth = self._desk(), _depth(request.depth)
            max_age_ms = request.max_age_ms if request.HasField("max_age_ms") else MAX_AGE_MS
            if max_age_ms > AGE_MS_MAX:
                raise InvalidRequest("max_age_ms", f"{max_age_ms} ms", f"0-{AGE_MS_MAX}")
            found = book_of(desk, symbol_of(desk, request.symbol), levels=depth, max_age_ms=max_age_ms)
            return book_now(found.view, desk, instance=self._hub.instance, depth=depth)

    async def StreamBook(self, request: pb.StreamBookRequest, context: Context) -> None:
        """A Snapshot of each symbol, then what changes."""
        async with answering(context, "StreamBook") as call:
            desk, depth = self._desk(), _depth(request.depth)
            symbols = symbols_of(desk, request.symbols, SYMBOLS_MAX)
            policy, resume = policy_of(request.policy), positions_of(request.resume)
            reader = self._hub.read_books(symbols, depth, policy=policy, resume=resume)
            try:
                await context.send_initial_metadata(())
                while events := await reader.take():
                    for event in events:
                        await context.write(book_event(event, desk, instance=self._hub.instance, depth=depth))
            finally:
                self._hub.leave(reader)
            await call.end(reader.ended)

    async def StreamTrades(self, request: pb.StreamTradesRequest, context: Context) -> None:
        """How each symbol stands, then its trades."""
        async with answering(context, "StreamTrades") as call:
            desk = self._desk()
            symbols = symbols_of(desk, request.symbols, SYMBOLS_MAX)
            policy, resume = policy_of(request.policy), positions_of(request.resume)
            reader = self._hub.read_tape("trades", symbols, policy=policy, resume=resume, at_most=TRADES_A_MESSAGE)
            try:
                await context.send_initial_metadata(())
                while events := await reader.take():
                    for event in events:
                        await context.write(trade_event(event, desk, instance=self._hub.instance))
            finally:
                self._hub.leave(reader)
            await call.end(reader.ended)

    async def GetSnapshots(self, request: pb.RangeRequest, context: Context) -> pb.SnapshotsPage:
        """A page of snapshots."""
        async with answering(context, "GetSnapshots"):
            return await history.snapshots_page(self._desk(), request, self._breathe)

    async def GetTrades(self, request: pb.RangeRequest, context: Context) -> pb.TradesPage:
        """A page of trades."""
        async with answering(context, "GetTrades"):
            return await history.trades_page(self._desk(), request, self._breathe)

    async def GetCoverage(self, request: pb.RangeRequest, context: Context) -> pb.Coverage:
        """A page of what is there and what is missing."""
        async with answering(context, "GetCoverage"):
            return await history.coverage_page(self._desk(), request, self._breathe)

    async def ScanSeconds(self, request: pb.RangeRequest, context: Context) -> None:
        """Slice after slice."""
        async with answering(context, "ScanSeconds"):
            async for chunk in history.chunks(self._desk(), request, self._breathe):
                await context.write(chunk)

    def _desk(self) -> Desk:
        if self._dispatcher.desk is None:
            raise BookNotLive("any symbol", "starting")
        return self._dispatcher.desk

    async def _breathe(self) -> None:
        await self._clock.sleep_until(self._clock.monotonic())


def _depth(asked: int) -> int:
    depth = asked or DEPTH
    if depth not in DEPTHS:
        raise InvalidRequest("depth", f"{depth} levels", ", ".join(map(str, DEPTHS)))
    return depth
