"""get_history: stored rows of a window as they are, with what is missing between them."""

from typing import Any

import msgspec
from msgspec import Struct

from leadline.core.errors import InvalidRequest
from leadline.core.records import BookSnapshot, SecondRecord
from leadline.core.units import decimal_text, decimal_text_e16
from leadline.service.queries.coverage import coverage_in_steps
from leadline.service.queries.desk import Desk, Grid
from leadline.service.queries.envelope import Envelope, covered, of_service
from leadline.service.steps import Steps

DEFINITION = "history/1"
SLICE_S = 240
ROWS_MAX = 3_600
LEFT_OUT = ("minute", "level_events", "level_events_dropped")


class HistoryAnswer(Struct, frozen=True, kw_only=True):
    """Stored rows of a window, oldest first; what is missing between them is in the coverage of the envelope.

    reading: One sentence made of the fields.
    symbol: The symbol.
    kind: seconds: what happened in each; snapshots: the 20 best levels at each.
    step_s: Rows are so many seconds apart.
    rows: Objects with t and the fields of a record (docs/records.md), or with t, update_id, bids and asks.
    next: Pass it as cursor to go on; null: this is all.
    envelope: The evidence; its coverage is of the window up to next.
    """

    reading: str
    symbol: str
    kind: str
    step_s: int
    rows: list[dict[str, Any]]
    next: int | None
    envelope: Envelope


def get_history(
    desk: Desk,
    symbol: str,
    *,
    from_s: int,
    to_s: int,
    kind: str = "seconds",
    step_s: int = 1,
    limit: int = 300,
    cursor: int | None = None,
) -> Steps[HistoryAnswer]:
    """Rows with from_s <= t < to_s and t a multiple of step_s. Raises UnknownSymbol, InvalidRequest."""
    symbol = desk.symbol(symbol)
    if kind not in {"seconds", "snapshots"}:
        raise InvalidRequest("kind", repr(kind), "seconds, snapshots")
    if not 1 <= limit <= ROWS_MAX:
        raise InvalidRequest("limit", f"{limit} rows", f"1-{ROWS_MAX}")
    if not 0 <= from_s < to_s:
        raise InvalidRequest("to_s", f"{to_s}", f"more than from_s, {from_s}")
    grid = desk.grid(symbol)
    begin_s = -(-max(from_s, cursor if cursor is not None else from_s) // step_s) * step_s
    oldest_s, newest_s = desk.reader.first_second(symbol), desk.reader.last_second(symbol)
    end_s = min(to_s, begin_s if newest_s is None else newest_s + 1)  # nothing is looked for where nothing is stored
    at = max(begin_s, -(-(0 if oldest_s is None else oldest_s) // step_s) * step_s)
    rows: list[dict[str, Any]] = []
    while at < end_s and len(rows) < limit:
        if step_s == 1:
            upto = min(at + SLICE_S, end_s, at + limit - len(rows))
            rows += _rows(desk, symbol, kind, at, upto, grid)
            at = upto
        else:
            for t in range(at, min(at + 60 * step_s, end_s), step_s):
                rows += _rows(desk, symbol, kind, t, t + 1, grid)
                at = t + step_s
                if len(rows) >= limit:
                    break
        yield
    at = to_s if at >= end_s else at
    found = yield from coverage_in_steps(desk.reader, symbol, begin_s, max(begin_s + 1, at))
    return HistoryAnswer(
        reading=f"{symbol}: {len(rows)} {kind} of {begin_s} to {at}" + ("." if at >= to_s else f", go on at {at}."),
        symbol=symbol,
        kind=kind,
        step_s=step_s,
        rows=rows,
        next=None if at >= to_s else at,
        envelope=of_service(desk, symbol, definition=DEFINITION, covered=covered(found, begin_s - 1, max(begin_s, at - 1))),
    )


def _rows(desk: Desk, symbol: str, kind: str, lo: int, hi: int, grid: Grid) -> list[dict[str, Any]]:
    if kind == "snapshots":
        return [_snapshot(row, grid) for row in desk.reader.snapshots(symbol, lo, hi).rows]
    return [record_row(row) for row in desk.reader.seconds(symbol, lo, hi).rows]


def _snapshot(row: BookSnapshot, grid: Grid) -> dict[str, Any]:
    sides = ("bids", row.bids), ("asks", row.asks)
    levels = {name: [[grid.price(price), grid.quantity(size)] for price, size in side] for name, side in sides}
    return {"t": row.timestamp, "update_id": row.update_id, **levels}


_PRICED = frozenset(
    {
        *("known_bid", "known_ask", "bid_added", "bid_removed", "ask_added", "ask_removed", "ofi_top20", "ofi_diff"),
        *("mid2_open", "mid2_high", "mid2_low", "mid2_close", "spread_max", "buy_qty", "sell_qty"),
        *("px_first", "px_last", "px_high", "px_low"),
    }
)


def record_row(row: SecondRecord) -> dict[str, Any]:
    """As people read it: prices and quantities as decimal text, quote values too."""
    plain: dict[str, Any] = msgspec.to_builtins(row)
    out: dict[str, Any] = {}
    for name, value in plain.items():
        if name in LEFT_OUT:
            continue
        if name in _PRICED:
            out[name] = _texts(value, decimal_text)
        elif name.endswith("_quote") or name.startswith(("depth_", "fill_")) or name == "mid_sq":
            out[name] = _texts(value, decimal_text_e16)
        else:
            out[name] = value
    return out


def _texts(value: Any, text: Any) -> Any:
    if value is None:
        return None
    return [_texts(one, text) for one in value] if isinstance(value, list) else text(value)
