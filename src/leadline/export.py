"""Stored records as CSV or JSON lines: exact decimals, null empty, arrays as name_0, name_1, ...

Reads in slices, so that a week does not have to fit into memory. What cannot be read is told on stderr, never left out silently.
"""

import csv
import logging
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import msgspec
from msgspec import structs

from leadline.core.errors import InvalidRequest
from leadline.core.records import BANDS_BPS, SIZES_QUOTE, TOP_LEVELS, BookSnapshot, LevelEvent, MinuteBlock, SecondRecord, Trade
from leadline.core.second import RANKS
from leadline.core.units import E8, decimal_text, decimal_text_e16
from leadline.store.history import History, slices

log = logging.getLogger("leadline.export")

KINDS = ("snapshots", "seconds", "trades", "incidents")
FORMATS = ("csv", "jsonl")
SLICE_S = 600

SNAPSHOT_COLUMNS = ["timestamp", "update_id"] + [
    f"{side}{level}_{part}" for side in "ba" for level in range(TOP_LEVELS) for part in "pq"
]
TRADE_COLUMNS = ["a", "p", "q", "f", "l", "T", "m"]
INCIDENT_COLUMNS = ["symbol", "second", "n", "kind", "start_ms", "end_ms", "epoch_before", "epoch_after", "cause", "detail"]

_E16 = {"mid_sq", "buy_quote", "sell_quote", "max_batch_quote", "large_bid_quote", "large_ask_quote", "excess_quote"} | {
    "depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask", "fill_buy", "fill_sell",
}  # fmt: skip
_E8 = {
    "known_bid", "known_ask", "bid_added", "bid_removed", "ask_added", "ask_removed", "ofi_diff", "ofi_top20",
    "mid2_open", "mid2_high", "mid2_low", "mid2_close", "spread_max", "buy_qty", "sell_qty",
    "px_first", "px_last", "px_high", "px_low",
}  # fmt: skip
_LENGTHS = dict.fromkeys(("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask"), len(BANDS_BPS)) | {
    "ofi_diff": RANKS,
    **dict.fromkeys(("cost_buy", "cost_sell", "fill_buy", "fill_sell"), len(SIZES_QUOTE)),
}
_MINUTE_LENGTHS = {"samples": 0, "density_bid": 100, "density_ask": 100, "size_p95": 6, "size_p99": 6}


def check(what: str, form: str) -> None:
    """Raises InvalidRequest for a kind or a format that is none."""
    if what not in KINDS:
        raise InvalidRequest("--what", f"{what!r}", ", ".join(KINDS))
    if form not in FORMATS:
        raise InvalidRequest("--format", f"{form!r}", ", ".join(FORMATS))


def write(
    history: History,
    what: str,
    symbol: str,
    *,
    start_s: float | None,
    end_s: float | None,
    form: str,
    out: TextIO,
    advance: Callable[[int], None],
) -> int:
    """Write the rows with start_s <= their time < end_s; returns how many. advance is told the count as it grows."""
    columns, rows = _table(history, what, symbol, start_s, end_s)
    count = 0
    if form == "csv":
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            flat = row if isinstance(row, list) else _flat(row)
            writer.writerow(["" if value is None else _word(value) for value in flat])
            count += 1
            advance(count)
    else:
        for row in rows:
            body = dict(zip(columns, row, strict=True)) if isinstance(row, list) else row
            out.write(msgspec.json.encode(body).decode() + "\n")
            count += 1
            advance(count)
    return count


Row = list[Any] | dict[str, Any]


