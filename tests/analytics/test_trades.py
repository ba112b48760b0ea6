"""Taker orders, trade sums and costs against hand-worked vectors and the figures of an independent program on the recordings."""

from fractions import Fraction
from itertools import accumulate, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from tests.analytics.build_flow import flow_of
from tests.core.build import SYMBOL, trade
from tests.core.test_oracles import both, complete, e8, e8s, spot
from tests.core.test_second import Desk

from leadline.analytics.order_flow import Columns, order_flow, windows
from leadline.analytics.trades import (
    Amihud,
    Batch,
    Cvd,
    EffectiveSpread,
    TradeFlow,
    amihud,
    batches,
    cvd,
    cvd_path,
    day_start_s,
    effective_spread,
    has_hole,
    kyle_slope,
)
from leadline.core.records import BookState, Flag, Trade

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
E16 = 10**16


def made(*rows):
    """(milliseconds, side B or S, price, quantity) in id order."""
    return [trade(n, price, quantity, at=ms / 1000, buys=side == "B") for n, (ms, side, price, quantity) in enumerate(rows, 1)]


def stored(symbol, start_s=0, end_s=2**40):
    """Trades start_s <= T < end_s of a recording, from the blocks that the recorder wrote."""
    blocks = [block for row in spot(symbol)[0] for block in row.trades if start_s <= block.second < end_s]
    return [trade for block in blocks for trade in block.trades]


def nulls_have_reasons(result):
    return {name for name in result.__struct_fields__ if getattr(result, name) is None} == set(result.reasons)


# Taker orders --------------------------------------------------------------------------


