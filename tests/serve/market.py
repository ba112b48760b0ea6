"""A market that tests make move, real feeds that follow it, and a gRPC door over them.

The market keeps its own books in plain dicts, with every state by update id, so it is the judge of what readers rebuild.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from tests.fakes import FakeClock, settle

from leadline.core.records import DepthSnapshot, DepthUpdate, Disconnected, Subscribed, SymbolRules, SymbolSecond, Trade
from leadline.core.sync import FetchSnapshot
from leadline.serve.dispatch import Dispatcher
from leadline.serve.grpc_server import grpc_door
from leadline.serve.proto import market_data_pb2 as pb
from leadline.serve.proto.market_data_pb2_grpc import MarketDataStub
from leadline.serve.proto.provider_pb2_grpc import ProviderStub
from leadline.service.fanout import Hub
from leadline.service.feed import Feed
from leadline.service.queries import BookStatus, Desk
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

BTC = "BTCUSDT"
TICK = 10**6
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 2**16)]  # a client that stops is soon noticed


class Market:
    """One symbol at the exchange. states: best first, all levels, by update id."""

    def __init__(self, symbol: str = BTC, *, seed: int = 7, levels: int = 40) -> None:
        self.symbol = symbol
        self.rng = random.Random(seed)
        self.id = 100
        self.bids = {(10_000 - i) * TICK: self.rng.randint(1, 99) for i in range(levels)}
        self.asks = {(10_001 + i) * TICK: self.rng.randint(1, 99) for i in range(levels)}
        self.agg_id = 0
        self.states: dict[int, tuple[Any, Any]] = {}
        self._note()

    def best(self, depth: int, update_id: int) -> tuple[Any, Any]:
        bids, asks = self.states[update_id]
        return bids[:depth], asks[:depth]

    def update(self, at_ns: int, *, changes: int = 6) -> DepthUpdate:
        """Some levels appear, change or go; the touch moves now and then. Never crossed, never empty."""
        moved: tuple[dict[int, int], dict[int, int]] = ({}, {})
        for _ in range(changes):
            sign, side, other, told = self.rng.choice(((-1, self.bids, self.asks, moved[0]), (1, self.asks, self.bids, moved[1])))
            edge = min(other) if sign < 0 else max(other)  # the other side's best
            reach = len(side) + 5
            price = edge + sign * TICK * self.rng.randint(1, reach if self.rng.random() < 0.3 else min(8, reach))
            size = 0 if self.rng.random() < 0.4 and len(side) > 3 else self.rng.randint(1, 99)
            told[price] = size
            side.pop(price, None)
            if size:
                side[price] = size
        first, self.id = self.id + 1, self.id + self.rng.randint(1, 3)
        self._note()
        bids, asks = (tuple((price, size) for price, size in one.items()) for one in moved)
        return DepthUpdate(self.symbol, first, self.id, at_ns, at_ns, bids, asks)

    def snapshot(self) -> DepthSnapshot:
        bids, asks = self.states[self.id]
        return DepthSnapshot(self.symbol, self.id, bids, asks, 5000)

    def trade(self, at_ns: int) -> Trade:
        self.agg_id += 1
        return Trade(self.symbol, self.agg_id, min(self.asks), 5, self.agg_id, self.agg_id, at_ns, False, at_ns, at_ns)

    def _note(self) -> None:
        bids = tuple(sorted(self.bids.items(), reverse=True))
        self.states[self.id] = (bids, tuple(sorted(self.asks.items())))


class House:
    """Feeds, hub and desk on a clock that stands still; the ports Books and, for Live's part, the calls that the hub gets."""

    def __init__(self, *markets: Market, clock: FakeClock | None = None, **feed: Any) -> None:
        self.clock = clock or FakeClock()
        self.markets = {market.symbol: market for market in markets or (Market(),)}
        self.feeds = {symbol: Feed(symbol, tick_e8=TICK, **feed) for symbol in self.markets}
        self.history = History(MemoryEngine(), "the test's store")
        self.history.set_meta({"origin": "synthetic:7"})
        for symbol in self.markets:
            self.history.set_rules(SymbolRules(symbol, "TRADING", symbol[:3], "USDT", TICK, 1, 0))
        self.hub = Hub(self.clock, instance="first-run")
        self.hub.books = self
        self.dispatcher = Dispatcher(self.clock)
        self.dispatcher.desk = Desk(self.history, now_ns=self.clock.wall_ns, books=self)
        self.asked: dict[str, FetchSnapshot] = {}
        self.ready = True

    # Books

    @property
    def symbols(self) -> Sequence[str]:
        return tuple(self.feeds)

    def view(self, symbol: str, levels: int) -> Any:
        return self.feeds[symbol].view(levels)

    def why_none(self, symbol: str) -> str:
        return self.feeds[symbol].reason

    def cells(self, symbol: str) -> Sequence[Any]:
        return self.feeds[symbol].cells

    def size_thresholds(self, symbol: str) -> Any:
        return self.feeds[symbol].size_thresholds

    def status(self, symbol: str) -> BookStatus:
        live = self.feeds[symbol].sync.book is not None
        return BookStatus(symbol, 120, None if live else 40, True, "COMPLETE", 0, 0, None)

    # What happens

    def hear(self, event: Any) -> None:
        """One record to its feed, and to the hub what came of it."""
        feed = self.feeds[event.symbols[0] if isinstance(event, Disconnected | Subscribed) else event.symbol]
        sync = feed.sync
        before, newest = (sync.events_applied, sync.epoch, sync.book), feed.chain.last
        self._carry(feed, feed.handle(event, self.clock.now, self.clock.wall_ns()), before)
        if isinstance(event, Trade) and feed.chain.last is not newest:
            self.hub.trade(event)

    def answer(self, symbol: str = BTC, snapshot: DepthSnapshot | None = None) -> None:
        """The exchange answers the last question with its present book."""
        feed, asked = self.feeds[symbol], self.asked.pop(symbol)
        before = (feed.sync.events_applied, feed.sync.epoch, feed.sync.book)
        snapshot = snapshot or self.markets[symbol].snapshot()
        self._carry(feed, feed.snapshot_received(asked.request_id, snapshot, self.clock.now, self.clock.wall_ns()), before)

    def _carry(self, feed: Feed, effects: Sequence[Any], before: tuple[int, int, Any]) -> None:
        for effect in effects:
            if isinstance(effect, FetchSnapshot):
                self.asked[feed.symbol] = effect
            elif isinstance(effect, SymbolSecond):
                self.hub.second(effect)
        sync = feed.sync
        if before[2] is not None and sync.book is None and sync.lost is not None:
            self.hub.book_lost(feed.symbol, sync.lost.reason.value, sync.lost.detail)
        elif (sync.events_applied, sync.epoch, sync.book) != before:
            self.hub.book_changed(feed.symbol)

    def move(self, symbol: str = BTC, *, lose: bool = False, **how: Any) -> None:
        """The market moves; lose: the update never arrives."""
        update = self.markets[symbol].update(self.clock.wall_ns(), **how)
        if not lose:
            self.hear(update)

    def stir(self, symbol: str = BTC, *, depth: int = 5) -> None:
        """The market moves until somebody's view of that depth has changed."""
        ring = self.hub._views[symbol][depth].ring
        seq = ring.seq
        while ring.seq == seq:
            self.move(symbol)

    def go_live(self, symbol: str = BTC) -> None:
        self.move(symbol)
        self.answer(symbol)
        self.move(symbol)

    def gap(self, symbol: str = BTC) -> None:
        """An update is lost; the next one shows it."""
        self.move(symbol, lose=True)
        self.move(symbol)

    def trade(self, symbol: str = BTC) -> None:
        self.hear(self.markets[symbol].trade(self.clock.wall_ns()))

    # The door

    @asynccontextmanager
    async def open(self, **how: Any) -> AsyncIterator["Door"]:
        how = {"bind": "127.0.0.1:0"} | how
        async with grpc_door(self.dispatcher, self.hub, clock=self.clock, ready=lambda: self.ready, **how) as port:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=SMALL_WINDOW) as channel:
                yield Door(channel, port)


