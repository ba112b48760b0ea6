"""Streams that are worked out: slow and partial depth, candles, tickers, average price. Pure: asked at moments of virtual time.

They are made for what somebody listens to, out of what the source is asked, so that the source's own frames stay as they are.
The moments lie on a fixed grid of the source's time and do not depend on who listens since when: fast partial depth at every
100 ms; all else 100 ms after each whole second, when the last fills of the second have been told.
"""

import re
from collections.abc import Callable, Iterator

import msgspec

from leadline.standin import figures
from leadline.standin.source import Frame, Source, fixed, text
from leadline.standin.tape import INTERVALS_MS, Candle, candle_open, next_open

SECOND_NS = 1_000_000_000
FAST_NS = 100_000_000
AFTER_MS = 100  # the slow moments come this long after the whole second

_PARTIAL = re.compile(r"depth(5|10|20)(@100ms)?")
_INTERVALS = {*INTERVALS_MS, "1M"}

Make = Callable[[str], list[bytes]]


class Derived:
    """What is listened to, and how it is made. `hear` and `forget` say who listens; `tick` makes what is due."""

    def __init__(self, source: Source) -> None:
        """source: its own streams are left alone."""
        self._source = source
        self._listed: tuple[str, ...] = ()
        self._symbols: dict[str, str] = {}
        self._heard: dict[str, None] = {}
        self.restart()
        self._fast: dict[str, tuple[str, Make]] = {}  # stream -> (symbol, how)
        self._slow: dict[str, tuple[str, Make]] = {}

    def restart(self) -> None:
        """The source is back at its beginning."""
        self._ends: dict[str, int] = {}  # symbol -> u of its last depth frame at the last slow moment
        self._ends_before: dict[str, int] = {}
        self._told_ms: int | None = None  # the exchange's time at the last slow moment, less AFTER_MS
        self._told_before_ms: int | None = None
        self._even = False

    def hear(self, stream: str) -> None:
        """Somebody listens to it now. No effect for what the source sends itself, and for what nobody can send."""
        self._heard[stream] = None
        self._make_known(stream)

    def _make_known(self, stream: str) -> None:
        found = self._how(stream)
        if found is not None and not self._source.recorded(stream):
            (self._fast if stream.endswith("@100ms") else self._slow)[stream] = found

    def forget(self, stream: str) -> None:
        """Nobody listens to it any more."""
        self._heard.pop(stream, None)
        self._fast.pop(stream, None)
        self._slow.pop(stream, None)

    def next_ns(self, position_ns: int) -> int:
        """The next moment after that position."""
        slow = _next(position_ns - AFTER_MS * 1_000_000, SECOND_NS) + AFTER_MS * 1_000_000
        return min(slow, _next(position_ns, FAST_NS)) if self._fast else slow

    def tick(self, at_ns: int) -> list[Frame]:
        """What is due at that moment, which the source has reached."""
        frames: list[Frame] = []
        if self._source.symbols != self._listed:
            self._list()
        if at_ns % FAST_NS == 0:
            self._make(frames, at_ns, self._fast)
        if (at_ns - AFTER_MS * 1_000_000) % SECOND_NS == 0:
            self._even = at_ns // SECOND_NS % 2 == 0
            source = self._source
            # Of all symbols, so that a slot begins where it does for everybody, whoever begins to listen when.
            self._ends_before, self._ends = self._ends, {symbol: source.frame_end(symbol) for symbol in source.symbols}
            self._told_before_ms, self._told_ms = self._told_ms, source.server_time_ms() - AFTER_MS
            self._make(frames, at_ns, self._slow)
        return frames

    def _list(self) -> None:
        """Symbols have come or gone: so do their streams."""
        self._listed = self._source.symbols
        self._symbols = {symbol.lower(): symbol for symbol in self._listed}
        self._fast.clear()
        self._slow.clear()
        for stream in self._heard:
            self._make_known(stream)

    @staticmethod
    def _make(frames: list[Frame], at_ns: int, streams: dict[str, tuple[str, Make]]) -> None:
        for stream, (symbol, make) in streams.items():
            frames.extend(Frame(at_ns, stream, symbol, payload) for payload in make(symbol))

    def _how(self, stream: str) -> tuple[str, Make] | None:
        lower, _, kind = stream.partition("@")
        if self._source.symbols != self._listed:
            self._list()
        symbol = self._symbols.get(lower)
        if symbol is None:
            return None
        if partial := _PARTIAL.fullmatch(kind):
            # A recording knows its book where its frames end, and nowhere else.
            border = self._source.recorded(f"{lower}@depth@100ms")
            return symbol, lambda symbol: self._partial(symbol, int(partial[1]), border=border)
        name, _, interval = kind.partition("_")
        if name == "kline" and interval in _INTERVALS:
            return symbol, lambda symbol: list(self._klines(symbol, interval))
        simple = {"depth": self._merged, "ticker": self._ticker, "miniTicker": self._mini, "avgPrice": self._average}
        return (symbol, simple[kind]) if kind in simple else None

    # How each is made -----------------------------------------------------------

    def _merged(self, symbol: str) -> list[bytes]:
        """The slots since the last moment in one: the same ids, each price once."""
        end, before = self._ends[symbol], self._ends_before.get(symbol)
        said = self._source.diff(symbol, before + 1, end) if before is not None and before < end else None
        if said is None:
            return []
        bids = sorted(said.bids.items(), key=_price, reverse=True)
        asks = sorted(said.asks.items(), key=_price)
        return [self._encoded("depthUpdate", symbol, {"U": said.first_id, "u": said.last_id, "b": bids, "a": asks})]

    def _partial(self, symbol: str, levels: int, *, border: bool) -> list[bytes]:
        answer = self._source.depth(symbol, levels, place="border" if border else "now")
        return [answer.body] if answer else []

    def _klines(self, symbol: str, interval: str) -> Iterator[bytes]:
        """What closed since the last moment, and every other time the one that is open; of seconds only what closed."""
        told, before = self._told_ms, self._told_before_ms
        assert told is not None
        tape, now_ms = self._source.tape(symbol), told + AFTER_MS
        if not tape.last_price:
            return
        opening = candle_open(interval, told)
        if before is not None:
            closing = candle_open(interval, before)
            while closing < opening:
                following = next_open(interval, closing)
                yield self._kline(symbol, interval, tape.candle(closing, following - 1), closed=True)
                closing = following
        if interval != "1s" and self._even:
            opening = candle_open(interval, now_ms)
            yield self._kline(symbol, interval, tape.candle(opening, next_open(interval, opening) - 1), closed=False)

    def _kline(self, symbol: str, interval: str, candle: Candle, *, closed: bool) -> bytes:
        prices = (candle.open, candle.close, candle.high, candle.low, candle.volume)
        said: dict[str, object] = {"t": candle.open_ms, "T": candle.close_ms, "s": symbol, "i": interval}
        said |= {"f": candle.first_id, "L": candle.last_id}
        said |= {key: text(value) for key, value in zip("ochlv", prices, strict=True)}
        said |= {"n": candle.trades, "x": closed, "q": text(candle.quote)}
        said |= {"V": text(candle.taker_volume), "Q": text(candle.taker_quote), "B": "0"}
        return self._encoded("kline", symbol, {"k": said})

    def _ticker(self, symbol: str) -> list[bytes]:
        day = figures.day(self._source, symbol, quote=True)
        return [self._encoded("24hrTicker", symbol, dict(zip(figures.FULL_STREAM, day.values(), strict=True)))] if day else []

    def _mini(self, symbol: str) -> list[bytes]:
        day = figures.day(self._source, symbol, quote=False)
        said = {key: day[name] for key, name in figures.MINI_STREAM.items()} if day else {}
        return [self._encoded("24hrMiniTicker", symbol, said)] if said else []

    def _average(self, symbol: str) -> list[bytes]:
        tape = self._source.tape(symbol)
        if not tape.last_price:
            return []
        price = text(figures.average(tape, self._source.server_time_ms()))
        return [self._encoded("avgPrice", symbol, {"i": "5m", "w": price, "T": tape.last_us // 1000})]

    def _encoded(self, event: str, symbol: str, said: dict[str, object]) -> bytes:
        return msgspec.json.encode({"e": event, "E": self._source.server_time_ms(), "s": symbol, **said})


_TIMES = re.compile(rb'"([ETtOC])":(\d{13})(?=[,}])')
_TRADED = re.compile(rb'"([at])":(\d+),')


def in_microseconds(source: Source, frame: Frame, payload: bytes) -> bytes:
    """A payload with its times in us. Digits below the millisecond are the source's where it knows them, else zeros.

    payload: what is sent for the frame, which may be broken on purpose.
    """
    kind = frame.stream.partition("@")[2]
    below = 0
    if kind in ("trade", "aggTrade") and (found := _TRADED.search(payload)):
        number = int(found[2])
        tape = source.tape(frame.symbol)
        known = tape.time_us(agg_id=number) if kind == "aggTrade" else tape.time_us(fill_id=number)
        below = known % 1000 if known is not None else 0
    elif kind.startswith("depth@") and b'"E":%d,' % (frame.at_ns // 1_000_000) in payload[:64]:
        below = frame.at_ns // 1000 % 1000
    last = b"999" if kind.startswith("kline") else b"%03d" % below

    def longer(match: re.Match[bytes]) -> bytes:
        return b'"%b":%b%b' % (match[1], match[2], last if match[1] == b"T" else b"%03d" % below)

    return _TIMES.sub(longer, payload)


def _next(position_ns: int, period_ns: int) -> int:
    return (position_ns // period_ns + 1) * period_ns


def _price(level: tuple[str, str]) -> int:
    return fixed(level[0])
