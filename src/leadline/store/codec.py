"""Records to values and back: MessagePack, positional arrays, the version first in every family but `snapshots`.

snapshots      [bids, asks, update_id, timestamp], a side [[price, quantity], ...] best first: the specification's bytes
seconds v1     [1, the fields of SecondRecord in its order]; the minute block is last, as an array
trades v1      [1, state, [[agg_id, price, quantity, first_id, last_id, trade_ms, buyer_is_maker], ...]]
incidents v1   [1, kind, start_ms, end_ms, epoch_before, epoch_after, cause, detail]
hours v1       hour_codec.py

Prices and quantities of snapshots and trades are decimal text without trailing zeros; so are the 1e-16 fields of `seconds`.
Other integers are integers; one beyond 64 bits, which MessagePack cannot hold, is its text. A trade time that is not a whole
millisecond is the decimal text of its milliseconds ("1723110000123.456"). Decoders raise Unreadable, for newer versions too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, get_type_hints

import msgspec
import numpy as np
from msgspec import Meta, Raw, Struct, defstruct
from msgspec.structs import astuple
from numpy.typing import NDArray

from leadline.core import units
from leadline.core.records import (
    BANDS_BPS,
    SIZES_QUOTE,
    TOP_LEVELS,
    BookSnapshot,
    Incident,
    Level,
    MinuteBlock,
    SecondRecord,
    Trade,
    TradeBlock,
    TradeState,
)

SLICE = 64  # 6.4 us a snapshot in slices of 64, 8.4 in slices of 256: the garbage collector (bench/windows.py)
NS_PER_MS = 1_000_000

_pack = msgspec.msgpack.Encoder().encode
_e8 = lru_cache(maxsize=16384)(units.fixed)  # neighbouring seconds share most of their 80 numbers


class Unreadable(ValueError):
    """The bytes are not a value of a version this program reads."""


@contextmanager
def reading() -> Iterator[None]:
    """Whatever a value that does not decode raises inside becomes Unreadable."""
    try:
        yield
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise Unreadable(str(error)) from error


# snapshots --------------------------------------------------------------------


class _Snapshot(Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    bids: Annotated[list[tuple[str, str]], Meta(max_length=TOP_LEVELS)]
    asks: Annotated[list[tuple[str, str]], Meta(max_length=TOP_LEVELS)]
    update_id: int
    timestamp: int


class _FloatSnapshot(Struct, array_like=True, gc=False, forbid_unknown_fields=True):
    bids: Annotated[list[tuple[float, float]], Meta(max_length=TOP_LEVELS)]
    asks: Annotated[list[tuple[float, float]], Meta(max_length=TOP_LEVELS)]
    update_id: int
    timestamp: int


_unpack_snapshot = msgspec.msgpack.Decoder(_Snapshot).decode
_unpack_floats = msgspec.msgpack.Decoder(_FloatSnapshot, strict=False).decode  # text to float, correctly rounded


def encode_snapshot(snapshot: BookSnapshot) -> bytes:
    """Raises ValueError for more than 20 levels a side."""
    if max(len(snapshot.bids), len(snapshot.asks)) > TOP_LEVELS:
        raise ValueError(f"more than {TOP_LEVELS} levels a side")
    return _pack((_texts(snapshot.bids), _texts(snapshot.asks), snapshot.update_id, snapshot.timestamp))


def decode_snapshot(value: bytes) -> BookSnapshot:
    """Exact. Raises Unreadable."""
    with reading():
        stored = _unpack_snapshot(value)
        return BookSnapshot(_levels(stored.bids), _levels(stored.asks), stored.update_id, stored.timestamp)


def snapshot_columns(values: Sequence[bytes]) -> NDArray[np.float64]:
    """(n, 2, 20, 2): snapshot, side (bid, ask), level (best first), (price, quantity); NaN where there is no level.

    For statistics only: money is computed from decode_snapshot. Raises Unreadable.
    """
    out = np.empty((len(values), 2, TOP_LEVELS, 2))
    flat = chain.from_iterable
    with reading():
        for i in range(0, len(values), SLICE):
            books = [_unpack_floats(value) for value in values[i : i + SLICE]]
            target = out[i : i + len(books)]
            try:
                numbers = flat(flat(flat((b.bids, b.asks)) for b in books))
                # No side is longer than 20, so the count is right only if every side is full.
                target.reshape(-1)[:] = np.fromiter(numbers, float, target.size)
            except ValueError:
                target[:] = np.nan
                for book, sides in zip(books, target, strict=True):
                    for levels, side in zip((book.bids, book.asks), sides, strict=True):
                        side[: len(levels)] = np.array(levels).reshape(-1, 2)
    return out


def _texts(levels: Sequence[Level]) -> list[tuple[str, str]]:
    text = units.decimal_text
    return [(text(price), text(quantity)) for price, quantity in levels]


def _levels(texts: list[tuple[str, str]]) -> tuple[Level, ...]:
    return tuple([(_e8(price), _e8(quantity)) for price, quantity in texts])


# seconds ----------------------------------------------------------------------


def _is_e16(name: str) -> bool:
    return name.endswith("_quote") or name.startswith(("depth_", "fill_")) or name == "mid_sq"


def _stored_type(name: str, hint: Any) -> Any:
    if name == "minute":
        return _Minute | None
    return {int: str, int | None: str | None, list[int | None]: list[str | None]}[hint] if _is_e16(name) else hint


# MinuteBlock and SecondRecord as arrays. Derived, so that a field has one definition; the golden bytes of v1 in the tests
# fail when core changes a field. Then these two become literals and v2 is derived.
_Minute = defstruct("_Minute", list(get_type_hints(MinuteBlock).items()), array_like=True, forbid_unknown_fields=True)
_FIELDS = get_type_hints(SecondRecord)
_SecondV1 = defstruct(
    "_SecondV1",
    [(name, _stored_type(name, hint)) for name, hint in _FIELDS.items()],
    array_like=True,
    tag=1,
    forbid_unknown_fields=True,
)
_E16_NUMBERS = [i for i, (name, hint) in enumerate(_FIELDS.items()) if _is_e16(name) and hint in (int, int | None)]
_E16_LISTS = [i for i, (name, hint) in enumerate(_FIELDS.items()) if _is_e16(name) and hint == list[int | None]]
_unpack_second = msgspec.msgpack.Decoder(_SecondV1, strict=False).decode  # not strict: integers beyond 64 bits are text


def encode_second(record: SecondRecord) -> bytes:
    """Version 1."""
    fields: list[Any] = list(astuple(record))
    for i in _E16_NUMBERS:
        fields[i] = _quote_text(fields[i])
    for i in _E16_LISTS:
        fields[i] = [_quote_text(number) for number in fields[i]]
    if record.minute is not None:
        fields[-1] = astuple(record.minute)
    try:
        return _pack([1, *fields])
    except OverflowError:
        return _pack([1, *_with_big_numbers_as_text(fields)])


def decode_second(value: bytes) -> SecondRecord:
    """Exact. Raises Unreadable."""
    with reading():
        fields: list[Any] = list(astuple(_unpack_second(value)))
        for i in _E16_NUMBERS:
            fields[i] = _quote_number(fields[i])
        for i in _E16_LISTS:
            fields[i] = [_quote_number(text) for text in fields[i]]
        if fields[-1] is not None:
            fields[-1] = MinuteBlock(*astuple(fields[-1]))
        return SecondRecord(**dict(zip(_FIELDS, fields, strict=True)))


# Never null and within 64 bits by nature: int64 columns. Every other number is a float64 column.
_INT_COLUMNS = {name for name, hint in _FIELDS.items() if hint is int and not name.endswith(("_qty", "_quote"))}
_WIDTHS = {name: len(BANDS_BPS) for name in ("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask")}
_WIDTHS |= {name: len(SIZES_QUOTE) for name in ("cost_buy", "cost_sell", "fill_buy", "fill_sell")}
_WIDTHS["ofi_diff"] = 10
_TEXT_COLUMNS = {"state", "reason", "ofi_source", "trade_state"}
COLUMNS = frozenset(_FIELDS) - {"level_events", "minute"}


def second_columns(values: Sequence[bytes], names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Columns of `seconds` values, n rows each; names are fields of SecondRecord but `level_events` and `minute`.

    int64: t, live_ms, flags and the counts that are never null. object: state, reason, ofi_source, trade_state.
    float64 with NaN for null: all others; the arrays have shape (n, 6), ofi_diff (n, 10).
    Units: px and qty fields in 1e-8 as stored; the 1e-16 fields as whole quote units (px^2 for mid_sq), since they are
    stored as decimal text. Raises Unreadable; KeyError for a name that is no column.
    """
    names = tuple(dict.fromkeys(names))
    unpack = _column_decoder(names)
    out: dict[str, NDArray[Any]] = {}
    for name in names:
        kind: Any = np.int64 if name in _INT_COLUMNS else object if name in _TEXT_COLUMNS else np.float64
        out[name] = np.empty((len(values), _WIDTHS[name]) if name in _WIDTHS else len(values), kind)
    with reading():
        for i in range(0, len(values), SLICE):
            rows = [unpack(value) for value in values[i : i + SLICE]]
            for name, column in out.items():
                cells: Any = [getattr(row, name) for row in rows]
                if name in _WIDTHS:
                    nulls = (None,) * _WIDTHS[name]
                    cells = np.array([nulls if cell is None else cell for cell in cells], float).reshape(-1, _WIDTHS[name])
                column[i : i + len(rows)] = cells
    return out


