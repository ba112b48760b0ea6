"""The day before the market began: it joins the live chain of ids and price, whatever part of it is asked for first."""

import itertools

import numpy as np
import pytest

from leadline.standin.market import SyntheticMarket
from leadline.standin.past import SeededPast
from leadline.standin.specs import KNOWN
from leadline.standin.tape import E8

START_MS = 1_767_225_600_000
DAY_MS, HOUR_MS = 86_400_000, 3_600_000


def past(symbol: str = "1INCHUSDT", seed: int = 7) -> SeededPast:
    return SeededPast(seed, KNOWN[symbol], START_MS * 1000, (1000, 9000))


def test_ids_close_up_to_the_live_ones_and_time_runs_up_to_the_start() -> None:
    rows = past().rows(-past().count, 0)
    assert len(rows.agg_id) == past().count > 10_000
    assert rows.agg_id.tolist() == list(range(1001 - past().count, 1001))
    assert rows.first_id.tolist() == rows.last_id.tolist() == list(range(9001 - past().count, 9001))
    assert np.all(np.diff(rows.time_us) >= 0)
    assert rows.time_us[0] >= (START_MS - DAY_MS) * 1000
    assert rows.time_us[-1] < START_MS * 1000


def test_the_last_price_is_the_live_markets_first_and_no_step_is_a_jump() -> None:
    spec = KNOWN["1INCHUSDT"]
    rows = past().rows(-past().count, 0)
    assert rows.price[-1] == spec.price_ticks * spec.tick_e8
    assert np.all(rows.price % spec.tick_e8 == 0)
    assert np.all(rows.quantity % spec.lot_e8 == 0)
    assert np.max(np.abs(np.diff(rows.price))) <= 3 * spec.tick_e8
    assert len(np.unique(rows.price)) > 20


@pytest.mark.parametrize("symbol", ["BTCUSDT", "PEPEUSDT", "BTCJPY", "AEBTC"])
def test_quote_amounts_are_exact_also_where_the_product_does_not_fit_64_bits(symbol: str) -> None:
    rows = past(symbol).rows(-min(500, past(symbol).count), 0)
    for price, quantity, quote in zip(rows.price.tolist(), rows.quantity.tolist(), rows.quote.tolist(), strict=True):
        assert quote == price * quantity // E8


def test_any_part_is_the_same_as_that_part_of_the_whole() -> None:
    whole = past().rows(-past().count, 0)
    for low, high in [(-1, 0), (-5_000, -4_990), (-past().count, 3 - past().count), (-7_000, -100), (-4, -4)]:
        for part, column in zip(past().rows(low, high), whole, strict=True):
            assert part.tolist() == column[low or None : high or None].tolist()


def test_a_time_finds_its_first_row() -> None:
    whole = past().rows(-past().count, 0)
    for row in (-past().count, -12_345, -2, -1):
        at_us = int(whole.time_us[row])
        assert past().place(at_us) <= row
        assert past().place(at_us + 1) > row
    assert past().place(0) == -past().count
    assert past().place(START_MS * 1000) == 0


def test_the_tape_goes_over_the_start_without_a_seam() -> None:
    market = SyntheticMarket(7, ("1INCHUSDT",), start_ms=START_MS)
    market.advance(market.start_ns + 600 * 10**9)
    tape = market.tape("1INCHUSDT")
    rows = tape.aggregates(from_id=None, start_ms=START_MS - 600_000, end_ms=None, limit=1000)
    assert rows[0].T >= START_MS - 600_000
    assert any(row.T < START_MS for row in rows)
    assert any(row.T >= START_MS for row in rows)
    assert [row.a for row in rows] == list(range(rows[0].a, rows[0].a + len(rows)))
    assert all(a.l + 1 == b.f for a, b in itertools.pairwise(rows))
    first = tape.aggregates(from_id=1, start_ms=None, end_ms=None, limit=3)
    assert first[0].T - (START_MS - DAY_MS) < HOUR_MS
    candles = tape.candles("1h", start_ms=None, end_ms=START_MS + HOUR_MS, limit=1000, until_ms=START_MS + 600_000)
    assert len(candles) == 25
    assert all(a.last_id + 1 == b.first_id for a, b in itertools.pairwise(candles))
