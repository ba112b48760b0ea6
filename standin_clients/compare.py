"""What a client showed against what was so: pure functions, and the tally of one client. Prices and quantities are Decimals.

A truth is the answer of /_standin/truth/book: {"update_id": 50, "bids": {"1.5": "2"}, "asks": {..}}. A row of trades is one of
/api/v3/aggTrades: {"a", "p", "q", "f", "l", "T", "m"}.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

Line = dict[str, Any]
Truth = dict[str, Any]
Level = tuple[Decimal, Decimal]

KEPT_DIFFERENCES = 3  # sentences of a symbol and kind; all are counted
MIN_BOOKS_PER_S = 2.0  # per symbol, over a client's whole time; there are up to ten a second, and the slowest begins after 15 s


def book_difference(line: Line, truth: Truth) -> str | None:
    """The first level in which a shown book is not the truth at its id, or None.

    Both are cut where the client's knowledge ends, then to the levels that the line claims to show: a level that the client lacks
    is a difference as much as one too many.
    """
    if line["id"] != truth["update_id"]:
        return f"the truth is of {truth['update_id']}, not of {line['id']}"
    for side, end in (("bids", "low"), ("asks", "high")):
        worst = None if line[end] is None else Decimal(line[end])
        shown = _known([(Decimal(price), Decimal(qty)) for price, qty in line[side]], side, worst)[: line["levels"]]
        real = _known(_best_first(truth[side], side), side, worst)[: line["levels"]]
        if shown != real:
            same = (one == other for one, other in zip(shown, real, strict=False))
            at = next((at for at, equal in enumerate(same) if not equal), min(len(shown), len(real)))
            return f"{side} level {at + 1}: client {_level(shown, at)}, truth {_level(real, at)}"
    return None


def ticker_difference(line: Line, truth: Truth) -> str | None:
    """Best bid and ask at the ticker's own id; a quantity that the client does not show (null) is not judged."""
    if line["id"] != truth["update_id"]:
        return f"the truth is of {truth['update_id']}, not of {line['id']}"
    for name, side in (("bid", "bids"), ("ask", "asks")):
        price, qty = (None if text is None else Decimal(text) for text in line[name])
        real = _best_first(truth[side], side)[:1]
        if not real or real[0][0] != price or (qty is not None and real[0][1] != qty):
            return f"{name}: client {price} x {qty}, truth {_level(real, 0)}"
    return None


