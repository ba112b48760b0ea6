"""Rows as DataFrames: columns that are the same whatever the data, named with their units, null where there is nothing.

pandas and polars are imported when they are asked for; the rest of the client needs neither.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from leadline.client.records import Level, Trade, exact
from leadline.core.errors import LeadlineError

if TYPE_CHECKING:
    import pandas
    import polars

    from leadline.client.history import Gap, StoredSnapshot

LEVELS = 20
E8 = 10**8
NS = 10**9


class MissingPackage(LeadlineError):
    """The caller's: a package that is not installed; `extra` of leadline brings it."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(package, extra)
        self.package, self.extra = package, extra

    def __str__(self) -> str:
        return f"{self.package} is not installed: pip install 'leadline[{self.extra}]'"


class Column(Struct, frozen=True):
    """kind: time (ns since 1970, UTC), int, float, text, truth, or decimal8 and decimal16, with so many decimals."""

    name: str
    kind: str
    values: Sequence[Any]


# Into a package --------------------------------------------------------------


def to_pandas(columns: Sequence[Column]) -> "pandas.DataFrame":
    """Int64, float64 (null is NaN), string, boolean, datetime64[ns, UTC], and object for Decimal. Raises MissingPackage."""
    try:
        import pandas
    except ImportError as error:
        raise MissingPackage("pandas", "pandas") from error
    kinds = {"int": "Int64", "float": "float64", "text": "string", "truth": "boolean", "time": "datetime64[ns, UTC]"}
    return pandas.DataFrame(
        {column.name: pandas.Series(list(column.values), dtype=kinds.get(column.kind, "object")) for column in columns}
    )


def to_polars(columns: Sequence[Column]) -> "polars.DataFrame":
    """Int64, Float64, String, Boolean, Datetime(ns, UTC), Decimal(38, 8 or 16). Raises MissingPackage."""
    try:
        import polars as pl
    except ImportError as error:
        raise MissingPackage("polars", "polars") from error
    kinds = {
        "int": pl.Int64(),
        "float": pl.Float64(),
        "text": pl.String(),
        "truth": pl.Boolean(),
        "time": pl.Datetime("ns", "UTC"),
        "decimal8": pl.Decimal(38, 8),
        "decimal16": pl.Decimal(38, 16),
    }
    return pl.DataFrame([pl.Series(column.name, list(column.values), dtype=kinds[column.kind]) for column in columns])


# Rows to columns -------------------------------------------------------------


def of_trades(rows: Sequence[Trade], is_exact: bool) -> list[Column]:
    """One row a trade."""
    return [
        Column("time_utc", "time", [row.trade_time_ns for row in rows]),
        Column("agg_id", "int", [row.agg_id for row in rows]),
        _e8("price", [row.price_e8 for row in rows], is_exact),
        _e8("quantity", [row.quantity_e8 for row in rows], is_exact),
        Column("aggressor", "text", [row.aggressor for row in rows]),
        Column("first_id", "int", [row.first_id for row in rows]),
        Column("last_id", "int", [row.last_id for row in rows]),
        Column("trade_time_ns", "int", [row.trade_time_ns for row in rows]),
    ]


def of_snapshots(rows: Sequence["StoredSnapshot"], is_exact: bool) -> list[Column]:
    """One row a snapshot: 20 levels a side, the best first, null where there are fewer."""
    columns = [
        Column("time_utc", "time", [row.timestamp_s * NS for row in rows]),
        Column("timestamp_s", "int", [row.timestamp_s for row in rows]),
        Column("update_id", "int", [row.update_id for row in rows]),
    ]
    for side, sides in (("bid", [row.bids for row in rows]), ("ask", [row.asks for row in rows])):
        for rank in range(LEVELS):
            found: list[Level | None] = [levels[rank] if rank < len(levels) else None for levels in sides]
            columns.append(_e8(f"{side}_{rank + 1}_price", [one and one.price_e8 for one in found], is_exact))
            columns.append(_e8(f"{side}_{rank + 1}_quantity", [one and one.quantity_e8 for one in found], is_exact))
    return columns


