"""get_order_flow: who pressed in a window, how unusual that is for the symbol, and how much of the move it accounts for."""

import math

from msgspec import Struct

from leadline.analytics import order_flow, trades
from leadline.analytics.health import Baseline
from leadline.analytics.reasons import BASELINE_SHORT, LOW_COVERAGE, NO_TRADES, TOO_FEW, TRADE_GAP
from leadline.core.errors import InvalidRequest, NotEnoughData
from leadline.core.records import BookState, Trade
from leadline.core.units import E8
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, of_window, utc
from leadline.service.steps import Steps

DEFINITION = "order_flow/1"
WINDOW_S = 60
WINDOW_S_MIN, WINDOW_S_MAX = 10, 300
LIVE_S_MIN = 10
FULL_COVERAGE = 0.95
RANKED_COVERAGE = order_flow.RANKED_COVERAGE_MIN


class CvdAnswer(Struct, frozen=True):
    """Cumulative volume delta.

    value: What takers bought since the anchor less what they sold, base; null unless every trade since then is there.
    anchor: Since when, UTC.
    coverage: Share of the time since the anchor whose trades are there, in [0, 1].
    """

    value: str | None
    anchor: str
    coverage: float


class FitAnswer(Struct, frozen=True):
    """How the mid moved with order flow over the own past, 10-s windows.

    beta: Ticks of the mid per base unit of order-flow imbalance.
    r2: Share of past moves that flow accounted for, in the same window, in [0, 1].
    n: Windows.
    """

    beta: float
    r2: float | None
    n: int


