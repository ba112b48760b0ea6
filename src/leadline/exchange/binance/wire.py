"""Binance's words to our records: each message is decoded once, in one pass, exactly, or refused whole.

The only file that knows the field names of the exchange. What a message is, its *stream name* says (a partial depth and a
diff look alike); only a frame without a name is told by its `e`. Times come in ms or us and are told apart by size.
Source: Binance web-socket-streams.md and rest-api.md, 2026-07-21 (docs/exchange.md).
"""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, Generic, NoReturn, TypeVar
from urllib.parse import urlsplit

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from leadline.core import units
from leadline.core.errors import Malformed
from leadline.core.records import BestQuote, DepthSnapshot, DepthUpdate, Level, SymbolRules, Trade

_T = TypeVar("_T")

# Records that stay in this room --------------------------------------------------


class RawTrade(Struct, frozen=True, gc=False):
    """One fill (stream `trade`); an aggregate trade is one or more of them. buyer_is_maker true means the taker sold."""

    symbol: str
    trade_id: int
    price_e8: int
    quantity_e8: int
    ts_trade_ns: int
    buyer_is_maker: bool
    ts_event_ns: int
    ts_recv_ns: int


class Control(Struct, frozen=True, gc=False):
    """The answer to a message of ours. error_code None = accepted (for SUBSCRIBE: acknowledged, no proof of data)."""

    id: int | str | None
    result: Any
    error_code: int | None
    error_message: str
    ts_recv_ns: int


class ServerShutdown(Struct, frozen=True, gc=False):
    """The server is about to leave, without a promised lead time: open the successor now."""

    ts_event_ns: int
    ts_recv_ns: int


class ExchangeInfo(Struct, frozen=True):
    """What is listed, and what an address may ask for. A limit the answer does not name is None."""

    rules: dict[str, SymbolRules]
    weight_limit_per_minute: int | None
    raw_limit: int | None
    raw_interval_s: int | None
    server_time_ns: int


Message = DepthUpdate | BestQuote | Trade | RawTrade | Control | ServerShutdown

# Frames ----------------------------------------------------------------------------


class FrameDecoder:
    """Frames of any number of combined or raw streams to records.

    unused: messages we know and have no use for; unknown: those we do not know. Both by stream suffix or event name.
    """

    def __init__(self) -> None:
        self.unused: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._routes: dict[bytes, _Route] = {}

    def decode(self, frame: bytes | str, ts_recv_ns: int) -> Message | None:
        """What one frame says; None if it is counted in `unused` or `unknown`. Raises Malformed with the field."""
        try:
            data = frame.encode() if isinstance(frame, str) else frame
            end = data.find(b'"', _NAME_AT)
            route = self._routes.get(data[_NAME_AT:end])
            if route is None or not data.startswith(_NAME_PREFIX):
                return self._general(data, ts_recv_ns)
            return self._combined(route, data, ts_recv_ns)
        except msgspec.DecodeError as error:
            _refuse(error)
        except (UnicodeError, RecursionError) as error:
            raise Malformed("frame", type(error).__name__) from error

    def _combined(self, route: "_Route", data: bytes, ts_recv_ns: int) -> Message | None:
        shape = route.shape
        if shape is None:
            _ANYTHING.decode(data)
            self._count(route.known, route.suffix)
            return None
        try:
            found = shape.combined.decode(data).data
        except msgspec.ValidationError:
            event = _EVENT_INSIDE.decode(data).data.e
            if event is UNSET or event in _SHAPE_OF_EVENT:
                raise
            self._count(event in _UNUSED_EVENTS, event)  # another name, another thing; what it may stand for, the ids miss
            return None
        return shape.make(found, ts_recv_ns, route)

    def _general(self, data: bytes, ts_recv_ns: int) -> Message | None:
        """The slow door: a stream's first frame, keys in another order, a raw payload, an answer to us."""
        envelope = _ENVELOPE.decode(data)
        if envelope.stream is not UNSET:
            return self._combined(self._remember(envelope.stream), data, ts_recv_ns)
        if envelope.e is not UNSET:
            return self._raw(envelope.e, data, ts_recv_ns)
        if envelope.event is not UNSET:
            return self._raw(_EVENT_NAME.decode(envelope.event).e, envelope.event, ts_recv_ns)
        if isinstance(envelope.error, _ErrorBody):
            return Control(envelope.id, None, envelope.error.code, envelope.error.msg, ts_recv_ns)
        if envelope.code is not UNSET:
            return Control(envelope.id, None, envelope.code, envelope.msg, ts_recv_ns)
        if envelope.result is not UNSET:
            return Control(envelope.id, envelope.result, None, "", ts_recv_ns)
        if envelope.B is not UNSET:
            return _best_quote(_QUOTE.raw.decode(data), ts_recv_ns, None)
        self._count(envelope.lastUpdateId is not UNSET, "depth" if envelope.lastUpdateId is not UNSET else "")
        return None

    def _raw(self, event: str, data: bytes | Raw, ts_recv_ns: int) -> Message | None:
        if shape := _SHAPE_OF_EVENT.get(event):
            return shape.make(shape.raw.decode(data), ts_recv_ns, None)
        self._count(event in _UNUSED_EVENTS, event)
        return None

    def _count(self, known: bool, name: str) -> None:
        counter = self.unused if known else self.unknown
        counter[name if name in counter or len(counter) < _NAMES_COUNTED else "others"] += 1

    def _remember(self, name: str) -> "_Route":
        if len(self._routes) >= _ROUTES_KEPT:
            self._routes.clear()
        route = self._routes[name.encode()] = _route(name)
        return route


