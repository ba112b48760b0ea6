"""The top of a frozen book: book Z by hand, and what takes a field away."""

from msgspec.structs import replace
from tests.analytics.build_books import BEYOND, E16, TENTH, TICK, Z, taking, ticks, top_of, view
from tests.core.build import e8, levels
from tests.core.test_oracles import FIRST, RECORD, both, quotes

from leadline.core.records import SIZES_QUOTE


def test_depth_of_the_worked_example():
    """Within 10 bps 99.9 x 3 and 100.1 x 1, edge included; 25 bps adds 99.8 x 2 and 100.2 x 2; 50 bps adds 99.5 x 4."""
    served = {band.bps: band for band in top_of(Z).depth}
    assert [served[bps].bid_e16 / E16 for bps in (10, 25, 50)] == [299.7, 499.3, 897.3]
    assert [served[bps].ask_e16 / E16 for bps in (10, 25, 50)] == [100.1, 300.5, 300.5]
    assert (served[5].bid_e16, served[5].ask_e16, served[5].imbalance) == (0, 0, None)
    assert round(served[25].imbalance, 6) == 0.248562  # 198.8 / 799.8
    assert list(served) == [1, 2, 5, 10, 25, 50]


def test_the_top_of_the_worked_example():
    top = top_of(Z)
    assert (top.best_bid_e8, top.best_bid_size_e8) == (e8("99.9"), e8(3))
    assert (top.best_ask_e8, top.best_ask_size_e8) == (e8("100.1"), e8(1))
    assert (top.mid2_e8, top.spread_e8, top.spread_ticks, top.spread_bps) == (e8(200), e8("0.2"), 2, 20)
    assert (top.imbalance, top.weighted_mid) == (0.5, 100.05)
    assert (top.bid_volume_e8, top.ask_volume_e8, top.imbalance_ratio, top.imbalance_top20) == (e8(9), e8(8), 1.125, 1 / 17)
    assert [one.notional_e16 // E16 for one in (*top.buy, *top.sell)] == [10_000, 25_000, 50_000] * 2
    assert {one.reason for one in (*top.buy, *top.sell)} == {"exhausted"}
    assert top.reasons == {
        **{f"depth.{bps}.imbalance": "undefined" for bps in (1, 2, 5)},
        "microprice_fitted": "not_fitted",
        "walls": "baseline_short",
    }


def test_the_twenty_best_are_counted_only_if_all_are_known():
    many = [(e8(100) - n * TENTH, e8(1)) for n in range(1, 31)]
    book = view(many, Z.asks)
    assert top_of(book).bid_volume_e8 == e8(20)
    assert top_of(replace(book, known_bid=e8("98"))).bid_volume_e8 == e8(20)
    assert top_of(replace(book, known_bid=e8("98.05"))).reasons["bid_volume_e8"] == BEYOND


def test_a_spread_off_the_grid_has_no_ticks():
    top = top_of(view(levels([("99.95", 1)]), levels([("100.1", 1)])))
    assert (top.spread_e8, top.spread_ticks, top.reasons["spread_ticks"]) == (e8("0.15"), None, "undefined")


@both
def test_the_second_1723161257_is_as_an_independent_program_has_it(symbol):
    want = RECORD[symbol]
    whole = next(view_ for record, view_ in ticks(symbol) if record.t == FIRST)
    top = top_of(whole, TICK)
    for name in ("bid", "ask"):
        assert quotes([getattr(band, f"{name}_e16") for band in top.depth]) == want[f"depth_{name}"]
    taken = [taking(whole, size) for size in SIZES_QUOTE]
    assert [round(one.buy.cost_bps, 6) for one in taken] == want["cost_buy"]
    assert [round(one.sell.cost_bps, 6) for one in taken] == want["cost_sell"]
    assert (top.buy, top.sell) == (tuple(one.buy for one in taken[:3]), tuple(one.sell for one in taken[:3]))
    assert [[top.best_bid_e8, top.best_bid_size_e8], [top.best_ask_e8, top.best_ask_size_e8]] == [
        [e8(word) for word in words.split()] for words in want["top"][1:3]
    ]
