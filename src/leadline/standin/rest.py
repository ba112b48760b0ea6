"""The REST surface under /api/v3 (docs/standin.md): parameters, weights, headers, official errors."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
from aiohttp import web

from leadline.clock import Clock
from leadline.standin.faults import FaultRequest, Faults
from leadline.standin.limits import Budget, Charged, Limits
from leadline.standin.player import Player
from leadline.standin.source import MAX_ROWS

DEPTH_MAX = 5000
_SYMBOL_RANGE = r"^[\w\-._&&[^a-z]]{1,50}$"  # as the exchange words it
_SYMBOL = re.compile(r"[^\Wa-z]([^\Wa-z]|[-.]){0,49}")
_NUMBER_RANGE = "^[0-9]{1,20}$"
_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_REASONS = {403: "403 Forbidden", 404: "404 Not Found", 451: "451", 502: "502 Bad Gateway", 503: "503 Service Unavailable"}


class _ApiError(Exception):
    """A refusal: HTTP status and the exchange's code and words."""

    def __init__(self, code: int, msg: str, status: int = 400) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg
        self.status = status


Params = dict[str, str]


class _Endpoint(NamedTuple):
    weight: Callable[[Params], int]
    params: frozenset[str]
    answer: Callable[[Params, dict[str, str]], Awaitable[bytes]]


