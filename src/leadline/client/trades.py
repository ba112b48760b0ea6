"""Messages to trades, without I/O: one symbol's tape as a client has it, checked at each message.

`seq` and `prev_seq` close up, and so do the aggregate ids: what is missing between two trades is told as a hole, whoever lost it.
"""

from collections.abc import Iterable

from msgspec import structs

from leadline.client.books import Broken, skipped_by, state_name
from leadline.client.records import LIVE, UNKNOWN, Hole, News, Trade, TradeNews
from leadline.serve.proto import market_data_pb2 as pb


class TradeTape:
    """One symbol's trades. It takes messages and gives items; a lost connection is told to it, and it knows where to go on."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.seq = 0  # of the last thing that was taken
        self._instance = ""
        self._state, self._reason = UNKNOWN, ""
        self._last: Trade | None = None
        self._why_gone = "not told by the service"
        self._skipped: int | None = 0
        self._opening = True
        self._resumes = False

    def begin(self) -> pb.Position | None:
        """A connection is made anew: where it is to go on. None: nowhere."""
        self._opening = True
        self._resumes = bool(self._instance)
        return pb.Position(instance=self._instance, symbol=self.symbol, seq=self.seq) if self._resumes else None

    def lost(self, reason: str) -> TradeNews:
        """The service is not heard."""
        return structs.replace(self._item(News.CONNECTION), state=UNKNOWN, reason=reason)

    def void(self) -> None:
        """Where it was is known no more."""
        self._instance = ""

    def take(self, event: pb.TradeEvent) -> TradeNews | None:
        """The next message. None: more is to come before there is something to say. Raises Broken."""
        try:
            return self._take(event)
        except Broken:
            self.void()
            raise

    # Inside ------------------------------------------------------------------

    def _take(self, event: pb.TradeEvent) -> TradeNews | None:
        body = event.WhichOneof("body")
        self._continues(event, body)
        self.seq, self._instance, self._opening = event.seq, event.instance, False
        match body:
            case "trades":
                return self._trades(event)
            case "missing":
                self._count(event, len(event.missing.holes))
                return self._holes([Hole(hole.from_id, hole.to_id, hole.why) for hole in event.missing.holes])
            case "status":
                self._state, self._reason = state_name(event.status.state), event.status.reason
                return self._item(News.STATUS)
            case "skipped":
                return self._skip(skipped_by(event))
            case "heartbeat":
                heard_ms = event.heartbeat.heard_ms if event.heartbeat.HasField("heard_ms") else None
                return structs.replace(self._item(News.QUIET), heard_ms=heard_ms)
            case "slow":
                return structs.replace(self._item(News.SLOW), waiting=event.slow.waiting)
            case _:
                return None  # something that later services say besides

    def _continues(self, event: pb.TradeEvent, body: str | None) -> None:
        """The numbers close up, and it is the same run."""
        if event.symbol != self.symbol:
            raise Broken(f"a message about {event.symbol!r}")
        if self._opening and not event.prev_seq:
            if body != "status":
                raise Broken(f"the first message is a {body}")
            if self._last is not None or self._resumes:
                self._skipped = None
                self._why_gone = "not received: the connection was lost"
            return
        if self._opening and not self._resumes:
            raise Broken(f"the first message has prev_seq {event.prev_seq}")
        if event.prev_seq != self.seq:
            raise Broken(f"prev_seq {event.prev_seq} behind seq {self.seq}")
        if event.instance != self._instance:
            raise Broken("another run of the service")
        if body in {"status", "heartbeat", "slow"}:
            self._count(event, 0)

    @staticmethod
    def _count(event: pb.TradeEvent, things: int) -> None:
        if event.seq - event.prev_seq != things:
            raise Broken(f"{things} things take {event.seq - event.prev_seq} numbers")

    def _trades(self, event: pb.TradeEvent) -> TradeNews:
        self._count(event, len(event.trades.trades))
        found = tuple(trades_of(self.symbol, event.trades.trades))
        holes: list[Hole] = []
        last = self._last
        for trade in found:
            if last is not None and trade.agg_id != last.agg_id + 1:
                grown = trade.agg_id > last.agg_id
                why = self._why_gone if grown else "the exchange's ids began anew"
                holes.append(Hole(last.agg_id + 1, trade.agg_id - 1 if grown else last.agg_id, why))
            last, self._why_gone = trade, "not told by the service"
        self._last = last
        self._state, self._reason = LIVE, ""
        return structs.replace(self._item(News.TRADES), trades=found, holes=tuple(holes))

    def _holes(self, holes: list[Hole]) -> TradeNews:
        """What was told to be missing is not told again with the next trade."""
        for hole in holes:
            if self._last is not None and hole.from_id == self._last.agg_id + 1 <= hole.to_id:
                self._last = structs.replace(self._last, agg_id=hole.to_id)
        return structs.replace(self._item(News.TRADES), holes=tuple(holes))

    def _skip(self, count: int) -> TradeNews:
        self._why_gone = "not received: this reader was too slow"
        if self._skipped is not None:
            self._skipped += count
        return self._item(News.SLOW)

    def _item(self, news: News) -> TradeNews:
        skipped, self._skipped = self._skipped, 0
        return TradeNews(
            symbol=self.symbol,
            news=news,
            state=self._state,
            reason=self._reason,
            instance=self._instance,
            seq=self.seq,
            skipped=skipped,
        )


def trades_of(symbol: str, trades: Iterable[pb.Trade], *, stored: bool = False) -> Iterable[Trade]:
    """As they were sent. stored: whether they were backfilled is not told of those."""
    for one in trades:
        yield Trade(
            symbol,
            one.agg_id,
            one.price_e8,
            one.quantity_e8,
            one.first_id,
            one.last_id,
            one.trade_time_ns,
            one.buyer_is_maker,
            None if stored else one.backfilled,
        )
