"""get_volume_profile: where trading happened and how firm that picture is; levels, not targets."""

from msgspec import Struct

from leadline.analytics import volume_profile as analytics
from leadline.analytics.histogram import Histogram
from leadline.analytics.volume_profile import BATCHES_MIN, VolumeProfile, volume_profile
from leadline.core.errors import InvalidRequest, NotEnoughData
from leadline.core.units import E8, E16
from leadline.service.hours import TradeCover, traded_between
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Covered, Envelope, of_end, utc
from leadline.service.queries.ladder import exact_e8
from leadline.service.steps import Steps

DEFINITION = "volume_profile/1"
HOURS = 24
HOURS_MIN, HOURS_MAX = 1, 168
HOUR_S = 3_600


class RowAnswer(Struct, frozen=True):
    """One row [low, high) in which something traded.

    price_level: Its centre.
    low: Lowest price of the row.
    high: First price above it.
    volume: Quantity traded in it, base.
    buy_volume: Of it, what takers bought, base.
    sell_volume: Of it, what takers sold, base.
    delta: Bought less sold, base.
    trade_count: Raw trades.
    """

    price_level: str
    low: str
    high: str
    volume: str
    buy_volume: str
    sell_volume: str
    delta: str
    trade_count: int


class NodeAnswer(Struct, frozen=True):
    """A row that stands out, and does so again in resamples.

    kind: high or low.
    low: Lower edge.
    high: Upper edge.
    volume: Quantity traded inside, base.
    persistence: Share of resamples in which it appears again, in [0, 1].
    """

    kind: str
    low: str
    high: str
    volume: str
    persistence: float


class TradeStateAnswer(Struct, frozen=True):
    """Of the window's seconds, by trade time.

    complete_s: Seconds whose trades are all there, as received.
    backfilled_s: Seconds whose trades are all there, some asked for afterwards.
    missing_s: Seconds of which trades are missing, or may be: the ids do not close up there.
    unknown_s: Seconds of which nothing is known, mostly before the first record.
    missing_ids: Trades known to be missing; null: nobody can count them.
    """

    complete_s: int
    backfilled_s: int
    missing_s: int
    unknown_s: int
    missing_ids: int | None


class VolumeProfileAnswer(Struct, frozen=True, kw_only=True):
    """Where trading happened and how firm that picture is (poc_iqr, n_eff); levels, not targets.

    reading: One sentence made of the fields.
    symbol: The symbol.
    time_period_start: First trade, UTC.
    time_period_end: Last trade, UTC.
    price_range_low: Lowest price traded.
    price_range_high: Highest price traded.
    bin_size: Height of a row, quote.
    bin_count: Rows from the lowest price to the highest, empty ones included.
    bin_rule: given or auto.
    va_method: How the value area grows: single_row or two_row.
    histogram: The rows that traded, by rising price.
    total_volume: Quantity traded, base.
    total_quote: Value traded, quote.
    vwap: Value over quantity.
    n_trades: Raw trades.
    n_batches: Taker orders, approximately.
    n_eff: How many trades of equal size would be as good a sample.
    point_of_control: Centre of the row with most volume.
    poc_low: Its lower edge.
    poc_high: Its upper edge.
    poc_share: Share of the volume in it, in (0, 1].
    poc_iqr: Distance of the quartiles of the point of control over resamples of time, quote: how firm it is.
    value_area_low: Lower edge of the value area, which holds 70 % of the volume.
    value_area_high: Its upper edge.
    value_area_share: Share of the volume inside it.
    hdi_low: Lower edge of the shortest run of rows that holds 70 %.
    hdi_high: Its upper edge.
    nodes: Stable high and low nodes; empty: none is stable.
    trade_state: How complete the trades of the window are.
    reasons: Field -> reason code, for each field that is null.
    envelope: The evidence; its coverage is of trades.
    """

    reading: str
    symbol: str
    time_period_start: str
    time_period_end: str
    price_range_low: str
    price_range_high: str
    bin_size: str
    bin_count: int
    bin_rule: str
    va_method: str
    histogram: list[RowAnswer]
    total_volume: str
    total_quote: str
    vwap: str
    n_trades: int
    n_batches: int
    n_eff: float
    point_of_control: str
    poc_low: str
    poc_high: str
    poc_share: float
    poc_iqr: float | None
    value_area_low: str
    value_area_high: str
    value_area_share: float
    hdi_low: str
    hdi_high: str
    nodes: list[NodeAnswer] | None
    trade_state: TradeStateAnswer
    reasons: dict[str, str]
    envelope: Envelope