class Rest:
    """Answers every request under /api/v3 for one source."""

    def __init__(self, *, player: Player, faults: Faults, limits: Limits, clock: Clock) -> None:
        """player: whose source answers; one budget per local address that clients connect to."""
        self.budgets: dict[str, Budget] = {}
        self.held = asyncio.Event()  # set by resume: snapshots that are held may go
        self._player = player
        self._source = player.source
        self._faults = faults
        self._limits = limits
        self._clock = clock
        self._requests = 0
        self._endpoints = {
            "ping": _Endpoint(lambda _: 1, frozenset(), self._ping),
            "time": _Endpoint(lambda _: 1, frozenset(), self._time),
            "exchangeInfo": _Endpoint(
                lambda _: 20,
                frozenset(("symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets")),
                self._exchange_info,
            ),
            "depth": _Endpoint(_depth_weight, frozenset(("symbol", "limit", "symbolStatus")), self._depth),
            "trades": _Endpoint(lambda _: 25, frozenset(("symbol", "limit")), self._trades),
            "aggTrades": _Endpoint(
                lambda _: 4, frozenset(("symbol", "fromId", "startTime", "endTime", "limit")), self._agg_trades
            ),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request: fault, budget, parameters, answer."""
        self._requests += 1
        name = request.match_info["endpoint"]
        endpoint = self._endpoints.get(name)
        params = dict(request.query)
        if fault := self._faults.rest(name, self._player.position_ns):
            return await self._faulty(fault, request)
        charged = self._budget(request).charge(_weight(endpoint, params), self._clock.wall_ns())
        if charged.status != 200:
            return self._answer(_error_body(-1003, _limit_words(charged, self._limits)), charged, status=charged.status)
        if endpoint is None or request.method != "GET":
            return self._answer(_HTML.format(_REASONS[404]).encode(), charged, status=404, content_type="text/html")
        headers: dict[str, str] = {}
        try:
            surplus = params.keys() - endpoint.params
            if surplus:
                read, sent = len(params) - len(surplus), len(params)
                raise _ApiError(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")
            body = await endpoint.answer(params, headers)
        except _ApiError as error:
            return self._answer(_error_body(error.code, error.msg), charged, status=error.status)
        return self._answer(body, charged, headers=headers)

    async def _ping(self, params: Params, headers: dict[str, str]) -> bytes:
        return b"{}"

    async def _time(self, params: Params, headers: dict[str, str]) -> bytes:
        return b'{"serverTime":%d}' % self._source.server_time_ms()

    async def _exchange_info(self, params: Params, headers: dict[str, str]) -> bytes:
        entries = self._source.exchange_info()
        if "symbol" in params or "symbols" in params:
            wanted = [self._symbol(params)] if "symbol" in params else _names(params["symbols"])
            known = {str(entry["symbol"]): entry for entry in entries}
            if not known.keys() >= set(wanted):
                raise _ApiError(-1121, "Invalid symbol.")
            entries = [known[name] for name in wanted]
        if "symbolStatus" in params:
            entries = [entry for entry in entries if entry.get("status") == params["symbolStatus"]]
        return msgspec.json.encode(
            {
                "timezone": "UTC",
                "serverTime": self._source.server_time_ms(),
                "rateLimits": [
                    _rate_limit("REQUEST_WEIGHT", "MINUTE", 1, self._limits.weight_per_minute),
                    _rate_limit("ORDERS", "SECOND", 10, 100),
                    _rate_limit("RAW_REQUESTS", "MINUTE", 5, 300_000),
                ],
                "exchangeFilters": [],
                "symbols": entries,
            }
        )

    async def _depth(self, params: Params, headers: dict[str, str]) -> bytes:
        symbol = self._served(params)
        limit = min(_number(params, "limit", 100), DEPTH_MAX)
        at_ns = self._player.position_ns
        if self._faults.snapshot("snapshot.hold", symbol, at_ns):
            await self.held.wait()
        stale = self._faults.snapshot("snapshot.stale", symbol, at_ns)
        answer = await self._player.depth(symbol, limit, stale.events if stale else 0)
        if answer is None:
            raise _ApiError(-1008, "The stand-in's recording does not show this book.", status=503)
        headers["X-Standin-Levels"] = str(answer.levels)
        return answer.body

    async def _trades(self, params: Params, headers: dict[str, str]) -> bytes:
        symbol = self._served(params)
        return msgspec.json.encode(
            self._source.tape(symbol).fills(from_id=None, limit=min(_number(params, "limit", 500), MAX_ROWS))
        )

    async def _agg_trades(self, params: Params, headers: dict[str, str]) -> bytes:
        symbol = self._served(params)
        limit = min(_number(params, "limit", 500), MAX_ROWS)
        bounds = [_number(params, name, 0) if name in params else None for name in ("fromId", "startTime", "endTime")]
        from_id, start_ms, end_ms = bounds
        rows = self._source.tape(symbol).aggregates(from_id=from_id, start_ms=start_ms, end_ms=end_ms, limit=limit)
        return msgspec.json.encode(rows)

    def _symbol(self, params: Params) -> str:
        symbol = params.get("symbol", "")
        if not symbol:
            raise _ApiError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if not _SYMBOL.fullmatch(symbol):
            raise _illegal("symbol", _SYMBOL_RANGE)
        return symbol

    def _served(self, params: Params) -> str:
        symbol = self._symbol(params)
        if symbol not in self._source.symbols:
            raise _ApiError(-1121, "Invalid symbol.")
        return symbol

    def _budget(self, request: web.Request) -> Budget:
        name = request.transport.get_extra_info("sockname") if request.transport else None
        address = str(name[0]) if name else ""
        return self.budgets.setdefault(address, Budget(self._limits))

    async def _faulty(self, fault: FaultRequest, request: web.Request) -> web.StreamResponse:
        used = self._budget(request).used
        if fault.fault == "rest.timeout":
            await asyncio.Event().wait()  # ends with the connection
        status = fault.status
        until_ms = self._clock.wall_ns() // 1_000_000 + fault.retry_after_s * 1000
        charged = Charged(status, used, fault.retry_after_s if status in (418, 429) else 0, until_ms)
        body, kind = fault.body, fault.content_type
        if body is None and status in (418, 429):
            body = _error_body(-1003, _limit_words(charged, self._limits)).decode()
        elif body is None and status in _REASONS:
            body, kind = _HTML.format(_REASONS[status]), "text/html"
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
        if charged.retry_after_s:
            every["Retry-After"] = str(charged.retry_after_s)
        return web.Response(
            body=body, status=status, content_type=content_type, charset="utf-8", headers={**every, **(headers or {})}
        )


def _weight(endpoint: _Endpoint | None, params: Params) -> int:
    return endpoint.weight(params) if endpoint else 1


def _depth_weight(params: Params) -> int:
    """5, 25, 50, 250 for up to 100, 500, 1000, 5000 levels. Source: Binance rest-api.md."""
    limit = int(text) if (text := params.get("limit", "100")).isdecimal() and len(text) <= 20 else 100
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


def _number(params: Params, name: str, default: int) -> int:
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise _illegal(name, _NUMBER_RANGE)
    if name == "limit" and int(text) == 0:
        raise _ApiError(-1130, "Data sent for parameter 'limit' is not valid.")
    return int(text)


def _names(text: str) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _illegal("symbols", r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$') from error


def _illegal(name: str, legal: str) -> _ApiError:
    return _ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def _rate_limit(kind: str, interval: str, count: int, limit: int) -> dict[str, object]:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}


def _error_body(code: int, msg: str) -> bytes:
    return msgspec.json.encode({"code": code, "msg": msg})


def _limit_words(charged: Charged, limits: Limits) -> str:
    """The official words of -1003."""
    if charged.status == 418:
        return (
            f"Way too much request weight used; IP banned until {charged.banned_until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
    return (
        f"Too much request weight used; current limit is {limits.weight_per_minute} request weight per 1 MINUTE. "
        "Please use WebSocket Streams for live updates to avoid polling the API."
    )
