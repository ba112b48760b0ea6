"""A valid question to every tool that asks no exchange, and every way to get one wrong."""

from typing import Any

from tests.service.desks import LAST

from leadline.serve.tools import TOOLS

BTC = "BTCUSDT"
OURS = [tool for tool in TOOLS if not tool.rest]
QUESTIONS: dict[str, dict[str, Any]] = {
    "orderbook_l1": {"symbol": BTC, "max_age_ms": 60_000},
    "orderbook_l2": {"symbol": BTC, "depth_levels": 7, "encoding": "integer"},
    "orderbook_health": {},
    "get_order_flow": {"symbol": " btcusdt ", "window_duration_secs": 120},
    "get_volume_profile": {"symbol": BTC, "duration_hours": 1, "va_method": "two_row"},
    "detect_market_anomalies": {"symbol": "ETHUSDT", "window_duration_secs": 60},
    "get_microstructure_health": {"symbol": BTC},
    "get_liquidity_vacuums": {"symbol": BTC, "duration_hours": 1},
    "estimate_market_impact": {"symbol": BTC, "side": "buy", "notional": "25000"},
    "generate_market_report": {"symbol": BTC, "options": {"volume_window_hours": 1, "orderbook_levels": 3}},
    "list_symbols": {},
    "get_incidents": {"limit": 5},
    "get_coverage": {"symbol": BTC, "from_s": LAST - 99, "to_s": LAST + 31},
    "get_history": {"symbol": BTC, "kind": "snapshots", "from_s": LAST - 9, "to_s": LAST + 1},
}