def test_batches_and_sweeps_are_those_of_the_golden_vector():
    """0.4: four batches of 2, 1, 1, 2 trades, two of them sweeps: the price came back, the time changed, the side changed."""
    rows = [(100, "B", 10), (100, "B", 11), (100, "B", 10), (101, "B", 12), (101, "S", 12), (101, "S", 11)]
    found = batches(made(*((*row, 1) for row in rows)))
    assert [order.fills for order in found] == [2, 1, 1, 2]
    assert [order.is_sweep for order in found] == [True, False, False, True]
    assert [(order.buys, order.ts_trade_ns // 10**6) for order in found] == [(True, 100), (True, 100), (True, 101), (False, 101)]
    assert [order.quote_e16 for order in found] == [21 * E16, 10 * E16, 12 * E16, 23 * E16]
    assert flow_of(made(*((*row, 1) for row in rows))).max_batch_quote_e16 == 23 * E16
    assert [(order.first_price_e8, order.last_price_e8) for order in found] == [
        (e8(a), e8(b)) for a, b in ((10, 11), (10, 10), (12, 12), (12, 11))
    ]


def test_equal_prices_stay_in_the_batch_and_are_no_sweep():
    [order] = batches(made((5, "S", 10, 1), (5, "S", 10, 2)))
    assert (order.quantity_e8, order.is_sweep, order.walked_bps) == (e8(3), False, 0.0)
    assert batches([]) == []


def test_fills_of_an_aggregate_are_counted_raw():
    trades = [trade(1, first=10, last=12), trade(2, first=13, last=13)]
    assert (flow_of(trades).n_trades, batches(trades)[0].fills) == (4, 4)


@both
def test_the_batches_of_every_second_are_those_that_the_record_counted(symbol):
    """By id range: what began among the fills of a record, and the largest of it unless the tick cut a batch in two."""
    orders = batches(stored(symbol))
    ends = list(accumulate((order.fills for order in orders), initial=stored(symbol)[0].first_id))
    compared = 0
    for r in complete(symbol):
        if r.first_id is None:
            assert r.n_batches == 0
            continue
        begun = [
            (order, end) for order, (first, end) in zip(orders, pairwise(ends), strict=True) if r.first_id <= first <= r.last_id
        ]
        assert len(begun) == r.n_batches
        if begun and begun[-1][1] <= r.last_id + 1:
            compared += 1
            assert max(order.quote_e16 for order, _ in begun) == r.max_batch_quote
    assert compared > 300


# Sums over trades ----------------------------------------------------------------------

GOLDEN = [(1, "B", 100, 2), (2, "B", 101, 1), (3, "S", 100, 4), (4, "B", 102, 3), (5, "S", 101, 1)]


def test_the_sums_of_the_golden_trades():
    """9.1: +100x2 +101x1 -100x4 +102x3 -101x1: delta 1, tfi 1/11, quote 1108, VWAP 1108/11, path 2 3 -1 2 1."""
    flow = flow_of(made(*GOLDEN))
    assert (flow.delta_e8, flow.tfi, flow.buy_e8, flow.sell_e8) == (e8(1), 1 / 11, e8(6), e8(5))
    assert (flow.buy_quote_e16, flow.sell_quote_e16) == (607 * E16, 501 * E16)
    assert flow.vwap == pytest.approx(100.727273, abs=1e-6)
    assert flow.vwap == 1108 / 11
    assert cvd_path(made(*GOLDEN)) == e8s("2 3 -1 2 1")
    assert (flow.n_trades, flow.n_batches, flow.n_sweeps, flow.max_batch_quote_e16) == (5, 5, 0, 400 * E16)
    assert flow.reasons == {}


@pytest.mark.parametrize(
    ("symbol", "bought", "sold", "fills", "n_batches", "sweeps", "quote", "bought_quote", "delta", "vwap", "tfi"),
    [
        (
            *("BTCUSDT", "96.65118", "115.38197", 9757, 3249, 456, "13084074.1123886", "5963909.5359136"),
            *("-18.73079", 61707.681617, -0.088339),
        ),
        (
            *("ETHUSDT", "953.0359", "1308.2790", 6106, 1931, 410, "6066483.27618", "2556463.492205"),
            *("-355.2431", 2682.723789, -0.157096),
        ),
    ],
)
def test_the_trades_of_the_whole_file(symbol, bought, sold, fills, n_batches, sweeps, quote, bought_quote, delta, vwap, tfi):
    trades = stored(symbol)
    flow = flow_of(trades)
    assert (flow.buy_e8, flow.sell_e8, flow.delta_e8) == (e8(bought), e8(sold), e8(delta))
    assert (flow.n_trades, flow.n_batches, flow.n_sweeps) == (fills, n_batches, sweeps)
    assert (flow.buy_quote_e16 + flow.sell_quote_e16, flow.buy_quote_e16) == (e8(quote) * 10**8, e8(bought_quote) * 10**8)
    assert (round(flow.vwap, 6), round(flow.tfi, 6), flow.reasons) == (vwap, tfi, {})
    assert cvd_path(trades)[-1] == e8(delta)


@pytest.mark.parametrize(
    ("symbol", "delta", "fills", "tfi"), [("BTCUSDT", "-13.46354", 1312, -0.415292), ("ETHUSDT", "-444.3309", 1403, -0.485802)]
)
def test_the_last_minute_by_trade_time(symbol, delta, fills, tfi):
    flow = flow_of(stored(symbol, 1723161540, 1723161600))
    assert (flow.delta_e8, flow.n_trades, round(flow.tfi, 6)) == (e8(delta), fills, tfi)


@pytest.mark.parametrize(("symbol", "largest"), [("BTCUSDT", 7879.979875), ("ETHUSDT", 820.433878)])
def test_the_largest_taker_order_of_the_first_complete_second(symbol, largest):
    r = complete(symbol)[0]
    flow = flow_of([t for t in stored(symbol) if r.first_id <= t.first_id <= r.last_id])
    assert flow.max_batch_quote_e16 == r.max_batch_quote
    assert (flow.max_batch_quote_e16 / E16, flow.n_batches) == (pytest.approx(largest, abs=1e-6), r.n_batches)


def test_without_trades_the_sums_are_zero_and_the_ratios_are_not_there():
    flow = flow_of([])
    assert (flow.delta_e8, flow.buy_quote_e16, flow.n_trades, flow.n_batches) == (0, 0, 0, 0)
    assert flow.reasons == {"tfi": "no_trades", "vwap": "no_trades", "max_batch_quote_e16": "no_trades"}
    assert nulls_have_reasons(flow)


@pytest.mark.parametrize("how", ["hole", "doubled", "disorder", "told"])
def test_missing_trades_take_delta_and_tfi_away(how):
    rows = made(*GOLDEN)
    changed = {"hole": [*rows[:2], *rows[3:]], "doubled": [*rows, rows[-1]], "disorder": rows[::-1], "told": rows}[how]
    flow = flow_of(changed, gap=how == "told")
    assert (flow.delta_e8, flow.tfi) == (None, None)
    assert flow.reasons == {"delta_e8": "trade_gap", "tfi": "trade_gap"}
    assert has_hole(changed) == (how != "told")
    assert nulls_have_reasons(flow)
    assert flow_of([], gap=True).reasons["delta_e8"] == "trade_gap"


def test_the_delta_since_an_anchor_is_there_only_if_every_trade_is():
    """Four seconds from the anchor on: all covered, or 3 of 4, or with a hole."""
    rows = made(*GOLDEN)
    assert cvd(rows, anchor_s=0, end_s=4, covered_s=4) == Cvd(value_e8=e8(1), anchor_s=0, coverage=1.0, reasons={})
    assert cvd([], anchor_s=0, end_s=4, covered_s=4).value_e8 == 0
    late, holed = cvd(rows, anchor_s=0, end_s=4, covered_s=3), cvd(rows[::2], anchor_s=0, end_s=4, covered_s=4)
    assert (late.value_e8, late.coverage, late.reasons) == (None, 0.75, {"value_e8": "trade_gap"})
    assert (holed.value_e8, holed.reasons) == (None, {"value_e8": "trade_gap"})


@pytest.mark.parametrize(
    ("end_s", "anchor_s"), [(1723161600, 1723161600 - 86400), (1723161601, 1723161600), (1723161599, 1723161600 - 86400)]
)
def test_a_day_begins_at_midnight_utc_and_a_window_that_ends_there_is_of_the_day_before(end_s, anchor_s):
    """1723161600 is 2024-08-09 00:00:00 UTC: 19,944 days."""
    assert 1723161600 == 19_944 * 86_400
    assert day_start_s(end_s) == anchor_s


# What trading costs --------------------------------------------------------------------


@pytest.mark.parametrize(("symbol", "slope", "r2"), [("BTCUSDT", 6.268, 0.171), ("ETHUSDT", 6.889, 0.226)])
def test_the_kyle_slope_is_as_measured(symbol, slope, r2):
    fit = kyle_slope(Columns.of(complete(symbol)))
    assert (round(fit.beta, 3), fit.n) == (slope, 34)
    assert fit.r2 == pytest.approx(r2, abs=1e-3)


@pytest.mark.parametrize(("symbol", "value"), [("BTCUSDT", 5.07), ("ETHUSDT", 7.53)])
def test_amihud_is_as_measured(symbol, value):
    found = amihud(Columns.of(complete(symbol)))
    assert (round(found.bps_per_million, 2), found.n) == (value, 5)


@pytest.mark.parametrize(("symbol", "value", "n_batches"), [("BTCUSDT", 1.20, 3249), ("ETHUSDT", 2.86, 1931)])
def test_the_effective_spread_is_as_measured(symbol, value, n_batches):
    found = effective_spread(complete(symbol), batches(stored(symbol)))
    assert (round(found.effective_bps, 2), found.seconds, found.n_batches) == (value, 345, n_batches)
    assert found.reasons == {}


@pytest.mark.parametrize(("symbol", "quoted"), [("BTCUSDT", 0.0079), ("ETHUSDT", 0.0397)])
def test_the_quoted_part_of_the_last_minute_is_the_spread_of_the_health_row(symbol, quoted):
    minute = [r for r in complete(symbol) if 1723161540 < r.t <= 1723161600]
    assert round(effective_spread(minute, []).quoted_bps, 4) == quoted


def quiet(t, **changes):
    desk = Desk()
    desk.tick(1)
    return structs.replace(desk.tick(2), t=t, **changes)


def test_the_effective_spread_is_worked_out_by_hand():
    """Quoted: spread 1 at mid 100, then 2 at mid 100: 100 and 200 bps, mean 150. A buy of 1 at 100 and 1 at 102 pays 101 on
    average, 100 bps beyond its first price: 200 on 202 quote. A sell of 2 at 100 walks nowhere: 0 on 200 quote. Together
    200 * 202 / 402 = 100.497512."""
    records = [quiet(1, spread_tw=1e8, mid2_close=e8(200)), quiet(2, spread_tw=2e8, mid2_close=e8(200))]
    records += [quiet(3, spread_tw=9e8, flags=2), quiet(4, spread_tw=None)]
    orders = batches(made((1, "B", 100, 1), (1, "B", 102, 1), (2, "S", 100, 2)))
    found = effective_spread(records, orders)
    assert (found.quoted_bps, found.walked_bps) == (pytest.approx(150), pytest.approx(100.497512, abs=1e-6))
    assert found.effective_bps == pytest.approx(250.497512, abs=1e-6)
    assert (found.seconds, found.n_batches) == (2, 2)


@pytest.mark.parametrize(
    ("records", "orders", "reasons"),
    [
        ([], 1, {"quoted_bps": "book_not_live", "effective_bps": "book_not_live"}),
        ([quiet(1, state=BookState.SYNCING)], 1, {"quoted_bps": "book_not_live", "effective_bps": "book_not_live"}),
        ([quiet(1, spread_tw=None)], 1, {"quoted_bps": "undefined", "effective_bps": "undefined"}),
        ([quiet(1)], 0, {"walked_bps": "no_trades", "effective_bps": "no_trades"}),
    ],
)
def test_half_an_effective_spread_is_none(records, orders, reasons):
    found = effective_spread(records, batches(made((1, "B", 100, 1)) * orders))
    assert (found.effective_bps, found.reasons) == (None, reasons)
    assert nulls_have_reasons(found)


def pressed(n_windows, length_s, at):
    """Windows with one trading second each: at(k) gives (signed quote in millions, bought and sold; mid2 open and close)."""
    rows = []
    for k, second in product(range(n_windows), range(1, length_s + 1)):
        bought, sold, opened, closed = at(k) if second == length_s else (0, 0, 200, 200)
        rows.append(
            quiet(
                length_s * k + second,
                mid2_open=round(opened * 10**8),
                mid2_close=round(closed * 10**8),
                buy_quote=bought * 10**6 * E16,
                sell_quote=sold * 10**6 * E16,
            )
        )
    return rows


def test_the_kyle_slope_of_a_made_market_is_the_one_it_was_made_with():
    """Each million bought moves the mid by the factor 1.001, in logarithms 9.995003 bps; 29 windows are too few."""
    rows = pressed(30, 10, lambda k: (k % 4, k % 3, 200, 200 * 1.001 ** (k % 4 - k % 3)))
    fit = kyle_slope(Columns.of(rows))
    assert (fit.beta, fit.alpha) == (pytest.approx(9.995003, abs=1e-4), pytest.approx(0, abs=1e-4))
    assert (fit.r2, fit.n) == (pytest.approx(1), 30)
    assert kyle_slope(Columns.of(rows[:290])) is None
    assert kyle_slope(Columns.of(rows[:-2])) is None  # the last window has 8 of 10 seconds
    assert kyle_slope(Columns.of([quiet(t) for t in range(1, 301)])) is None  # takers never differ
    assert kyle_slope(Columns.of([])) is None


def test_a_window_whose_trades_or_mids_are_not_all_known_enters_no_fit_and_no_mean():
    """One second of the first window has late trades, or no mid."""
    for length_s, count in ((10, lambda c: fit.n if (fit := kyle_slope(c)) else 0), (60, lambda c: amihud(c).n)):
        rows = pressed(31, length_s, lambda k: (k % 4, 1, 200, 200 + k % 3))
        assert count(Columns.of(rows)) == 31
        late = structs.replace(rows[3], flags=int(Flag.TRADES_LATE))
        blind = structs.replace(rows[3], mid2_open=None, mid2_close=None)
        for changed in (late, blind):
            assert count(Columns.of([*rows[:3], changed, *rows[4:]])) == 30
        assert amihud(Columns.of([*rows[:3], late, *rows[4:]])).bps_per_million > 0


def test_amihud_is_worked_out_by_hand_and_leaves_out_a_minute_without_trades():
    """Up by a factor 1.01 (99.503309 bps) on 2 + 1 million, down by 0.99 (100.503359 bps) on 5 million, and a move on nothing:
    (33.167770 + 20.100672) / 2."""
    rows = pressed(3, 60, lambda k: [(2, 1, 200, 202), (0, 5, 200, 198), (0, 0, 200, 210)][k])
    found = amihud(Columns.of(rows))
    assert (found.bps_per_million, found.n) == (pytest.approx(26.634221, abs=1e-6), 2)
    assert amihud(Columns.of(rows[120:])) == Amihud(None, 0)
    assert amihud(Columns.of(rows[:53])) == Amihud(None, 0)


# Properties ----------------------------------------------------------------------------

row = st.tuples(st.integers(0, 3), st.sampled_from("BS"), st.integers(1, 10**6), st.integers(1, 10**6))


@st.composite
def tapes(draw, least=0):
    """Trades of a few milliseconds with rising ids and times; prices and quantities in units of 1e-8."""
    rows = sorted(draw(st.lists(row, min_size=least, max_size=30)), key=lambda r: r[0])
    return [
        Trade(SYMBOL, n, price, quantity, n, n, ms * 10**6, side == "S") for n, (ms, side, price, quantity) in enumerate(rows, 1)
    ]


SUMS = ("n_trades", "buy_e8", "sell_e8", "buy_quote_e16", "sell_quote_e16", "delta_e8")
RATIOS = ("tfi", "vwap", "delta_e8", "buy_quote_e16", "sell_quote_e16", "n_trades")


@given(tapes())
@QUICK
def test_the_sums_are_those_of_fractions(trades):
    flow = flow_of(trades)
    signed, total, quote = Fraction(0), Fraction(0), Fraction(0)
    for t in trades:
        q = Fraction(t.quantity_e8, 10**8)
        signed += -q if t.buyer_is_maker else q
        total += q
        quote += q * Fraction(t.price_e8, 10**8)
    assert flow.delta_e8 == signed * 10**8
    assert flow.buy_quote_e16 + flow.sell_quote_e16 == quote * 10**16
    assert flow.tfi == (float(signed / total) if trades else None)
    assert flow.vwap == (float(quote / total) if trades else None)
    assert cvd_path(trades)[-1:] == ([flow.delta_e8] if trades else [])


@given(tapes())
@QUICK
def test_batches_divide_the_trades_and_none_could_be_longer(trades):
    """Each is of one time and side with a price that never comes back; the next trade always breaks one of these."""
    orders, rest = batches(trades), list(trades)
    groups = []
    for order in orders:
        groups.append(rest[: order.fills])
        rest = rest[order.fills :]
    assert rest == []
    for order, group in zip(orders, groups, strict=True):
        sign = -1 if group[0].buyer_is_maker else 1
        path = [sign * t.price_e8 for t in group]
        assert path == sorted(path)
        assert {(t.ts_trade_ns, t.buyer_is_maker) for t in group} == {(order.ts_trade_ns, not order.buys)}
        assert order.is_sweep == (len(set(path)) > 1)
        assert (order.quantity_e8, order.quote_e16) == (
            sum(t.quantity_e8 for t in group),
            sum(t.quantity_e8 * t.price_e8 for t in group),
        )
        average = Fraction(order.quote_e16, order.quantity_e8)
        assert order.walked_bps == pytest.approx(float(10_000 * abs(average / path[0] * sign - 1)), rel=1e-12)
    for before, after in pairwise(groups):
        joined = [*before, after[0]]
        sign = -1 if before[0].buyer_is_maker else 1
        one_order = len({(t.ts_trade_ns, t.buyer_is_maker) for t in joined}) == 1
        assert not (one_order and joined == sorted(joined, key=lambda t: sign * t.price_e8))


@given(tapes(), st.randoms(use_true_random=False))
@QUICK
def test_the_order_of_trades_matters_to_no_sum(trades, random):
    """The ids and times stay in their places, what was traded moves between them."""
    contents = [(t.price_e8, t.quantity_e8, t.buyer_is_maker) for t in trades]
    random.shuffle(contents)
    shuffled = [
        structs.replace(t, price_e8=price, quantity_e8=quantity, buyer_is_maker=maker)
        for t, (price, quantity, maker) in zip(trades, contents, strict=True)
    ]
    one, other = flow_of(trades), flow_of(shuffled)
    assert [getattr(one, name) for name in RATIOS] == [getattr(other, name) for name in RATIOS]


@given(tapes(), st.integers(0, 30))
@QUICK
def test_the_sums_of_two_parts_add(trades, cut):
    """Also the batches, unless the cut goes through one."""
    whole, left, right = flow_of(trades), flow_of(trades[:cut]), flow_of(trades[cut:])
    for name in SUMS:
        assert getattr(whole, name) == getattr(left, name) + getattr(right, name), name
    assert whole.n_batches <= left.n_batches + right.n_batches <= whole.n_batches + 1
    assert (whole.buy_e8 + whole.sell_e8) == sum(t.quantity_e8 for t in trades)


@given(tapes(least=1), st.integers(2, 1000))
@QUICK
def test_scaling_quantities_or_prices_scales_the_sums_and_leaves_shares_and_bps(trades, c):
    one = flow_of(trades)
    more = flow_of([structs.replace(t, quantity_e8=c * t.quantity_e8) for t in trades])
    dear = [structs.replace(t, price_e8=c * t.price_e8) for t in trades]
    high = flow_of(dear)
    assert (more.delta_e8, more.buy_quote_e16) == (c * one.delta_e8, c * one.buy_quote_e16)
    assert (more.tfi, more.vwap, more.n_batches, more.n_sweeps) == (one.tfi, one.vwap, one.n_batches, one.n_sweeps)
    assert (high.delta_e8, high.tfi, high.sell_quote_e16) == (one.delta_e8, one.tfi, c * one.sell_quote_e16)
    assert (high.vwap, high.max_batch_quote_e16) == (pytest.approx(c * one.vwap), c * one.max_batch_quote_e16)
    walked = [effective_spread([], batches(tape)).walked_bps for tape in (trades, dear)]
    assert walked[1] == pytest.approx(walked[0], rel=1e-12)


@given(tapes(least=1))
@QUICK
def test_swapping_the_sides_changes_the_sign_of_the_delta_and_keeps_the_batches(trades):
    """Prices reflected, aggressors flipped: what went up for buyers goes down for sellers."""
    top = 10**6 + 1
    mirrored = [structs.replace(t, price_e8=top - t.price_e8, buyer_is_maker=not t.buyer_is_maker) for t in trades]
    one, other = flow_of(trades), flow_of(mirrored)
    assert (other.delta_e8, other.tfi, other.buy_e8) == (-one.delta_e8, -one.tfi, one.sell_e8)
    assert (other.n_batches, other.n_sweeps) == (one.n_batches, one.n_sweeps)
    assert [o.fills for o in batches(mirrored)] == [o.fills for o in batches(trades)]
    assert cvd_path(mirrored) == [-value for value in cvd_path(trades)]


@given(tapes(), st.integers(1, 50_000))
@QUICK
def test_a_shift_in_time_changes_nothing_but_times(trades, days):
    later = [structs.replace(t, ts_trade_ns=t.ts_trade_ns + days * 86_400 * 10**9) for t in trades]
    assert flow_of(later) == flow_of(trades)
    assert [structs.replace(o, ts_trade_ns=0) for o in batches(later)] == [
        structs.replace(o, ts_trade_ns=0) for o in batches(trades)
    ]


@given(tapes(least=1))
@QUICK
def test_trades_by_their_own_time_and_as_received_agree_where_nothing_is_missing(trades):
    """A Second that receives them as they trade holds the same sums; its seconds end after millisecond 1 and after all."""
    desk, records = Desk(), []
    desk.tick(1)
    for half in (trades[: len(trades) // 2], trades[len(trades) // 2 :]):
        for t in half:
            desk.second.trade_received(t)
        records.append(desk.tick(2 + len(records)))
    found, flow = order_flow(records, 1, 3), flow_of(trades)
    assert (found.buy_received_e8, found.sell_received_e8, found.tfi_received) == (flow.buy_e8, flow.sell_e8, flow.tfi)
    assert sum(r.n_batches for r in records) == flow.n_batches
    w = windows(Columns.of(records), 3)
    assert w.delta.tolist() == [flow.delta_e8 / 1e8]
    assert w.signed_quote[0] == pytest.approx((flow.buy_quote_e16 - flow.sell_quote_e16) / E16, abs=1e-12)


def test_results_say_what_each_field_is():
    """One sentence per field, in the docstring."""
    for struct in (Amihud, Batch, Cvd, EffectiveSpread, TradeFlow):
        for name in struct.__struct_fields__:
            assert f"\n    {name}: " in struct.__doc__, name
