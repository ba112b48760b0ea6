"""Scripts on a market that can be looked over: a million ticks, levels a few ticks apart, and a future that is known."""

import pytest
from bench.injection.edits import Ahead, Label, Plot, burst, iceberg, large
from bench.injection.plain import ASK, BID, PlainBook
from bench.injection.source import WAY_NS
from bench.injection.usual import Usual
from bench.injection.weave import Stage, woven
from msgspec import structs
from tests.injection.told import Told

from leadline.core.records import BestQuote, DepthUpdate, Trade

MS, SECOND = 1_000_000, 1_000_000_000
MID = 1_000_000
USUAL = Usual(100.0, (9.0, 9.0, 1e-3, 9.0, 9.0, 9.0), (1e-4, 1e-4), 1.0, 1.0)


def quote(update_id: int, bid: int, ask: int, at_ns: int) -> BestQuote:
    return BestQuote("X", update_id, bid, 50, ask, 50, at_ns)


def levels(side: int) -> list[tuple[int, int]]:
    """One in ten prices out to 12 bps, each 50 lots."""
    sign = -1 if side == BID else 1
    return [(MID + sign * (1 + 10 * n), 50) for n in range(120)]


def stage() -> Stage:
    """Bid 999,999, ask 1,000,001."""
    book = PlainBook(10, levels(BID), levels(ASK))
    trade = Trade("X", 7, MID, 1, 20, 20, True, WAY_NS, WAY_NS, WAY_NS)
    return Stage(book, quote(10, MID - 1, MID + 1, 0), trade, tick_e8=1, lot_e8=1)


def plot(future: list[BestQuote], start_ns: int = 0) -> Plot:
    ahead = Ahead([quote(10, MID - 1, MID + 1, -1), *future])
    return Plot(start_ns, 3, USUAL, ahead, Label("x", start_ns, start_ns + SECOND, {"life_s": 10.0}))


def slots(until_s: int) -> list[DepthUpdate]:
    """An empty diff each 100 ms, ids 11, 12 ..."""
    return [DepthUpdate("X", 11 + n, 11 + n, at := (n + 1) * 100 * MS, at, (), ()) for n in range(10 * until_s)]


def test_what_lies_ahead_is_told_from_the_quote_that_holds_at_the_start():
    ahead = Ahead([quote(1, 90, 110, 0), quote(2, 95, 115, 100), quote(3, 80, 100, 200)])
    assert ahead.path(BID, 150, 250) == [(100, 95), (200, 80)]
    assert ahead.path(ASK, 100, 200) == [(100, 115)]
    assert (ahead.farthest(BID, 50, 250), ahead.farthest(ASK, 50, 150)) == (80, 115)
    assert ahead.reached(BID, 80, 0, 900) == 200
    assert ahead.reached(BID, 79, 0, 900) == 900
    assert ahead.reached(ASK, 112, 50, 900) == 100
    assert ahead.reached(BID, 95, 150, 900) == 150, "it is there already"


def test_a_large_level_stands_on_the_side_to_which_price_comes_later_and_is_pulled_before():
    """0.5 bp away: bid 999,950, ask 1,000,050, where nothing stands. Asks rise over it after 1 s, bids fall under it after 2.

    Size: 2 x 1e-3 quote, that is 2e13 of 1e-16, at 999,950 each: 20,001,000 lots.
    """
    future = [quote(11, MID - 1, MID + 60, SECOND), quote(12, MID - 60, MID + 60, 2 * SECOND)]
    market, given = stage(), plot(future)
    script = large(market, given, times=2, bps=0.5, life_s=10, flow=False)
    assert next(script) == 0
    assert next(script) == 2 * SECOND
    assert market.own == {(BID, MID - 50): 20_001_000}
    with pytest.raises(StopIteration):
        next(script)
    assert market.own == {}
    assert (given.label.side, given.label.prices_e8, given.label.end_ns) == (BID, (MID - 50,), 2 * SECOND)
    assert given.label.parameters["lived_s"] == 2.0


def test_a_level_that_price_has_reached_on_both_sides_is_not_put_at_all():
    future = [quote(11, MID - 60, MID + 60, 0)]
    market, given = stage(), plot(future)
    assert list(large(market, given, times=2, bps=0.5, life_s=10, flow=False)) == [0]
    assert (market.own, given.label.parameters["lived_s"]) == ({}, 0.0)


def test_a_burst_keeps_away_from_where_price_will_be():
    """Bids fall by 9 bps within the first batch, so that nothing may be put nearer than that; asks stay, and begin 2 bps away."""
    market, given = stage(), plot([quote(11, MID - 900, MID + 1, 5 * MS)])
    script = burst(market, given, times=400, seconds=0.01)
    market.now_ns = next(script)
    market.now_ns = next(script)
    bids, asks = ([price for side, price in market.own if side == s] for s in (BID, ASK))
    assert bids and max(bids) < MID - 900
    assert min(bids) >= MID - 1001
    assert MID + 199 <= min(asks) < MID + 400
    assert max(asks) <= MID + 1001
    with pytest.raises(StopIteration):
        next(script)
    assert market.own == {}
    assert given.label.parameters["ids_per_s"] == pytest.approx(2 * (len(bids) + len(asks)) / 0.01)


def test_an_iceberg_holds_its_price_while_the_base_falls_through_it():
    """The base falls to 999,899 bid, 999,901 ask after half a second: the edited bid stays 999,999 or, while a peak is eaten, is
    that of the base; the ask is above it always. Three rounds are six hits of the peak, 4,000 quote at least."""
    falls = [quote(35, MID - 101, MID - 99, 550 * MS)]
    asks = tuple((MID - 99 + 10 * n, 50) for n in range(10))
    bids = tuple((MID - 1 - 10 * n, 0) for n in range(10))
    before, after = slots(4)[:5], [structs.replace(s, first_id=s.last_id + 19, last_id=s.last_id + 19) for s in slots(4)[6:]]
    fall = [quote(35, MID - 101, MID - 99, 550 * MS), DepthUpdate("X", 16, 35, 600 * MS, 600 * MS, bids, asks)]
    base = [*before, *fall, *after]
    market, given = stage(), plot(falls, 200 * MS)
    out = list(woven(base, market, iceberg(market, given, refills=3, delay_ms=50, small=False)))
    peak = round(given.label.parameters["peak_quote"] * 1e16 / (MID - 1))
    hits = [e for e in out if isinstance(e, Trade)]
    assert given.label.side == BID and given.label.prices_e8 == (MID - 1,)
    assert [(hit.price_e8, hit.quantity_e8, hit.buyer_is_maker) for hit in hits] == [(MID - 1, peak, True)] * 6
    assert 4_000 <= given.label.parameters["peak_quote"] < 4_001
    during = [e for e in out if isinstance(e, BestQuote) and 560 * MS < e.ts_recv_ns < given.label.end_ns]
    assert {e.bid_price_e8 for e in during} == {MID - 1, MID - 101}
    assert all(e.ask_price_e8 > MID - 1 for e in during)
    assert Told(dict(levels(BID)), dict(levels(ASK))).follow(out).wrong == []