def _table(
    history: History, what: str, symbol: str, start_s: float | None, end_s: float | None
) -> tuple[list[str], Iterator[Row]]:
    if what == "incidents":
        return INCIDENT_COLUMNS, _incidents(history, symbol, start_s, end_s)
    first, last = history.span(what, symbol) or (0, -1)
    lo, hi = first, last + 1
    if start_s is not None:
        lo = max(lo, int(start_s // 1) if what == "trades" else -int(-start_s // 1))
    if end_s is not None:
        hi = min(hi, -int(-end_s // 1))
    match what:
        case "snapshots":
            return SNAPSHOT_COLUMNS, _snapshots(history, symbol, lo, hi)
        case "seconds":
            return second_columns(), _seconds(history, symbol, lo, hi)
        case _:
            return TRADE_COLUMNS, _trades(history, symbol, lo, hi, start_s, end_s)


def _snapshots(history: History, symbol: str, lo: int, hi: int) -> Iterator[Row]:
    for start, end in slices(lo, hi, SLICE_S):
        window = history.snapshots(symbol, start, end)
        _tell(window.unreadable)
        for snapshot in window.rows:
            yield _snapshot_row(snapshot)


def _snapshot_row(snapshot: BookSnapshot) -> list[Any]:
    row: list[Any] = [snapshot.timestamp, snapshot.update_id]
    for side in (snapshot.bids, snapshot.asks):
        for price, quantity in side:
            row += [decimal_text(price), decimal_text(quantity)]
        row += [None] * (2 * (TOP_LEVELS - len(side)))
    return row


def _seconds(history: History, symbol: str, lo: int, hi: int) -> Iterator[Row]:
    for start, end in slices(lo, hi, SLICE_S):
        window = history.seconds(symbol, start, end)
        _tell(window.unreadable)
        for record in window.rows:
            yield _second_row(record)


def _second_row(record: SecondRecord) -> dict[str, Any]:
    return {"v": 1} | {name: _value(name, value) for name, value in structs.asdict(record).items()}


def _value(name: str, value: Any) -> Any:
    if value is None or name == "minute":
        return None if value is None else structs.asdict(value)
    if isinstance(value, LevelEvent):
        prices = [decimal_text(number) for number in (value.price_e8, value.peak_e8, value.displayed_e8, value.traded_e8)]
        return [value.kind, value.side, *prices, value.born_ms, value.died_ms, value.distance_bps]
    if isinstance(value, list):
        return [_value(name, item) for item in value]
    if name in _E8:
        return decimal_text(value)
    if name in _E16:
        return decimal_text_e16(value)
    return value / E8 if name == "spread_tw" else value


def second_columns() -> list[str]:
    """CSV columns of `seconds`: the names of the record's fields, arrays numbered, the minute block as minute_*."""
    columns = ["v"]
    for name in SecondRecord.__struct_fields__:
        if name == "minute":
            for inner, length in _MINUTE_LENGTHS.items():
                columns += [f"minute_{inner}_{i}" for i in range(length)] if length else [f"minute_{inner}"]
        else:
            columns += [f"{name}_{i}" for i in range(_LENGTHS[name])] if name in _LENGTHS else [name]
    return columns


def _flat(row: dict[str, Any]) -> list[Any]:
    flat: list[Any] = []
    for name, value in row.items():
        if name == "minute":
            for inner, length in _MINUTE_LENGTHS.items():
                part = None if value is None else value[inner]
                flat += _padded(part, length) if length else [part]
        elif name in _LENGTHS:
            flat += _padded(value, _LENGTHS[name])
        else:
            flat.append(value)
    return flat


def _padded(values: list[Any] | None, length: int) -> list[Any]:
    values = values or []
    return values + [None] * (length - len(values))


def _trades(history: History, symbol: str, lo: int, hi: int, start_s: float | None, end_s: float | None) -> Iterator[Row]:
    for start, end in slices(lo, hi, SLICE_S):
        window = history.trades(symbol, start, end)
        _tell(window.unreadable)
        for block in window.rows:
            for trade in block.trades:
                seconds = trade.ts_trade_ns / 10**9  # rounded once, as the bounds are: 1e9 would round twice
                if (start_s is None or seconds >= start_s) and (end_s is None or seconds < end_s):
                    yield _trade_row(trade)


def _trade_row(trade: Trade) -> list[Any]:
    milliseconds, rest_ns = divmod(trade.ts_trade_ns, 1_000_000)
    moment: Any = milliseconds if not rest_ns else f"{milliseconds}.{rest_ns:06d}".rstrip("0")
    price, quantity = decimal_text(trade.price_e8), decimal_text(trade.quantity_e8)
    return [trade.agg_id, price, quantity, trade.first_id, trade.last_id, moment, trade.buyer_is_maker]


def _incidents(history: History, symbol: str, start_s: float | None, end_s: float | None) -> Iterator[Row]:
    window = history.incidents(symbol)
    _tell(window.unreadable)
    for incident in window.rows:
        over = incident.end_ms is not None and start_s is not None and incident.end_ms < start_s * 1000
        early = end_s is not None and incident.start_ms >= end_s * 1000
        if not over and not early:
            yield [getattr(incident, name) for name in INCIDENT_COLUMNS]


def _tell(holes: Any) -> None:
    for hole in holes:
        log.error("rows_unreadable", extra={"from": hole.lo_s, "to": hole.hi_s, "cause": hole.cause, "why": hole.why})


def _word(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | MinuteBlock):
        return msgspec.json.encode(value).decode()
    return value