def of_gaps(gaps: Sequence["Gap"]) -> list[Column]:
    """One row a gap."""
    return [
        Column("from_utc", "time", [gap.from_s * NS for gap in gaps]),
        Column("from_s", "int", [gap.from_s for gap in gaps]),
        Column("to_s", "int", [gap.to_s for gap in gaps]),
        Column("cause", "text", [gap.cause for gap in gaps]),
    ]


# Fields of a second, by their unit (docs/records.md).
NAMES = frozenset({"state", "reason", "ofi_source", "trade_state"})
PRICES = frozenset(
    {"known_bid", "known_ask", "mid2_open", "mid2_high", "mid2_low", "mid2_close", "spread_max"}
    | {"px_first", "px_last", "px_high", "px_low"}
)
QUANTITIES = frozenset({"bid_added", "bid_removed", "ask_added", "ask_removed", "ofi_diff", "ofi_top20", "buy_qty", "sell_qty"})
SPREADS = frozenset({"spread_tw"})  # floats in units of 1e-8
SQUARES = frozenset({"mid_sq"})
VALUES = frozenset(
    {"buy_quote", "sell_quote", "max_batch_quote", "large_bid_quote", "large_ask_quote", "excess_quote"}
    | {"depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask", "fill_buy", "fill_sell"}
)
COSTS = frozenset({"cost_buy", "cost_sell"})

BANDS = tuple(f"{bps}bps" for bps in (1, 2, 5, 10, 25, 50))
SIZES = ("10k", "25k", "50k", "100k", "500k", "1m")
PARTS = {
    **dict.fromkeys(("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask"), BANDS),
    **dict.fromkeys(("cost_buy", "cost_sell", "fill_buy", "fill_sell"), SIZES),
    "ofi_diff": tuple(str(rank) for rank in range(1, 11)),
}
UNITS = {
    **dict.fromkeys(PRICES | SPREADS, "price"),
    **dict.fromkeys(QUANTITIES, "quantity"),
    **dict.fromkeys(VALUES, "quote"),
    **dict.fromkeys(SQUARES, "price2"),
    **dict.fromkeys(COSTS, "bps"),
    "live_ms": "ms",
    "event_ms": "ms",
    "recv_ms": "ms",
    "sample_ms": "ms",
}
SHORT = {"price": "px", "quantity": "qty"}  # units that a field's own name may have already


def of_seconds(t: Sequence[int], columns: dict[str, tuple[Any, ...]], is_exact: bool) -> list[Column]:
    """One row a second; a field over bands, sizes or ranks is a column for each of them."""
    found = [Column("time_utc", "time", [second * NS for second in t])]
    if "t" not in columns:
        found.append(Column("t_s", "int", t))
    for name, values in columns.items():
        parts = PARTS.get(name)
        if parts is None:
            found.append(_field(column_name(name), name, values, is_exact))
            continue
        for place, part in enumerate(parts):
            found.append(_field(column_name(name, part), name, [row[place] for row in values], is_exact))
    return found


def column_name(field: str, part: str = "") -> str:
    """A field's column: with the part of it, and with its unit unless the name has it."""
    if field == "t":
        return "t_s"
    unit = UNITS.get(field, "")
    words = field.split("_")
    has_it = not unit or unit in words or SHORT.get(unit) in words
    return "_".join([field, *([part] if part else []), *([] if has_it else [unit])])


def _field(column: str, field: str, values: Iterable[Any], is_exact: bool) -> Column:
    if field in NAMES:
        return Column(column, "text", list(values))
    if field in PRICES or field in QUANTITIES:
        return _e8(column, values, is_exact)
    if field in VALUES or field in SQUARES:
        return _whole(column, values, is_exact)
    if field in SPREADS:
        return Column(column, "float", [None if value is None else value / E8 for value in values])
    return Column(column, "float" if field in COSTS else "int", list(values))


def _e8(name: str, values: Iterable[int | None], is_exact: bool) -> Column:
    if is_exact:
        return Column(name, "decimal8", [None if value is None else exact(value) for value in values])
    return Column(name, "float", [None if value is None else value / E8 for value in values])


def _whole(name: str, values: Iterable[Decimal | None], is_exact: bool) -> Column:
    if is_exact:
        return Column(name, "decimal16", list(values))
    return Column(name, "float", [None if value is None else float(value) for value in values])
