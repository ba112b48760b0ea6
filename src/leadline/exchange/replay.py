"""Recorded traffic as a source of records, in the order and with the stamps of the recording. No sockets, no clock.

Several files are one recording continued, or the parts of one (`.ws` and `.http`): they are merged by receive time. Captures
that carry `trade` instead of `aggTrade` are turned into aggregate trades: consecutive trade ids with equal T, price and side; `a`
counts from 1 in the recording, and the aggregate stands where the last of its fills stood.
"""

import gzip
import heapq
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from leadline.core import capture
from leadline.core.errors import CaptureError, Malformed
from leadline.core.records import DepthSnapshot, DepthUpdate, Disconnected, MarketEvent, SymbolRules, Trade
from leadline.exchange.binance import wire

ReplayEvent = MarketEvent | DepthSnapshot

_AGG_STREAM = re.compile(rb'"stream":"([^"]+)@aggTrade"')
_GZIP_MAGIC = b"\x1f\x8b"
QUEUE_MAX = 50_000  # events that may wait behind one open aggregate: half an hour of a busy symbol
CUT_LINE = "the file ends in the middle of a line"


class Recording:
    """One recording of one or more files. Raises CaptureError at once for a file that is no capture.

    errors: what was found wrong while `events` ran: a file that ends in the middle (what came before it counts).
    malformed: messages that were passed over.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.name = "+".join(sorted({capture.base_name(path.name) for path in self.paths}))
        self.bytes_total = 0
        self.bytes_read = 0
        self.first_recv_ns = 0
        self.malformed = 0
        self.errors: list[CaptureError] = []
        self._aggregated = {symbol for path in self.paths for symbol in self._scan(path)}

    @property
    def origin(self) -> str:
        """Where this data was born."""
        return f"replay:{self.name}"

    def events(self) -> Iterator[ReplayEvent]:
        """Everything the recording says, in order."""
        decoder = wire.FrameDecoder()
        trades = _Aggregator()
        newest: dict[int, dict[str, int]] = {}  # by file: the last id seen of each symbol
        for file, line in heapq.merge(*(self._lines(n, path) for n, path in enumerate(self.paths)), key=_by_time):
            seen = newest.setdefault(file, {})
            try:
                match line:
                    case capture.Frame():
                        message = decoder.decode(line.body, line.ts_recv_ns)
                        if isinstance(message, DepthUpdate):
                            seen[message.symbol] = message.last_id
                        if isinstance(message, wire.RawTrade):
                            if message.symbol in self._aggregated:
                                continue
                            trades.raw(message)
                        elif message is not None and not isinstance(message, wire.Control | wire.ServerShutdown):
                            trades.other(message)
                    case capture.Answer():
                        if snapshot := _snapshot(line, seen):
                            trades.other(snapshot)
                    case capture.Opened():
                        again = tuple(symbol for symbol in _symbols(line.url) if symbol in seen)
                        if again:
                            trades.other(Disconnected(again, "reconnected", line.ts_recv_ns))
            except Malformed:
                self.malformed += 1
            yield from trades.ready()
        yield from trades.flush()

    def _scan(self, path: Path) -> set[str]:
        """Look through the file once: is it a capture, and which symbols carry aggregate trades."""
        symbols: set[str] = set()
        first = True
        try:
            with _opened(path) as lines:
                for line in lines:
                    self.bytes_total += len(line)
                    if first and line.strip():
                        if (parsed := capture.parse(line)) is None:
                            continue
                        first = False
                        if not 0 < self.first_recv_ns < parsed.ts_recv_ns:
                            self.first_recv_ns = parsed.ts_recv_ns
                    if match := _AGG_STREAM.search(line[:200]):
                        symbols.add(match[1].decode().upper())
        except capture.NotACaptureLine as error:
            raise CaptureError(str(path), 1, f"not a capture: {error}") from error
        except (EOFError, zlib.error, gzip.BadGzipFile):
            if first:
                raise CaptureError(str(path), 1, "not a capture: damaged gzip") from None
        except OSError as error:
            raise CaptureError(str(path), 0, error.strerror or str(error)) from error
        if first:
            raise CaptureError(str(path), 1, "not a capture: no message in it")
        return symbols

    def _lines(self, file: int, path: Path) -> Iterator[tuple[int, capture.CaptureLine]]:
        """The lines of one file; a file that ends in the middle ends here, and is noted."""
        number = 0
        try:
            with _opened(path) as lines:
                for number, line in enumerate(lines, 1):
                    self.bytes_read += len(line)
                    parsed = self._parsed(path, number, line)
                    if parsed is not None:
                        yield file, parsed
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            self.errors.append(CaptureError(str(path), number + 1, f"the file ends in the middle: {error}"))

    def _parsed(self, path: Path, number: int, line: bytes) -> capture.CaptureLine | None:
        try:
            parsed = capture.parse(line)
            if line.endswith(b"\n") or _whole(parsed):
                return parsed
            self.errors.append(CaptureError(str(path), number, CUT_LINE))
            return None
        except capture.NotACaptureLine as error:
            if not line.endswith(b"\n"):
                self.errors.append(CaptureError(str(path), number, CUT_LINE))
            else:
                self.malformed += 1
                self.errors.append(CaptureError(str(path), number, str(error)))
            return None


class _Aggregator:
    """Events in order, with fills put together. Events behind an open aggregate wait until it is known to be whole."""

    def __init__(self) -> None:
        self._queue: deque[list[ReplayEvent | None]] = deque()  # a cell of None: the place of an aggregate that is still open
        self._open: dict[str, tuple[list[ReplayEvent | None], list[wire.RawTrade]]] = {}
        self._count: dict[str, int] = {}
        self._newest: dict[str, tuple[int, int]] = {}  # id and time of each symbol's newest fill

    def other(self, event: ReplayEvent) -> None:
        self._queue.append([event])

    def raw(self, trade: wire.RawTrade) -> None:
        newest_id, newest_ns = self._newest.get(trade.symbol, (-1, -1))
        if trade.trade_id <= newest_id and trade.ts_trade_ns <= newest_ns:
            return  # the same fill again: two files that overlap
        self._newest[trade.symbol] = trade.trade_id, trade.ts_trade_ns
        cell: list[ReplayEvent | None] = [None]
        held = self._open.get(trade.symbol)
        if held is not None:
            place, fills = held
            last = fills[-1]
            if (
                trade.trade_id == last.trade_id + 1
                and trade.ts_trade_ns == last.ts_trade_ns
                and trade.price_e8 == last.price_e8
                and trade.buyer_is_maker == last.buyer_is_maker
            ):
                place.clear()  # moves on to the newest fill's place
                self._open[trade.symbol] = (cell, [*fills, trade])
                self._queue.append(cell)
                return
            place[0] = self._aggregate(fills)
        self._open[trade.symbol] = (cell, [trade])
        self._queue.append(cell)

    def ready(self) -> Iterator[ReplayEvent]:
        queue = self._queue
        if len(queue) > QUEUE_MAX and queue[0] == [None]:  # a symbol that trades no more must not hold back the others
            self._close(next(symbol for symbol, (place, _) in self._open.items() if place is queue[0]))
        while queue and (not queue[0] or queue[0][0] is not None):
            yield from (event for event in queue.popleft() if event is not None)

    def flush(self) -> Iterator[ReplayEvent]:
        for symbol in list(self._open):
            self._close(symbol)
        yield from self.ready()

    def _close(self, symbol: str) -> None:
        place, fills = self._open.pop(symbol)
        place[0] = self._aggregate(fills)

    def _aggregate(self, fills: list[wire.RawTrade]) -> Trade:
        first, last = fills[0], fills[-1]
        agg_id = self._count[first.symbol] = self._count.get(first.symbol, 0) + 1
        return Trade(
            first.symbol,
            agg_id,
            first.price_e8,
            sum(fill.quantity_e8 for fill in fills),
            first.trade_id,
            last.trade_id,
            first.ts_trade_ns,
            first.buyer_is_maker,
            last.ts_event_ns,
            last.ts_recv_ns,
        )


def inferred_rules(snapshot: DepthSnapshot, since_s: int) -> SymbolRules:
    """Rules of a symbol whose recording holds no exchangeInfo.

    tick and step: the largest power of ten that divides every price, every quantity, of its first snapshot; marked as inferred.
    """
    levels = (*snapshot.bids, *snapshot.asks)
    tick = _power_of_ten([price for price, _ in levels])
    step = _power_of_ten([quantity for _, quantity in levels])
    return SymbolRules(snapshot.symbol, "TRADING", "", "", tick, step, since_s, inferred=True)


def _power_of_ten(values: Sequence[int]) -> int:
    power = 1
    while values and power < 10**18 and all(value % (power * 10) == 0 for value in values):
        power *= 10
    return power


def _snapshot(answer: capture.Answer, seen: dict[str, int]) -> DepthSnapshot | None:
    """The depth answer; a bare body names no symbol, so it belongs to the one of its file whose ids are nearest."""
    url = urlsplit(answer.url)
    if not url.path.endswith("/depth"):
        return None
    query = parse_qs(url.query)
    text = query.get("limit", ["100"])[0]
    if not text.isdecimal():
        raise Malformed("limit", f"not a number: {text[:40]!r}")
    limit = int(text)
    if "symbol" in query:
        return wire.depth_snapshot(answer.body, query["symbol"][0].upper(), limit)
    snapshot = wire.depth_snapshot(answer.body, "", limit)
    if not seen:
        raise Malformed("symbol", "a depth answer before any stream of its symbol")
    symbol = min(seen, key=lambda name: abs(seen[name] - snapshot.update_id))
    return wire.depth_snapshot(answer.body, symbol, limit)


def _whole(line: capture.CaptureLine | None) -> bool:
    """Whether the message of a last line without its newline is all there: a cut may fall behind an inner brace."""
    if isinstance(line, capture.Frame | capture.Answer):
        try:
            msgspec.json.decode(line.body)
        except msgspec.DecodeError:
            return False
    return True


def _symbols(url: str) -> list[str]:
    streams = parse_qs(urlsplit(url).query).get("streams", [""])[0].split("/")
    return sorted({unquote(stream).partition("@")[0].upper() for stream in streams if stream})


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic == _GZIP_MAGIC:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            yield file


def _by_time(item: tuple[int, capture.CaptureLine]) -> int:
    return item[1].ts_recv_ns
