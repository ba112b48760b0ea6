"""The whole service against a market that is disturbed on purpose, judged after every event by what the market really was.

The judge asks the stand-in's own ledger and its own list of trades, which share no code with ours. All time is that of
`hurried.py`: virtual, and computing takes none of it.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec import Struct
from tests.end_to_end.hurried import START_WALL_NS, LoopClock
from tests.end_to_end.running import running, settings_for, stored

from leadline import app
from leadline.core.book import Book, Ladder
from leadline.core.records import BookState, Incident, SecondRecord, Trade, TradeState
from leadline.exchange.binance.stream import BinanceStream
from leadline.service.feed import Feed
from leadline.service.live import Live
from leadline.standin.faults import FaultRequest
from leadline.standin.limits import Limits
from leadline.standin.market import SyntheticMarket
from leadline.standin.server import StandIn

SEED = 11
HANG_S = 1200  # virtual
LOOK_S = 0.005


def _e8(text: str) -> int:
    return int(Decimal(text).scaleb(8))


class Judge:
    """What was wrong with a book at a moment when it was called LIVE, and when which book was lost and found."""

    def __init__(self, source: SyntheticMarket, clock: LoopClock) -> None:
        self.wrong: list[str] = []
        self.found: dict[str, list[float]] = {}  # symbol -> moments at which a book became LIVE
        self.looks = 0
        self._source, self._clock = source, clock
        self._live: set[str] = set()
        self._seen: dict[str, tuple[Book, int]] = {}
        self._true: dict[str, tuple[int, dict[int, int], dict[int, int]]] = {}

    def look(self, feed: Feed) -> None:
        """Compare the book as it is now."""
        book, symbol = feed.sync.book, feed.symbol
        if book is None:
            self._live.discard(symbol)
            return
        if symbol not in self._live:
            self._live.add(symbol)
            self.found.setdefault(symbol, []).append(self._clock.monotonic())
        if self._seen.get(symbol) == (book, book.update_id):
            return
        self._seen[symbol] = book, book.update_id
        self.looks += 1
        view = feed.view(1)
        assert view is not None
        if view.state is not BookState.LIVE or (view.bids and view.asks and view.bids[0][0] >= view.asks[0][0]):
            self._say(feed, f"shown as {view}")
        true = self._truth(symbol, book.update_id)
        if true is None:
            self._say(feed, f"no such id: {book.update_id}")
            return
        for side, theirs in ((book.bids, true[0]), (book.asks, true[1])):
            if difference := _difference(side, theirs):
                self._say(feed, f"at {book.update_id}: {difference}")

    def _say(self, feed: Feed, what: str) -> None:
        if len(self.wrong) < 5:
            self.wrong.append(f"{self._clock.monotonic():.3f} {feed.symbol}: {what}")

    def _truth(self, symbol: str, update_id: int) -> tuple[dict[int, int], dict[int, int]] | None:
        known = self._true.get(symbol)
        diff = self._source.diff(symbol, known[0] + 1, update_id) if known is not None and known[0] < update_id else None
        if known is not None and diff is not None:
            for side, changed in ((known[1], diff.bids), (known[2], diff.asks)):
                for price, quantity in changed.items():
                    if lots := _e8(quantity):
                        side[_e8(price)] = lots
                    else:
                        side.pop(_e8(price), None)
            self._true[symbol] = update_id, known[1], known[2]
        elif known is None or known[0] != update_id:
            book = self._source.book(symbol, update_id)
            if book is None:
                return None
            bids, asks = ({_e8(p): _e8(q) for p, q in side.items()} for side in (book.bids, book.asks))
            self._true[symbol] = update_id, bids, asks
        return self._true[symbol][1:]


def _difference(ours: Ladder, theirs: dict[int, int]) -> str:
    """In whole levels: every true one inside the known range is there, and none of ours, inside or not, is another."""
    mine = {abs(key): quantity for key, quantity in ours.quantities.items()}
    if mine == theirs:
        return ""
    edge = ours.known_key
    missing = [price for price in theirs.keys() - mine.keys() if edge is None or price * ours.sign >= edge]
    extra = mine.keys() - theirs.keys()
    wrong = [price for price in mine.keys() & theirs.keys() if mine[price] != theirs[price]]
    return f"{len(missing)} missing, {len(wrong)} wrong, {len(extra)} extra" if missing or wrong or extra else ""


class World(Struct):
    """A running service and its disturbed market."""

    source: SyntheticMarket
    standin: StandIn
    service: app.Service
    clock: LoopClock
    judge: Judge

    @property
    def feeds(self) -> dict[str, Feed]:
        return self.service.live.feeds

    def strike(self, fault: str, **fields: Any) -> None:
        """Switch a fault."""
        fields = {("for_s" if name == "for" else name): value for name, value in fields.items()}
        self.standin.fault(FaultRequest(fault=fault, **fields))

    async def until(self, holds: Callable[[], object]) -> None:
        """Let time pass until it holds."""
        async with asyncio.timeout(HANG_S):
            while not holds():  # noqa: ASYNC110 (the conditions are of real rooms, which have no event for us)
                await asyncio.sleep(LOOK_S)

    async def passed(self, seconds: float) -> None:
        """Let so much time pass."""
        await self.clock.sleep_until(self.clock.monotonic() + seconds)

    async def struck(self) -> list[str]:
        """Every fault so far, as often as it struck, as the stand-in has it."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.standin.http_url}/_standin/faults?since=0") as answer:
            return [one["fault"] for one in await answer.json()]

    async def requests(self) -> int:
        """How many requests the stand-in has had over REST, this one included."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.standin.http_url}/api/v3/ping") as answer:
            return int(answer.headers["x-mbx-uuid"], 16)

    @property
    def steady(self) -> bool:
        """Every book LIVE and confirmed by an update, no hole in the trades."""
        return all(f.sync.book is not None and f.sync.bridged and f.chain.hole is None for f in self.feeds.values())


@asynccontextmanager
async def disturbed(
    data: Path,
    symbols: tuple[str, ...],
    *,
    limits: Limits | None = None,
    stream: Mapping[str, object] | None = None,
    tls: bool = False,
    wall_ns: int = START_WALL_NS,
    after: Callable[[World], Awaitable[object]] | None = None,
    **more: object,
) -> AsyncIterator[World]:
    """A service that records a market, both in one virtual time, LIVE when the block begins; judged as long as it lasts.

    stream: arguments of BinanceStream that the service leaves as they are. tls: streams come through the stand-in's TLS port.
    after: goes on in the same market when the service has stopped. more: settings.
    """
    clock = LoopClock(wall_ns)
    source = SyntheticMarket(SEED, symbols, start_ms=clock.wall_ns() // 1_000_000)
    judge = Judge(source, clock)

    class JudgedLive(Live):
        def _guarded(self, symbol: str, call: Callable[[Feed], Any]) -> None:
            super()._guarded(symbol, call)
            judge.look(self.feeds[symbol])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "Live", JudgedLive)
        async with StandIn(source, clock=clock, limits=limits, tls_port=0 if tls else None) as standin:
            given = dict(stream or {})
            if tls:
                trusting = ssl.create_default_context(cadata=standin.certificate_pem)
                given["new_session"] = lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting))
            patch.setattr(app, "BinanceStream", partial(BinanceStream, **given))
            addresses = standin.http_url, standin.wss_url if tls else standin.ws_url
            settings = settings_for(addresses, data, list(symbols), **{"log.snapshot_lines": "none", **more})
            async with running(settings, clock) as service:
                world = World(source, standin, service, clock, judge)
                await world.until(lambda: world.steady and world.feeds[symbols[0]].chain.last)
                yield world
            if after is not None:
                await after(world)


# What was stored -----------------------------------------------------------------


class Stored(Struct):
    """What the store holds of one symbol when the service has stopped."""

    incidents: list[Incident]
    seconds: list[SecondRecord]
    trades: list[Trade]
    states: dict[int, TradeState]  # of the blocks, by second

    @property
    def kinds(self) -> set[str]:
        return {incident.kind for incident in self.incidents}


def stored_of(data: Path, symbol: str) -> Stored:
    with stored(data) as history:
        blocks = history.trades(symbol, 0, 2**33).rows
        return Stored(
            history.incidents(symbol).rows,
            history.seconds(symbol, 0, 2**33).rows,
            [trade for block in blocks for trade in block.trades],
            {block.second: block.state for block in blocks},
        )


def untrue_trades(source: SyntheticMarket, symbol: str, held: Stored) -> list[str]:
    """What is wrong with a stored chain: every trade of the market from its first to its last, but those an incident names."""
    if not held.trades:
        return []
    first, last = held.trades[0].agg_id, held.trades[-1].agg_id
    true = source.tape(symbol).aggregates(from_id=first, start_ms=None, end_ms=None, limit=last - first + 1)
    named: set[int] = set()
    for incident in held.incidents:
        if incident.kind == "trades_missing" and (ids := re.fullmatch(r"aggregate ids (\d+)\.\.(\d+)", incident.detail)):
            named |= set(range(int(ids[1]), int(ids[2]) + 1))
    mine = [
        (t.agg_id, t.price_e8, t.quantity_e8, t.first_id, t.last_id, t.ts_trade_ns // 10**6, t.buyer_is_maker)
        for t in held.trades
    ]
    theirs = [(t.a, _e8(t.p), _e8(t.q), t.f, t.l, t.T, t.m) for t in true if t.a not in named]
    return [f"{a} where {b} was" for a, b in zip(mine, theirs, strict=False) if a != b][:3] + (
        [f"{len(mine)} trades of {len(theirs)}"] if len(mine) != len(theirs) else []
    )
