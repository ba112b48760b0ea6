"""Questions over records and live books, one function each: `run(get_order_flow(desk, "BTCUSDT"))`.

An answer says what it rests on: what is there, what is missing, and why. Questions raise UnknownSymbol, InvalidRequest, and
NotEnoughData or BookNotLive where they have no right number to give. Each file holds one question and the struct of its answer.
"""

from leadline.service.queries.anomalies import MarketAnomaliesAnswer, detect_market_anomalies
from leadline.service.queries.coverage import Coverage, Gap, coverage, coverage_in_steps
from leadline.service.queries.desk import Books, BookStatus, Desk, Reader
from leadline.service.queries.flow import OrderFlowAnswer, get_order_flow
from leadline.service.queries.health import HealthAnswer, get_microstructure_health
from leadline.service.queries.impact import MarketImpactAnswer, estimate_market_impact
from leadline.service.queries.ladder import OrderbookL2Answer, orderbook_l2
from leadline.service.queries.profile import VolumeProfileAnswer, get_volume_profile
from leadline.service.queries.status import OrderbookHealthAnswer, orderbook_health
from leadline.service.queries.top import OrderbookL1Answer, orderbook_l1
from leadline.service.queries.vacuums import LiquidityVacuumsAnswer, get_liquidity_vacuums
from leadline.service.steps import Steps, run, run_between

__all__ = [
    "BookStatus",
    "Books",
    "Coverage",
    "Desk",
    "Gap",
    "HealthAnswer",
    "LiquidityVacuumsAnswer",
    "MarketAnomaliesAnswer",
    "MarketImpactAnswer",
    "OrderFlowAnswer",
    "OrderbookHealthAnswer",
    "OrderbookL1Answer",
    "OrderbookL2Answer",
    "Reader",
    "Steps",
    "VolumeProfileAnswer",
    "coverage",
    "coverage_in_steps",
    "detect_market_anomalies",
    "estimate_market_impact",
    "get_liquidity_vacuums",
    "get_microstructure_health",
    "get_order_flow",
    "get_volume_profile",
    "orderbook_health",
    "orderbook_l1",
    "orderbook_l2",
    "run",
    "run_between",
]
