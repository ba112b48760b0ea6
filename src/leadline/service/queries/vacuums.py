"""get_liquidity_vacuums: prices at which little traded or little rests now; thin is a fact, fast movement is not proven."""

from collections.abc import Sequence

from msgspec import Struct

from leadline.analytics.histogram import Histogram
from leadline.analytics.reasons import BOOK_NOT_LIVE, NO_TRADES, TOO_FEW
from leadline.analytics.vacuums import (
    BookCells,
    RestingZone,
    RestingZones,
    TradedZone,
    TradedZones,
    book_cells,
    cells_of,
    resting_zones,
    traded_zones,
)
from leadline.analytics.volume_profile import BATCHES_MIN, volume_profile
from leadline.core.cells import RING_TICKS
from leadline.core.errors import BookNotLive
from leadline.core.records import BookState, BookView
from leadline.service.hours import TradeCover, traded_between
from leadline.service.queries.books import LEVELS_ALL, book_of
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, of_view, utc
from leadline.service.queries.profile import HOUR_S, HOURS, cover_answer, hours_in_bounds
from leadline.service.steps import Steps

DEFINITION = "liquidity_vacuums/1"


class TradedZoneAnswer(Struct, frozen=True, kw_only=True):
    """A stretch of prices at which little traded, between two at which much did.

    vacuum_id: The same for the same kind and prices.
    price_range_low: Lowest price.
    price_range_high: First price above.
    side: below, above or contains_mid: where it lies from the mid.
    kind: low_volume_node.
    width_bps: Its height, bps of the mid.
    volume_deficit_pct: How far its volume lies below the smaller neighbour, 0-100.
    persistence: Share of resamples of the trades in which it appears again, in [0, 1].
    detection_timestamp: Last trade that was known, UTC.
    median_volume: Median quantity of the rows that traded, base.
    actual_volume: Mean quantity of the rows of the zone, base.
    volume: Quantity traded in the zone, base.
    """

    vacuum_id: str
    price_range_low: str
    price_range_high: str
    side: str
    kind: str
    width_bps: float
    volume_deficit_pct: float
    persistence: float
    detection_timestamp: str
    median_volume: str
    actual_volume: str
    volume: str


class RestingZoneAnswer(Struct, frozen=True, kw_only=True):
    """A stretch of prices at which little or nothing rests now, and did not in the seconds before.

    vacuum_id: The same for the same kind and prices.
    price_range_low: Lowest price.
    price_range_high: First price above.
    side: below: among the bids; above: among the asks.
    kind: empty: nothing rests there; thin: less than a quarter of what is usual at that distance.
    width_bps: Its height, bps of the mid.
    volume_deficit_pct: How much less rests in it than is usual, 0-100.
    persistence: Share of the last ticks at which its least constant cell was so, in [0, 1].
    detection_timestamp: The tick, UTC.
    quote_to_reach: Value that rests between the mid and the zone, quote.
    quote_in_zone: Value that rests in it, quote.
    quote_to_cross: The sum of both, quote.
    p_cross_1m: Share of the own past minutes in which takers traded more than that, net, in this direction.
    """

    vacuum_id: str
    price_range_low: str
    price_range_high: str
    side: str
    kind: str
    width_bps: float
    volume_deficit_pct: float | None
    persistence: float
    detection_timestamp: str
    quote_to_reach: str
    quote_in_zone: str
    quote_to_cross: str
    p_cross_1m: float | None


class TradedAnswer(Struct, frozen=True):
    """Zones in past volume; none at all is usual for a short window.

    status: ok or too_few.
    reason: Reason code; null: ok.
    n_eff: How many trades of equal size would be as good a sample.
    zones: The nearest 10 a side, by rising price.
    """

    status: str
    reason: str | None
    n_eff: float | None
    zones: list[TradedZoneAnswer]


class RestingAnswer(Struct, frozen=True):
    """Zones in the book now; none at all is usual.

    status: ok; baseline_short: only empty zones were looked for; too_few: nothing was looked at.
    reason: Reason code; null: ok.
    samples: Ticks that were looked at.
    zones: The nearest 10 a side, by rising price.
    reasons: Field of a zone -> reason code, for fields that are null.
    """

    status: str
    reason: str | None
    samples: int
    zones: list[RestingZoneAnswer]
    reasons: dict[str, str]


class LiquidityVacuumsAnswer(Struct, frozen=True, kw_only=True):
    """Prices where little traded or little rests now; thin is a fact, fast movement is not proven.

    reading: One sentence made of the fields.
    symbol: The symbol.
    time_window_start: Start of the trades looked at, UTC.
    time_window_end: Their end, UTC.
    mid_price: Mid that sides and widths are measured from.
    evidence: weak: no published test shows that such zones are crossed faster.
    traded: Zones in past volume.
    resting: Zones in the book now.
    envelope: The evidence; its coverage is of trades.
    """

    reading: str
    symbol: str
    time_window_start: str
    time_window_end: str
    mid_price: str
    evidence: str
    traded: TradedAnswer
    resting: RestingAnswer
    envelope: Envelope


