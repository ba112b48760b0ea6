"""The capability table: one row per tool. Schemas, validation, listings, every door, `leadline call` and docs/tools.md read it.

Names are bare (`get_order_flow`); `binance.` and `binance_` before them are accepted everywhere. The order is fixed.
"""

import difflib
from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct, structs

from leadline.core.errors import UnknownName
from leadline.serve import requests
from leadline.serve.requests import Request
from leadline.service import queries
from leadline.service.queries import Desk
from leadline.service.queries.exchange_info import ExchangeInfoAnswer, get_exchange_info
from leadline.service.queries.listing import IncidentsAnswer, SymbolsAnswer, get_incidents, list_symbols
from leadline.service.queries.market import (
    AvgPriceAnswer,
    KlinesAnswer,
    RecentTradesAnswer,
    TickerAnswer,
    get_avg_price,
    get_klines,
    get_recent_trades,
    get_ticker,
)
from leadline.service.queries.orderbook import OrderbookAnswer, get_orderbook
from leadline.service.queries.past import HistoryAnswer, get_history
from leadline.service.queries.report import ReportAnswer, generate_market_report
from leadline.service.queries.stored import CoverageAnswer, get_coverage

Toolset = Literal["core", "market", "history"]
PREFIXES = ("binance.", "binance_")
NO_ACCOUNT = frozenset(
    {"place_order", "cancel_order", "get_order", "get_open_orders", "get_all_orders", "get_my_trades", "get_account"}
)


class Tool(Struct, frozen=True, kw_only=True):
    """One capability.

    request: what may be asked. result: struct of the answer. text: the answer is Markdown in its field of that name, for people.
    run: question of a desk, in steps (service/steps.py) or awaited. help: under 300 characters, with units and sign convention.
    rest: it asks the exchange. scans: it may take long.
    """

    name: str
    request: type[Request]
    result: type[Struct]
    run: Callable[[Desk, Any], Any]
    help: str
    toolset: Toolset = "core"
    text: str | None = None
    rest: bool = False
    scans: bool = False


def _asks(question: Callable[..., Any]) -> Callable[[Desk, Request], Any]:
    """The question with the fields of the request as its arguments, symbol first where there is one."""

    def run(desk: Desk, request: Request) -> Any:
        return question(desk, **structs.asdict(request))

    return run


def _asks_exchange(question: Callable[..., Any]) -> Callable[[Desk, Request], Any]:
    """The same, of the exchange."""

    def run(desk: Desk, request: Request) -> Any:
        return question(desk, market=desk.market, **structs.asdict(request))

    return run


def _report(desk: Desk, request: requests.ReportRequest) -> Any:
    return generate_market_report(desk, request.symbol, **structs.asdict(request.options))