def levels(pairs: bytes | Raw) -> tuple[Level, ...]:
    """The JSON array of one side, `[["price","quantity"],...]`, to exact integers of 1e-8.

    Raises msgspec.DecodeError for another shape, units.NotExact for a text that is no such number. The one place where
    levels are made, so that a compiled kernel can take it over.
    """
    text = bytes(pairs)
    if _PLAIN_LEVELS(text):
        if len(text) == 2:
            return ()
        digits = text.translate(None, b'[]".')
        if len(digits) < LONG_SIDE:
            numbers: Iterator[int] = map(int, digits.split(b","))
        else:
            numbers = iter(np.fromstring(digits, np.int64, sep=",").tolist())
        return tuple(zip(numbers, numbers, strict=True))
    return tuple([(units.fixed(price), units.fixed(quantity)) for price, quantity in _PAIRS.decode(text)])


# REST bodies ---------------------------------------------------------------------

_ROUND_COUNTS: Final = frozenset({5, 10, 20, 50, 100, 500, 1000, 5000})


def depth_snapshot(body: bytes, symbol: str, asked_limit: int) -> DepthSnapshot:
    """Answer of `GET /depth`. Raises Malformed.

    `limit` of the record is asked_limit, or the longer side's count if that is a round one: an answer may have come through
    something that caps it, and to assume that it was cut is the safe reading, since then the last price ends the known range.
    """
    answer = decoded(_SNAPSHOT, body)
    bids, asks = _side(answer.bids, "bids"), _side(answer.asks, "asks")
    longest = max(len(bids), len(asks))
    return DepthSnapshot(symbol, answer.lastUpdateId, bids, asks, longest if longest in _ROUND_COUNTS else asked_limit)


def agg_trades(body: bytes, symbol: str) -> list[Trade]:
    """Answer of `GET /aggTrades`, oldest first; the rows carry neither symbol nor event time. Raises Malformed."""
    return [
        Trade(
            symbol, row.a, _number(row.p, "p"), _number(row.q, "q"), row.f, _last(row.f, row.l, "l"), time_ns(row.T, "T"), row.m
        )
        for row in decoded(_AGG_TRADES, body)
    ]


