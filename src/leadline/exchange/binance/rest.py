"""Binance over REST: market data only, each request paid for from the one weight budget, each failure with its own type.

Status first, body after: what refuses us is often not the exchange but something in front of it, and not JSON
(docs/exchange.md). What people ask comes last and never waits: recording needs the budget more, and a person can ask again.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from leadline.clock import Clock
from leadline.core.errors import ExchangeError, RateLimited, Rejected, UnknownSymbol, Unreachable
from leadline.core.records import DepthSnapshot, SymbolRules, Trade
from leadline.exchange.binance import answers, wire
from leadline.exchange.binance.answers import AveragePrice, Candle, DayFigures, Fill
from leadline.exchange.binance.limits import MINUTE_NS, Priority, WeightBudget, WeightWindow

DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))  # up to this limit: weight; rest-api.md, 2026-07
DEPTH_LIMIT_MAX = 5000  # more is cut to this
AGG_TRADES_WEIGHT = 4
AGG_TRADES_MAX = 1000
EXCHANGE_INFO_WEIGHT = 20
TIME_WEIGHT = 1
PING_WEIGHT = 1
DAY_WEIGHT = 2  # of one symbol
TRADES_WEIGHT = 25
KLINES_WEIGHT = 2
AVERAGE_WEIGHT = 2
QUESTION_SHARE = 0.5  # of the minute's budget: a question goes only as long as less is used
NEAR_MAX = 5
URL_MAX = 8000  # characters; seen by users of the exchange, not documented

RETRY_AFTER_S = {429: 60.0, 418: 120.0, 403: 300.0}  # where the answer names no time: a window, the shortest ban, ours
NOT_SERVED_HERE = (
    "this address is not served from this country or network; set another base address, "
    "such as the market-data-only https://data-api.binance.vision"
)
NO_SUCH_PATH = "no such path at this base address: a matter of configuration, not of the symbol"

_TOO_MANY_REQUESTS = -1003
_INVALID_SYMBOL = -1121
_ILLEGAL_CHARACTERS = -1100  # also where a name is not ASCII
_NO_SUCH_SYMBOL = frozenset({_INVALID_SYMBOL, _ILLEGAL_CHARACTERS})
_BANNED_UNTIL = re.compile(r"banned until (\d{13})\b")


def depth_weight(limit: int) -> int:
    """Request weight of `GET /depth`."""
    return next((weight for up_to, weight in DEPTH_WEIGHTS if limit <= up_to), DEPTH_WEIGHTS[-1][1])


class BinanceRest:
    """The REST side of one base address. Use as an async context manager, or call `close`.

    Every method may raise RateLimited, Rejected, Unreachable (each says whether to retry) and Malformed.
    """

    def __init__(
        self,
        base_url: str,
        budget: WeightBudget,
        clock: Clock,
        *,
        timeout_s: float = 10.0,
        new_session: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.budget = budget
        self._clock = clock
        self._timeout_s = timeout_s
        self._new_session = new_session
        self._session: aiohttp.ClientSession | None = None
        self._standin: str | None = None
        self._answered = False
        self._listed: dict[str, tuple[SymbolRules, int]] = {}  # what exchangeInfo last said of a symbol, and when (wall ns)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def depth(self, symbol: str, limit: int, priority: Priority) -> DepthSnapshot:
        """A snapshot of at most `limit` levels a side."""
        limit = min(limit, DEPTH_LIMIT_MAX)
        body, headers = await self._get("/api/v3/depth", {"symbol": symbol, "limit": str(limit)}, depth_weight(limit), priority)
        return _snapshot(body, headers, symbol, limit)

    async def agg_trades(
        self, symbol: str, from_id: int, limit: int = AGG_TRADES_MAX, priority: Priority = Priority.BACKFILL
    ) -> list[Trade]:
        """Aggregate trades from id `from_id` on, oldest first, at most `limit`. The newest ids may not be there yet."""
        query = {"symbol": symbol, "fromId": str(from_id), "limit": str(min(limit, AGG_TRADES_MAX))}
        body, _ = await self._get("/api/v3/aggTrades", query, AGG_TRADES_WEIGHT, priority)
        return wire.agg_trades(body, symbol)

    async def exchange_info(
        self, symbols: Sequence[str] | None = None, priority: Priority = Priority.START, *, patient: bool = True
    ) -> wire.ExchangeInfo:
        """Rules of these symbols, or of all; limits of the address, of which the weight is obeyed from now on.

        One unknown symbol refuses all: Rejected, code -1121.
        """
        query = {} if symbols is None else {"symbols": _json(symbols)}
        body, _ = await self._get("/api/v3/exchangeInfo", query, EXCHANGE_INFO_WEIGHT, priority, patient=patient)
        info = wire.exchange_info(body)
        if info.weight_limit_per_minute:
            self.budget.limit_per_minute = info.weight_limit_per_minute
        now_ns = self._clock.wall_ns()
        if symbols is None:
            self._listed.clear()
        self._listed.update((symbol, (rules, now_ns)) for symbol, rules in info.rules.items())
        return info

    async def rules(self, symbols: Sequence[str], priority: Priority, *, patient: bool = True) -> dict[str, SymbolRules]:
        """What is listed of these symbols. Where their list is too long for an address, or refused for one, all are asked for."""
        listed: dict[str, SymbolRules] | None = None
        if len(f"{self.base_url}/api/v3/exchangeInfo?symbols={quote(_json(symbols), safe='')}") < URL_MAX:
            try:
                listed = (await self.exchange_info(symbols, priority, patient=patient)).rules
            except Rejected as error:
                if error.code not in _NO_SUCH_SYMBOL:
                    raise
                if error.code == _INVALID_SYMBOL and len(symbols) == 1:
                    self._listed.pop(symbols[0], None)
                    return {}
        if listed is None:
            listed = (await self.exchange_info(None, priority, patient=patient)).rules
        return {symbol: listed[symbol] for symbol in symbols if symbol in listed}

    async def server_time_ms(self) -> int:
        """The exchange's clock."""
        body, _ = await self._get("/api/v3/time", {}, TIME_WEIGHT, Priority.START)
        return wire.server_time_ns(body) // 1_000_000

    async def origin(self) -> str:
        """Where this data is born: the stand-in's own word, `binance.com` for each of its mirrors, else the host."""
        if not self._answered:
            await self._get("/api/v3/ping", {}, PING_WEIGHT, Priority.START)
        return wire.origin(self.base_url, self._standin)

    # Questions of people: at the lowest priority, and refused with RateLimited instead of waiting. Raise UnknownSymbol.

    async def ticker(self, symbol: str) -> DayFigures:
        """The rolling 24 hours."""
        body, _ = await self._asked("/api/v3/ticker/24hr", DAY_WEIGHT, symbol)
        return answers.day_figures(body, symbol)

    async def orderbook(self, symbol: str, limit: int) -> DepthSnapshot:
        """At most `limit` levels a side, checked to be a book."""
        body, headers = await self._asked("/api/v3/depth", depth_weight(limit), symbol, limit=str(limit))
        return answers.sound(_snapshot(body, headers, symbol, limit), limit)

    async def recent_trades(self, symbol: str, limit: int) -> list[Fill]:
        """The latest, oldest first."""
        body, _ = await self._asked("/api/v3/trades", TRADES_WEIGHT, symbol, limit=str(limit))
        return answers.fills(body, limit)

    async def klines(self, symbol: str, interval: str, limit: int, start_ms: int | None, end_ms: int | None) -> list[Candle]:
        """Candles that open in [start_ms, end_ms], oldest first: from start_ms on, or else the last `limit` of them."""
        bounds = {"startTime": start_ms, "endTime": end_ms}
        given = {name: str(value) for name, value in bounds.items() if value is not None}
        body, _ = await self._asked("/api/v3/klines", KLINES_WEIGHT, symbol, interval=interval, limit=str(limit), **given)
        return answers.candles(body, limit, start_ms, end_ms)

    async def average_price(self, symbol: str) -> AveragePrice:
        """Of the last minutes."""
        body, _ = await self._asked("/api/v3/avgPrice", AVERAGE_WEIGHT, symbol)
        return answers.average_price(body)

    async def listed(self, symbols: Sequence[str], fresh_s: float) -> dict[str, tuple[SymbolRules, int]]:
        """Rules of those that are listed, and when the exchange said so (wall ns): asked anew if one is older than fresh_s."""
        since_ns = self._clock.wall_ns() - round(fresh_s * 1e9)
        if not all(symbol in self._listed and self._listed[symbol][1] >= since_ns for symbol in symbols):
            await self.rules(symbols, Priority.LISTING, patient=False)
        return {symbol: self._listed[symbol] for symbol in symbols if symbol in self._listed}

    def near(self, symbol: str) -> list[str]:
        """Names like this one, of those that the exchange has told us; the closest first."""
        # Only those that begin alike: to compare with thousands would hold up the sockets for 20 ms.
        alike = [name for name in self._listed if name[:1] == symbol[:1]]
        return difflib.get_close_matches(symbol, alike, n=NEAR_MAX, cutoff=0.6)

    async def _asked(self, path: str, weight: int, symbol: str, **query: str) -> tuple[bytes, Mapping[str, str]]:
        try:
            return await self._get(path, {"symbol": symbol, **query}, weight, Priority.LISTING, patient=False)
        except Rejected as error:
            if error.code == _INVALID_SYMBOL or (error.code == _ILLEGAL_CHARACTERS and symbol not in self._listed):
                raise UnknownSymbol(symbol, self.near(symbol)) from error
            raise

    async def _get(
        self, path: str, query: dict[str, str], weight: int, priority: Priority, *, patient: bool = True
    ) -> tuple[bytes, Mapping[str, str]]:
        what = f"{urlsplit(self.base_url).netloc}{path}"  # never the query: messages end in logs
        if not patient:
            now_ns = self._clock.wall_ns()
            if wait_ns := question_wait_ns(self.budget.window, self.budget.waiting, weight, now_ns):
                raise RateLimited(wait_ns / 1e9, now_ns < self.budget.banned_until_ns)
        minute = await self.budget.acquire(weight, priority)
        if self._session is None:
            self._session = self._new_session()
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        try:
            async with self._session.get(self.base_url + path, params=query, timeout=timeout, allow_redirects=False) as response:
                body = await response.read()
        except TimeoutError as error:
            raise Unreachable(what, f"no answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(what, cause_of(error)) from error
        self.budget.observe(response.headers.get(wire.USED_WEIGHT_HEADER), minute)
        if response.status == HTTPStatus.OK:
            if body.lstrip()[:1] not in (b"{", b"["):
                raise Unreachable(what, wire.error_body(response.status, body)[1])
            self._answered, self._standin = True, response.headers.get(wire.STANDIN_HEADER)
            return body, response.headers
        raise self._refusal(what, response.status, response.headers, body)

    def _refusal(self, what: str, status: int, headers: Mapping[str, str], body: bytes) -> ExchangeError:
        code, message = wire.error_body(status, body)
        if status in RETRY_AFTER_S or code == _TOO_MANY_REQUESTS:
            now_ns = self._clock.wall_ns()
            wait_s = retry_after_s(status, headers.get("Retry-After"), message, now_ns)
            banned = status == HTTPStatus.IM_A_TEAPOT
            self.budget.stop_until(now_ns + round(wait_s * 1e9), banned)
            return RateLimited(wait_s, banned)
        if status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
            return Rejected(status, code, NOT_SERVED_HERE)
        if code is None and status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            return Rejected(status, code, f"{what}: {NO_SUCH_PATH}")
        if 300 <= status < 400:
            return Rejected(status, code, f"{what} sends us elsewhere: set the base address it means")
        if code is None and status < 500:
            return Unreachable(what, f"HTTP {status}, {message}")
        return Rejected(status, code, message)


def question_wait_ns(window: WeightWindow, waiting: int, weight: int, now_ns: int) -> int:
    """0 if a question of this weight may go now, else how long until it is worth asking again.

    waiting: callers of the budget that wait; whoever they are, they were there first. A question heavier than its share of the
    minute goes where nothing else has gone.
    """
    if wait_ns := window.wait_ns(weight, Priority.LISTING, now_ns):
        return wait_ns
    share = QUESTION_SHARE * window.limit_per_minute
    if not waiting and window.used + min(weight, share) <= share:
        return 0
    return MINUTE_NS - now_ns % MINUTE_NS


def retry_after_s(status: int, header: str | None, message: str, now_ns: int) -> float:
    """How long nothing may be asked: the longer of the header (seconds) and the time named in the text, else our own."""
    named = []
    if header is not None and header.isascii() and header.isdecimal():
        named.append(float(header))
    if match := _BANNED_UNTIL.search(message):
        named.append((int(match[1]) * 1_000_000 - now_ns) / 1e9)
    longest = max(named, default=0.0)
    return longest if longest > 0 else RETRY_AFTER_S.get(status, RETRY_AFTER_S[429])


def _snapshot(body: bytes, headers: Mapping[str, str], symbol: str, limit: int) -> DepthSnapshot:
    known = headers.get(wire.STANDIN_LEVELS_HEADER, "")
    return wire.depth_snapshot(body, symbol, min(limit, int(known)) if known.isdecimal() else limit)


def _json(names: Sequence[str]) -> str:
    return msgspec.json.encode(names).decode()


def cause_of(error: Exception) -> str:
    """Why a connection failed, without its address and query."""
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"the handshake was answered with HTTP {error.status}"
    if isinstance(error, aiohttp.InvalidURL):
        return "the address is not a valid URL"
    if isinstance(error, OSError) and error.errno:
        # Ours instead of asyncio's "Connect call failed"; name resolution has negative numbers and its own words.
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)
    return type(error).__name__