TOOLS: tuple[Tool, ...] = (
    Tool(
        name="orderbook_l1",
        request=requests.LiveRequest,
        result=queries.OrderbookL1Answer,
        run=_asks(queries.orderbook_l1),
        help="Best prices, spread (bps of the mid), imbalance (above 0: more bid), depth within 1-50 bps (quote), cost of "
        "10k-50k, large levels. Null beyond what is known of the book, with the reason.",
    ),
    Tool(
        name="orderbook_l2",
        request=requests.LadderRequest,
        result=queries.OrderbookL2Answer,
        run=_asks(queries.orderbook_l2),
        help="Ladder of resting size: [price, quantity] rows, best first, cut by levels, bps, notional or price step; says "
        "whether a row may be missing.",
    ),
    Tool(
        name="orderbook_health",
        request=requests.BooksRequest,
        result=queries.OrderbookHealthAnswer,
        run=_asks(queries.orderbook_health),
        help="Can the books be trusted now: ok, degraded or error, and per symbol state, age (ms), gaps, audit against the "
        "ticker. A quiet book is old and right.",
    ),
    Tool(
        name="get_order_flow",
        request=requests.WindowRequest,
        result=queries.OrderFlowAnswer,
        run=_asks(queries.get_order_flow),
        help="Who pressed in the last 10-300 s: order-flow imbalance (base; above 0 buyers), pressure (quote/s), taker delta, "
        "CVD, label against own history, share of the move it accounts for. It explains, it does not forecast.",
        scans=True,
    ),
    Tool(
        name="get_volume_profile",
        request=requests.ProfileRequest,
        result=queries.VolumeProfileAnswer,
        run=_asks(queries.get_volume_profile),
        help="Volume by price over 1-168 h: point of control with its firmness, 70 % value area, buy and sell volume (base) per "
        "row, stable nodes. Levels, not targets.",
        scans=True,
    ),
    Tool(
        name="detect_market_anomalies",
        request=requests.WindowRequest,
        result=queries.MarketAnomaliesAnswer,
        run=_asks(queries.detect_market_anomalies),
        help="Five detectors over the last 10-300 s against the symbol's own day: found, not found, or not evaluated and why; "
        "p value, ordinary occurrences a day, severity. Never intent.",
        scans=True,
    ),
    Tool(
        name="get_microstructure_health",
        request=requests.SymbolRequest,
        result=queries.HealthAnswer,
        run=_asks(queries.get_microstructure_health),
        help="Score 0-100 of the last 60 s: spread, cost, depth, resiliency, volatility, balance. relative: 50 is this symbol's "
        "ordinary minute; absolute: in general. Null where our data are bad.",
        scans=True,
    ),
    Tool(
        name="get_liquidity_vacuums",
        request=requests.HoursRequest,
        result=queries.LiquidityVacuumsAnswer,
        run=_asks(queries.get_liquidity_vacuums),
        help="Prices at which little traded in 1-168 h, and at which little rests now (quote values, bps). Thin is a fact; that "
        "price crosses such zones faster is not proven.",
        scans=True,
    ),
    Tool(
        name="estimate_market_impact",
        request=requests.ImpactRequest,
        result=queries.MarketImpactAnswer,
        run=_asks(queries.estimate_market_impact),
        help="What buying or selling a notional (quote) now would cost in bps of the mid, on the live book, if nothing moves; "
        "null where the known book does not hold it.",
    ),
    Tool(
        name="generate_market_report",
        request=requests.ReportRequest,
        result=ReportAnswer,
        run=_report,
        help="One symbol in one page of Markdown: price, book, liquidity, order flow, anomalies, health, quality of the data. "
        "What cannot be told is said so.",
        text="markdown",
        scans=True,
    ),
    Tool(
        name="list_symbols",
        request=Request,
        result=SymbolsAnswer,
        run=_asks(list_symbols),
        help="Symbols that are followed or stored: state of the book, tick, step, first and last stored second (unix s).",
    ),
    Tool(
        name="get_incidents",
        request=requests.IncidentsRequest,
        result=IncidentsAnswer,
        run=_asks(get_incidents),
        help="Every loss of a book, of trades or of time, newest first, with its cause and when it began and ended (UTC).",
    ),
    Tool(
        name="get_history",
        request=requests.HistoryRequest,
        result=HistoryAnswer,
        run=_asks(get_history),
        help="Stored seconds (order flow, trades, depth per second) or snapshots (20 levels a side) of a window, with what is "
        "missing; paged by cursor.",
        toolset="history",
        scans=True,
    ),
    Tool(
        name="get_coverage",
        request=requests.CoverageRequest,
        result=CoverageAnswer,
        run=_asks(get_coverage),
        help="What of a symbol's past is stored: seconds with a live book, their share, and every gap (unix s) with its cause.",
        toolset="history",
        scans=True,
    ),
    Tool(
        name="get_ticker",
        request=requests.SymbolRequest,
        result=TickerAnswer,
        run=_asks_exchange(get_ticker),
        help="Statistics of the last 24 h as the exchange tells them: prices, change, volume (base and quote), trades.",
        toolset="market",
        rest=True,
    ),
    Tool(
        name="get_orderbook",
        request=requests.DepthRequest,
        result=OrderbookAnswer,
        run=_asks_exchange(get_orderbook),
        help="Bids and asks, 5 to 5000 levels a side: from the live book where it is known that deep, else from the exchange.",
        toolset="market",
        rest=True,
    ),
    Tool(
        name="get_recent_trades",
        request=requests.TradesRequest,
        result=RecentTradesAnswer,
        run=_asks_exchange(get_recent_trades),
        help="The latest raw trades of the exchange, oldest first; isBuyerMaker true: the taker sold.",
        toolset="market",
        rest=True,
    ),
    Tool(
        name="get_klines",
        request=requests.KlinesRequest,
        result=KlinesAnswer,
        run=_asks_exchange(get_klines),
        help="Candles of the exchange, 1m to 1M, with start and end (UTC ms) honoured.",
        toolset="market",
        rest=True,
    ),
    Tool(
        name="get_exchange_info",
        request=requests.InfoRequest,
        result=ExchangeInfoAnswer,
        run=_asks_exchange(get_exchange_info),
        help="What the exchange lists: status, assets, tick and step of a symbol, or of all that are followed.",
        toolset="market",
        rest=True,
    ),
    Tool(
        name="get_avg_price",
        request=requests.SymbolRequest,
        result=AvgPriceAnswer,
        run=_asks_exchange(get_avg_price),
        help="The exchange's average price with the minutes it is over.",
        toolset="market",
        rest=True,
    ),
)
_BY_NAME = {tool.name: tool for tool in TOOLS}


def bare(name: str) -> str:
    """The name without a prefix of existing gateways."""
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def tool_of(name: str) -> Tool:
    """By any of its names. Raises UnknownName with near matches."""
    plain = bare(name)
    found = _BY_NAME.get(plain)
    if found is not None:
        return found
    if plain in NO_ACCOUNT:
        raise UnknownName("tool", name, why="leadline is read-only and holds no account")
    raise UnknownName("tool", name[:80], difflib.get_close_matches(plain, _BY_NAME, n=3, cutoff=0.5))


def listed(toolset: str) -> list[Tool]:
    """Of one set, or all of them."""
    return [tool for tool in TOOLS if toolset in {"all", tool.toolset}]
