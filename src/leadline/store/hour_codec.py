"""The sums of an hour to values of the family `hours`, and back.

hours v1       [1, block_s, batches, quote, squares, first, last, seconds, low, price_unit, quantity_unit, counts, lines]
claim          [0, n]: somebody is summing this hour up; it says nothing about the hour

quote, squares   decimal text of 1e-16, as everywhere
first, last      [time in ns, fill id, state], or nil in an hour without trades
seconds          [complete, backfilled, missing, missing ids or nil]
low, *_unit      the least price; what all prices above it, and all quantities, are multiples of; 1e-8
counts           lines of each block of block_s seconds, from the start of the hour on
lines            four columns one behind the other, as LEB128 varints (seven bits a byte, lowest first, the last byte below 128):
                 prices, the first of a block above low and each other above the one before it; bought; sold; fills
"""

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.core import units
from leadline.core.records import TradeHour, TradeState
from leadline.store.codec import Unreadable, reading

HOUR_S = 3600
_NS_PER_S = 1_000_000_000
_VARINT_BYTES_MAX = 9  # 63 bits

_Ints = NDArray[np.int64]
_End = tuple[int, int, TradeState]


class _HourV1(Struct, array_like=True, tag=1, forbid_unknown_fields=True):
    block_s: int
    batches: int
    quote: str
    squares: str
    first: _End | None
    last: _End | None
    seconds: tuple[int, int, int, int | None]
    low_e8: int
    price_unit_e8: int
    quantity_unit_e8: int
    counts: list[int]
    lines: bytes


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_HourV1).decode
_HEAD = _pack([1, *_HourV1.__struct_fields__])[:2]


def encode_claim(number: int) -> bytes:
    """What holds an hour's place while it is summed up."""
    return _pack([0, number])


def is_hour(value: bytes) -> bool:
    """Whether it begins like an hour of a version that this program reads; a claim does not."""
    return value[:2] == _HEAD


def encode_hour(hour: TradeHour) -> bytes:
    """Version 1. Symbol and second are in the key; lines are put in order of block and price."""
    block = (hour.ts_ns // _NS_PER_S - hour.second) // hour.block_s
    order = np.lexsort((hour.price_e8, block))
    block, price, buy, sell, fills = (a[order] for a in (block, hour.price_e8, hour.buy_e8, hour.sell_e8, hour.fills))
    counts = np.bincount(block, minlength=HOUR_S // hour.block_s)
    low = int(price.min()) if len(price) else 0
    price_unit, quantity_unit = _unit(price - low), _unit(np.concatenate((buy, sell)))
    above = (price - low) // price_unit
    firsts = (np.cumsum(counts) - counts)[counts > 0]
    steps = np.diff(above, prepend=0)
    steps[firsts] = above[firsts]
    return _pack(
        _HourV1(
            block_s=hour.block_s,
            batches=hour.batches,
            quote=units.decimal_text_e16(hour.quote_e16),
            squares=units.decimal_text_e16(hour.squares_e16),
            first=None if hour.first_state is None else (hour.first_ns, hour.first_id, hour.first_state),
            last=None if hour.last_state is None else (hour.last_ns, hour.last_id, hour.last_state),
            seconds=(hour.complete_s, hour.backfilled_s, hour.missing_s, hour.missing_ids),
            low_e8=low,
            price_unit_e8=price_unit,
            quantity_unit_e8=quantity_unit,
            counts=counts.tolist(),
            lines=_varints(np.concatenate((steps, buy // quantity_unit, sell // quantity_unit, fills))),
        )
    )


def decode_hour(value: bytes, symbol: str, second: int) -> TradeHour:
    """Exact. Raises Unreadable."""
    with reading():
        held = _unpack(value)
        counts = np.array(held.counts, np.int64)
        numbers = _numbers(held.lines)
        if held.block_s * len(counts) != HOUR_S or len(numbers) != 4 * sum(held.counts):
            raise Unreadable("counts that do not fit an hour, or its lines")
        steps, buy, sell, fills = numbers.reshape(4, -1)
        # Each block counts from low: take off what the blocks before it came to.
        reached = np.cumsum(steps)
        before = np.append(0, reached)[np.cumsum(counts) - counts]
        above = reached - np.repeat(before, counts)
        first_ns, first_id, first_state = held.first or (0, 0, None)
        last_ns, last_id, last_state = held.last or (0, 0, None)
        complete, backfilled, missing, missing_ids = held.seconds
        starts = (second + held.block_s * np.arange(len(counts))) * _NS_PER_S
        return TradeHour(
            symbol=symbol,
            second=second,
            block_s=held.block_s,
            ts_ns=np.repeat(starts, counts),
            price_e8=_scaled(above, held.price_unit_e8, held.low_e8),
            buy_e8=_scaled(buy, held.quantity_unit_e8),
            sell_e8=_scaled(sell, held.quantity_unit_e8),
            fills=fills,
            quote_e16=units.fixed_e16(held.quote),
            squares_e16=units.fixed_e16(held.squares),
            batches=held.batches,
            first_ns=first_ns,
            first_id=first_id,
            first_state=first_state,
            last_ns=last_ns,
            last_id=last_id,
            last_state=last_state,
            complete_s=complete,
            backfilled_s=backfilled,
            missing_s=missing,
            missing_ids=missing_ids,
        )


def _unit(values: _Ints) -> int:
    """The greatest number that all are multiples of; 1 if all are zero."""
    return int(np.gcd.reduce(values, initial=0)) or 1


def _scaled(values: _Ints, unit: int, low: int = 0) -> _Ints:
    """low + unit * values. Raises Unreadable beyond 63 bits, where int64 would be silent."""
    if min(low, unit - 1, int(values.min(initial=0))) < 0 or max(unit, low + unit * int(values.max(initial=0))) >= 2**63:
        raise Unreadable("a number beyond 63 bits")
    return low + unit * values


# Varints -----------------------------------------------------------------------


def _varints(values: _Ints) -> bytes:
    """Of non-negative numbers."""
    sizes = np.ones(len(values), np.int64)
    for byte in range(1, _VARINT_BYTES_MAX):
        sizes += values >> 7 * byte != 0
    ends = np.cumsum(sizes)
    out = np.zeros(int(sizes.sum()), np.uint8)
    for byte in range(int(sizes.max(initial=0))):
        has = np.flatnonzero(sizes > byte)
        more = np.where(sizes[has] > byte + 1, 0x80, 0)
        out[ends[has] - sizes[has] + byte] = values[has] >> 7 * byte & 0x7F | more
    return out.tobytes()


def _numbers(lines: bytes) -> _Ints:
    """The inverse of _varints. Raises Unreadable."""
    data = np.frombuffer(lines, np.uint8)
    last = np.flatnonzero(data < 0x80)
    begins = np.append(0, last + 1)
    if begins[-1] != len(data) or np.diff(begins).max(initial=0) > _VARINT_BYTES_MAX:
        raise Unreadable("lines that are no varints")
    values = data[last].astype(np.int64)
    # From the highest byte down, those that have another; each round is for fewer.
    more = np.flatnonzero(last > begins[:-1])
    at = last[more] - 1
    while len(more):
        values[more] = values[more] << 7 | (data[at] & 0x7F)
        on = at > begins[more]
        more, at = more[on], at[on] - 1
    return values