@lru_cache(maxsize=64)
def _column_decoder(names: tuple[str, ...]) -> Callable[[bytes], Any]:
    """Decodes what was asked for, skips over the rest, stops after the last; text becomes float on the way."""
    for name in names:
        if name not in COLUMNS:
            raise KeyError(name)
    order = list(_FIELDS)
    upto = 1 + max((order.index(name) for name in names), default=0)

    def kind(name: str) -> Any:
        if name not in names:
            return Raw
        if name in _INT_COLUMNS:
            return int
        if name in _TEXT_COLUMNS:
            return str | None
        return list[float | None] | None if name in _WIDTHS else float | None

    row = defstruct("_Row", [(name, kind(name)) for name in order[:upto]], array_like=True, tag=1, gc=False)
    return msgspec.msgpack.Decoder(row, strict=False).decode


def _quote_text(number: int | None) -> str | None:
    return None if number is None else units.decimal_text_e16(number)


def _quote_number(text: str | None) -> int | None:
    return None if text is None else units.fixed_e16(text)


def _with_big_numbers_as_text(value: Any) -> Any:
    if isinstance(value, Struct):
        value = astuple(value)
    if isinstance(value, list | tuple):
        return [_with_big_numbers_as_text(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


# trades -----------------------------------------------------------------------

_StoredTrade = tuple[int, str, str, int, int, int | str, bool]


class _TradesV1(Struct, array_like=True, tag=1, forbid_unknown_fields=True):
    state: TradeState
    trades: list[_StoredTrade]


_unpack_trades = msgspec.msgpack.Decoder(_TradesV1).decode


def encode_trades(block: TradeBlock) -> bytes:
    """Version 1. Symbol and second are in the key; event and receive stamps are not kept."""
    return _pack(_TradesV1(block.state, [_stored_trade(trade) for trade in block.trades]))


def decode_trades(value: bytes, symbol: str, second: int) -> TradeBlock:
    """Exact. Raises Unreadable."""
    with reading():
        stored = _unpack_trades(value)
        return TradeBlock(symbol, second, stored.state, tuple([_trade(symbol, row) for row in stored.trades]))


def _stored_trade(trade: Trade) -> _StoredTrade:
    ms, rest_ns = divmod(trade.ts_trade_ns, NS_PER_MS)
    return (
        trade.agg_id,
        units.decimal_text(trade.price_e8),
        units.decimal_text(trade.quantity_e8),
        trade.first_id,
        trade.last_id,
        f"{ms}.{rest_ns:06d}".rstrip("0") if rest_ns else ms,
        trade.buyer_is_maker,
    )


def _trade(symbol: str, row: _StoredTrade) -> Trade:
    agg_id, price, quantity, first_id, last_id, time_ms, buyer_is_maker = row
    if isinstance(time_ms, str):
        ms, _, fraction = time_ms.partition(".")
        ts_trade_ns = int(ms) * NS_PER_MS + int(fraction.ljust(6, "0"))
    else:
        ts_trade_ns = time_ms * NS_PER_MS
    return Trade(symbol, agg_id, _e8(price), _e8(quantity), first_id, last_id, ts_trade_ns, buyer_is_maker)


# incidents --------------------------------------------------------------------


class _IncidentV1(Struct, array_like=True, tag=1, forbid_unknown_fields=True):
    kind: str
    start_ms: int
    end_ms: int | None
    epoch_before: int | None
    epoch_after: int | None
    cause: str
    detail: str


_unpack_incident = msgspec.msgpack.Decoder(_IncidentV1).decode


def encode_incident(incident: Incident) -> bytes:
    """Version 1. Symbol, second and n are in the key."""
    i = incident
    return _pack(_IncidentV1(i.kind, i.start_ms, i.end_ms, i.epoch_before, i.epoch_after, i.cause, i.detail))


def decode_incident(value: bytes, symbol: str, second: int, n: int) -> Incident:
    """Raises Unreadable."""
    with reading():
        return Incident(symbol, second, n, *astuple(_unpack_incident(value)))


# meta -------------------------------------------------------------------------


def encode_meta(value: Any) -> bytes:
    """Any plain value."""
    return _pack(value)


def decode_meta(value: bytes, kind: Any = Any) -> Any:
    """A plain value, or a `kind`. Raises Unreadable."""
    with reading():
        return msgspec.msgpack.decode(value, type=kind)