def get_volume_profile(
    desk: Desk,
    symbol: str,
    *,
    duration_hours: int = HOURS,
    tick_size: str | float | None = None,
    va_method: analytics.Method = "single_row",
    end_s: int | None = None,
) -> Steps[VolumeProfileAnswer]:
    """end_s: end of the window; None: the newest second. Raises UnknownSymbol, InvalidRequest, NotEnoughData."""
    symbol = desk.symbol(symbol)
    end = desk.end_s(symbol, end_s)
    start = end - hours_in_bounds(duration_hours) * HOUR_S
    row_e8 = None if tick_size is None else exact_e8("tick_size", tick_size)
    traded, cover = yield from traded_between(desk.reader, symbol, start, end)
    require_batches(traded, cover)
    grid = desk.grid(symbol)
    profile = volume_profile(
        traded, tick_e8=grid.tick_e8, row_e8=row_e8, covered_ns=cover.known_s * 1_000_000_000, va_method=va_method
    )
    assert profile is not None, "enough batches were required"
    return _answer(desk, symbol, profile, cover, start, end, grid)


def hours_in_bounds(duration_hours: int) -> int:
    """1-168. Raises InvalidRequest."""
    if not HOURS_MIN <= duration_hours <= HOURS_MAX:
        raise InvalidRequest("duration_hours", f"{duration_hours} h", f"{HOURS_MIN}-{HOURS_MAX}")
    return duration_hours


def require_batches(traded: Histogram, cover: TradeCover) -> None:
    """Raises NotEnoughData below 30 taker orders; ready when as many come as came."""
    if traded.batches >= BATCHES_MIN:
        return
    rate = traded.batches / cover.known_s if cover.known_s else 0.0
    ready_in_s = round((BATCHES_MIN - traded.batches) / rate, 1) if rate else None
    raise NotEnoughData(traded.batches, BATCHES_MIN, "batches", cover.known_s / cover.expected_s, ready_in_s)


def _answer(
    desk: Desk, symbol: str, profile: VolumeProfile, cover: TradeCover, start: int, end: int, grid: Grid
) -> VolumeProfileAnswer:
    price, quantity = grid.price, grid.quantity
    return VolumeProfileAnswer(
        reading=_reading(symbol, profile, grid, (end - start) // HOUR_S),
        symbol=symbol,
        time_period_start=utc(profile.first_ns / 1e9),
        time_period_end=utc(profile.last_ns / 1e9),
        price_range_low=price(profile.price_low_e8),
        price_range_high=price(profile.price_high_e8),
        bin_size=price(profile.row_e8),
        bin_count=profile.row_count,
        bin_rule=profile.bin_rule,
        va_method=profile.va_method,
        histogram=[
            RowAnswer(
                grid.quote((row.low_e8 + row.high_e8) * E8 // 2),
                price(row.low_e8),
                price(row.high_e8),
                quantity(row.volume_e8),
                quantity(row.buy_e8),
                quantity(row.sell_e8),
                quantity(row.delta_e8),
                row.fills,
            )
            for row in profile.rows
        ],
        total_volume=quantity(profile.total_volume_e8),
        total_quote=grid.quote(profile.total_quote_e16),
        vwap=grid.quote(profile.vwap_e16),
        n_trades=profile.n_trades,
        n_batches=profile.n_batches,
        n_eff=profile.n_eff,
        point_of_control=grid.quote(profile.point_of_control_e16),
        poc_low=price(profile.poc_low_e8),
        poc_high=price(profile.poc_high_e8),
        poc_share=profile.poc_share,
        poc_iqr=profile.poc_iqr,
        value_area_low=price(profile.value_area_low_e8),
        value_area_high=price(profile.value_area_high_e8),
        value_area_share=profile.value_area_share,
        hdi_low=price(profile.hdi_low_e8),
        hdi_high=price(profile.hdi_high_e8),
        nodes=None
        if profile.nodes is None
        else [
            NodeAnswer(node.kind, price(node.low_e8), price(node.high_e8), quantity(node.volume_e8), node.persistence)
            for node in profile.nodes
        ],
        trade_state=TradeStateAnswer(cover.complete_s, cover.backfilled_s, cover.missing_s, cover.unknown_s, cover.missing_ids),
        reasons=profile.reasons,
        envelope=of_end(
            desk,
            symbol,
            end,
            definition=DEFINITION,
            covered=cover_answer(cover, start, end),
            warnings=[_WARNINGS[warning] for warning in profile.warnings],
        ),
    )


_WARNINGS = {"thin_sample": "few trades carry most of the volume: n_eff is low and the picture is not firm"}


def cover_answer(cover: TradeCover, start_s: int, end_s: int) -> Covered:
    """Coverage of trades as it is served."""
    return Covered(
        from_ms=start_s * 1000,
        to_ms=end_s * 1000,
        expected_s=end_s - start_s,
        live_s=cover.known_s,
        ratio=cover.known_s / (end_s - start_s),
        gaps=[],
        gaps_total=0,
    )


def _reading(symbol: str, profile: VolumeProfile, grid: Grid, hours: int) -> str:
    firm = "too few blocks of time to tell how firm" if profile.poc_iqr is None else f"firm to {profile.poc_iqr:.6g}"
    return (
        f"{symbol}, last {hours} h: most volume at {grid.price(profile.poc_low_e8)}-{grid.price(profile.poc_high_e8)} ({firm}), "
        f"70 % between {grid.price(profile.value_area_low_e8)} and {grid.price(profile.value_area_high_e8)}, "
        f"VWAP {profile.vwap_e16 / E16:.8g}, {profile.n_trades} trades."
    )
