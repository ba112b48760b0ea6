"""What a client can know of a stream, by dicts alone, and each contradiction in it. Shares no code with the instrument."""

from collections.abc import Iterable

from leadline.core.records import BestQuote, DepthUpdate, Trade


class Told:
    """The book as diffs tell it, and what is wrong with the stream."""

    def __init__(self, bids: dict[int, int], asks: dict[int, int]) -> None:
        self.bids, self.asks = dict(bids), dict(asks)
        self.wrong: list[str] = []
        self.ids = self.quotes = self.trades = self.compared = 0
        self._u: int | None = None
        self._quote: BestQuote | None = None
        self._trade: Trade | None = None

    def follow(self, events: Iterable) -> "Told":
        for event in events:
            match event:
                case DepthUpdate():
                    self._diff(event)
                case BestQuote():
                    self._ticker(event)
                case Trade():
                    self._sale(event)
        return self

    def _diff(self, diff: DepthUpdate) -> None:
        if self._u is not None and diff.first_id != self._u + 1:
            self.wrong.append(f"{diff.first_id} after {self._u}")
        self.ids += diff.last_id - diff.first_id + 1
        if len(diff.bids) + len(diff.asks) > diff.last_id - diff.first_id + 1:
            self.wrong.append(f"more entries than ids in {diff.first_id}..{diff.last_id}")
        for side, levels in ((self.bids, diff.bids), (self.asks, diff.asks)):
            if len({price for price, _ in levels}) != len(levels):
                self.wrong.append(f"a price twice in {diff.first_id}")
            for price, quantity in levels:
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self._u = diff.last_id
        best = self.best()
        if best[0] >= best[2]:
            self.wrong.append(f"crossed at {diff.last_id}")
        quote = self._quote
        if quote is not None:
            if quote.update_id > diff.last_id:
                self.wrong.append(f"ticker {quote.update_id} before its diff, which ends at {diff.last_id}")
            said = (quote.bid_price_e8, quote.bid_quantity_e8, quote.ask_price_e8, quote.ask_quantity_e8)
            self.compared += 1
            if said != best:
                self.wrong.append(f"at {diff.last_id} the book says {best}, the ticker {said}")

    def best(self) -> tuple[int, int, int, int]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]

    def _ticker(self, quote: BestQuote) -> None:
        self.quotes += 1
        if self._quote is not None and quote.update_id <= self._quote.update_id:
            self.wrong.append(f"ticker {quote.update_id} after {self._quote.update_id}")
        if self._u is not None and quote.update_id <= self._u:
            self.wrong.append(f"ticker {quote.update_id} after the diff that ends at {self._u}")
        if quote.bid_price_e8 >= quote.ask_price_e8:
            self.wrong.append(f"crossed ticker {quote.update_id}")
        self._quote = quote

    def _sale(self, trade: Trade) -> None:
        self.trades += 1
        last = self._trade
        if last is not None and (trade.agg_id != last.agg_id + 1 or trade.first_id != last.last_id + 1):
            self.wrong.append(f"trade {trade.agg_id} ({trade.first_id}) after {last.agg_id} ({last.last_id})")
        if trade.last_id < trade.first_id or trade.quantity_e8 <= 0:
            self.wrong.append(f"an empty trade {trade.agg_id}")
        self._trade = trade
