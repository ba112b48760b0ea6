"""Messages to books, without I/O: one symbol's view as a client has it, checked at each message.

`seq` and `prev_seq` close up, one run of the service and one epoch at a time; what is removed was there; best prices do not
cross. Whatever does not hold breaks the chain (Broken), and what was known is void: nothing is mended.
"""

from bisect import bisect_left
from decimal import Decimal
from itertools import pairwise
from typing import Any

from msgspec import structs

from leadline.client.records import UNKNOWN, Book, Level, News
from leadline.serve.proto import market_data_pb2 as pb


class Broken(Exception):
    """A message that does not continue what was there; its text says why."""


class BookCopy:
    """One symbol's view. It takes messages and gives items; a lost connection is told to it, and it knows where to go on."""

    def __init__(self, symbol: str, depth: int) -> None:
        self.symbol = symbol
        self.depth = depth
        self.seq = 0  # of the last message that was taken
        self._book: Book | None = None  # the last LIVE one, without its levels
        self._bids, self._asks = _Side(-1), _Side(1)
        self._instance = ""
        self._origin = ""
        self._skipped: int | None = 0
        self._opening = True
        self._resumes = False
        self._has_had = False

    def begin(self) -> pb.Position | None:
        """A connection is made anew: where it is to go on. None: nowhere."""
        self._opening = True
        self._resumes = self._book is not None
        if self._book is None:
            return None
        return pb.Position(instance=self._instance, symbol=self.symbol, depth=self.depth, epoch=self._book.epoch, seq=self.seq)

    def lost(self, reason: str) -> Book:
        """The service is not heard: no levels until it is, and from then on as if nothing had been, if that can be."""
        return self._item(Book(symbol=self.symbol, news=News.CONNECTION, state=UNKNOWN, reason=reason, depth=self.depth))

    def void(self) -> None:
        """What was known is known no more."""
        self._book = None

    def take(self, event: pb.BookEvent) -> Book | None:
        """The next message. None: more is to come before there is something to say. Raises Broken."""
        try:
            return self._take(event)
        except Broken:
            self.void()
            raise

    def anew(self, event: pb.BookEvent) -> Book:
        """A Snapshot, whatever was there before. Raises Broken."""
        found = event.snapshot
        self._bids.fill(found.bids)
        self._asks.fill(found.asks)
        self._instance, self._origin = event.instance, found.origin
        self._book = structs.replace(
            self._bare(event, News.BOOK),
            tick_size=Decimal(found.tick_size) if found.tick_size else None,
            step_size=Decimal(found.step_size) if found.step_size else None,
            **_known(found.known),
        )
        return self._checked(News.BOOK)

    # Inside ------------------------------------------------------------------

    def _take(self, event: pb.BookEvent) -> Book | None:
        body = event.WhichOneof("body")
        self._continues(event, body)
        self.seq, self._instance, self._opening = event.seq, event.instance, False
        match body:
            case "snapshot":
                if event.state != pb.LIVE:
                    raise Broken(f"a stream's book that is {state_name(event.state)}")
                return self.anew(event)
            case "diff":
                return self._changed(event)
            case "status":
                self.void()
                told = event.status
                state = state_name(told.state)
                return self._item(self._bare(event, News.STATUS, state=state, reason=told.reason, detail=told.detail))
            case "skipped":
                self.void()
                count = skipped_by(event)
                if self._skipped is not None:
                    self._skipped += count
                return None
            case "heartbeat":
                return self._quiet(event)
            case "slow":
                if self._book is None:
                    return self._item(self._bare(event, News.SLOW), waiting=event.slow.waiting)
                return self._item(self._with_levels(News.SLOW), waiting=event.slow.waiting)
            case _:
                return None  # something that later services say besides

    def _continues(self, event: pb.BookEvent, body: str | None) -> None:
        """The numbers close up, and it is the same run."""
        if event.symbol != self.symbol:
            raise Broken(f"a message about {event.symbol!r}")
        if self._opening and not event.prev_seq:
            if body not in {"snapshot", "status"}:
                raise Broken(f"the first message is a {body}")
            if self._has_had:
                self._skipped = None  # numbers of two openings cannot be compared
            self.void()
            self._has_had = True
            return
        if self._opening and not self._resumes:
            raise Broken(f"the first message has prev_seq {event.prev_seq}")
        if event.prev_seq != self.seq:
            raise Broken(f"prev_seq {event.prev_seq} behind seq {self.seq}")
        if event.instance != self._instance:
            raise Broken("another run of the service")
        step = event.seq - event.prev_seq
        allowed = {"diff": (1,), "snapshot": (0, 1), "status": (0, 1), "heartbeat": (0,), "slow": (0,)}.get(body or "")
        if (allowed is not None and step not in allowed) or step < 0:
            raise Broken(f"a {body} takes {step} numbers")

    def _changed(self, event: pb.BookEvent) -> Book:
        if self._book is None:
            raise Broken("a change of a book that is not there")
        if event.epoch != self._book.epoch or event.state != pb.LIVE:
            raise Broken(f"a change of a book that is {state_name(event.state)}, epoch {event.epoch}")
        diff = event.diff
        self._bids.change(diff.bids)
        self._asks.change(diff.asks)
        known = _known(diff.known) if diff.HasField("known") else {}
        self._book = structs.replace(self._book, **_marks(event), **known)
        return self._checked(News.CHANGE)

    def _checked(self, news: News) -> Book:
        bids, asks = self._bids.levels, self._asks.levels
        if max(len(bids), len(asks)) > self.depth:
            raise Broken(f"more than {self.depth} levels a side")
        if bids and asks and bids[0].price_e8 >= asks[0].price_e8:
            raise Broken("best prices cross")
        return self._item(self._with_levels(news))

    def _quiet(self, event: pb.BookEvent) -> Book:
        heard_ms = event.heartbeat.heard_ms if event.heartbeat.HasField("heard_ms") else None
        if self._book is None:
            return self._item(self._bare(event, News.QUIET), heard_ms=heard_ms)
        if event.state != pb.LIVE or event.epoch != self._book.epoch:
            raise Broken(f"nothing was said of a book that is {state_name(event.state)}, epoch {event.epoch}")
        # Updates that changed nothing in the view have no message of their own.
        self._book = structs.replace(self._book, **_marks(event))
        return self._item(self._with_levels(News.QUIET), heard_ms=heard_ms)

    # Items -------------------------------------------------------------------

    def _bare(self, event: pb.BookEvent, news: News, **told: Any) -> Book:
        """Without levels."""
        given = {"state": state_name(event.state), **_marks(event), **told}
        return Book(symbol=self.symbol, news=news, epoch=event.epoch, depth=self.depth, **given)

    def _with_levels(self, news: News) -> Book:
        assert self._book is not None
        return structs.replace(self._book, news=news, bids=tuple(self._bids.levels), asks=tuple(self._asks.levels))

    def _item(self, book: Book, **more: Any) -> Book:
        skipped, self._skipped = self._skipped, 0
        return structs.replace(book, instance=self._instance, seq=self.seq, origin=self._origin, skipped=skipped, **more)


