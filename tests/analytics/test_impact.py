"""What a size would cost: book Z by hand, and ranks among the costs of the past."""

import numpy as np
import pytest
from tests.analytics.build_books import BEYOND, E16, Z_SIDES, Z, taking, ticks, view
from tests.core.build import e8, levels
from tests.core.test_oracles import FIRST, spot

from leadline.analytics.health import clean_rows, columns_of
from leadline.analytics.impact import TradeSide, cost_columns, market_impact
from leadline.analytics.stats import History
from leadline.core.errors import InvalidRequest

# Book Z, by hand: mid 100 --------------------------------------------------------------------


def test_costs_of_the_worked_example():
    """Buying 200 takes 1 at 100.1 and 99.9 / 100.2 at 100.2."""
    taken = [taking(Z, size) for size in (100, 200, 400)]
    assert [round(one.buy.cost_bps, 6) for one in taken] == [10, 14.992504, 27.410915]
    assert [round(one.sell.cost_bps, 6) for one in taken] == [10, 10, 12.509382]
    assert [round(one.buy.slippage_bps, 6) for one in taken] == [0, 4.987516, 17.393521]
    assert [(one.buy.levels_used, one.buy.worst_price_e8) for one in taken] == [
        (1, e8("100.1")),
        (2, e8("100.2")),
        (3, e8("100.6")),
    ]
    assert [(one.sell.levels_used, one.sell.worst_price_e8) for one in taken] == [(1, e8("99.9"))] * 2 + [(2, e8("99.8"))]
    assert round(taken[2].round_trip_bps, 6) == 39.920297
    assert (taken[2].buy.avg_price_e8, taken[2].buy.filled_e16) == (e8("100.27410915"), 400 * E16)
    assert taken[2].buy.filled_e8 == e8("3.98906561")  # 3 + 99.5 / 100.6


def test_a_size_the_book_does_not_hold_has_no_cost():
    taken = taking(Z, 1000)
    for side, filled, quantity in ((taken.buy, 803.5, 8), (taken.sell, 897.3, 9)):
        assert (side.filled_e16 / E16, side.filled_e8, side.notional_e16) == (filled, e8(quantity), 1000 * E16)
        assert (side.reason, side.levels_used) == ("exhausted", 3)
        assert (side.cost_bps, side.slippage_bps, side.avg_price_e8, side.worst_price_e8) == (None, None, None, None)
    assert (taken.round_trip_bps, taken.reasons["round_trip_bps"]) == (None, "exhausted")
    cut = taking(Z, 1000, cut_at=3)
    assert (cut.buy.reason, cut.sell.reason) == (BEYOND, BEYOND)


def test_the_whole_of_a_side_can_be_taken():
    """The asks are worth 803.5: so much is filled by three levels, and nothing more."""
    whole, more = (market_impact(Z_SIDES, notional_e16=8035 * E16 // 10 + over).buy for over in (0, 1))
    assert (whole.reason, whole.levels_used, whole.filled_e8) == (None, 3, e8(8))
    assert (more.reason, more.filled_e16) == ("exhausted", 8035 * E16 // 10)


def test_one_side_may_be_asked_for():
    one = taking(Z, 400, side=TradeSide.SELL)
    assert (one.buy, one.sell, one.round_trip_bps) == (None, taking(Z, 400).sell, None)
    assert one.reasons == {"buy": "not_evaluated", "round_trip_bps": "not_evaluated", "cost_rank": "undefined"}
    other = taking(Z, 400, side=TradeSide.BUY)
    assert (other.buy, other.sell, other.reasons["sell"]) == (taking(Z, 400).buy, None, "not_evaluated")


def test_an_impossible_size_is_refused():
    with pytest.raises(InvalidRequest, match="notional"):
        taking(Z, 0)


# Ranks of cost -------------------------------------------------------------------------------


def test_a_cost_is_ranked_among_the_seconds_that_were_cheaper():
    """Round trips 1, 2.5, 3 and an exhausted second: 2 is dearer than one of four."""
    past = History.of(np.array([1.0, 2.5, 3.0, np.inf]))
    deep = view(levels([("99.99", 10_000)]), levels([("100.01", 10_000)]))
    rank = taking(deep, 100_000, past=past)
    assert (rank.round_trip_bps, rank.cost_rank) == (pytest.approx(2), 0.25)
    assert taking(deep, 100_000).reasons["cost_rank"] == "baseline_short"
    assert taking(deep, 99_999, past=past).reasons["cost_rank"] == "undefined"
    assert taking(Z, 100_000, past=past).reasons["cost_rank"] == "exhausted"
    assert taking(deep, 100_000, side=TradeSide.BUY, past=History.of(np.array([0.5, 2.0]))).cost_rank == 0.5


def test_the_history_of_a_cost_counts_clean_seconds_and_an_exhausted_book_as_dearest():
    """Of six seconds: cost 1 + 2; exhausted asks; asks beyond the known range; not clean; not LIVE; 3 + 4."""
    columns = {
        "state": np.array(["LIVE", "LIVE", "LIVE", "LIVE", "SYNCING", "LIVE"], object),
        "flags": np.array([0, 0, 0, 2, 0, 32]),
        "known_ask": np.array([np.nan, np.nan, 1.0, np.nan, np.nan, 1.0]),
        "known_bid": np.full(6, np.nan),
        "cost_buy": np.array([1, np.nan, np.nan, 9, np.nan, 3])[:, None].repeat(6, 1),
        "fill_buy": np.array([np.nan, 5, 5, np.nan, 5, np.nan])[:, None].repeat(6, 1),
        "cost_sell": np.array([2, 1, 1, 9, np.nan, 4.0])[:, None].repeat(6, 1),
        "fill_sell": np.full((6, 6), np.nan),
    }
    buy, sell = cost_columns(columns, 100_000)
    assert [str(value) for value in buy] == ["1.0", "inf", "nan", "9.0", "nan", "3.0"]
    assert list(sell[[0, 1, 5]]) == [2, 1, 4]
    clean = clean_rows(columns)
    assert list(clean) == [True, True, True, False, False, True]


def test_the_costs_of_the_recording_rank_its_own():
    records = [record for record in spot("ETHUSDT")[2].values() if record.t >= FIRST]
    columns = columns_of(records)
    past = History.of(sum(cost_columns(columns, 100_000))[clean_rows(columns)])
    assert past.n == 345
    record, whole = ticks("ETHUSDT")[100]
    trips = [one.cost_buy[3] + one.cost_sell[3] for one in records]
    mine = record.cost_buy[3] + record.cost_sell[3]
    share = (sum(trip < mine for trip in trips) + sum(trip == mine for trip in trips) / 2) / 345
    assert taking(whole, 100_000, past=past).cost_rank == pytest.approx(share)
