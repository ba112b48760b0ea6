"""Topics of provider.v1: the market as CloudEvents for gateways that know no types of ours.

`book.{symbol}` is the best 20 levels as a whole, `seconds.{symbol}`, `trades.{symbol}` and `incidents` are what was recorded. At
most ten events a second; who is too slow is told what was skipped.
"""

import difflib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec

from leadline.clock import Clock
from leadline.core.errors import UnknownName
from leadline.core.records import Incident, Level, SecondRecord, Trade
from leadline.core.units import decimal_text
from leadline.serve.grpc_messages import origin_of, symbol_of
from leadline.serve.proto import provider_pb2 as pb
from leadline.service.fanout import SERVICE, Hub, Policy, Reader, TradesGone
from leadline.service.lines import Event, Items, Mark, Skipped, Snapshot, Status
from leadline.service.queries import Desk
from leadline.service.queries.envelope import utc
from leadline.service.queries.past import record_row as record_fields

KINDS = ("book", "seconds", "trades")
INCIDENTS = "incidents"
DEPTH = 20
EVERY_S = 0.1
TRADES_AN_EVENT = 64
NS = 1_000_000_000
NS_PER_MS = 1_000_000

Told = tuple[str, int, Any]
"""Type, UTC ns (0: now) and data of one event."""


def reader_of(hub: Hub, desk: Desk, topic: str) -> Reader:
    """Raises UnknownName for a topic, UnknownSymbol, BookNotLive for a symbol that is not followed."""
    kind, dot, symbol = topic.partition(".")
    if topic == INCIDENTS:
        return hub.read_tape(INCIDENTS, [SERVICE], policy=Policy.CONFLATE, beats=False)
    if kind not in KINDS or not dot:
        near = difflib.get_close_matches(kind, [*KINDS, INCIDENTS], n=3, cutoff=0.5)
        raise UnknownName("topic", topic[:80], [f"{one}.SYMBOL" if one in KINDS else one for one in near])
    symbol = symbol_of(desk, symbol)
    if kind == "book":
        return hub.read_books([symbol], DEPTH, policy=Policy.LATEST, beats=False)
    at_most = TRADES_AN_EVENT if kind == "trades" else 1
    return hub.read_tape(kind, [symbol], policy=Policy.CONFLATE, at_most=at_most, beats=False)


async def cloud_events(hub: Hub, desk: Desk, reader: Reader, topic: str, clock: Clock) -> AsyncIterator[pb.CloudEvent]:
    """Until the reader has ended."""
    kind = topic.partition(".")[0]
    origin = origin_of(desk)
    while events := await reader.take():
        for event in events:
            for place, (name, at_ns, data) in enumerate(_told(kind, event, origin)):
                yield pb.CloudEvent(
                    id=f"{hub.instance}:{event.prev_seq}-{event.seq}.{place}",
                    source=f"/leadline/{origin}/{kind}" + ("" if event.symbol == SERVICE else f"/{event.symbol}"),
                    type=f"leadline.{name}.v1",
                    time=utc((at_ns or clock.wall_ns()) / NS),
                    specversion="1.0",
                    data=pb.Json(value=msgspec.json.encode(data)),
                )
        await clock.sleep_until(clock.monotonic() + EVERY_S)


def _told(kind: str, event: Event, origin: str) -> list[Told]:
    """What one event of a reader is to others; of a tape, its first message says only that it begins."""
    match event.body:
        case Snapshot() as body:
            return [_book(event, body, origin)]
        case Status() if event.mark is not None:
            return [_book(event, None, origin)]
        case Status(state, reason):
            return [("status", 0, {"symbol": event.symbol, "state": state, "reason": reason or None})]
        case Skipped(count, from_seq, to_seq):
            return [("skipped", 0, {"symbol": event.symbol, "count": count, "from_seq": from_seq, "to_seq": to_seq})]
        case Items(items):
            return _items(event.symbol, items)
        case _:
            raise AssertionError(f"no topic is told {type(event.body).__name__}")


def _book(event: Event, body: Snapshot | None, origin: str) -> Told:
    """The best levels as a whole; null where there is no LIVE book, and why."""
    mark = event.mark
    assert mark is not None, "it is of a book"
    data: dict[str, Any] = {
        "symbol": event.symbol,
        "origin": origin,
        "state": mark.state,
        "reason": mark.reason or None,
        "epoch": mark.epoch or None,
        "update_id": mark.update_id or None,
        "exchange_time_ms": mark.ts_event_ns // NS_PER_MS or None,
        "received_time_ms": mark.ts_recv_ns // NS_PER_MS or None,
        "depth": DEPTH,
        "bids": None if body is None else _levels(body.bids),
        "asks": None if body is None else _levels(body.asks),
        "known_range": None if body is None else _known(body),
    }
    return "book", _time_ns(mark, body), data


def _time_ns(mark: Mark, body: Snapshot | None) -> int:
    """When the book came to be so; that it was lost is news of now."""
    return 0 if body is None else mark.ts_event_ns or mark.ts_recv_ns


def _known(body: Snapshot) -> Mapping[str, str | None]:
    edges = {"bid_low": body.known_bid, "ask_high": body.known_ask}
    return {name: None if edge is None else decimal_text(edge) for name, edge in edges.items()}


def _levels(levels: Sequence[Level]) -> list[tuple[str, str]]:
    return [(decimal_text(price), decimal_text(quantity)) for price, quantity in levels]


def _items(symbol: str, items: Sequence[Any]) -> list[Told]:
    first = items[0]
    if isinstance(first, Trade):
        return [("trades", items[-1].ts_trade_ns, {"symbol": symbol, "trades": [_trade(trade) for trade in items]})]
    if isinstance(first, TradesGone):
        return [("trades_missing", 0, {"symbol": symbol, **msgspec.to_builtins(hole)}) for hole in items]
    if isinstance(first, SecondRecord):
        return [("second", one.t * NS, {"symbol": symbol, **record_fields(one)}) for one in items]
    return [_incident(one) for one in items]


def _trade(trade: Trade) -> dict[str, Any]:
    return {
        "agg_id": trade.agg_id,
        "price": decimal_text(trade.price_e8),
        "quantity": decimal_text(trade.quantity_e8),
        "first_id": trade.first_id,
        "last_id": trade.last_id,
        "trade_time_ns": trade.ts_trade_ns,
        "buyer_is_maker": trade.buyer_is_maker,
        "backfilled": not trade.ts_event_ns,
    }


def _incident(one: Incident) -> Told:
    at_ms = one.start_ms if one.end_ms is None else one.end_ms
    ends = {"start": utc(one.start_ms / 1000), "end": None if one.end_ms is None else utc(one.end_ms / 1000)}
    return "incident", at_ms * NS_PER_MS, {**msgspec.to_builtins(one), **ends}
