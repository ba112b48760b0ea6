"""A second market, made of a true one and a script: diffs, tickers and trades that agree with one another, ids closed up.

The base stream goes through a Stage event by event. A script acts on the stage at moments between: it puts a level of its own in
the place of the base's, withholds levels of the base, lets takers hit. Each change takes an update id, so everything after it
counts on by so much. Three rules keep what comes out a true stream:

- The diff at the end of a slot has every price that the base or the script touched, with its edited quantity. A quote of the base
  at a withheld price is one that goes as it comes: the price is told with quantity 0, as the exchange does, and keeps its ids.
- A ticker is told whenever the edited best differs from the one told last. Inside a slot the base is known by its touch only, and
  behind it stands the book of the last diff. Where that was not exact, one more ticker comes just before the diff.
- A base trade at a price that is not the edited best is done there instead. Of no level is more taken in a slot than was shown,
  unless a script wants to.

A script is a generator like a scene of the stand-in: it acts and yields the receive time (ns) at which it goes on.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from msgspec import structs

from bench.injection.plain import ASK, BID, SIDES, PlainBook, worse
from bench.injection.source import WAY_NS, Event
from leadline.core.records import BestQuote, DepthUpdate, Level, Trade

MS = 1_000_000

Place = tuple[int, int]
"""(side, price_e8)"""


class Withheld(NamedTuple):
    """Levels of the base that are not there: on each side those from the touch to its limit, both included, if chosen.

    limits: from the base's mid2 to (lowest bid, highest ask); None: that side is whole. chosen None: all.
    """

    limits: Callable[[int], tuple[int | None, int | None]]
    chosen: Callable[[int, int], bool] | None = None


class Stage:
    """The edited market. Without own levels and a rule it is the base, ids counted on."""

    def __init__(self, book: PlainBook, quote: BestQuote, trade: Trade, *, tick_e8: int, lot_e8: int) -> None:
        """book, quote, trade: what the base has told so far; the book becomes the stage's. All ids up to here are the base's."""
        self.book = book
        self.tick_e8, self.lot_e8 = tick_e8, lot_e8
        self.now_ns = quote.ts_recv_ns
        self.symbol = quote.symbol
        self.own: dict[Place, int] = {}
        self._rule: Withheld | None = None
        self._limits: tuple[int | None, int | None] = (None, None)
        self._hidden: set[Place] = set()  # of the last diff's book
        self._touched: set[Place] = set()  # by the script, since the last diff
        self._taken: dict[Place, int] = {}  # more than the base's takers did, since the last diff
        self._touch = _touch(quote)
        self._told = self._touch
        self._told_id = quote.update_id
        self._at = max(book.last_id, quote.update_id)  # newest id of the base
        self._next = book.last_id + 1  # first id of the next diff
        self._trade = trade
        self._ids = self._aggregates = self._fills = 0  # put in so far
        self.out: list[Event] = []

    # What a script may ask and do ------------------------------------------------------

    @property
    def base_mid2(self) -> int:
        """Best bid plus best ask of the base, by its last ticker."""
        return self._touch[BID][0] + self._touch[ASK][0]

    def base_best(self, side: int) -> int:
        """Best price of the base, by its last ticker."""
        return self._touch[side][0]

    def shown(self, side: int, price: int) -> int:
        """Quantity at a price; 0: no level."""
        own = self.own.get((side, price))
        if own is not None:
            return own
        return 0 if self._hides(side, price) else self._base_quantity(side, price)

    def best(self, side: int) -> Level:
        """Best price and quantity of a side."""
        level = next(self._levels(side), None)
        assert level is not None, "a side of the edited market is empty"
        return level

    def on_grid(self, side: int, price: float) -> int:
        """The price on the grid that is nearest, away from the touch."""
        tick = self.tick_e8
        return int(price // tick) * tick if side == BID else -int(-price // tick) * tick

    def put(self, side: int, price: int, quantity: int | None) -> None:
        """A level of the script's own, whatever the base has there; 0: none is shown. None: as the base has it."""
        before = self.shown(side, price)
        if quantity is None:
            self.own.pop((side, price), None)
        else:
            self.own[side, price] = quantity
        if self.shown(side, price) != before:
            self._ids += 1
            self._touched.add((side, price))
            if not worse(side, price, self._told[side][0]):
                self._tell(self._at, self.now_ns)

    def withhold(self, rule: Withheld | None) -> None:
        """From now on these levels are not there; None: all are again."""
        self._rule = rule
        self._look()
        hidden = self._hidden_now()
        changed = hidden ^ self._hidden
        self._hidden = hidden
        self._touched |= changed
        self._ids += len(changed)
        self._tell(self._at, self.now_ns)

    def fill(self, side: int, price: int, quantity: int) -> None:
        """A taker's trade with a level of that side, as one fill; the level is the script's affair."""
        self._aggregates += 1
        self._fills += 1
        newest = self._trade
        last = newest.last_id + self._fills
        traded_ns = (self.now_ns - WAY_NS) // MS * MS
        self.out.append(
            Trade(
                self.symbol,
                newest.agg_id + self._aggregates,
                price,
                quantity,
                last,
                last,
                traded_ns,
                side == BID,
                traded_ns,
                self.now_ns,
            )
        )

    def take(self, side: int, quantity: int) -> int:
        """A taker hits the best level of a side, which is refilled at once; it leaves a lot at least, and what was taken of it
        since the last diff. Returns what it got."""
        price, shown = self.best(side)
        before = self._taken.get((side, price), 0)
        taken = min(quantity, shown - before - self.lot_e8) // self.lot_e8 * self.lot_e8
        if taken <= 0:
            return 0
        self._taken[side, price] = before + taken
        held = self.own.get((side, price))
        self.fill(side, price, taken)
        self.put(side, price, shown - taken)
        self.put(side, price, held)
        return taken

    # The base goes through -------------------------------------------------------------

    def base(self, event: Event) -> None:
        """One event of the true stream; what is received instead is appended to `out`."""
        match event:
            case DepthUpdate():
                self._diff(event)
            case BestQuote():
                self._quote(event)
            case Trade():
                self._traded(event)

    def _diff(self, diff: DepthUpdate) -> None:
        self.book.apply(diff)
        self._at = diff.last_id
        levels: tuple[tuple[Level, ...], tuple[Level, ...]] = (diff.bids, diff.asks)
        if self._altered or self._touched:
            hidden = self._hidden_now()
            told = {(side, price) for side in SIDES for price, _ in levels[side]}
            moved = (hidden ^ self._hidden) - told  # the limits went over them
            self._ids += len(moved - self._touched)
            self._hidden = hidden
            places = told | moved | self._touched
            levels = (self._entries(places, BID), self._entries(places, ASK))
            self._tell(diff.last_id, diff.ts_recv_ns)
        last_id = diff.last_id + self._ids
        self.out.append(
            DepthUpdate(diff.symbol, self._next, last_id, diff.ts_event_ns, diff.ts_recv_ns, *levels) if self._ids else diff
        )
        self._next = last_id + 1
        self._touched.clear()
        self._taken.clear()

    def _entries(self, places: set[Place], side: int) -> tuple[Level, ...]:
        prices = sorted((price for s, price in places if s == side), reverse=side == BID)
        return tuple([(price, self.shown(side, price)) for price in prices])

    def _quote(self, quote: BestQuote) -> None:
        self._at = quote.update_id
        self._touch = _touch(quote)
        if self._altered:
            self._look()
            self._tell(quote.update_id, quote.ts_recv_ns, even_if_told=self._touch == (self.best(BID), self.best(ASK)))
            return
        self._told, self._told_id = self._touch, quote.update_id + self._ids
        self.out.append(structs.replace(quote, update_id=self._told_id) if self._ids else quote)

    def _traded(self, trade: Trade) -> None:
        self._trade = trade
        price, quantity = trade.price_e8, trade.quantity_e8
        side = BID if trade.buyer_is_maker else ASK
        if self._altered and (self.best(side) != self._touch[side] or (side, price) in self._taken):
            price, quantity = self._moved(side, quantity)
        if self._aggregates or (price, quantity) != (trade.price_e8, trade.quantity_e8):
            trade = structs.replace(
                trade,
                agg_id=trade.agg_id + self._aggregates,
                price_e8=price,
                quantity_e8=quantity,
                first_id=trade.first_id + self._fills,
                last_id=trade.last_id + self._fills,
            )
        self.out.append(trade)

    def _moved(self, side: int, quantity: int) -> Level:
        """Where a taker of the base ends up in the edited market, and with how much."""
        for price, shown in self._levels(side):
            left = shown - self._taken.get((side, price), 0)
            if left > 0:
                taken = min(left, quantity)
                self._taken[side, price] = self._taken.get((side, price), 0) + taken
                return price, taken
        raise AssertionError("a side of the edited market is taken whole")

    # Inside ----------------------------------------------------------------------------

    @property
    def _altered(self) -> bool:
        return bool(self.own) or self._rule is not None

    def _tell(self, base_id: int, recv_ns: int, *, even_if_told: bool = False) -> None:
        """A ticker, if the best is another now; one id more where its own is taken."""
        best = self.best(BID), self.best(ASK)
        if best == self._told and not even_if_told:
            return
        if base_id + self._ids <= self._told_id:
            self._ids += 1
        assert best[BID][0] < best[ASK][0], "the script crossed the market"
        self._told, self._told_id = best, base_id + self._ids
        self.out.append(BestQuote(self.symbol, self._told_id, *best[BID], *best[ASK], recv_ns))

    def _levels(self, side: int) -> Iterator[Level]:
        """What is shown of a side, best first."""
        own = sorted(
            ((p, q) for (s, p), q in self.own.items() if s == side and q), reverse=side == ASK
        )  # the best comes last, to be popped
        for price, quantity in self._base_levels(side):
            while own and worse(side, price, own[-1][0]):
                yield own.pop()
            if (side, price) not in self.own:
                yield price, quantity
        yield from reversed(own)

    def _base_levels(self, side: int) -> Iterator[Level]:
        """What the base has of a side and is not withheld."""
        touch, quantity = self._touch[side]
        if not quantity:
            return
        if not self._hides(side, touch):
            yield touch, quantity
        beyond, limit = touch, self._limits[side]
        if limit is not None and self._rule is not None and self._rule.chosen is None and worse(side, limit, touch):
            beyond = limit
        held = self.book.quantities[side]
        for price in self.book.outward(side, beyond):
            if not self._hides(side, price):
                yield price, held[price]

    def _base_quantity(self, side: int, price: int) -> int:
        touch, quantity = self._touch[side]
        if price == touch:
            return quantity
        return self.book.quantities[side].get(price, 0) if worse(side, price, touch) else 0

    def _look(self) -> None:
        """The limits follow the base's mid."""
        self._limits = (None, None) if self._rule is None else self._rule.limits(self.base_mid2)

    def _hides(self, side: int, price: int) -> bool:
        limit = self._limits[side]
        if limit is None or self._rule is None or worse(side, price, limit):
            return False
        return self._rule.chosen is None or self._rule.chosen(side, price)

    def _hidden_now(self) -> set[Place]:
        sides = [(side, limit) for side, limit in zip(SIDES, self._limits, strict=True) if limit is not None]
        return {(side, price) for side, limit in sides for price in self.book.within(side, limit) if self._hides(side, price)}


def _touch(quote: BestQuote) -> tuple[Level, Level]:
    return (quote.bid_price_e8, quote.bid_quantity_e8), (quote.ask_price_e8, quote.ask_quantity_e8)


def woven(events: Iterable[Event], stage: Stage, script: Iterator[int]) -> Iterator[Event]:
    """What is received of the edited market. Where a step and an event have one stamp, the step goes first."""
    due = next(script, None)
    for event in events:
        while due is not None and due <= event.ts_recv_ns:
            stage.now_ns = due
            due = next(script, None)
            assert due is None or due >= stage.now_ns, "a script goes on, not back"
        stage.now_ns = event.ts_recv_ns
        stage.base(event)
        yield from stage.out
        stage.out.clear()