class _Side:
    """Levels best first. sign: of the price, so that keys rise."""

    def __init__(self, sign: int) -> None:
        self.levels: list[Level] = []
        self._keys: list[int] = []
        self._sign = sign

    def fill(self, side: pb.Side) -> None:
        """From a snapshot. Raises Broken."""
        self.levels = list(levels_of(side, self._sign))
        self._keys = [self._sign * level.price_e8 for level in self.levels]

    def change(self, side: pb.Side) -> None:
        """By a diff. Raises Broken."""
        changes = dict(_pairs(side))
        if len(changes) != len(side.price_e8):
            raise Broken("a price that changes twice")
        for price, quantity in changes.items():
            key = self._sign * price
            at = bisect_left(self._keys, key)
            there = at < len(self._keys) and self._keys[at] == key
            if quantity > 0 and price > 0:
                if there:
                    self.levels[at] = Level(price, quantity)
                else:
                    self._keys.insert(at, key)
                    self.levels.insert(at, Level(price, quantity))
            elif there and quantity == 0:
                del self._keys[at], self.levels[at]
            else:
                raise Broken(f"a level is removed that is not there: {price}" if quantity == 0 else f"quantity {quantity}")


def levels_of(side: pb.Side, sign: int) -> tuple[Level, ...]:
    """Best first; sign: -1 for bids, so that what it is given with rises. Raises Broken for what is not that."""
    levels = tuple(Level(price, quantity) for price, quantity in _pairs(side))
    if any(sign * before.price_e8 >= sign * after.price_e8 for before, after in pairwise(levels)):
        raise Broken("levels that are not best first")
    if any(level.quantity_e8 <= 0 or level.price_e8 <= 0 for level in levels):
        raise Broken("a level without a price or a quantity")
    return levels


def _pairs(side: pb.Side) -> list[tuple[int, int]]:
    if len(side.price_e8) != len(side.quantity_e8):
        raise Broken("prices without quantities")
    return list(zip(side.price_e8, side.quantity_e8, strict=True))


def _known(known: pb.KnownRange) -> dict[str, int | None]:
    return {
        "known_bid_e8": known.bid_low_e8 if known.HasField("bid_low_e8") else None,
        "known_ask_e8": known.ask_high_e8 if known.HasField("ask_high_e8") else None,
    }


def _marks(event: pb.BookEvent) -> dict[str, Any]:
    """Where the book stands."""
    return {
        "reason": event.reason,
        "update_id": event.update_id,
        "exchange_time_ms": event.exchange_time_ms or None,
        "received_time_ms": event.received_time_ms or None,
    }


def state_name(number: int) -> str:
    """As the contract names it; UNKNOWN for one that it does not know."""
    return pb.State.Name(number) if number in pb.State.values() else UNKNOWN


def skipped_by(event: pb.BookEvent | pb.TradeEvent) -> int:
    """How much its Skipped says was dropped, which is all that lies between the two numbers. Raises Broken."""
    told = event.skipped
    if (told.from_seq, told.to_seq, told.count) != (event.prev_seq + 1, event.seq, event.seq - event.prev_seq):
        raise Broken(f"{told.count} skipped from {told.from_seq} to {told.to_seq}")
    return told.count


def book_now(event: pb.BookEvent) -> Book:
    """The one message of GetBook; STALE: the last good book. Raises Broken."""
    return BookCopy(event.symbol, event.snapshot.depth).anew(event)
