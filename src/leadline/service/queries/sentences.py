"""What each field of an answer means: the one sentence of it in its struct's docstring, for schemas, documents and people."""

import inspect
import re
import typing
from typing import Any

import msgspec
from msgspec import Struct

from leadline.service.queries.anomalies import MarketAnomaliesAnswer
from leadline.service.queries.exchange_info import ExchangeInfoAnswer
from leadline.service.queries.flow import OrderFlowAnswer
from leadline.service.queries.health import HealthAnswer
from leadline.service.queries.impact import MarketImpactAnswer
from leadline.service.queries.ladder import OrderbookL2Answer
from leadline.service.queries.listing import IncidentsAnswer, SymbolsAnswer
from leadline.service.queries.market import AvgPriceAnswer, KlinesAnswer, RecentTradesAnswer, TickerAnswer
from leadline.service.queries.orderbook import OrderbookAnswer
from leadline.service.queries.past import HistoryAnswer
from leadline.service.queries.profile import VolumeProfileAnswer
from leadline.service.queries.report import ReportAnswer
from leadline.service.queries.status import OrderbookHealthAnswer
from leadline.service.queries.stored import CoverageAnswer
from leadline.service.queries.top import OrderbookL1Answer
from leadline.service.queries.vacuums import LiquidityVacuumsAnswer

ANSWERS: dict[str, type[Struct]] = {
    "orderbook_l1": OrderbookL1Answer,
    "orderbook_l2": OrderbookL2Answer,
    "orderbook_health": OrderbookHealthAnswer,
    "get_order_flow": OrderFlowAnswer,
    "get_volume_profile": VolumeProfileAnswer,
    "detect_market_anomalies": MarketAnomaliesAnswer,
    "get_microstructure_health": HealthAnswer,
    "get_liquidity_vacuums": LiquidityVacuumsAnswer,
    "estimate_market_impact": MarketImpactAnswer,
    "generate_market_report": ReportAnswer,
    "list_symbols": SymbolsAnswer,
    "get_incidents": IncidentsAnswer,
    "get_history": HistoryAnswer,
    "get_coverage": CoverageAnswer,
    "get_ticker": TickerAnswer,
    "get_orderbook": OrderbookAnswer,
    "get_recent_trades": RecentTradesAnswer,
    "get_klines": KlinesAnswer,
    "get_exchange_info": ExchangeInfoAnswer,
    "get_avg_price": AvgPriceAnswer,
}

_FIELD = re.compile(r"(?m)^(\w+): ")


def about(kind: type[Struct]) -> str:
    """What the struct is: the docstring before its fields, on one line."""
    text = inspect.getdoc(kind) or ""
    first = next((match.start() for match in _FIELD.finditer(text) if match[1] in kind.__struct_fields__), len(text))
    return " ".join(text[:first].split())


def sentences(kind: type[Struct]) -> dict[str, str]:
    """Field -> its sentence, in the order of the fields. A field without one is left out."""
    text = inspect.getdoc(kind) or ""
    starts = [match for match in _FIELD.finditer(text) if match[1] in kind.__struct_fields__]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    found = {match[1]: " ".join(text[match.end() : end].split()) for match, end in zip(starts, ends, strict=True)}
    return {name: found[name] for name in kind.__struct_fields__ if name in found}


def structs_of(kind: type[Struct]) -> list[type[Struct]]:
    """The struct and all that its fields hold, each once, outermost first."""
    found: list[type[Struct]] = []

    def walk(hint: Any) -> None:
        if isinstance(hint, type) and issubclass(hint, Struct):
            if hint in found:
                return
            found.append(hint)
            for field in msgspec.structs.fields(hint):
                walk(field.type)
            return
        for inner in typing.get_args(hint):
            walk(inner)

    walk(kind)
    return found
