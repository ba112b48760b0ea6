"""The ladder of a frozen book, cut as it was asked for, and how it is written (orderbook_l2). It says if a row may be missing."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from msgspec import Struct

from leadline.analytics.book_sides import Side, Sides
from leadline.core.errors import InvalidRequest
from leadline.core.records import TOP_LEVELS, Level
from leadline.core.units import DECIMALS, E8, decimal_text

LEVELS_MAX = 100
BPS_MAX = 500


class CutBy(StrEnum):
    """What ended one side of a ladder. BOOK_END: nothing that was asked for; there is no further level here."""

    BPS = "bps"
    NOTIONAL = "notional"
    LEVELS = "levels"
    BOOK_END = "book_end"


class LadderSide(Struct, frozen=True):
    """One side of a ladder.

    rows: Price and quantity of each row in units of 1e-8, best first.
    complete: True if no level that belongs among the rows can be missing; False if they reach beyond what is known.
    cut_by: What ended the rows: bps, notional, levels or book_end.
    total_e16: Value of the levels in the rows at their own prices, in quote units of 1e-16.
    reason: Why there is no row although there may be levels: no mid to measure max_bps from; else None.
    """

    rows: tuple[Level, ...]
    complete: bool
    cut_by: CutBy
    total_e16: int
    reason: str | None


class OrderbookL2(Struct, frozen=True):
    """Resting size by price; a side that is not complete may miss levels.

    bids: The bids.
    asks: The asks.
    """

    bids: LadderSide
    asks: LadderSide


def orderbook_l2(
    both: Sides,
    *,
    tick_e8: int,
    levels: int = TOP_LEVELS,
    max_bps: Decimal | None = None,
    max_notional_e16: int | None = None,
    price_step_e8: int | None = None,
) -> OrderbookL2:
    """The ladder, cut in this order: max_bps, max_notional, price_step, levels; each side by itself. Raises InvalidRequest."""
    if not 1 <= levels <= LEVELS_MAX:
        raise InvalidRequest("levels", f"{levels} rows a side", f"1-{LEVELS_MAX}")
    if max_bps is not None and not (max_bps.is_finite() and 0 < max_bps <= BPS_MAX):
        raise InvalidRequest("max_bps", f"{max_bps} bps", f"> 0, at most {BPS_MAX}")
    if max_notional_e16 is not None and max_notional_e16 <= 0:
        raise InvalidRequest("max_notional", "not above 0", "> 0")
    if price_step_e8 is not None and (price_step_e8 <= 0 or price_step_e8 % tick_e8):
        raise InvalidRequest("price_step", "no multiple of the tick", f"multiples of {decimal_text(tick_e8)}")
    width = None if max_bps is None else Fraction(max_bps)
    bids, asks = (
        LadderSide((), False, CutBy.BPS, 0, both.no_mid)
        if width is not None and both.mid2 is None
        else _cut(side, both.mid2 or 0, width=width, notional_e16=max_notional_e16, step_e8=price_step_e8, levels=levels)
        for side in (both.bids, both.asks)
    )
    return OrderbookL2(bids, asks)


def _cut(
    side: Side, mid2: int, *, width: Fraction | None, notional_e16: int | None, step_e8: int | None, levels: int
) -> LadderSide:
    """The cuts in their order. `reach` is how far the side must be known for the rows to be all there is; None: to its end."""
    n, cut_by = len(side.levels), CutBy.BOOK_END
    reach: Fraction | int | None = None
    # 1. max_bps: levels inside the band, edge included
    if width is not None:
        reach = side.band_edge(mid2, width)
        n = bisect_right(side.outward, reach)
        if n < len(side.levels) or (side.known_outward is not None and side.knows(reach)):
            cut_by = CutBy.BPS
    # 2. max_notional: up to and including the level at which the running value reaches it
    if notional_e16 is not None:
        last = bisect_left(side.values_e16, notional_e16, 0, n)
        if last < n:
            n, cut_by, reach = last + 1, CutBy.NOTIONAL, side.outward[last]
    # 3. price_step: bids down, asks up, so that no row is shown better than its orders
    places: list[int] = []
    ends: list[int] = []  # how many levels lie in the rows up to each one, itself included
    for i, outward in enumerate(side.outward[:n], 1):
        place = outward if step_e8 is None else -(-outward // step_e8) * step_e8
        if places and places[-1] == place:
            ends[-1] = i
        else:
            places.append(place)
            ends.append(i)
    # 4. levels: rows. As many rows as asked for are enough also where the known range ends behind them.
    if len(places) > levels or (len(places) == levels and cut_by is CutBy.BOOK_END and side.known_outward is not None):
        cut_by, places = CutBy.LEVELS, places[:levels]
        reach = places[-1]
    ends = [0, *ends[: len(places)]]
    rows = [
        (-side.sign * place, side.quantity_e8(end) - side.quantity_e8(start))
        for place, start, end in zip(places, ends[:-1], ends[1:], strict=True)
    ]
    complete = side.known_outward is None or (reach is not None and side.knows(reach))
    return LadderSide(tuple(rows), complete, cut_by, side.value_e16(ends[-1]), None)


class Encoding(StrEnum):
    """How prices and quantities of a ladder are written: decimal text, or integers times a scale."""

    DECIMAL = "decimal"
    INTEGER = "integer"


class EncodedRows(Struct, frozen=True):
    """A ladder as it is written.

    bids: Price and quantity of each bid row, best first; decimal text, or integers times the scales.
    asks: Price and quantity of each ask row, best first.
    price_scale: A power of ten that makes every price here a whole number.
    qty_scale: A power of ten that makes every quantity here a whole number.
    """

    bids: list[tuple[str | int, str | int]]
    asks: list[tuple[str | int, str | int]]
    price_scale: int
    qty_scale: int


def encoded(ladder: OrderbookL2, encoding: Encoding, *, tick_e8: int, step_e8: int) -> EncodedRows:
    """Exact either way, with the decimals of the symbol's tick and step; finer where a row is off their grid."""
    every = ladder.bids.rows + ladder.asks.rows
    price_decimals = max([_decimals(tick_e8), *(_decimals(price) for price, _ in every)])
    quantity_decimals = max([_decimals(step_e8), *(_decimals(quantity) for _, quantity in every)])
    price_unit, quantity_unit = 10 ** (DECIMALS - price_decimals), 10 ** (DECIMALS - quantity_decimals)

    def written(rows: Sequence[Level]) -> list[tuple[str | int, str | int]]:
        if encoding is Encoding.INTEGER:
            return [(price // price_unit, quantity // quantity_unit) for price, quantity in rows]
        return [(grid_text(price, tick_e8), grid_text(quantity, step_e8)) for price, quantity in rows]

    return EncodedRows(written(ladder.bids.rows), written(ladder.asks.rows), 10**price_decimals, 10**quantity_decimals)


def grid_text(value_e8: int, grid_e8: int) -> str:
    """Decimal text with as many decimals as the symbol's grid prints, more if the value is off it."""
    decimals = max(_decimals(grid_e8), _decimals(value_e8))
    whole, fraction = divmod(value_e8, E8)
    return f"{whole}.{f'{fraction:08d}'[:decimals]}" if decimals else str(whole)


def _decimals(value_e8: int) -> int:
    """Decimals that the value needs."""
    return len(f"{value_e8 % E8:08d}".rstrip("0"))