class OrderFlowAnswer(Struct, frozen=True, kw_only=True):
    """Who pressed in this window and how much of the move that accounts for; not what comes next.

    reading: One sentence made of the fields.
    symbol: The symbol.
    time_window_start: Start of the window, UTC.
    time_window_end: End of the window, UTC.
    window_duration_secs: Its length, s.
    bid_flow_rate: Pressure in favour of buyers: what came to the bid or left the ask, quote per second, >= 0.
    ask_flow_rate: Pressure in favour of sellers: what came to the ask or left the bid, quote per second, >= 0.
    net_flow: bid_flow_rate - ask_flow_rate, quote per second.
    bid_added: Quantity that came to the best bid, base.
    bid_removed: Quantity that left the best bid, base.
    ask_added: Quantity that came to the best ask, base.
    ask_removed: Quantity that left the best ask, base.
    ofi: Order-flow imbalance at the best prices, base; above 0 buyers pressed.
    ofi_top20: The same summed over the 20 best ranks, base.
    ofi_levels: The same of ranks 1 to 10, base.
    ofi_source: event: every change of the best prices; diff: the net of each 100-ms update; mixed: both.
    ofi_z: Distance of ofi from its usual value, in robust deviations.
    ofi_rank: Share of own past windows with a smaller ofi in size, in [0, 1].
    tfi_rank: The same of tfi.
    flow_direction: STRONG_BUY, MODERATE_BUY, NEUTRAL, MODERATE_SELL or STRONG_SELL against the own past.
    conflict: Takers and resting orders are both unusual and point opposite ways.
    cumulative_delta: What takers bought in the window less what they sold, base.
    delta: The same, exact.
    tfi: delta / volume, in [-1, 1].
    buy_quote: Value that takers bought, quote.
    sell_quote: Value that takers sold, quote.
    n_trades: Raw trades.
    n_batches: Taker orders, approximately.
    cvd: Cumulative volume delta since 00:00 UTC.
    move_bps: How far the mid moved inside the covered seconds, bps.
    explained_move_bps: How far it would have moved by this order flow alone, were it like the past, bps.
    fit: The regression behind it.
    imbalance_bps_mean: Mean of (bid - ask) / (bid + ask) within 10 bps, in [-1, 1].
    n_epochs: Unbroken runs of the book in the window; changes between two of them are in no number.
    clean_s: Seconds that the numbers rest on.
    baseline: What ranks and labels rest on.
    reasons: Field -> reason code, for each field that is null.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    time_window_start: str
    time_window_end: str
    window_duration_secs: int
    bid_flow_rate: float | None
    ask_flow_rate: float | None
    net_flow: float | None
    bid_added: str | None
    bid_removed: str | None
    ask_added: str | None
    ask_removed: str | None
    ofi: str | None
    ofi_top20: str | None
    ofi_levels: list[str] | None
    ofi_source: str | None
    ofi_z: float | None
    ofi_rank: float | None
    tfi_rank: float | None
    flow_direction: str | None
    conflict: bool | None
    cumulative_delta: float | None
    delta: str | None
    tfi: float | None
    buy_quote: str
    sell_quote: str
    n_trades: int
    n_batches: int
    cvd: CvdAnswer
    move_bps: float | None
    explained_move_bps: float | None
    fit: FitAnswer | None
    imbalance_bps_mean: float | None
    n_epochs: int
    clean_s: int
    baseline: Baseline
    reasons: dict[str, str]
    envelope: Envelope


def get_order_flow(
    desk: Desk, symbol: str, *, window_duration_secs: int = WINDOW_S, end_s: int | None = None
) -> Steps[OrderFlowAnswer]:
    """end_s: last tick; None: the newest. Raises UnknownSymbol, InvalidRequest, NotEnoughData."""
    length_s = window_in_bounds(window_duration_secs)
    symbol = desk.symbol(symbol)
    end = desk.end_s(symbol, end_s)
    start = end - length_s
    records = desk.reader.seconds(symbol, start + 1, end + 1).rows
    live_s = sum(record.state is BookState.LIVE for record in records)
    require_live(live_s, max(LIVE_S_MIN, math.ceil(length_s / 2)), length_s)
    own = yield from desk.histories.upto(symbol, start, end)
    tally = yield from desk.tallies.upto(symbol, trades.day_start_s(end), end)

    flow = order_flow.order_flow(records, start, end)
    gap = tally.missing_between(start, end)
    taken = trades.trade_flow(desk.reader.trade_columns(symbol, start, end), gap=gap)
    grid = desk.grid(symbol)
    baseline = own.baseline(start, length_s)
    ready = baseline.state == "ready"
    press = order_flow.pressure(
        (flow.ofi_e8 or 0) / E8,
        flow.tfi_received,
        ofi_history=own.ordinary(start, length_s, lambda found: found.ofi) if ready else None,
        tfi_history=own.ordinary(start, length_s, lambda found: found.tfi) if ready else None,
        coverage=flow.coverage,
        trade_gap=flow.reasons.get("tfi_received") == TRADE_GAP,
    )
    fit = None
    if ready and grid.known and flow.ofi_source in {"event", "diff"}:
        fit = own.move_fit(start, grid.tick_e8, flow.ofi_source)
    explained = order_flow.explained_move_bps(flow, fit, grid.tick_e8)
    cvd_value = None if tally.holes else grid.quantity(tally.delta_e8)

    reasons = {name.removesuffix("_e8"): why for name, why in flow.reasons.items() if not name.endswith("_received")}
    reasons.pop("mid2_close", None)
    reasons |= {name.removesuffix("_e8"): why for name, why in taken.reasons.items() if name in {"delta_e8", "tfi"}}
    if "delta" in reasons:
        reasons["cumulative_delta"] = reasons["delta"]
    reasons |= press.reasons
    if explained is None:
        reasons["explained_move_bps"] = TOO_FEW if ready else BASELINE_SHORT
    if fit is None:
        reasons["fit"] = TOO_FEW if ready else BASELINE_SHORT
    if cvd_value is None:
        reasons["cvd"] = TRADE_GAP
    warnings = ["seconds are missing from the window: rates are of those that are there"] if flow.coverage < FULL_COVERAGE else []
    if flow.n_epochs > 1:
        warnings.append("the book was lost and found inside the window: changes between are in no number")

    def quantity(value: int | None) -> str | None:
        return None if value is None else grid.quantity(value)

    day_s = end - tally.anchor_s
    return OrderFlowAnswer(
        reading=_reading(symbol, length_s, flow, taken, press, explained, grid.quote_asset),
        symbol=symbol,
        time_window_start=utc(start),
        time_window_end=utc(end),
        window_duration_secs=length_s,
        bid_flow_rate=flow.bid_flow_rate,
        ask_flow_rate=flow.ask_flow_rate,
        net_flow=flow.net_flow,
        bid_added=quantity(flow.bid_added_e8),
        bid_removed=quantity(flow.bid_removed_e8),
        ask_added=quantity(flow.ask_added_e8),
        ask_removed=quantity(flow.ask_removed_e8),
        ofi=quantity(flow.ofi_e8),
        ofi_top20=quantity(flow.ofi_top20_e8),
        ofi_levels=None if flow.ofi_levels_e8 is None else [grid.quantity(value) for value in flow.ofi_levels_e8],
        ofi_source=flow.ofi_source,
        ofi_z=press.ofi_z,
        ofi_rank=press.ofi_rank,
        tfi_rank=press.tfi_rank,
        flow_direction=press.flow_direction,
        conflict=press.conflict,
        cumulative_delta=None if taken.delta_e8 is None else taken.delta_e8 / E8,
        delta=quantity(taken.delta_e8),
        tfi=taken.tfi,
        buy_quote=grid.quote(taken.buy_quote_e16),
        sell_quote=grid.quote(taken.sell_quote_e16),
        n_trades=taken.n_trades,
        n_batches=taken.n_batches,
        cvd=CvdAnswer(cvd_value, utc(tally.anchor_s), max(0.0, 1 - tally.missing_s / day_s)),
        move_bps=flow.move_bps,
        explained_move_bps=explained,
        fit=None if fit is None else FitAnswer(fit.beta, fit.r2, fit.n),
        imbalance_bps_mean=flow.imbalance_bps_mean,
        n_epochs=flow.n_epochs,
        clean_s=flow.clean_s,
        baseline=baseline,
        reasons=reasons,
        envelope=of_window(desk, symbol, start, end, records=records, definition=DEFINITION, warnings=warnings),
    )


def window_in_bounds(window_duration_secs: int) -> int:
    """10-300 s. Raises InvalidRequest."""
    if not WINDOW_S_MIN <= window_duration_secs <= WINDOW_S_MAX:
        raise InvalidRequest("window_duration_secs", f"{window_duration_secs} s", f"{WINDOW_S_MIN}-{WINDOW_S_MAX}")
    return window_duration_secs


def require_live(live_s: int, need_s: int, length_s: int) -> None:
    """Raises NotEnoughData below need_s seconds with a live book."""
    if live_s < need_s:
        raise NotEnoughData(live_s, need_s, "s", live_s / length_s, need_s - live_s)


def trades_between(desk: Desk, symbol: str, start_s: int, end_s: int) -> list[Trade]:
    """Stored trades with start_s <= T < end_s, in id order."""
    return [trade for block in desk.reader.trades(symbol, start_s, end_s).rows for trade in block.trades]


def _reading(
    symbol: str,
    length_s: int,
    flow: order_flow.OrderFlow,
    taken: trades.TradeFlow,
    press: order_flow.Pressure,
    explained: float | None,
    quote_asset: str,
) -> str:
    parts = [f"{symbol}, last {length_s} s ({flow.clean_s} s of them usable)"]
    if flow.net_flow is not None:
        parts.append(f"net flow {flow.net_flow:+.0f} {quote_asset}/s".replace(" /s", "/s"))
    if taken.tfi is not None:
        parts.append(f"taker imbalance {taken.tfi:+.2f}")
    elif taken.reasons.get("tfi") == NO_TRADES:
        parts.append("no trades")
    if flow.move_bps is not None:
        accounted = "" if explained is None else f", of which order flow accounts for {explained:+.2f}"
        parts.append(f"mid moved {flow.move_bps:+.2f} bps{accounted}")
    if press.flow_direction is not None:
        label = press.flow_direction.value.replace("_", " ").lower()
        parts.append(f"against its own past: {label}" + (" (takers and resting orders disagree)" if press.conflict else ""))
    elif press.reasons.get("flow_direction") in {BASELINE_SHORT, LOW_COVERAGE}:
        parts.append(
            "no label: " + ("too little history" if press.reasons["flow_direction"] == BASELINE_SHORT else "low coverage")
        )
    return "; ".join(parts) + "."
