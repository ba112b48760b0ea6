"""Recorded traffic as material: frames as they came, and streams of any length under any number of names.

A recording lasts 30 to 345 s. `Stream` repeats one symbol's part of it without a hole: times and ids count on, and one made-up
diff at each seam takes the book from its last state back to its first. Under another name every price and quantity is moved by
a few steps, so that no two books share their numbers (equal ones would flatter every cache).
"""

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct, structs

from leadline.core.book import Book
from leadline.core.records import BestQuote, DepthSnapshot, DepthUpdate, Level, Subscribed, SymbolSecond, Trade
from leadline.core.sync import FetchSnapshot
from leadline.core.units import E8
from leadline.exchange.replay import Recording, inferred_rules
from leadline.service.feed import Feed

NANO = 1_000_000_000
START_S = 1_767_225_600  # 2026-01-01, a whole minute
WARM_S = 30  # streams under many names begin one after the other inside this

BIG = ("spot/btcusdt_20240808.gz", "spot/ethusdt_20240808.gz")
MIDDLE = ("multi/binance_20210404_btc_eth_dot.raw.gz",)
THIN = (
    ("multi/binance_20211012_4pairs.ws.gz", "multi/binance_20211012_4pairs.http.gz"),
    ("multi/binanceus_20211012_4pairs.ws.gz", "multi/binanceus_20211012_4pairs.http.gz"),
)

Event = DepthUpdate | BestQuote | Trade


