"""What a client's script tells the judge: one JSON object a line, on the standard output that the script was started with.

Runs in the client's own environment, so only the standard library is used. Prices and quantities are written as text of whatever
the client gave (float, Decimal, text); the judge reads them as Decimal. The kinds of line:

    {"client": "ccxt", "version": "4.5.90", "shows": ["book", "ticker", "trade"]}                    first line
    {"snapshot": "BTCUSDT"}                                                   the client fetched a book by REST
    {"book": "BTCUSDT", "id": 50, "levels": 20, "bids": [["1.5","2"], ..], "asks": [..], "low": "1.1", "high": null}
    {"ticker": "BTCUSDT", "id": 51, "bid": ["1.5","2"], "ask": ["1.6", null]}          null: not shown by the client
    {"trade": "BTCUSDT", "id": 7, "price": "1.5", "qty": "2", "time_ms": 1, "buyer_is_maker": true}    id: `t` of @trade
    {"agg": "BTCUSDT", ..the same.., "first": 7, "last": 8}                        id: `a` of @aggTrade; first, last optional
    {"error": "what the client itself complained about"}

`levels` of a book: how many best levels a side are in the line; null: all it holds. `low` and `high`: bids below and asks above
are not known to the client, because its snapshot ended there or it cuts its book; null: no end. Nobody judges it there.
"""

import argparse
import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

BEST_LEVELS = 20  # a side, in most lines
WHOLE_EVERY = 50  # lines of one symbol: every so often the book is shown to its end
TICKER_EVERY = 20  # of one symbol: there are 100 a second, and a question for the truth costs the stand-in milliseconds

Levels = Sequence[Sequence[Any]]


class Arguments(NamedTuple):
    """What every script is called with; addresses without a slash at the end, `tls` empty where there is none."""

    rest: str
    ws: str
    tls: str
    symbols: list[str]
    seconds: float


def arguments() -> Arguments:
    """From the command line."""
    parser = argparse.ArgumentParser()
    for name in ("rest", "ws", "tls", "symbols"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--seconds", type=float, default=30.0)
    given = parser.parse_args()
    return Arguments(given.rest, given.ws, given.tls, given.symbols.split(","), given.seconds)


class Lines:
    """The writer; may be called from any thread."""

    def __init__(self, package: str, shows: Iterable[str]) -> None:
        """package: its name as installed. Standard output is the judge's from here on; libraries print to standard error."""
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str | None, str | None]] = {}
        self._count: Counter[tuple[str, str]] = Counter()
        self._write({"client": package, "version": version(package), "shows": list(shows)})

    def snapshot(self, symbol: str, bids: Levels, asks: Levels, limit: int) -> None:
        """A REST book: a side with `limit` levels is known down to its last price, a shorter one to its end."""
        low, high = (_text(side[-1][0]) if len(side) >= limit else None for side in (bids, asks))
        self._known[symbol] = low, high
        self._write({"snapshot": symbol})

    def narrowed(self, symbol: str, bids: Levels, asks: Levels, most: int) -> None:
        """The client throws away what lies behind its best `most` levels: from now on nothing there is known."""
        low, high = self._known.get(symbol, (None, None))
        if len(bids) >= most:
            low = max((price for price in (low, _text(bids[-1][0])) if price), key=float)
        if len(asks) >= most:
            high = min((price for price in (high, _text(asks[-1][0])) if price), key=float)
        self._known[symbol] = low, high

    def book(self, symbol: str, update_id: int, bids: Levels, asks: Levels) -> None:
        """A book after an event; all its levels, best first."""
        self._count["book", symbol] += 1
        levels = None if self._count["book", symbol] % WHOLE_EVERY == 0 else BEST_LEVELS
        low, high = self._known.get(symbol, (None, None))
        shown = [[[_text(value) for value in level[:2]] for level in side[:levels]] for side in (bids, asks)]
        line = {"book": symbol, "id": update_id, "levels": levels, "bids": shown[0], "asks": shown[1], "low": low, "high": high}
        self._write(line)

    def ticker(self, symbol: str, update_id: int, bid: Sequence[Any], ask: Sequence[Any]) -> None:
        """Best bid and ask as [price, quantity]; quantity None: the client does not show it."""
        self._count["ticker", symbol] += 1
        if self._count["ticker", symbol] % TICKER_EVERY == 1:
            self._write({"ticker": symbol, "id": update_id, "bid": [*map(_text, bid)], "ask": [*map(_text, ask)]})

    def trade(
        self, kind: str, symbol: str, trade_id: int, price: Any, qty: Any, time_ms: int, buyer_is_maker: bool, **more: int
    ) -> None:
        """kind: `trade` or `agg`; more: first and last trade id of an `agg`."""
        row = {"price": _text(price), "qty": _text(qty), "time_ms": time_ms, "buyer_is_maker": buyer_is_maker, **more}
        self._write({kind: symbol, "id": trade_id, **row})

    def error(self, text: object) -> None:
        """The client complains."""
        self._write({"error": str(text)[:300]})

    def listen(self, logger: str, level: int = logging.ERROR) -> None:
        """What this logger says at that level and above is a complaint: most clients report a gap only there."""
        logging.getLogger(logger).addHandler(_Complaints(self, level))

    def _write(self, line: dict[str, Any]) -> None:
        with self._lock:
            print(json.dumps(line, separators=(",", ":")), file=self._out, flush=True)


class _Complaints(logging.Handler):
    def __init__(self, lines: Lines, level: int) -> None:
        super().__init__(level)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.error(f"{record.levelname}: {record.getMessage()}")


def leave() -> None:
    """End at once: some clients leave threads behind that would wait for minutes."""
    sys.stderr.flush()
    os._exit(0)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
