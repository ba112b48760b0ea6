"""What the REST endpoints answer, out of a source at its position; depth, which takes its time, is in rest.py. Pure.

Keys and their order: docs/exchange.md and Binance rest-api.md.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import msgspec

from leadline.standin import figures
from leadline.standin.limits import Limits
from leadline.standin.params import ApiError, Params
from leadline.standin.source import AggTrade, Source, text

OPEN_PERMISSIONS = {"SPOT", "MARGIN", "LEVERAGED"}  # whose symbols are listed when no permission is asked for
FEE = "0.00100000"  # maker and taker, of every symbol
_PRICES = ("bidPrice", "bidQty", "askPrice", "askQty")


class Answers:
    """Each method takes the parameters and returns the body, or raises ApiError."""

    def __init__(
        self,
        source: Source,
        limits: Limits,
        *,
        lag_us: Callable[[str], int],
        hidden: Mapping[str, Set[int]],
        shown: Callable[[str, list[AggTrade]], list[AggTrade]],
    ) -> None:
        """limits: what exchangeInfo tells. lag_us: how far the database is behind at this moment, of a symbol.

        hidden: aggregates of a symbol that it does not have. shown: what of a page is given out.
        """
        self._source = source
        self._limits = limits
        self._lag_us = lag_us
        self._shown = shown
        self._hidden = hidden
        self._shown_us: dict[str, int] = {}  # symbol -> up to when its trades have been in the database

    # The exchange ---------------------------------------------------------------

    def ping(self, params: Params) -> bytes:
        """Nothing."""
        return b"{}"

    def time(self, params: Params) -> bytes:
        """The exchange's clock."""
        return b'{"serverTime":%d}' % self._now(params)

    def exchange_info(self, params: Params) -> bytes:
        """Rules and limits. Of `symbol`, `symbols`, `permissions` one may be sent, and `symbolStatus` with no name."""
        names, status, permissions = params.names(), params.status(), params.permissions()
        if names is not None and (status is not None or permissions is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        entries: list[dict[str, Any]] = self._source.exchange_info()
        if names is not None:
            known = {entry["symbol"]: entry for entry in entries}
            if not known.keys() >= set(names):
                raise ApiError(-1121, "Invalid symbol.")
            entries = [known[name] for name in names]
        else:
            wanted = OPEN_PERMISSIONS if permissions is None else set(permissions)
            entries = [entry for entry in entries if wanted & _permissions(entry) and status in (None, entry["status"])]
        if not params.flag("showPermissionSets", default=True):
            entries = [{**entry, "permissionSets": []} for entry in entries]
        return msgspec.json.encode(
            {
                "timezone": "UTC",
                "serverTime": self._now(params),
                "rateLimits": list(_rate_limits(self._limits)),
                "exchangeFilters": [],
                "symbols": entries,
            }
        )

    def trade_fee(self, params: Params) -> bytes:
        """One fee for all; whatever a signed request carries is passed over."""
        wanted = params.sent.get("symbol")
        if wanted and wanted not in self._source.symbols:
            raise ApiError(-1121, "Invalid symbol.")
        names = [wanted] if wanted else self._source.symbols
        return msgspec.json.encode([{"symbol": name, "makerCommission": FEE, "takerCommission": FEE} for name in names])

    # Trades -----------------------------------------------------------------------

    def trades(self, params: Params) -> bytes:
        """The latest, from memory."""
        symbol, limit = self.served(params), params.limit(500)
        return msgspec.json.encode(self._source.tape(symbol).fills(from_id=None, limit=limit, in_us=params.in_us))

    def historical_trades(self, params: Params) -> bytes:
        """From the database."""
        symbol, limit, from_id = self.served(params), params.limit(500), params.number("fromId")
        tape, until_us = self._source.tape(symbol), self._stored_us(symbol)
        return msgspec.json.encode(tape.fills(from_id=from_id, limit=limit, until_us=until_us, in_us=params.in_us))

    def agg_trades(self, params: Params) -> bytes:
        """From the database."""
        symbol, limit = self.served(params), params.limit(500)
        from_id, start_us = params.number("fromId"), params.time_us("startTime")
        hidden = self._hidden.get(symbol, frozenset())
        rows = self._source.tape(symbol).aggregates(
            from_id=from_id,
            start_us=start_us,
            end_us=params.time_us("endTime", end=True),
            limit=limit + len(hidden),
            until_us=self._stored_us(symbol),
            in_us=params.in_us,
        )
        there = [row for row in rows if row.a not in hidden]
        page = there[-limit:] if from_id is None and start_us is None else there[:limit]
        return msgspec.json.encode(self._shown(symbol, page))

    def klines(self, params: Params) -> bytes:
        """Candles by their opening; the last may be open."""
        symbol, interval, limit = self.served(params), params.interval(), params.limit(500)
        start_us, end_us = params.time_us("startTime"), params.time_us("endTime", end=True)
        now_ms = self._source.server_time_ms()
        candles = self._source.tape(symbol).candles(
            interval,
            start_ms=None if start_us is None else -(-start_us // 1000),
            end_ms=now_ms if end_us is None else end_us // 1000,
            limit=limit,
            until_ms=now_ms,
            offset_ms=params.zone_ms(),
        )
        unit = (1000, 999) if params.in_us else (1, 0)
        return msgspec.json.encode([figures.candle_row(candle, unit) for candle in candles])

    # Tickers ------------------------------------------------------------------------

    def average_price(self, params: Params) -> bytes:
        """Of the last five minutes."""
        tape = self._source.tape(self.served(params))
        price = text(figures.average(tape, self._source.server_time_ms()))
        closed = tape.last_us if params.in_us else tape.last_us // 1000
        return msgspec.json.encode({"mins": 5, "price": price, "closeTime": closed})

    def day(self, params: Params) -> bytes:
        """24 hours, FULL or MINI."""
        full, unit = params.kind() == "FULL", 1000 if params.in_us else 1
        keys = figures.FULL if full else figures.MINI

        def one(symbol: str) -> dict[str, object]:
            said = figures.day(self._source, symbol, quote=full) or dict.fromkeys(figures.FULL, text(0))
            values = {key: said[key] for key in keys}
            times = {key: int(str(values[key])) * unit for key in ("openTime", "closeTime")}
            return {"symbol": symbol, **values, **times}

        return self._each(params, one)

    def price(self, params: Params) -> bytes:
        """Of the latest trade."""
        return self._each(params, lambda symbol: {"symbol": symbol, "price": text(self._source.tape(symbol).last_price)})

    def book_ticker(self, params: Params) -> bytes:
        """The best prices."""

        def one(symbol: str) -> dict[str, object]:
            return {"symbol": symbol, **dict(zip(_PRICES, figures.best(self._source, symbol), strict=True))}

        return self._each(params, one)

    # Helpers --------------------------------------------------------------------------

    def served(self, params: Params) -> str:
        """The `symbol`, with the `symbolStatus` if one is asked for. Raises ApiError."""
        symbol, status = params.symbol(), params.status()
        if symbol not in self._source.symbols:
            raise ApiError(-1121, "Invalid symbol.")
        if status is not None and self._statuses().get(symbol) != status:
            raise ApiError(-1220, "The symbol's status does not match the requested symbolStatus.")
        return symbol

    def _each(self, params: Params, answer: Callable[[str], dict[str, object]]) -> bytes:
        """An object for `symbol`, else a list; of several or all, those with another status are left out."""
        if "symbol" in params.sent and "symbols" not in params.sent:
            return msgspec.json.encode(answer(self.served(params)))
        names: Iterable[str] | None = params.names()
        status = params.status()
        if names is None:
            names = self._source.symbols
        elif not set(self._source.symbols) >= set(names):
            raise ApiError(-1121, "Invalid symbol.")
        if status is not None:
            statuses = self._statuses()
            names = [name for name in names if statuses.get(name) == status]
        return msgspec.json.encode([answer(name) for name in names])

    def _statuses(self) -> dict[str, object]:
        return {str(entry["symbol"]): entry["status"] for entry in self._source.exchange_info()}

    def _stored_us(self, symbol: str) -> int:
        """Up to when trades are in the database: a lag behind now, and what was once to be had stays."""
        now_us = self._source.server_time_ms() * 1000 + 999
        shown_us = self._shown_us.get(symbol, 0)
        stored_us = max(now_us - self._lag_us(symbol), shown_us if shown_us <= now_us else 0)
        self._shown_us[symbol] = stored_us
        return stored_us

    def _now(self, params: Params) -> int:
        return self._source.server_time_ms() * (1000 if params.in_us else 1)


def _permissions(entry: dict[str, Any]) -> set[str]:
    """Of a symbol; older recordings have them in another place, or nowhere."""
    found = {*entry.get("permissions", ()), *(name for names in entry.get("permissionSets", ()) for name in names)}
    return found or OPEN_PERMISSIONS


def _rate_limits(limits: Limits) -> Iterable[dict[str, object]]:
    """What is enforced, and the one of orders, which clients expect."""
    for kind, interval, count, limit in (
        ("REQUEST_WEIGHT", "MINUTE", 1, limits.weight_per_minute),
        ("ORDERS", "SECOND", 10, 100),
        ("RAW_REQUESTS", "MINUTE", 5, limits.raw_requests),
    ):
        if limit:
            yield {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}