def exchange_info(body: bytes) -> ExchangeInfo:
    """Answer of `GET /exchangeInfo`. tick_e8 or step_e8 of 0 = the rule is off. Raises Malformed."""
    answer = decoded(_EXCHANGE_INFO, body)
    now_ns = time_ns(answer.serverTime, "serverTime")
    weight_limit = raw_limit = raw_interval_s = None
    for limit in answer.rateLimits:
        seconds = _INTERVAL_S.get(limit.interval, 0) * limit.intervalNum
        if limit.rateLimitType == "REQUEST_WEIGHT" and seconds:
            per_minute = limit.limit * 60 // seconds
            weight_limit = per_minute if weight_limit is None else min(weight_limit, per_minute)
        elif limit.rateLimitType == "RAW_REQUESTS" and seconds:
            raw_limit, raw_interval_s = limit.limit, seconds
    rules = {row.symbol: _symbol_rules(row, now_ns // 1_000_000_000) for row in answer.symbols}
    return ExchangeInfo(rules, weight_limit, raw_limit, raw_interval_s, now_ns)


def server_time_ns(body: bytes) -> int:
    """Answer of `GET /time`. Raises Malformed."""
    return time_ns(decoded(_SERVER_TIME, body).serverTime, "serverTime")


def error_body(status: int, body: bytes) -> tuple[int | None, str]:
    """(code, message) of an answer that is an error; code None when the body is not the exchange's JSON (HTML, nothing)."""
    try:
        answer = _ERROR.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        text = html.unescape(_TAG.sub(" ", body[:2000].decode("utf-8", "replace")))
        words = " ".join(text.split())[:160]
        return None, f"not JSON: {words}" if words else f"no message (HTTP {status})"
    return answer.code, answer.msg[:300]


# What we say, and where it is born ------------------------------------------------

USED_WEIGHT_HEADER: Final = "X-MBX-USED-WEIGHT-1M"
STANDIN_HEADER: Final = "X-Standin"
STANDIN_LEVELS_HEADER: Final = "X-Standin-Levels"  # levels a side that a recording can know; the exchange has no such header
STREAM_SUFFIXES: Final = ("depth@100ms", "aggTrade", "bookTicker")


def subscribe(symbols: Iterable[str], suffixes: Sequence[str], id: int) -> str:
    """One SUBSCRIBE message for these streams of these symbols; small integer ids, since sister services refuse text."""
    params = [f"{symbol.lower()}@{suffix}" for symbol in symbols for suffix in suffixes]
    return msgspec.json.encode({"method": "SUBSCRIBE", "params": params, "id": id}).decode()


def origin(url: str, standin: str | None) -> str:
    """Where the data behind this address is born: the stand-in's own word if it gave one, else the exchange or the host."""
    host = urlsplit(url).hostname or ""
    return standin or ("binance.com" if _MIRROR.fullmatch(host) else host)


# Field by field ------------------------------------------------------------------


def _depth_update(data: "_DepthData", ts_recv_ns: int, route: "_Route | None") -> DepthUpdate:
    return DepthUpdate(
        _symbol(data.s, route),
        data.U,
        _last(data.U, data.u, "u"),
        time_ns(data.E, "E"),
        ts_recv_ns,
        _side(data.b, "b"),
        _side(data.a, "a"),
    )


def _best_quote(data: "_QuoteData", ts_recv_ns: int, route: "_Route | None") -> BestQuote:
    return BestQuote(
        _symbol(data.s, route),
        data.u,
        _number(data.b, "b"),
        _number(data.B, "B"),
        _number(data.a, "a"),
        _number(data.A, "A"),
        ts_recv_ns,
    )


def _trade(data: "_AggTradeData", ts_recv_ns: int, route: "_Route | None") -> Trade:
    return Trade(
        _symbol(data.s, route),
        data.a,
        _number(data.p, "p"),
        _number(data.q, "q"),
        data.f,
        _last(data.f, data.l, "l"),
        time_ns(data.T, "T"),
        data.m,
        time_ns(data.E, "E"),
        ts_recv_ns,
    )


def _raw_trade(data: "_TradeData", ts_recv_ns: int, route: "_Route | None") -> RawTrade:
    return RawTrade(
        _symbol(data.s, route),
        data.t,
        _number(data.p, "p"),
        _number(data.q, "q"),
        time_ns(data.T, "T"),
        data.m,
        time_ns(data.E, "E"),
        ts_recv_ns,
    )


def _server_shutdown(data: "_ShutdownData", ts_recv_ns: int, route: "_Route | None") -> ServerShutdown:
    return ServerShutdown(time_ns(data.E, "E"), ts_recv_ns)


def _symbol_rules(row: "_SymbolRow", since_s: int) -> SymbolRules:
    tick = step = "0"
    for rule in row.filters:
        if rule.filterType == "PRICE_FILTER":
            tick = rule.tickSize
        elif rule.filterType == "LOT_SIZE":
            step = rule.stepSize
    tick_e8, step_e8 = _number(tick, "tickSize"), _number(step, "stepSize")
    return SymbolRules(row.symbol, row.status, row.baseAsset, row.quoteAsset, tick_e8, step_e8, since_s)


def _symbol(given: str, route: "_Route | None") -> str:
    """The exchange's name, upper-cased once; it must be the one the stream name tells."""
    if route is None:
        return given.upper()
    if given != route.given:
        if given.lower() != route.stream_symbol:
            raise Malformed("s", f"{given[:40]!r} came on the stream of {route.stream_symbol[:40]!r}")
        route.given, route.symbol = given, given.upper()
    return route.symbol


def _side(pairs: Raw, field: str) -> tuple[Level, ...]:
    try:
        return levels(pairs)
    except (units.NotExact, msgspec.DecodeError) as error:
        raise Malformed(field, str(error)) from error


def _number(text: str, field: str) -> int:
    """units.fixed, with a short way for the text every recorded spot frame has: 8 decimals, and too short to overflow."""
    if 10 <= len(text) <= 19 and text[-9] == ".":
        digits = text[:-9] + text[-8:]
        if digits.isdecimal() and digits.isascii():  # int() alone would take signs, spaces, underscores, other scripts
            return int(digits)
    try:
        return units.fixed(text)
    except units.NotExact as error:
        raise Malformed(field, str(error)) from error


def time_ns(time: int, field: str) -> int:
    """Exchange time to ns: ms are near 1.7e12, us near 1.7e15. Raises Malformed."""
    if time < _US_FROM:
        return time * 1_000_000
    if time < _NS_FROM:
        return time * 1_000
    raise Malformed(field, f"neither milliseconds nor microseconds: {time}")


def _last(first: int, last: int, field: str) -> int:
    if last < first:
        raise Malformed(field, f"{last} is below the first id {first}")
    return last


def decoded(decoder: "msgspec.json.Decoder[_T]", body: bytes) -> "_T":
    """A REST body in its shape. Raises Malformed."""
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        _refuse(error)
    except (UnicodeError, RecursionError) as error:
        raise Malformed("body", type(error).__name__) from error


def _refuse(error: msgspec.DecodeError) -> NoReturn:
    """Malformed with the last name on the decoder's path ("- at `$.data.b[0][1]`" -> b), or `json` where it is no JSON."""
    text = str(error)
    names = _MISSING.findall(text) or _PATH_NAME.findall(text.rpartition("`$")[2])
    raise Malformed(names[-1] if names else "json", text) from error


# Names, shapes, decoders ---------------------------------------------------------------


class _Route:
    """What a stream name says: the shape of its messages (None: they are only counted) and their symbol."""

    __slots__ = ("given", "known", "shape", "stream_symbol", "suffix", "symbol")

    def __init__(self, shape: "_Shape | None", known: bool, stream_symbol: str, suffix: str) -> None:
        self.shape, self.known, self.stream_symbol, self.suffix = shape, known, stream_symbol, suffix
        self.given = self.symbol = ""  # set by the first message


def _route(name: str) -> _Route:
    symbol, _, suffix = name.partition("@")
    if name.startswith("!") or not suffix:
        return _Route(_SHUTDOWN if name == "!serverShutdown" else None, name in _UNUSED_ARRAYS, "", name)
    return _Route(_SHAPE_OF_SUFFIX.get(suffix), _UNUSED_SUFFIX.fullmatch(suffix) is not None, symbol, suffix)


_UNUSED_SUFFIX: Final = re.compile(
    r"depth(5|10|20)(@100ms|@1000ms)?|kline_\w+(@[+\d:]+)?|(mini)?[tT]icker(_\w+)?|avgPrice|referencePrice|blockTrade"
)
_UNUSED_ARRAYS: Final = frozenset({"!ticker@arr", "!miniTicker@arr", "!bookTicker"})
_UNUSED_EVENTS: Final = frozenset({"kline", "24hrTicker", "24hrMiniTicker", "avgPrice", "referencePrice", "blockTrade"})
# What every recorded spot frame looks like, and short enough for 64 bits; anything else takes the slow way.
_PLAIN_LEVELS: Final = re.compile(rb'\[(?:\["[0-9]{1,10}+\.[0-9]{8}","[0-9]{1,10}+\.[0-9]{8}"\],?)*+\]').fullmatch
_MIRROR: Final = re.compile(r"(stream|api|api-gcp|api[1-4])\.binance\.com|data-(stream|api)\.binance\.vision")
_NAME_PREFIX: Final = b'{"stream":"'
_NAME_AT: Final = len(_NAME_PREFIX)
_ROUTES_KEPT: Final = 8192  # streams of one connection: at most 1,024
LONG_SIDE: Final = 250  # bytes of digits from which parsing them together is quicker than one by one
_NAMES_COUNTED: Final = 256  # a counter is no place for whatever a stranger sends
_US_FROM: Final = 10**14
_NS_FROM: Final = 10**17
_INTERVAL_S: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86400}
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_PATH_NAME: Final = re.compile(r"\.(\w+)")
_TAG: Final = re.compile(r"<(style|script)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)

_Id = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_Time = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _DepthData(Struct, gc=False):
    E: _Time
    s: str
    U: _Id
    u: _Id
    b: Raw
    a: Raw


class _QuoteData(Struct, gc=False):
    u: _Id
    s: str
    b: str
    B: str
    a: str
    A: str


class _AggTradeData(Struct, gc=False):
    E: _Time
    s: str
    a: _Id
    p: str
    q: str
    f: _Id
    l: _Id  # noqa: E741 - the exchange's name
    T: _Time
    m: bool


class _TradeData(Struct, gc=False):
    E: _Time
    s: str
    t: _Id
    p: str
    q: str
    T: _Time
    m: bool


class _ShutdownData(Struct, gc=False):
    E: _Time


class _Combined(Struct, Generic[_T], gc=False):
    data: _T


class _Anything(Struct, gc=False):
    """An object; its fields are walked over, so that a broken one is still refused."""


class _EventName(Struct, gc=False):
    e: str


class _MaybeEventName(Struct, gc=False):
    e: str | UnsetType = UNSET


class _ErrorBody(Struct, gc=False):
    code: int
    msg: str = ""


class _Envelope(Struct, gc=False):
    stream: str | UnsetType = UNSET
    e: str | UnsetType = UNSET
    event: Raw | UnsetType = UNSET
    result: Any = UNSET
    error: _ErrorBody | UnsetType | None = UNSET
    code: int | UnsetType = UNSET
    msg: str = ""
    id: int | str | None = None
    lastUpdateId: Raw | UnsetType = UNSET
    B: Raw | UnsetType = UNSET


class _SnapshotBody(Struct, gc=False):
    lastUpdateId: _Id
    bids: Raw
    asks: Raw


class _AggTradeRow(Struct, gc=False):
    a: _Id
    p: str
    q: str
    f: _Id
    l: _Id  # noqa: E741 - the exchange's name
    T: _Time
    m: bool


class _Filter(Struct, gc=False):
    filterType: str
    tickSize: str = "0"
    stepSize: str = "0"


class _SymbolRow(Struct, gc=False):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter]


class _RateLimit(Struct, gc=False):
    rateLimitType: str
    interval: str
    intervalNum: int
    limit: int


class _ExchangeInfoBody(Struct, gc=False):
    symbols: list[_SymbolRow]
    rateLimits: list[_RateLimit] = []
    serverTime: _Time = 0


class _ServerTimeBody(Struct, gc=False):
    serverTime: _Time


class _Shape(Struct, frozen=True):
    """How one kind of message is read: inside `data`, bare, and into its record."""

    combined: msgspec.json.Decoder[Any]
    raw: msgspec.json.Decoder[Any]
    make: Callable[[Any, int, _Route | None], Message]


def _shape(data: type, make: Callable[[Any, int, _Route | None], Message]) -> _Shape:
    return _Shape(msgspec.json.Decoder(_Combined[data]), msgspec.json.Decoder(data), make)  # type: ignore[valid-type]


_DEPTH: Final = _shape(_DepthData, _depth_update)
_QUOTE: Final = _shape(_QuoteData, _best_quote)
_AGG_TRADE: Final = _shape(_AggTradeData, _trade)
_TRADE: Final = _shape(_TradeData, _raw_trade)
_SHUTDOWN: Final = _shape(_ShutdownData, _server_shutdown)
_SHAPE_OF_SUFFIX: Final = {
    "depth": _DEPTH,
    "depth@100ms": _DEPTH,
    "depth@1000ms": _DEPTH,
    "bookTicker": _QUOTE,
    "aggTrade": _AGG_TRADE,
    "trade": _TRADE,
}
_SHAPE_OF_EVENT: Final = {
    "depthUpdate": _DEPTH,
    "bookTicker": _QUOTE,
    "aggTrade": _AGG_TRADE,
    "trade": _TRADE,
    "serverShutdown": _SHUTDOWN,
}
_ANYTHING: Final = msgspec.json.Decoder(_Anything)
_EVENT_NAME: Final = msgspec.json.Decoder(_EventName)
_EVENT_INSIDE: Final = msgspec.json.Decoder(_Combined[_MaybeEventName])
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_PAIRS: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...])
_SNAPSHOT: Final = msgspec.json.Decoder(_SnapshotBody)
_AGG_TRADES: Final = msgspec.json.Decoder(list[_AggTradeRow])
_EXCHANGE_INFO: Final = msgspec.json.Decoder(_ExchangeInfoBody)
_SERVER_TIME: Final = msgspec.json.Decoder(_ServerTimeBody)
_ERROR: Final = msgspec.json.Decoder(_ErrorBody)