def captures() -> Path:
    """The folder of recordings: LEADLINE_CAPTURES, else beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "captures"
    folder = Path(os.environ.get("LEADLINE_CAPTURES") or beside)
    if not (folder / "spot").is_dir():
        sys.exit(f"bench: no recordings in {folder}; set LEADLINE_CAPTURES to the folder that holds spot/ and multi/")
    return folder


class Stream(Struct, frozen=True):
    """One symbol of one recording, from its snapshot on.

    back: bids and asks of the diff that takes the last book back to the first.
    recorded_ns: how long the recording lasts; span_ns: in what time it is repeated.
    """

    symbol: str
    snapshot: DepthSnapshot
    events: list[Event]
    start_ns: int
    recorded_ns: int
    span_ns: int
    back: tuple[tuple[Level, ...], tuple[Level, ...]]
    tick_e8: int
    step_e8: int

    @property
    def diffs(self) -> list[DepthUpdate]:
        """Those of its events that change the book."""
        return [event for event in self.events if isinstance(event, DepthUpdate)]

    def paced(self, diffs_per_s: float) -> "Stream":
        """The same events in less time, or more."""
        return structs.replace(self, span_ns=max(1, int(len(self.diffs) / diffs_per_s * NANO)))

    def first(self, name: str, moved: int) -> DepthSnapshot:
        """The snapshot under another name."""
        bids, asks = self._levels(self.snapshot.bids, moved), self._levels(self.snapshot.asks, moved)
        return structs.replace(self.snapshot, symbol=name, bids=bids, asks=asks)

    def run(self, name: str, moved: int, start_ns: int) -> Iterator[Event]:
        """Events without end, by receive time."""
        fills = [event for event in self.events if isinstance(event, Trade)]
        ids = [
            event.last_id if isinstance(event, DepthUpdate) else event.update_id
            for event in self.events
            if not isinstance(event, Trade)
        ]
        ids_span = max(ids) - self.snapshot.update_id + 1
        trades_span = fills[-1].agg_id - fills[0].agg_id + 1 if fills else 0
        fills_span = fills[-1].last_id - fills[0].first_id + 1 if fills else 0
        last_id = self.diffs[-1].last_id
        price, size = moved * self.tick_e8, moved * self.step_e8
        for turn in itertools.count():
            id_shift = turn * ids_span
            if turn:
                yield from self._seam(
                    name,
                    moved,
                    last_id + id_shift - ids_span + 1,
                    self.snapshot.update_id + id_shift,
                    start_ns + turn * self.span_ns,
                )
            for event in self.events:
                recv_ns = start_ns + turn * self.span_ns + (event.ts_recv_ns - self.start_ns) * self.span_ns // self.recorded_ns
                late_ns = recv_ns - event.ts_recv_ns
                match event:
                    case DepthUpdate():
                        yield DepthUpdate(
                            name,
                            event.first_id + id_shift,
                            event.last_id + id_shift,
                            event.ts_event_ns + late_ns,
                            recv_ns,
                            self._levels(event.bids, moved),
                            self._levels(event.asks, moved),
                        )
                    case BestQuote():
                        yield BestQuote(
                            name,
                            event.update_id + id_shift,
                            event.bid_price_e8 + price,
                            event.bid_quantity_e8 + size,
                            event.ask_price_e8 + price,
                            event.ask_quantity_e8 + size,
                            recv_ns,
                        )
                    case Trade():
                        yield Trade(
                            name,
                            event.agg_id + turn * trades_span,
                            event.price_e8 + price,
                            event.quantity_e8 + size,
                            event.first_id + turn * fills_span,
                            event.last_id + turn * fills_span,
                            event.ts_trade_ns + late_ns,
                            event.buyer_is_maker,
                            event.ts_event_ns + late_ns,
                            recv_ns,
                        )

    def _seam(self, name: str, moved: int, first_id: int, last_id: int, at_ns: int) -> Iterator[Event]:
        bids, asks = (self._levels(side, moved) for side in self.back)
        event_ns = at_ns + self.events[0].ts_recv_ns - self.start_ns
        lead_ns = next(d.ts_event_ns - d.ts_recv_ns for d in self.diffs)
        yield DepthUpdate(name, first_id, last_id, event_ns + lead_ns, at_ns, bids, asks)
        if any(isinstance(event, BestQuote) for event in self.events):
            snapshot = self.first(name, moved)
            yield BestQuote(name, last_id, *snapshot.bids[0], *snapshot.asks[0], at_ns)

    def _levels(self, levels: Sequence[Level], moved: int) -> tuple[Level, ...]:
        if not moved:
            return tuple(levels)
        price, size = moved * self.tick_e8, moved * self.step_e8
        return tuple([(p + price, q + size if q else 0) for p, q in levels])


def streams(files: Sequence[str]) -> dict[str, Stream]:
    """By symbol, of one recording; events before the first that follows the snapshot are left out."""
    recording = Recording([captures() / file for file in files])
    snapshots: dict[str, DepthSnapshot] = {}
    events: dict[str, list[Event]] = {}
    for event in recording.events():
        if isinstance(event, DepthSnapshot):
            snapshots[event.symbol] = event
        elif isinstance(event, Event):
            events.setdefault(event.symbol, []).append(event)
    start_ns = min(seen[0].ts_recv_ns for seen in events.values())
    span_ns = max(seen[-1].ts_recv_ns for seen in events.values()) - start_ns + 1
    out = {}
    for symbol, snapshot in snapshots.items():
        seen = events.get(symbol, [])
        begin = next((i for i, e in enumerate(seen) if isinstance(e, DepthUpdate) and e.last_id > snapshot.update_id), None)
        if begin is not None:  # tickers run ahead of diffs: those between the snapshot and the first diff count too
            ahead = [e for e in seen[:begin] if isinstance(e, BestQuote) and e.update_id > snapshot.update_id]
            out[symbol] = _stream(snapshot, [*ahead, *seen[begin:]], start_ns, span_ns)
    return out


def _stream(snapshot: DepthSnapshot, events: list[Event], start_ns: int, span_ns: int) -> Stream:
    first, last = Book(snapshot), Book(snapshot)
    for event in events:
        if isinstance(event, DepthUpdate):
            last.apply(event)
    rules = inferred_rules(snapshot, 0)
    back = [], []
    for side, before, after in ((back[0], last.bids, first.bids), (back[1], last.asks, first.asks)):
        for key in before.quantities.keys() | after.quantities.keys():
            quantity = after.quantities.get(key, 0)
            if quantity != before.quantities.get(key, 0):
                side.append((after.sign * key, quantity))
    return Stream(
        snapshot.symbol,
        snapshot,
        events,
        start_ns,
        span_ns,
        span_ns,
        (tuple(back[0]), tuple(back[1])),
        rules.tick_e8,
        rules.step_e8,
    )


# Mixes of symbols -----------------------------------------------------------------


class Member(Struct, frozen=True):
    """A stream under a name; moved: by how many steps its numbers are."""

    name: str
    stream: Stream
    moved: int


def mix(symbols: int) -> list[Member]:
    """2: BTCUSDT and ETHUSDT of 2024. 20: four such and 16 thin. 400: four such, 36 of 2021's DOT, BTC and ETH, 360 thin."""
    if symbols == 2:
        return _members(_pool(BIG), 2)
    if symbols == 20:
        return _members(_pool(BIG), 4) + _members(_pool(*THIN), 16)
    assert symbols == 400
    return _members(_pool(BIG), 4) + _members(_pool(MIDDLE), 36, era="OF2021") + _members(_pool(*THIN), 360)


