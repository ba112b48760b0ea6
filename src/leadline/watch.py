"""`leadline watch`: one live book and its trades on a terminal, or the same as JSON lines for a pipe.

Where there is no live book its place is empty but for the reason; nothing old is left standing.
"""

import asyncio
import datetime
import re
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Protocol, TypeVar

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from leadline.client import AsyncClient, Book, Hole, Level, News, Trade, TradeNews
from leadline.client.records import LIVE, UNKNOWN
from leadline.clock import Clock, SystemClock
from leadline.core.errors import BookNotLive, InvalidRequest, Unreachable
from leadline.core.units import decimal_text

DEPTHS = (5, 20, 100, 1000)  # what can be followed (protos: BookRequest)
DRAW_S = 0.1  # between two pictures
START_S = 1.0  # between two looks at a service that is only starting
STARTING = "starting"

Item = TypeVar("Item")


class Face(Protocol):
    """Who is shown what comes: Screen, Lines."""

    def book(self, item: Book) -> None:
        """An item of the book."""
        ...

    def trades(self, item: TradeNews) -> None:
        """An item of the trades."""
        ...

    def draw(self) -> None:
        """It is time for a picture."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


async def run(
    stop: asyncio.Event,
    *,
    target: str,
    token: str,
    symbol: str,
    depth: int,
    for_s: float | None,
    form: str,
    clock: Clock | None = None,
) -> None:
    """Until `stop` is set or for_s seconds have passed. form: table or json. Raises LeadlineError, and OSError of its output."""
    clock = clock or SystemClock()
    symbol = symbol.strip().upper()
    view = next(one for one in DEPTHS if one >= depth)
    face: Face = Lines(depth) if form == "json" else Screen(symbol, depth)

    def starting() -> None:
        face.book(Book(symbol=symbol, news=News.STATUS, state="WAITING", reason=STARTING, depth=view))

    try:
        async with AsyncClient(target, token, clock=clock) as client, asyncio.TaskGroup() as tasks:
            books = _once_started(lambda: client.stream_book(symbol, view), starting, clock)
            trades = _once_started(lambda: client.stream_trades(symbol), lambda: None, clock)
            running = (
                tasks.create_task(_show(books, face.book), name="watch.book"),
                tasks.create_task(_show(trades, face.trades), name="watch.trades"),
                tasks.create_task(_draw(face, clock), name="watch.draw"),
            )
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), for_s)
            for task in running:
                task.cancel()
    except ExceptionGroup as group:
        raise _as_told(group.exceptions[0], target) from group  # the second stream, or line, fails as the first one did
    finally:
        face.close()


def target_of(url: str | None, bind: str) -> str:
    """Where the service is asked: the address given, else the setting. Raises InvalidRequest."""
    name, found = ("--url", url) if url is not None else ("grpc.bind", bind)
    if not re.fullmatch(r"[^/\s]+:\d+", found):
        raise InvalidRequest(name, repr(found), "HOST:PORT of the gRPC door, such as 127.0.0.1:50053")
    return found


async def _once_started(
    opened: Callable[[], AsyncGenerator[Item]], starting: Callable[[], None], clock: Clock
) -> AsyncIterator[Item]:
    """Items of a stream; a service that is only starting is waited for."""
    while True:
        try:
            async for item in opened():
                yield item
            return
        except BookNotLive as error:
            if error.reason != STARTING:
                raise
            starting()
            await clock.sleep_until(clock.monotonic() + START_S)


async def _show(items: AsyncIterator[Item], show: Callable[[Item], None]) -> None:
    async for item in items:
        show(item)


async def _draw(face: Face, clock: Clock) -> None:
    while True:
        face.draw()
        await clock.sleep_until(clock.monotonic() + DRAW_S)


def _as_told(error: Exception, target: str) -> Exception:
    """With what to do about it."""
    if isinstance(error, Unreachable) and error.what == target:
        return Unreachable(target, f"{error.cause}; is `leadline serve` running?")
    return error


# For a pipe ------------------------------------------------------------------


class Lines:
    """One JSON object a line for each item, as it comes. depth: levels a side."""

    def __init__(self, depth: int) -> None:
        self._depth = depth

    def book(self, item: Book) -> None:
        """Prices and quantities are exact decimal texts."""
        told = msgspec.to_builtins(item) | {"depth": self._depth}
        known = {"known_bid": _text(told.pop("known_bid_e8")), "known_ask": _text(told.pop("known_ask_e8"))}
        self._line("book", told | known | {"bids": self._levels(item.bids), "asks": self._levels(item.asks)})

    def trades(self, item: TradeNews) -> None:
        """As book."""
        self._line("trades", msgspec.to_builtins(item) | {"trades": [_trade(trade) for trade in item.trades]})

    def draw(self) -> None:
        """A line is written when there is something to write."""

    def close(self) -> None:
        """It is written already."""

    def _levels(self, levels: Sequence[Level]) -> list[tuple[str, str]]:
        return [(decimal_text(price), decimal_text(quantity)) for price, quantity in levels[: self._depth]]

    @staticmethod
    def _line(event: str, told: dict[str, Any]) -> None:
        sys.stdout.write(msgspec.json.encode({"event": event, **told}).decode() + "\n")
        sys.stdout.flush()


def _trade(trade: Trade) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(trade)
    del told["symbol"], told["buyer_is_maker"]
    exact = {"price": _text(told.pop("price_e8")), "quantity": _text(told.pop("quantity_e8"))}
    return told | exact | {"aggressor": trade.aggressor}


def _text(value_e8: int | None) -> str | None:
    return None if value_e8 is None else decimal_text(value_e8)


# For people ------------------------------------------------------------------

LINES_BESIDE = 5  # title, state, a blank, headings, and what stands between the sides
TRADES_MAX = 200  # more lines than a terminal has
WIDTH = 12  # of a number, at least, so that columns stand still
BORDER = " │ "
TRADE = "HH:MM:SS.mmm  sell "  # what a line says before price and quantity
STATES = {
    LIVE: ("LIVE", "bold green"),
    "STALE": ("RECOVERING", "bold yellow"),
    "WAITING": ("STARTING", "bold yellow"),
    "SYNCING": ("STARTING", "bold yellow"),
    "OFF": ("OFF", "bold red"),
    UNKNOWN: ("NOT HEARD", "bold red"),
}

Part = tuple[str, str]  # text, style
Steps = tuple[Decimal | None, Decimal | None]  # of prices and quantities; None: not known


class Screen:
    """The newest book and trades, drawn when it is time, on a terminal's other page; without one, once at the end."""

    def __init__(self, symbol: str, depth: int, console: Console | None = None) -> None:
        self._symbol, self._depth = symbol, depth
        self._console = console or Console(highlight=False)
        self._live = Live(console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        self._book: Book | None = None
        self._steps: Steps = (None, None)
        self._trades: deque[Trade | Hole] = deque(maxlen=TRADES_MAX)
        self._no_trades = ""
        self._drawn: Any = None
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal

    def book(self, item: Book) -> None:
        """It takes the place of the one before. Steps are told with a book only, and trades go on without one."""
        self._book = item
        if item.is_live:
            self._steps = (item.tick_size, item.step_size)

    def trades(self, item: TradeNews) -> None:
        """The newest first."""
        self._trades.extendleft((*item.holes, *item.trades))
        why = "the service is not heard" if item.state == UNKNOWN else item.reason
        self._no_trades = "" if item.state == LIVE else f"no trades: {why}"

    def draw(self) -> None:
        """Only what is not there yet: a picture that stands still costs nothing."""
        now = (self._book, self._trades[0] if self._trades else None, self._no_trades, self._console.size)
        if self._book is None or now == self._drawn or not self._is_live:
            return
        self._drawn = now
        if not self._live.is_started:
            self._live.start()
        self._live.update(self.picture(), refresh=True)

    def close(self) -> None:
        """The terminal is as it was."""
        if self._live.is_started:
            self._live.stop()
        elif self._book is not None and not self._is_live:
            self._console.print(self.picture())

    def picture(self) -> Group:
        """Fits the terminal. Where trades do not fit beside the ladder they are left out: a number that is cut is another one."""
        assert self._book is not None
        width, height = self._console.size
        rows = max(1, min(self._depth, (height - LINES_BESIDE) // 2))
        columns = _Columns(self._book, rows, self._steps)
        ladder = _ladder(self._book, rows, columns)
        if width >= columns.width + len(BORDER) + columns.trade_width:
            trades = [*_trade_lines(self._trades, self._no_trades, columns), *([("", "")] for _ in ladder)]
            ladder = [[*left, (BORDER, "dim"), *right] for left, right in zip(ladder, trades, strict=False)]
        found = [_title(self._book, self._symbol, width), _state(self._book, rows), [], *ladder]
        return Group(*(Text.assemble(*line, no_wrap=True, overflow="ellipsis") for line in found))


class _Columns:
    """How prices and quantities are written: decimals of the symbol's steps, all eight where those are not known, and more where
    a level needs them; as wide as the widest.
    """

    def __init__(self, book: Book, rows: int, steps: Steps) -> None:
        levels = (*book.asks[:rows], *book.bids[:rows])
        self._price_decimals = _decimals(steps[0], [price for price, _ in levels])
        self._quantity_decimals = _decimals(steps[1], [quantity for _, quantity in levels])
        self._price_width = max([WIDTH, *(len(_fixed(price, self._price_decimals)) for price, _ in levels)])
        self._quantity_width = max([WIDTH, *(len(_fixed(quantity, self._quantity_decimals)) for _, quantity in levels)])
        self.width = self._price_width + 2 + self._quantity_width
        self.trade_width = len(TRADE) + self.width

    def heading(self) -> str:
        """Over numbers."""
        return f"{'price':>{self._price_width}}  {'quantity':>{self._quantity_width}}"

    def numbers(self, price_e8: int, quantity_e8: int) -> str:
        """No digit is lost: one that has more decimals is written with them."""
        price, quantity = _fixed(price_e8, self._price_decimals), _fixed(quantity_e8, self._quantity_decimals)
        return f"{price:>{self._price_width}}  {quantity:>{self._quantity_width}}"


def _title(book: Book, symbol: str, width: int) -> list[Part]:
    word, style = STATES.get(book.state, (book.state, "bold red"))
    why = f"  {book.reason}" if book.is_live and book.reason else ""
    origin = f"{book.origin}, not real prices" if book.is_synthetic else book.origin
    gap = max(2, width - len(symbol) - 2 - len(word) - len(why) - len(origin))
    return [(symbol, "bold"), ("  ", ""), (word, style), (why, "yellow"), (" " * gap, ""), (origin, "dim")]


def _state(book: Book, rows: int) -> list[Part]:
    if not book.is_live:
        return [(": ".join(part for part in (book.reason, book.detail) if part), "yellow")]
    parts = [f"update {book.update_id}"]
    if book.exchange_time_ms is not None:
        parts.append(f"{_clock(book.exchange_time_ms)} UTC")
    parts.append(f"epoch {book.epoch}")
    if book.heard_ms is not None:
        parts.append(f"quiet, heard {book.heard_ms / 1000:.1f} s ago")
    if book.waiting:
        parts.append(f"behind by {book.waiting} changes")
    found = [("   ".join(parts), "dim")]
    if _is_partial(book, rows):
        found.append(("   outer levels may be missing", "yellow"))
    return found


def _is_partial(book: Book, rows: int) -> bool:
    """Some of these levels lie outside the known range, where only touched ones are known."""
    low, high = book.known_bid_e8, book.known_ask_e8
    return any(low is not None and price < low for price, _ in book.bids[:rows]) or any(
        high is not None and price > high for price, _ in book.asks[:rows]
    )


def _ladder(book: Book, rows: int, columns: _Columns) -> list[list[Part]]:
    """Headings, asks from above, what lies between, bids: the best two next to it, however few levels there are."""
    asks: list[list[Part]] = [[(columns.numbers(*level), "red")] for level in book.asks[:rows]]
    bids: list[list[Part]] = [[(columns.numbers(*level), "green")] for level in book.bids[:rows]]
    blank: list[Part] = [(" " * columns.width, "")]
    above = [blank] * (rows - len(asks)) + asks[::-1]
    below = bids + [blank] * (rows - len(bids))
    return [[(columns.heading(), "bold")], *above, [(f"{_between(book):^{columns.width}}", "yellow")], *below]


def _between(book: Book) -> str:
    if not book.is_live:
        return "no live book"
    return "one side is empty" if book.spread is None else f"spread {book.spread:f}"


def _trade_lines(trades: Iterable[Trade | Hole], none: str, columns: _Columns) -> list[list[Part]]:
    """Headings, then the newest first."""
    found: list[list[Part]] = [[(f"{'trade, UTC':<{len(TRADE)}}{columns.heading()}", "bold")]]
    if none:
        found.append([(none, "yellow")])
    for one in trades:
        if isinstance(one, Hole):
            which = f"trades {one.from_id} to {one.to_id} are missing" if one.to_id >= one.from_id else "fills are missing"
            found.append([(f"{which}: {one.why}", "yellow")])
        else:
            begins = f"{_clock(one.trade_time_ns // 10**6)}  {one.aggressor:<4} "
            style = "green" if one.aggressor == "buy" else "red"
            found.append([(begins + columns.numbers(one.price_e8, one.quantity_e8), style)])
    return found


def _decimals(step: Decimal | None, values_e8: Iterable[int]) -> int:
    texts = [f"{step:f}" if step is not None else "0.00000001", *map(decimal_text, values_e8)]
    return max(len(text.partition(".")[2]) for text in texts)


def _fixed(value_e8: int, decimals: int) -> str:
    whole, _, fraction = decimal_text(value_e8).partition(".")
    return f"{whole}.{fraction.ljust(decimals, '0')}" if fraction or decimals else whole


def _clock(ms: int) -> str:
    moment = datetime.datetime.fromtimestamp(ms // 1000, datetime.UTC)
    return f"{moment:%H:%M:%S}.{ms % 1000:03d}"