def trade_differences(lines: Sequence[Line], rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Trades of one kind and symbol, in the order shown, against the exchange's aggregates of that time.

    Each must be in an aggregate with its price, time and side; ids must go up by one; and where all fills of an aggregate were
    shown, their quantities must add up to its quantity.
    """
    last_id = None
    by_first = sorted(rows, key=lambda row: row["f"])
    firsts = [row["f"] for row in by_first]
    by_id = {row["a"]: row for row in rows}
    fills: dict[int, list[Decimal]] = defaultdict(list)
    for line in lines:
        kind = "agg" if "agg" in line else "trade"
        if last_id is not None and line["id"] != last_id + 1:
            yield f"{kind} {line['id']} after {last_id}"
        last_id = line["id"]
        row = by_id.get(line["id"]) if kind == "agg" else _row_with(line["id"], by_first, firsts)
        if row is None:
            yield f"{kind} {line['id']}: the exchange has none"
            continue
        real = (Decimal(row["p"]), row["T"], row["m"])
        if (Decimal(line["price"]), line["time_ms"], line["buyer_is_maker"]) != real:
            told = (line["price"], line["time_ms"], line["buyer_is_maker"])
            yield f"{kind} {line['id']}: client {told}, exchange {(row['p'], row['T'], row['m'])}"
        if kind == "trade":
            fills[row["a"]].append(Decimal(line["qty"]))
        elif Decimal(line["qty"]) != Decimal(row["q"]):
            yield f"agg {line['id']}: client {line['qty']}, exchange {row['q']}"
        elif (line.get("first", row["f"]), line.get("last", row["l"])) != (row["f"], row["l"]):
            yield f"agg {line['id']}: client has trades {line['first']}..{line['last']}, exchange {row['f']}..{row['l']}"
    for agg_id, quantities in fills.items():
        row = by_id[agg_id]
        if len(quantities) == row["l"] - row["f"] + 1 and sum(quantities) != Decimal(row["q"]):
            yield f"trades {row['f']}..{row['l']} add up to {sum(quantities)}, their aggregate is {row['q']}"


class Tally:
    """One client: what it showed, and what was wrong with it."""

    def __init__(self, symbols: Iterable[str], seconds: float) -> None:
        """seconds: how long the client ran."""
        self.client = self.version = ""
        self.shows: list[str] = []
        self.count: Counter[str] = Counter()  # book, ticker, trade, agg, snapshot
        self.resyncs = 0  # books that were shown, then begun anew
        self.differences = 0
        self.sentences: list[str] = []  # the first differences
        self.complaints: list[str] = []  # the client's own
        self.trades: dict[tuple[str, str], list[Line]] = defaultdict(list)  # by kind and symbol; judged when all are in
        self._symbols = tuple(symbols)
        self._seconds = seconds
        self._books: Counter[str] = Counter()
        self._topics: Counter[str] = Counter()
        self._seen: set[tuple[str, str]] = set()

    @property
    def connected(self) -> bool:
        """Did anything come over a stream."""
        return any(self.count[kind] for kind in ("book", "ticker", "trade", "agg"))

    @property
    def synchronised(self) -> bool:
        """Did it show a book of every symbol."""
        return all(self._books[symbol] for symbol in self._symbols)

    def take(self, line: Line, truth: Truth | None) -> None:
        """Judge a line; truth: the stand-in's book at the line's id (for book and ticker), None: it knows no such id."""
        if "client" in line:
            self.client, self.version, self.shows = line["client"], line["version"], line["shows"]
        elif "error" in line:
            self.complaints.append(line["error"])
        elif kind := next((kind for kind in ("snapshot", "book", "ticker", "trade", "agg") if kind in line), None):
            self.count[kind] += 1
            symbol = line[kind]
            self._seen.add(("trade" if kind == "agg" else kind, symbol))
            self.resyncs += kind == "snapshot" and self._books[symbol] > 0
            if kind in ("trade", "agg"):
                self.trades[kind, symbol].append(line)
            elif kind != "snapshot":
                self._books[symbol] += kind == "book"
                found = self._judge(line, truth, book_difference if kind == "book" else ticker_difference)
                if found:
                    self.add(f"{symbol} {kind}", f"at {line['id']}: {found}")
        else:
            self.add("a line", f"not understood: {str(line)[:80]}")

    def add(self, topic: str, sentence: str) -> None:
        """Count a difference."""
        self.differences += 1
        self._topics[topic] += 1
        if self._topics[topic] <= KEPT_DIFFERENCES:
            self.sentences.append(f"{topic} {sentence}")

    def failures(self) -> list[str]:
        """Why this client did not pass; empty: it passed."""
        why = []
        if not self.connected:
            why.append("not connected")
        for symbol in self._symbols:
            least = self._seconds * MIN_BOOKS_PER_S
            if self._books[symbol] < least:
                why.append(f"{self._books[symbol]} books of {symbol}, at least {least:.0f} were due")
            why += [f"no {kind} of {symbol}" for kind in self.shows if (kind, symbol) not in self._seen and kind != "book"]
        if self.resyncs:
            why.append(f"{self.resyncs} resyncs")
        if self.differences:
            why.append(f"{self.differences} differences")
        if self.complaints:
            why.append(f"{len(self.complaints)} complaints of the client's own")
        return why

    def _judge(self, line: Line, truth: Truth | None, difference: Any) -> str | None:
        if truth is None:
            return "the stand-in knows no such id"
        try:
            found: str | None = difference(line, truth)
        except (InvalidOperation, TypeError, ValueError) as error:
            return f"not a number: {error!r}"
        return found


def _best_first(side: Mapping[str, str], name: str) -> list[Level]:
    return sorted(((Decimal(price), Decimal(qty)) for price, qty in side.items()), reverse=name == "bids")


def _known(levels: list[Level], side: str, worst: Decimal | None) -> list[Level]:
    return [level for level in levels if worst is None or (level[0] >= worst if side == "bids" else level[0] <= worst)]


def _level(levels: Sequence[Level], at: int) -> str:
    return f"{levels[at][0]} x {levels[at][1]}" if at < len(levels) else "none"


def _row_with(trade_id: int, by_first: Sequence[Mapping[str, Any]], firsts: Sequence[int]) -> Mapping[str, Any] | None:
    at = bisect_right(firsts, trade_id) - 1
    return by_first[at] if at >= 0 and trade_id <= by_first[at]["l"] else None
