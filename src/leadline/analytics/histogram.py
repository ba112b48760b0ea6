"""What traded where and when, in a form that adds up: columns of trades become histograms, histograms become one.

Quantities and quote values are exact, however large: int64 wherever the total fits, Python integers where it does not.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct, structs
from numpy.typing import NDArray

from leadline.core.records import Trade

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SECOND_NS = 1_000_000_000
LONG_BLOCK_NS = 300 * SECOND_NS

_EXACT_FLOAT_BITS = 53


class Histogram(Struct, frozen=True):
    """What traded where and when: one line per trade, or per price and block of time once compacted. Histograms add.

    Lines are parallel int64 columns. Two lines may have the same price and time.
    """

    ts_ns: Ints
    """Trade time; the start of the block in a compacted one."""
    price_e8: Ints
    """Price."""
    buy_e8: Ints
    """Quantity that takers bought there, base asset."""
    sell_e8: Ints
    """Quantity that takers sold there, base asset."""
    fills: Ints
    """Raw trades of the line."""
    quote_e16: int
    """Sum of price times quantity, quote asset."""
    squares_e16: int
    """Sum of the squared quantities of the trades, before lines were put together."""
    batches: int
    """Taker orders: trades of one time and aggressor whose price never moves back against it."""
    first_ns: int
    """Trade time of the first trade; 0 without any."""
    last_ns: int
    """Trade time of the last trade; 0 without any."""
    block_ns: int = 0
    """Length of the blocks that times are rounded down to; 0: not compacted."""

    @classmethod
    def of(cls, *, ts_ns: Ints, price_e8: Ints, quantity_e8: Ints, taker_buy: Bools, fills: Ints) -> "Histogram":
        """From columns of trades in id order. Only the number of batches depends on the order."""
        buy = np.where(taker_buy, quantity_e8, 0)
        low = int(price_e8.min()) if len(price_e8) else 0  # above it prices are short, and their products cheap
        return cls(
            ts_ns=ts_ns,
            price_e8=price_e8,
            buy_e8=buy,
            sell_e8=quantity_e8 - buy,
            fills=fills,
            quote_e16=low * exact_sum(quantity_e8) + exact_dot(price_e8 - low, quantity_e8),
            squares_e16=exact_dot(quantity_e8, quantity_e8),
            batches=len(batch_starts(ts_ns, price_e8, taker_buy)),
            first_ns=int(ts_ns.min()) if len(ts_ns) else 0,
            last_ns=int(ts_ns.max()) if len(ts_ns) else 0,
        )

    @classmethod
    def of_trades(cls, trades: Iterable[Trade]) -> "Histogram":
        """From records in id order."""
        rows = [(t.ts_trade_ns, t.price_e8, t.quantity_e8, t.fills, not t.buyer_is_maker) for t in trades]
        columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
        ts_ns, price, quantity, fills, buys = (np.ascontiguousarray(column) for column in columns)
        return cls.of(ts_ns=ts_ns, price_e8=price, quantity_e8=quantity, taker_buy=buys.astype(bool), fills=fills)

    def compacted(self, block_ns: int = LONG_BLOCK_NS) -> "Histogram":
        """One line per price and block: a small thing to keep of an hour that will not change. Cut hours by trade time.

        Same profile as before, for windows whose blocks are a multiple of block_ns. Left as it is if a line could pass 64 bits.
        """
        if not len(self.ts_ns) or exact_sum(self.buy_e8) + exact_sum(self.sell_e8) >= 2**63:
            return self
        low = int(self.price_e8.min())
        block = self.ts_ns // block_ns
        first, prices = int(block.min()), int(self.price_e8.max()) - low + 1
        assert (int(block.max()) - first + 1) * prices < 2**63, "blocks times prices no longer fit one key"
        keys, line = np.unique((block - first) * prices + (self.price_e8 - low), return_inverse=True)
        return structs.replace(
            self,
            ts_ns=(keys // prices + first) * block_ns,
            price_e8=keys % prices + low,
            buy_e8=grouped(line, self.buy_e8, len(keys)),
            sell_e8=grouped(line, self.sell_e8, len(keys)),
            fills=grouped(line, self.fills, len(keys)),
            block_ns=block_ns,
        )


def merged(parts: Sequence[Histogram]) -> Histogram:
    """The sum of histograms that share no trade. A batch that is cut between two parts counts twice; hours never cut one."""
    filled = [part for part in parts if len(part.ts_ns)]

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in filled] or [np.zeros(0, np.int64)])

    return Histogram(
        ts_ns=joined("ts_ns"),
        price_e8=joined("price_e8"),
        buy_e8=joined("buy_e8"),
        sell_e8=joined("sell_e8"),
        fills=joined("fills"),
        quote_e16=sum(part.quote_e16 for part in filled),
        squares_e16=sum(part.squares_e16 for part in filled),
        batches=sum(part.batches for part in filled),
        first_ns=min((part.first_ns for part in filled), default=0),
        last_ns=max((part.last_ns for part in filled), default=0),
        block_ns=max((part.block_ns for part in filled), default=0),
    )


def batch_starts(ts_ns: Ints, price_e8: Ints, taker_buy: Bools) -> Ints:
    """Places of the trades with which a taker order begins: columns in id order, an entry a trade."""
    if not len(ts_ns):
        return np.zeros(0, np.int64)
    step = np.diff(price_e8)
    back = np.where(taker_buy[1:], step < 0, step > 0)
    return np.concatenate([[0], 1 + np.flatnonzero((np.diff(ts_ns) != 0) | (taker_buy[1:] != taker_buy[:-1]) | back)])


# Exact sums -----------------------------------------------------------------------------------------


def exact_sum(values: Ints) -> int:
    """Sum of fewer than 2^31 non-negative int64, in two halves of 32 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def exact_dot(a: Ints, b: Ints) -> int:
    """Sum of products of non-negative int64: cut into parts so short that no sum of products of parts can pass 63 bits."""
    bits = (63 - len(a).bit_length()) // 2
    parts_b = _parts(b, bits)
    return sum(
        int(part_a @ part_b) << (bits * (i + j)) for i, part_a in enumerate(_parts(a, bits)) for j, part_b in enumerate(parts_b)
    )


def grouped(index: Ints, values: Ints, groups: int) -> NDArray[Any]:
    """Exact sums of non-negative int64 by index 0..groups-1: int64, or Python integers where the total passes 63 bits.

    np.bincount adds in float64, which is exact as long as no sum can pass 2^53: else the values are cut into parts.
    """
    total = exact_sum(values)
    if total < 2**_EXACT_FLOAT_BITS:
        return np.bincount(index, values, groups).astype(np.int64)
    bits = _EXACT_FLOAT_BITS - len(values).bit_length()
    sums = np.zeros(groups, np.int64 if total < 2**63 else object)
    for i, part in enumerate(_parts(values, bits)):
        sums += np.bincount(index, part, groups).astype(np.int64).astype(sums.dtype) * 2 ** (bits * i)
    return sums


def _parts(values: Ints, bits: int) -> list[Ints]:
    """Digits to the base 2^bits, lowest first."""
    length = int(values.max()).bit_length() if len(values) else 0
    return [(values >> shift) & (2**bits - 1) for shift in range(0, length, bits)]
