"""The trades in columns: sums over many blocks, the past, days, time zones, times in us; against loops over plain rows."""

from decimal import Decimal

import numpy as np
import pytest

from leadline.standin import figures, tape
from leadline.standin.tape import BLOCK, Candle, Columns, Day, Tape

E8 = 10**8
NOON_MS = 1_767_268_800_000


class MadeUp:
    """A past of one row every 70 ms up to noon; prices and quantities by small rules."""

    def __init__(self, count: int) -> None:
        self.count = count

    def rows(self, low: int, high: int) -> Columns:
        place = np.arange(low, high, dtype=np.int64)
        number = place + self.count
        price = (100 + number * 7 % 31) * E8
        quantity = (1 + number % 5) * E8 // 2
        quote = price // E8 * quantity
        times = NOON_MS * 1000 + place * 70_000
        return Columns(number, times, price, quantity, quote, number, number, number % 3 // 2)

    def place(self, time_us: int) -> int:
        return max(-self.count, min(0, -((NOON_MS * 1000 - time_us) // 70_000)))


def plain(made: Tape, low: int, high: int) -> list[tuple[int, ...]]:
    return list(zip(*(column.tolist() for column in made.rows(low, high)), strict=True))


def summed(rows: list[tuple[int, ...]], open_ms: int, close_ms: int) -> Candle:
    own = [row for row in rows if open_ms * 1000 <= row[1] < (close_ms + 1) * 1000]
    prices = [row[2] for row in own]
    bought = [row for row in own if not row[7]]
    return Candle(
        open_ms, close_ms, prices[0], max(prices), min(prices), prices[-1],
        sum(row[3] for row in own), sum(row[4] for row in own), sum(row[6] - row[5] + 1 for row in own),
        sum(row[3] for row in bought), sum(row[4] for row in bought), own[0][5], own[-1][6],
    )  # fmt: skip


def filled(past: int, live: int) -> Tape:
    made = Tape(MadeUp(past) if past else None, opening=5 * E8)
    for n in range(live):
        price, quantity = (90 + n * 11 % 47) * E8, (1 + n % 7) * E8 // 4
        first = past + 2 * n
        made.add(past + n, NOON_MS * 1000 + n * 50_123, price, quantity, first, first + 1, n % 2 == 0, [quantity // 2] * 2)
    return made


def test_candles_and_days_over_many_blocks_are_the_sums_of_their_rows() -> None:
    made = filled(5 * BLOCK + 17, 6 * BLOCK + 3)
    rows = plain(made, -5 * BLOCK - 17, 6 * BLOCK + 3)
    end_ms = NOON_MS + (6 * BLOCK) * 50
    for _ in range(2):  # the second time out of what was kept
        for open_ms in (NOON_MS - 1_400_000, NOON_MS - 60_000, NOON_MS - 1, NOON_MS, NOON_MS + 300_000):
            for width in (1_000, 60_000, 900_000, 2_000_000):
                close_ms = open_ms + width - 1
                assert made.candle(open_ms, close_ms) == summed(rows, open_ms, close_ms)
        day = made.day(end_ms)
        assert day is not None
        assert day.candle == summed(rows, end_ms - 86_400_000, end_ms)


def test_a_block_that_grows_is_not_kept() -> None:
    made = filled(0, 2 * BLOCK - 1)
    wide = (NOON_MS - 1000, NOON_MS + 10_000_000)
    assert made.candle(*wide).trades == 2 * (2 * BLOCK - 1)
    made.add(9 * BLOCK, NOON_MS * 1000 + 600_000_000, 1, E8, 1 << 40, 1 << 40, False, [E8])
    assert made.candle(*wide).trades == 2 * (2 * BLOCK - 1) + 1
    assert made.candle(*wide).low == 1


def test_the_day_knows_the_close_before_it_and_the_last_quantity() -> None:
    made = Tape(opening=7 * E8)
    assert made.day(NOON_MS) == Day(Candle(NOON_MS - 86_400_000, NOON_MS, *[7 * E8] * 4, 0, 0, 0, 0, 0, -1, -1), 7 * E8, 0)
    made.add(1, (NOON_MS - 86_400_001) * 1000 + 999, 8 * E8, E8, 1, 1, True)
    made.add(2, (NOON_MS - 86_400_000) * 1000, 9 * E8, 2 * E8, 2, 2, True)
    made.add(3, NOON_MS * 1000 + 999, 10 * E8, 3 * E8, 3, 3, False)
    made.add(4, (NOON_MS + 1) * 1000, 99 * E8, 4 * E8, 4, 4, False)
    day = made.day(NOON_MS)
    assert day is not None
    assert (day.before, day.last_quantity) == (8 * E8, 3 * E8)
    assert (day.candle.open, day.candle.close, day.candle.trades, day.candle.taker_volume) == (9 * E8, 10 * E8, 2, 3 * E8)
    assert Tape().day(NOON_MS) is None


def test_days_of_another_zone_begin_where_that_zone_says() -> None:
    made = filled(0, 1000)
    day_ms = 86_400_000
    (utc,) = made.candles("1d", start_ms=None, end_ms=NOON_MS, limit=1, until_ms=NOON_MS)
    assert utc.open_ms % day_ms == 0
    (east,) = made.candles("1d", start_ms=None, end_ms=NOON_MS, limit=1, until_ms=NOON_MS, offset_ms=8 * 3_600_000)
    assert (east.open_ms + 8 * 3_600_000) % day_ms == 0
    assert east.open_ms == utc.open_ms - 8 * 3_600_000
    # 13 hours east of noon UTC the next day has begun.
    (far,) = made.candles("1d", start_ms=None, end_ms=NOON_MS, limit=1, until_ms=NOON_MS, offset_ms=13 * 3_600_000)
    assert far.open_ms == utc.open_ms + 11 * 3_600_000


def test_rows_between_two_microseconds_are_those_and_their_times_are_microseconds() -> None:
    made = filled(0, 10)
    rows = made.aggregates(
        from_id=None, start_us=NOON_MS * 1000 + 50_123, end_us=NOON_MS * 1000 + 3 * 50_123, limit=1000, in_us=True
    )
    assert [row.T for row in rows] == [NOON_MS * 1000 + n * 50_123 for n in (1, 2, 3)]
    almost = made.aggregates(from_id=None, start_us=NOON_MS * 1000 + 50_124, end_us=NOON_MS * 1000 + 3 * 50_122, limit=1000)
    assert [row.a for row in almost] == [2]
    assert [made.time_us(agg_id=3), made.time_us(fill_id=7), made.time_us(agg_id=77)] == [
        NOON_MS * 1000 + 3 * 50_123,
        NOON_MS * 1000 + 3 * 50_123,
        None,
    ]


def test_what_is_not_in_the_database_yet_is_not_to_be_had() -> None:
    made = filled(0, 10)
    until = NOON_MS * 1000 + 4 * 50_123
    assert [row.a for row in made.aggregates(from_id=None, limit=3, until_us=until)] == [2, 3, 4]
    assert [row.a for row in made.aggregates(from_id=4, limit=3, until_us=until)] == [4]
    assert made.aggregates(from_id=5, limit=3, until_us=until) == []
    assert [row.id for row in made.fills(from_id=None, limit=3, until_us=until)] == [7, 8, 9]


@pytest.mark.parametrize(
    ("change", "base", "said"),
    [(1, 3, "33.333"), (2, 3, "66.667"), (-1, 8, "-12.500"), (-1, 10**6, "0.000"), (5, 0, "0.000"), (1, 200_000, "0.001")],
)
def test_percent_has_three_decimals_half_away_from_zero(change: int, base: int, said: str) -> None:
    assert figures.percent(change, base) == said


def test_a_change_below_zero_keeps_its_sign() -> None:
    assert [figures.signed(-5), figures.signed(-12 * E8 - 1)] == ["-0.00000005", "-12.00000001"]
    assert Decimal(figures.signed(-12 * E8 - 1)) == Decimal(-12 * E8 - 1) / E8


def test_the_interval_of_a_month_is_the_calendars() -> None:
    january = tape.candle_open("1M", NOON_MS)
    assert tape.next_open("1M", january) - january == 31 * 86_400_000