def get_liquidity_vacuums(
    desk: Desk, symbol: str, *, duration_hours: int = HOURS, end_s: int | None = None
) -> Steps[LiquidityVacuumsAnswer]:
    """end_s: end of the trades; None: the newest second. Raises UnknownSymbol, InvalidRequest, BookNotLive."""
    symbol = desk.symbol(symbol)
    hours = hours_in_bounds(duration_hours)
    end = desk.end_s(symbol, end_s)
    start = end - hours * HOUR_S
    found = book_of(desk, symbol, levels=LEVELS_ALL)
    traded, cover = yield from traded_between(desk.reader, symbol, start, end)
    own = yield from desk.histories.upto(symbol, end, end)
    grid, mid2 = desk.grid(symbol), found.sides.mid2
    if mid2 is None:
        raise BookNotLive(symbol, "a side of the book is empty, so there is no mid to measure from")
    ready = own.baseline(end, 60).state == "ready"
    if found.source == "live" and found.view.state is BookState.LIVE:
        ring = _ring(desk, found.view, grid)
        base, flows = (own.base_density(end), own.minute_net_quote(end)) if ready else (None, None)
        resting = resting_zones(ring, base, flows)
    else:  # stored snapshots reach 20 levels, which is not far enough to find a hole
        resting = RestingZones("too_few", BOOK_NOT_LIVE, 0, (), {})
    past = _traded(traded, cover, mid2, grid)
    return LiquidityVacuumsAnswer(
        reading=_reading(symbol, hours, past, resting),
        symbol=symbol,
        time_window_start=utc(start),
        time_window_end=utc(end),
        mid_price=grid.quote(mid2 * 100_000_000 // 2),
        evidence="weak",
        traded=TradedAnswer(past.status, past.reason, past.n_eff, [_traded_zone(zone, grid) for zone in past.zones]),
        resting=RestingAnswer(
            resting.status,
            resting.reason,
            resting.samples,
            [_resting_zone(zone, grid) for zone in resting.zones],
            {("volume_deficit_pct" if name == "deficit_pct" else name): why for name, why in resting.reasons.items()},
        ),
        envelope=of_view(desk, found.view, source="mixed", definition=DEFINITION, covered=cover_answer(cover, start, end)),
    )


def _ring(desk: Desk, view: BookView, grid: Grid) -> Sequence[BookCells]:
    """The ticks before and, as the newest, the book of now."""
    assert desk.books is not None, "a live book was found"
    ticks = desk.books.cells(view.symbol)
    if not ticks:
        return ()
    now = book_cells(
        view.bids,
        view.asks,
        ts_ns=desk.now_ns(),
        cell_e8=ticks[-1].cell_e8,
        known_bid_e8=view.known_bid,
        known_ask_e8=view.known_ask,
    )
    before = [cells_of(tick) for tick in ticks[-(RING_TICKS - 1) :]]
    return before if now is None else [*before, now]


def _traded(traded: Histogram, cover: TradeCover, mid2_e8: int, grid: Grid) -> TradedZones:
    if traded.batches < BATCHES_MIN:
        return TradedZones("too_few", TOO_FEW if traded.batches else NO_TRADES, None, ())
    covered_ns = cover.known_s * 1_000_000_000
    return traded_zones(volume_profile(traded, tick_e8=grid.tick_e8, covered_ns=covered_ns), mid2_e8)


def _traded_zone(zone: TradedZone, grid: Grid) -> TradedZoneAnswer:
    return TradedZoneAnswer(
        vacuum_id=zone.vacuum_id,
        price_range_low=grid.price(zone.low_e8),
        price_range_high=grid.price(zone.high_e8),
        side=zone.side,
        kind=zone.kind,
        width_bps=zone.width_bps,
        volume_deficit_pct=zone.deficit_pct,
        persistence=zone.persistence,
        detection_timestamp=utc(zone.detected_ns / 1e9),
        median_volume=grid.quantity(zone.median_volume_e8),
        actual_volume=grid.quantity(zone.actual_volume_e8),
        volume=grid.quantity(zone.volume_e8),
    )


def _resting_zone(zone: RestingZone, grid: Grid) -> RestingZoneAnswer:
    return RestingZoneAnswer(
        vacuum_id=zone.vacuum_id,
        price_range_low=grid.price(zone.low_e8),
        price_range_high=grid.price(zone.high_e8),
        side=zone.side,
        kind=zone.kind,
        width_bps=zone.width_bps,
        volume_deficit_pct=zone.deficit_pct,
        persistence=zone.persistence,
        detection_timestamp=utc(zone.detected_ns / 1e9),
        quote_to_reach=grid.quote(zone.quote_to_reach_e16),
        quote_in_zone=grid.quote(zone.quote_in_zone_e16),
        quote_to_cross=grid.quote(zone.quote_to_cross_e16),
        p_cross_1m=zone.p_cross_1m,
    )


def _reading(symbol: str, hours: int, past: TradedZones, resting: RestingZones) -> str:
    traded = f"{len(past.zones)} thin stretches in the volume of {hours} h" if past.status == "ok" else f"volume: {past.reason}"
    rests = f"{len(resting.zones)} in the book now" if resting.status != "too_few" else f"book: {resting.reason}"
    note = "" if resting.status != "baseline_short" else " (only empty ones: too little history to call one thin)"
    return f"{symbol}: {traded}; {rests}{note}. Thin is a fact; that price crosses such zones faster is not proven."