def crowded(symbols: int, diffs_per_s: float = 10.0) -> list[Member]:
    """Thin symbols, each at the most diffs a second that the protocol sends (100 ms streams)."""
    pool = [stream.paced(diffs_per_s) for stream in _pool(*THIN) if len(stream.diffs) >= 20]
    return _members(pool, symbols)


def _pool(*recordings: Sequence[str]) -> list[Stream]:
    if recordings == (BIG,):
        return [stream for file in BIG for stream in streams([file]).values()]
    return [stream for files in recordings for stream in streams(files).values()]


def _members(pool: Sequence[Stream], count: int, era: str = "") -> list[Member]:
    """Each stream as it is, then again and again, moved. era: tells two recordings of one symbol apart."""
    return [
        Member(f"{stream.symbol}{era}{i // len(pool) or ''}", stream, i // len(pool))
        for i, stream in zip(range(count), itertools.cycle(pool))
    ]


def seconds_of(members: Sequence[Member], seconds: int) -> list[list[Event]]:
    """What is received in each second, in order of receipt."""
    out: list[list[Event]] = [[] for _ in range(seconds)]
    for number, member in enumerate(members):
        delay_s = number % WARM_S if len(members) > 2 else 0
        start_ns = (START_S + delay_s) * NANO
        for event in member.stream.run(member.name, member.moved, start_ns):
            second = event.ts_recv_ns // NANO - START_S
            if second >= seconds:
                break
            out[second].append(event)
    for bucket in out:
        bucket.sort(key=lambda event: event.ts_recv_ns)
    return out


def live_feed(member: Member) -> Feed:
    """A feed whose book is LIVE, as it is after the first snapshot came."""
    feed = Feed(member.name)
    asked = feed.handle(Subscribed((member.name,), START_S * NANO), START_S, START_S * NANO)[0]
    assert isinstance(asked, FetchSnapshot)
    feed.snapshot_received(asked.request_id, member.stream.first(member.name, member.moved), START_S, START_S * NANO)
    return feed


def rows_of(members: Sequence[Member], seconds: int) -> Iterator[list[SymbolSecond]]:
    """What the feeds hand to the recorder, second after second of a wall clock."""
    feeds = {member.name: live_feed(member) for member in members}
    for number, events in enumerate(seconds_of(members, seconds)):
        for event in events:
            feeds[event.symbol].handle(event, event.ts_recv_ns / 1e9, event.ts_recv_ns)
        yield [tick(feed, START_S + number + 1) for feed in feeds.values()]


def tick(feed: Feed, second: int) -> SymbolSecond:
    """Close a second by the wall clock."""
    row = feed.tick(second, tick_recv_ns=second * NANO, sample_ns=second * NANO, now=second)[0]
    assert isinstance(row, SymbolSecond)
    return row


def later(row: SymbolSecond, by_s: int) -> SymbolSecond:
    """The same second of a later hour: times move, ids count on, prices stay."""
    assert row.record is not None
    by_ms, ids = by_s * 1000, by_s * 100
    record = structs.replace(
        row.record,
        t=row.record.t + by_s,
        update_id=_plus(row.record.update_id, ids),
        event_ms=_plus(row.record.event_ms, by_ms),
        recv_ms=_plus(row.record.recv_ms, by_ms),
        sample_ms=_plus(row.record.sample_ms, by_ms),
        first_id=_plus(row.record.first_id, ids),
        last_id=_plus(row.record.last_id, ids),
    )
    snapshot = row.snapshot
    if snapshot is not None:
        snapshot = structs.replace(snapshot, update_id=snapshot.update_id + ids, timestamp=snapshot.timestamp + by_s)
    blocks = tuple(
        structs.replace(
            block,
            second=block.second + by_s,
            trades=tuple(
                structs.replace(
                    trade,
                    agg_id=trade.agg_id + ids,
                    first_id=trade.first_id + ids,
                    last_id=trade.last_id + ids,
                    ts_trade_ns=trade.ts_trade_ns + by_s * NANO,
                )
                for trade in block.trades
            ),
        )
        for block in row.trades
    )
    return structs.replace(row, second=row.second + by_s, record=record, snapshot=snapshot, trades=blocks, incidents=())


def _plus(value: int | None, by: int) -> int | None:
    return None if value is None else value + by


# Frames -----------------------------------------------------------------------------


def frame(event: Event) -> bytes:
    """The combined-stream frame that says this, byte for byte as the exchange writes it (a bookTicker of spot has no times)."""
    name = event.symbol.lower()
    match event:
        case DepthUpdate():
            head = f'{{"stream":"{name}@depth@100ms","data":{{"e":"depthUpdate","E":{_ms(event)},"s":"{event.symbol}"'
            levels = f'"b":[{_pairs(event.bids)}],"a":[{_pairs(event.asks)}]'
            said = f'{head},"U":{event.first_id},"u":{event.last_id},{levels}}}}}'
        case BestQuote():
            bid = f'"b":"{text(event.bid_price_e8)}","B":"{text(event.bid_quantity_e8)}"'
            ask = f'"a":"{text(event.ask_price_e8)}","A":"{text(event.ask_quantity_e8)}"'
            said = f'{{"stream":"{name}@bookTicker","data":{{"u":{event.update_id},"s":"{event.symbol}",{bid},{ask}}}}}'
        case Trade():
            head = (
                f'{{"stream":"{name}@aggTrade","data":{{"e":"aggTrade","E":{_ms(event)},"s":"{event.symbol}","a":{event.agg_id}'
            )
            body = f'"p":"{text(event.price_e8)}","q":"{text(event.quantity_e8)}","f":{event.first_id},"l":{event.last_id}'
            maker = "true" if event.buyer_is_maker else "false"
            said = f'{head},{body},"T":{event.ts_trade_ns // 1_000_000},"m":{maker},"M":true}}}}'
    return said.encode()


def _ms(event: DepthUpdate | Trade) -> int:
    return event.ts_event_ns // 1_000_000


def _pairs(levels: Sequence[Level]) -> str:
    return ",".join([f'["{text(p)}","{text(q)}"]' for p, q in levels])


def body(snapshot: DepthSnapshot) -> bytes:
    """The answer of `GET /depth` that says this."""
    said = f'{{"lastUpdateId":{snapshot.update_id},"bids":[{_pairs(snapshot.bids)}],"asks":[{_pairs(snapshot.asks)}]}}'
    return said.encode()


def text(value_e8: int) -> str:
    """As the exchange writes it, with eight decimals."""
    return f"{value_e8 // E8}.{value_e8 % E8:08d}"