class Door:
    def __init__(self, channel: Any, port: int) -> None:
        self.channel, self.port = channel, port
        self.data, self.provider = MarketDataStub(channel), ProviderStub(channel)


class Rebuilt:
    """A client: one symbol's book from the messages alone."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.seq = 0
        self.last: pb.BookEvent | None = None
        self.bids: dict[int, int] | None = None
        self.asks: dict[int, int] | None = None
        self.bodies: list[str] = []
        self.skipped = 0

    def take(self, event: pb.BookEvent) -> None:
        assert event.prev_seq == self.seq, (event, self.seq)
        self.seq, self.last = event.seq, event
        body = event.WhichOneof("body")
        self.bodies.append(body)
        if body == "snapshot":
            self.bids, self.asks = pairs(event.snapshot.bids), pairs(event.snapshot.asks)
        elif body == "diff":
            assert self.bids is not None and self.asks is not None, "a diff without a book"
            for book, side in ((self.bids, event.diff.bids), (self.asks, event.diff.asks)):
                for price, size in pairs(side).items():
                    if size:
                        book[price] = size
                    else:
                        del book[price]  # what is removed was there
            assert max(len(self.bids), len(self.asks)) <= self.depth
        elif body == "status":
            self.bids = self.asks = None
        elif body == "skipped":
            assert event.skipped.count == event.skipped.to_seq - event.skipped.from_seq + 1
            self.skipped += event.skipped.count
            self.bids = self.asks = None

    @property
    def book(self) -> tuple[Any, Any] | None:
        if self.bids is None or self.asks is None:
            return None
        return tuple(sorted(self.bids.items(), reverse=True)), tuple(sorted(self.asks.items()))

    @property
    def place(self) -> pb.Position:
        assert self.last is not None
        return pb.Position(
            instance=self.last.instance, symbol=self.last.symbol, depth=self.depth, epoch=self.last.epoch, seq=self.seq
        )


def pairs(side: pb.Side) -> dict[int, int]:
    assert len(set(side.price_e8)) == len(side.price_e8) == len(side.quantity_e8)
    return dict(zip(side.price_e8, side.quantity_e8, strict=True))


async def until(reached: Callable[[], bool]) -> None:
    """Turns of the loop, sockets included, until it is so; the bound of the test ends it otherwise."""
    while not reached():  # noqa: ASYNC110 (what others do on their sockets sets no event of ours)
        await asyncio.sleep(0)


__all__ = ["BTC", "TICK", "Door", "House", "Market", "Rebuilt", "pairs", "settle", "until"]
