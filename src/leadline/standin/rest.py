"""The REST surface (docs/standin.md): which endpoint, what it weighs, headers, faults, and depth with its delay."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from aiohttp import web
from msgspec import structs

from leadline.clock import Clock
from leadline.standin.answers import Answers
from leadline.standin.faults import FaultRequest, Faults
from leadline.standin.limits import Budget, Charged, Limits
from leadline.standin.pace import Delays
from leadline.standin.pages import REASONS, html, local_address, page
from leadline.standin.params import ApiError, Params
from leadline.standin.player import Player
from leadline.standin.source import AggTrade, DepthAnswer

DEPTH_MAX = 5000
_WEIGHTS = ("X-MBX-USED-WEIGHT", "X-MBX-USED-WEIGHT-1M")


class _Endpoint(NamedTuple):
    """answer: None = depth, the only one that waits. reads: the parameters; None: any."""

    weight: Callable[[dict[str, str]], int]
    reads: frozenset[str] | None
    answer: Callable[[Params], bytes] | None


class Rest:
    """Answers every request under /api/v3, /api/v1 and /sapi/v1 for one source."""

    def __init__(self, *, player: Player, faults: Faults, limits: Limits, clock: Clock, v1_gone: bool = False) -> None:
        """player: whose source answers; one budget per local address that clients connect to. clock: virtual time.

        v1_gone: /api/v1 answers 410, as the exchange has since 2026-03-25.
        """
        self.budgets: dict[str, Budget] = {}
        self._released = asyncio.Event()
        self._player = player
        self._source = player.source
        self._faults = faults
        self._limits = limits
        self._clock = clock
        self._v1_gone = v1_gone
        self._delays = Delays(self._source.origin)
        self._answers = answers = Answers(self._source, limits, lag_us=self._lag_us, hidden=faults.hidden, shown=self._shown)
        self._requests = 0
        rows, names = ("symbol", "fromId", "startTime", "endTime", "limit"), ("symbol", "symbols", "symbolStatus")
        klines = _endpoint(2, answers.klines, "symbol", "interval", "startTime", "endTime", "timeZone", "limit")
        self._endpoints = {
            "ping": _endpoint(1, answers.ping),
            "time": _endpoint(1, answers.time),
            "exchangeInfo": _endpoint(20, answers.exchange_info, *names, "permissions", "showPermissionSets"),
            "depth": _endpoint(_depth_weight, None, "symbol", "limit", "symbolStatus"),
            "trades": _endpoint(25, answers.trades, "symbol", "limit"),
            "historicalTrades": _endpoint(25, answers.historical_trades, "symbol", "fromId", "limit"),
            "aggTrades": _endpoint(4, answers.agg_trades, *rows),
            "klines": klines,
            "uiKlines": klines,
            "avgPrice": _endpoint(2, answers.average_price, "symbol"),
            "ticker/24hr": _endpoint(_day_weight, answers.day, *names, "type"),
            "ticker/price": _endpoint(_ticker_weight, answers.price, *names),
            "ticker/bookTicker": _endpoint(_ticker_weight, answers.book_ticker, *names),
        }
        self._fees = _Endpoint(lambda _: 1, None, answers.trade_fee)

    def release(self) -> None:
        """Snapshots that are held may go."""
        self._released.set()
        self._released = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request: fault, budget, parameters, answer."""
        if 0 < self._limits.url_length < len(request.raw_path):
            return page(414, self._source.origin)
        self._requests += 1
        path = request.match_info["endpoint"]
        name = path.rpartition("/")[2]
        endpoint = self._endpoint(request, path)
        at_ns = self._player.position_ns
        if self._faults.rest("rest.timeout", name, at_ns):
            await asyncio.Event().wait()  # ends with the connection
        if fault := self._faults.rest("rest.status", name, at_ns):
            return self._faulty(fault, request, name)
        weight = endpoint.weight(dict(request.query)) if endpoint else 1
        charged = structs.replace(self._budget(request).charge(weight, self._clock.wall_ns()), path=name)
        if charged.status != 200:
            return self._answer(_error_body(-1003, _limit_words(charged, self._limits)), charged, status=charged.status)
        if endpoint is None or request.method != "GET":
            status = 410 if self._gone(request) else 404
            return self._answer(html(status).encode(), charged, status=status, content_type="text/html")
        headers: dict[str, str] = {}
        try:
            params = Params(request.query.items(), request.headers.get("X-MBX-TIME-UNIT"))
            if endpoint.reads is not None:
                params.only(endpoint.reads)
            body = endpoint.answer(params) if endpoint.answer else await self._depth(params, headers)
        except ApiError as error:
            return self._answer(_error_body(error.code, error.msg), charged, status=error.status)
        return self._answer(body, charged, headers=headers)

    def _endpoint(self, request: web.Request, path: str) -> _Endpoint | None:
        if request.path.startswith("/sapi/"):
            return self._fees if path == "asset/tradeFee" else None
        return None if self._gone(request) else self._endpoints.get(path)

    def _gone(self, request: web.Request) -> bool:
        return self._v1_gone and request.path.startswith("/api/v1/")

    async def _depth(self, params: Params, headers: dict[str, str]) -> bytes:
        """From memory, which takes a moment and is a moment old; a recording's own gates say when, so it has neither."""
        symbol, limit = self._answers.served(params), params.limit(100, DEPTH_MAX)
        age_us = 0
        if self._player.playing and not self._source.waits_for_client:
            delay_us, age_us = self._delays.depth_us(symbol, self._source.server_time_ms())
            await self._clock.sleep_until(self._clock.monotonic() + delay_us / 1e6)
        answer = await self._bent_depth(symbol, limit, age_us)
        if answer is None:
            raise ApiError(-1008, "The stand-in's recording does not show this book.", status=503)
        headers["X-Standin-Levels"] = str(answer.levels)
        return answer.body

    async def _bent_depth(self, symbol: str, limit: int, age_us: int) -> DepthAnswer | None:
        """The book, as the faults that are on make it."""
        player = self._player

        def struck(fault: str) -> FaultRequest | None:
            return self._faults.struck(fault, player.position_ns, symbol=symbol)

        if late := struck("snapshot.delay"):
            await self._clock.sleep_until(self._clock.monotonic() + late.delay_s)
        if struck("snapshot.hold"):
            await self._released.wait()
        if ahead := struck("snapshot.ahead"):
            # The stream stops, and the book is shown when that many frames wait: they come when it has been.
            rule = self._faults.hold_back(symbol, ahead.events)
            await player.until(lambda: rule.seen >= ahead.events or rule.ended or player.finished)
            age_us = 0
        if struck("snapshot.wrong_symbol"):
            symbol = next((other for other in self._source.symbols if other != symbol), symbol)
        if few := struck("snapshot.shallow"):
            limit = min(limit, few.levels)
        if stale := struck("snapshot.stale"):
            return await player.depth(symbol, limit, events_back=stale.events)
        if struck("snapshot.border"):
            return await player.depth(symbol, limit, place="border")
        if struck("snapshot.inside"):
            return await player.depth(symbol, limit, place="inside")
        return await player.depth(symbol, limit, age_us=age_us)

    def _budget(self, request: web.Request) -> Budget:
        return self.budgets.setdefault(local_address(request), Budget(self._limits))

    def _lag_us(self, symbol: str) -> int:
        """Of the database behind the streams: the exchange's own, and one that was asked for."""
        own_us = self._delays.lag_us(symbol, self._source.server_time_ms()) if self._player.playing else 0
        lag = self._faults.rest("trades.lag", "aggTrades", self._player.position_ns, symbol=symbol)
        return own_us + (int(lag.delay_s * 1_000_000) if lag else 0)

    def _shown(self, symbol: str, rows: list[AggTrade]) -> list[AggTrade]:
        short = self._faults.rest("trades.short_page", "aggTrades", self._player.position_ns, symbol=symbol)
        return rows if short is None else rows[: short.rows]

    def _faulty(self, fault: FaultRequest, request: web.Request, path: str) -> web.StreamResponse:
        used = self._budget(request).used
        status = fault.status
        until_ms = self._clock.wall_ns() // 1_000_000 + fault.retry_after_s * 1000
        charged = Charged(status, used, fault.retry_after_s if status in (418, 429) else 0, until_ms, path=path)
        body, kind = fault.body, fault.content_type.partition(";")[0].strip()
        if body is None and status in (418, 429):
            body = _error_body(-1003, _limit_words(charged, self._limits)).decode()
        elif body is None and status in REASONS and status != 500:
            body, kind = html(status), "text/html"
        elif body is None:
            body = _error_body(-1000, "An unknown error occurred while processing the request.").decode()
        return self._answer(body.encode(), charged, status=status, content_type=kind)

    def _answer(
        self,
        body: bytes,
        charged: Charged,
        *,
        status: int = 200,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        every = {
            "X-MBX-USED-WEIGHT": str(charged.used),
            "X-MBX-USED-WEIGHT-1M": str(charged.used),
            "x-mbx-uuid": f"{self._requests:032x}",
            "X-Standin": self._source.origin,
        }
        if other := self._faults.rest("rest.header", charged.path, self._player.position_ns):
            every |= {name: str(other.value) for name in _WEIGHTS}
            if other.value is None:
                every = {name: value for name, value in every.items() if name not in _WEIGHTS}
        if charged.retry_after_s:
            every["Retry-After"] = str(charged.retry_after_s)
        return web.Response(
            body=body, status=status, content_type=content_type, charset="utf-8", headers={**every, **(headers or {})}
        )


def _endpoint(weight: int | Callable[[dict[str, str]], int], answer: Callable[[Params], bytes] | None, *reads: str) -> _Endpoint:
    return _Endpoint((lambda _: weight) if isinstance(weight, int) else weight, frozenset(reads), answer)


def _depth_weight(sent: dict[str, str]) -> int:
    """5, 25, 50, 250 for up to 100, 500, 1000, 5000 levels. Source: Binance rest-api.md."""
    limit = int(text) if (text := sent.get("limit", "100")).isdecimal() and len(text) <= 20 else 100
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


def _day_weight(sent: dict[str, str]) -> int:
    """2 for one symbol and up to 20, 40 up to 100, 80 for more and for all. Source: Binance rest-api.md."""
    if "symbol" in sent:
        return 2
    count = sent["symbols"].count(",") + 1 if "symbols" in sent else 101
    return next((weight for most, weight in ((20, 2), (100, 40)) if count <= most), 80)


def _ticker_weight(sent: dict[str, str]) -> int:
    """2 for one symbol, 4 for several or all. Source: Binance rest-api.md."""
    return 2 if "symbol" in sent else 4


def _error_body(code: int, msg: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": msg})


def _limit_words(charged: Charged, limits: Limits) -> str:
    """The official words of -1003; those of raw requests are an older document's."""
    if charged.status == 418:
        return (
            f"Way too much request weight used; IP banned until {charged.banned_until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
    spent = (
        f"Too many requests; current limit is {limits.raw_requests} requests per 5 MINUTE. "
        if charged.raw
        else f"Too much request weight used; current limit is {limits.weight_per_minute} request weight per 1 MINUTE. "
    )
    return spent + "Please use WebSocket Streams for live updates to avoid polling the API."
