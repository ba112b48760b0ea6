"""Trade blocks as columns without an object per trade: numpy reads the MessagePack of many blocks at once.

A trade is an array of seven, 0x97, behind its block's head or behind the boolean that ends the trade before it. Each place that
looks like one is read. Those that a head or another trade leads to, and that lead from one to the next up to the block's end,
are the only reading there is. Whatever does not fit, or is written in another way, takes the slow road: codec.decode_trades.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from leadline.core import units
from leadline.core.records import TradeState
from leadline.store import codec

STATES = (TradeState.COMPLETE, TradeState.BACKFILLED, TradeState.MISSING)
"""States by their number in a column: each is worse than the one before."""

FEW_BYTES = 12_000  # some 250 trades: below, an object for each is quicker than a hundred calls of numpy

Columns = dict[str, NDArray[Any]]
_Bytes = NDArray[np.uint8]
_Ints = NDArray[np.int64]
_Read = tuple[NDArray[Any], _Ints, NDArray[np.bool_]]
"""Of each trade: the value, how many bytes it took, and whether it was one."""

_TRADE, _FALSE, _TEXT = 0x97, 0xC2, 0xA0  # an array of seven; false, behind which comes true; a text of up to 31 bytes
_HEADS = [np.frombuffer(b"\x93\x01" + msgspec.msgpack.encode(state), np.uint8) for state in STATES]
_REACH = 64  # bytes behind the end that may be looked at
_NOT = 99
_MS_DECIMALS = 6  # down to the nanosecond
_DIGITS_MAX = 19  # decimal digits that fit 64 bits, whatever they are
_INT_MAX = 2**63 - 1


def _table(entries: dict[int, int], other: int) -> _Ints:
    """A number for each byte."""
    table = np.full(256, other, np.int64)
    table[list(entries)] = list(entries.values())
    return table


_BYTES = {**dict.fromkeys(range(0x80), 0), 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}  # of an integer, behind its tag
_UINT_BYTES = _table(_BYTES, _NOT)
_UINT_SHIFT = _table({tag: 64 - 8 * size for tag, size in _BYTES.items() if size}, 0).astype(np.uint64)
_STATE_OF = _table({int(head[2]): state for state, head in enumerate(_HEADS)}, _NOT)  # by the tag of its text
_UP, _DOWN = (10 ** np.clip(sign * np.arange(-32, 33), 0, _DIGITS_MAX).astype(np.uint64) for sign in (1, -1))


def trade_columns(values: Sequence[bytes]) -> Columns:
    """`states`: uint8, a number into STATES for each block. Of each trade, in stored order, and exact:

    int64 ts_ns, price_e8, quantity_e8, fills, first_id, last_id; bool taker_buy. Raises Unreadable.
    """
    quick = _quick(values) if sum(map(len, values)) > FEW_BYTES else None
    return _slow(values) if quick is None else quick


def _slow(values: Sequence[bytes]) -> Columns:
    blocks = [codec.decode_trades(value, "", 0) for value in values]
    trades = [trade for block in blocks for trade in block.trades]
    rows = [(t.ts_trade_ns, t.price_e8, t.quantity_e8, t.first_id, t.last_id, not t.buyer_is_maker) for t in trades]
    try:
        columns = np.array(rows, np.int64).reshape(-1, 6).T
    except OverflowError as error:
        raise codec.Unreadable("a number beyond 63 bits") from error
    states = np.array([STATES.index(block.state) for block in blocks], np.uint8)
    return _named(states, [np.ascontiguousarray(column) for column in columns])


def _named(states: _Bytes, columns: Sequence[NDArray[Any]]) -> Columns:
    ts_ns, price, quantity, first_id, last_id, taker_buy = columns
    named = {"states": states, "ts_ns": ts_ns, "price_e8": price, "quantity_e8": quantity, "fills": last_id - first_id + 1}
    return named | {"taker_buy": taker_buy.astype(bool), "first_id": first_id, "last_id": last_id}


# The quick road ----------------------------------------------------------------


def _quick(values: Sequence[bytes]) -> Columns | None:
    """None: something does not fit."""
    data = np.frombuffer(b"".join((*values, bytes(_REACH))), np.uint8)
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    ends = np.cumsum(lengths)
    heads = _heads(data, ends - lengths)
    if heads is None:
        return None
    states, counts, firsts = heads
    busy = counts > 0
    looks = (data[1:] == _TRADE) & (data[:-1] >> 1 == _FALSE >> 1)
    looks[firsts[busy] - 1] = True
    begins = np.flatnonzero(looks[: ends[-1] - 1]) + 1
    columns, leads_to, good = _fields(data, begins)

    led_to = np.zeros(len(data), bool)
    led_to[firsts] = led_to[leads_to[good]] = True
    kept = good & led_to[begins]
    begins, leads_to = begins[kept], leads_to[kept]
    if len(begins) != counts.sum() or (firsts[~busy] != ends[~busy]).any():
        return None
    last = np.cumsum(counts)[busy] - 1
    goes_on = np.append(begins[1:], 0)[: len(begins)]
    goes_on[last] = ends[busy]
    if (leads_to != goes_on).any() or (begins[last - counts[busy] + 1] != firsts[busy]).any():
        return None
    return _named(states, [column[kept] for column in columns])


def _heads(data: _Bytes, starts: _Ints) -> tuple[_Bytes, _Ints, _Ints] | None:
    """Of each block: number of its state, number of its trades, where the first begins. None if one head is no head."""
    states = _STATE_OF[data[starts + 2]]
    if (states == _NOT).any():
        return None
    lengths = np.array([len(head) for head in _HEADS])[states]
    for state, head in enumerate(_HEADS):
        if (data[starts[states == state, None] + np.arange(len(head))] != head).any():
            return None
    at = starts + lengths
    tag = data[at].astype(np.int64)
    long = tag == 0xDC
    if not (long | (tag >> 4 == 0x9)).all():  # 65,536 trades in a second would have another tag
        return None
    counts = np.where(long, data[at + 1].astype(np.int64) << 8 | data[at + 2], tag & 0xF)
    return states.astype(np.uint8), counts, at + np.where(long, 3, 1)


def _fields(data: _Bytes, begins: _Ints) -> tuple[list[NDArray[Any]], _Ints, NDArray[np.bool_]]:
    """What would be read at these places: columns, where each reading has come to, and whether it read a trade."""
    end = len(data) - _REACH
    at, good = begins + 1, data[begins] == _TRADE
    columns: list[NDArray[Any]] = []
    for read in (_uint, _price_or_quantity, _price_or_quantity, _uint, _uint, _nanoseconds, _taker_buy):
        value, size, fits = read(data, at)
        good &= fits
        at = np.minimum(at + size, end)  # one that runs over the end finds zeros there, and no boolean
        columns.append(value)
    _, price, quantity, first_id, last_id, ts_ns, taker_buy = columns
    return [ts_ns, price, quantity, first_id, last_id, taker_buy], at, good


def _uint(data: _Bytes, at: _Ints) -> _Read:
    """A non-negative integer below 2^63."""
    tag = data[at]
    size = _UINT_BYTES[tag]
    words: NDArray[Any] = np.ndarray((len(data) - 7,), ">u8", data.data, strides=(1,))  # one from every byte on
    value = np.where(size == 0, tag, words[at + 1].astype(np.uint64) >> _UINT_SHIFT[tag])
    return value.astype(np.int64), 1 + size, (size != _NOT) & (value <= _INT_MAX)


def _price_or_quantity(data: _Bytes, at: _Ints) -> _Read:
    return _decimal(data, at, units.DECIMALS)


def _nanoseconds(data: _Bytes, at: _Ints) -> _Read:
    """An integer of milliseconds, or their decimal text."""
    ms, size, good = _uint(data, at)
    good &= ms <= _INT_MAX // codec.NS_PER_MS
    text = data[at] >> 5 == _TEXT >> 5
    if not text.any():
        return ms * codec.NS_PER_MS, size, good
    value, length, fits = _decimal(data, at, _MS_DECIMALS)
    return np.where(text, value, ms * codec.NS_PER_MS), np.where(text, length, size), np.where(text, fits, good)


def _taker_buy(data: _Bytes, at: _Ints) -> _Read:
    """From `buyer_is_maker`."""
    tag = data[at]
    return tag == _FALSE, np.ones(len(at), np.int64), tag >> 1 == _FALSE >> 1


def _decimal(data: _Bytes, at: _Ints, places: int) -> _Read:
    """Decimal text with at most so many decimals, as an integer in units of the last of them.

    Digits are put side by side from the left without the point, as if all texts had as many, and moved to their place together.
    """
    tag = data[at].astype(np.int64)
    # The longest makes the table of characters; what only looks like a trade must not make it wide.
    length = np.where((tag >> 5 == _TEXT >> 5) & (tag & 0x1F <= _DIGITS_MAX + 1), tag & 0x1F, 0)
    k = np.arange(int(length.max(initial=0)) + 1)[:, None]
    text = data[at + 1 + k]  # (character, trade)
    inside = k < length
    point = (text == ord(".")) & inside
    has_point = point.any(axis=0)
    whole = np.where(has_point, point.argmax(axis=0), length)
    digit = np.where(inside, text - ord("0"), 0)
    good = ((digit <= 9) | point).all(axis=0) & (point.sum(axis=0) <= 1)
    digits = length - has_point
    good &= (whole >= 1) & (digits - whole <= places) & (whole <= _DIGITS_MAX - places)
    digit = np.where(k[:-1] < whole, digit[:-1], digit[1:])
    columns = min(int(digits.max(initial=0)), _DIGITS_MAX)
    value = np.zeros(len(at), np.uint64)
    for column in digit[:columns]:
        value = value * np.uint64(10) + column
    move = places - columns + whole + len(_UP) // 2
    value = value // _DOWN[move] * _UP[move]
    return value.astype(np.int64), 1 + length, good & (value <= _INT_MAX)
