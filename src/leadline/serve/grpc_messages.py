"""Records of the service as messages of leadline.v1, and back: nothing is worked out here."""

from collections.abc import Iterable, Sequence

from leadline.core.errors import InvalidRequest
from leadline.core.records import BookSnapshot, BookView, Level, Trade
from leadline.core.units import decimal_text
from leadline.serve.proto import market_data_pb2 as pb
from leadline.serve.requests import check_symbol
from leadline.service.fanout import Policy, Position, TradesGone
from leadline.service.lines import Body, Diff, Event, Items, Mark, Skipped, Slow, Snapshot, Status
from leadline.service.queries import Desk

NS_PER_MS = 1_000_000


# Asked -----------------------------------------------------------------------


def policy_of(number: int) -> Policy:
    """By its number. Raises InvalidRequest."""
    try:
        return Policy(pb.Policy.Name(number))
    except ValueError as error:
        raise InvalidRequest("policy", f"{number}", "CONFLATE, WARN, DISCONNECT") from error


def symbols_of(desk: Desk, texts: Sequence[str], at_most: int) -> list[str]:
    """As followed or stored, each once. Raises InvalidRequest, UnknownSymbol."""
    if not 1 <= len(texts) <= at_most:
        raise InvalidRequest("symbols", f"{len(texts)} symbols", f"1-{at_most}")
    return list(dict.fromkeys(symbol_of(desk, text) for text in texts))


def symbol_of(desk: Desk, text: str) -> str:
    """As followed or stored. Raises InvalidRequest, UnknownSymbol."""
    check_symbol(text)
    return desk.symbol(text)


def positions_of(places: Iterable[pb.Position]) -> dict[str, Position]:
    """By symbol."""
    return {
        place.symbol.strip().upper(): Position(place.instance, place.seq, depth=place.depth, epoch=place.epoch)
        for place in places
    }


# Told ------------------------------------------------------------------------


def book_event(event: Event, desk: Desk, *, instance: str, depth: int) -> pb.BookEvent:
    """One message of a view."""
    assert event.mark is not None, "it is of a book"
    message = _marked(event.symbol, event.mark, instance)
    message.seq, message.prev_seq = event.seq, event.prev_seq
    match event.body:
        case Snapshot(bids, asks, known_bid, known_ask):
            message.snapshot.CopyFrom(_snapshot(desk, event.symbol, bids, asks, known_bid, known_ask, depth))
        case Diff(bids, asks, known):
            message.diff.CopyFrom(pb.Diff(bids=side(bids), asks=side(asks), known=None if known is None else known_range(*known)))
        case body:
            _told_to_one(message, body, desk, event.symbol)
    return message


def book_now(view: BookView, desk: Desk, *, instance: str, depth: int) -> pb.BookEvent:
    """A frozen book, beside any stream: it has no number."""
    mark = Mark(view.state.value, view.reason, view.epoch, view.update_id, view.ts_event_ns, view.ts_recv_ns)
    message = _marked(view.symbol, mark, instance)
    message.snapshot.CopyFrom(_snapshot(desk, view.symbol, view.bids, view.asks, view.known_bid, view.known_ask, depth))
    return message


def trade_event(event: Event, desk: Desk, *, instance: str) -> pb.TradeEvent:
    """One message of a tape of trades."""
    message = pb.TradeEvent(symbol=event.symbol, instance=instance, seq=event.seq, prev_seq=event.prev_seq)
    match event.body:
        case Items((TradesGone(), *_) as holes):
            message.missing.holes.extend(pb.Hole(from_id=hole.from_id, to_id=hole.to_id, why=hole.why) for hole in holes)
        case Items(trades):
            message.trades.trades.extend(trade(one, backfilled=not one.ts_event_ns) for one in trades)
        case body:
            _told_to_one(message, body, desk, event.symbol)
    return message


def trade(one: Trade, *, backfilled: bool = False) -> pb.Trade:
    """One aggregate trade."""
    return pb.Trade(
        agg_id=one.agg_id,
        price_e8=one.price_e8,
        quantity_e8=one.quantity_e8,
        first_id=one.first_id,
        last_id=one.last_id,
        trade_time_ns=one.ts_trade_ns,
        buyer_is_maker=one.buyer_is_maker,
        backfilled=backfilled,
    )


def stored_snapshot(one: BookSnapshot) -> pb.StoredSnapshot:
    """As it is stored."""
    return pb.StoredSnapshot(timestamp=one.timestamp, update_id=one.update_id, bids=side(one.bids), asks=side(one.asks))


def side(levels: Sequence[Level]) -> pb.Side:
    """In their order."""
    return pb.Side(price_e8=[price for price, _ in levels], quantity_e8=[quantity for _, quantity in levels])


def known_range(known_bid: int | None, known_ask: int | None) -> pb.KnownRange:
    """None is left out: complete to the end."""
    return pb.KnownRange(bid_low_e8=known_bid, ask_high_e8=known_ask)


def origin_of(desk: Desk) -> str:
    """Where the data was born."""
    return desk.reader.meta("origin", str) or "unknown"


def _marked(symbol: str, mark: Mark, instance: str) -> pb.BookEvent:
    return pb.BookEvent(
        symbol=symbol,
        instance=instance,
        epoch=mark.epoch,
        update_id=mark.update_id,
        exchange_time_ms=mark.ts_event_ns // NS_PER_MS,
        received_time_ms=mark.ts_recv_ns // NS_PER_MS,
        state=mark.state,
        reason=mark.reason,
    )


def _snapshot(
    desk: Desk,
    symbol: str,
    bids: Sequence[Level],
    asks: Sequence[Level],
    known_bid: int | None,
    known_ask: int | None,
    depth: int,
) -> pb.Snapshot:
    rules = desk.reader.rules(symbol)
    return pb.Snapshot(
        bids=side(bids),
        asks=side(asks),
        tick_size="" if rules is None else decimal_text(rules.tick_e8),
        step_size="" if rules is None else decimal_text(rules.step_e8),
        known=known_range(known_bid, known_ask),
        origin=origin_of(desk),
        depth=depth,
    )


def _told_to_one(message: pb.BookEvent | pb.TradeEvent, body: Body, desk: Desk, symbol: str) -> None:
    """What every kind of stream may be told."""
    match body:
        case Status(state, reason, detail):
            message.status.CopyFrom(pb.Status(state=state, reason=reason, detail=detail))
        case Skipped(count, from_seq, to_seq):
            message.skipped.CopyFrom(pb.Skipped(count=count, from_seq=from_seq, to_seq=to_seq))
        case Slow(waiting, limit):
            message.slow.CopyFrom(pb.Slow(waiting=waiting, limit=limit))
        case _:
            heard_ms = None if desk.books is None else desk.books.status(symbol).heard_ms
            message.heartbeat.CopyFrom(pb.Heartbeat(heard_ms=heard_ms))
