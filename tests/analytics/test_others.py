"""Our figures beside those of other people's packages: where they agree, and where they are known to differ and why.

Both are asserted, so that a change on either side is noticed. The packages live in .venv-others; others/compute.py asks them.
"""

import json
import os
import subprocess
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tests.analytics.build_flow import flow_of, open_desk
from tests.analytics.build_profiles import CBOT, TICK, named, profile_of, profile_of_rows, recorded, trade
from tests.core.test_oracles import both, complete, e8, events, spot
from tests.test_house import HASH, PIN, pins

from leadline.analytics.order_flow import Columns, order_flow, windows
from leadline.analytics.trades import Batch, amihud, batches, effective_spread, kyle_slope
from leadline.core.records import BestQuote
from leadline.core.sums import QuoteSums

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent / "others"
ENVIRONMENT = ROOT / ".venv-others"
COMPARED = ("orderflow-metrics", "marketprofile", "frds")


@pytest.fixture(scope="module")
def ask():
    """Asks the packages: ask(name, **arguments), as in compute.py. Without them: skipped, but a failure where CI is set."""
    if not list(ENVIRONMENT.glob(".installed-*")):
        reason = "nobody to compare with: `make others` has not installed the packages in .venv-others"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    command = [str(ENVIRONMENT / "bin" / "python"), str(HERE / "compute.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def answer(name, **arguments):
            process.stdin.write(json.dumps({"ask": name, **arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"compute.py ended at {name}"
            return json.loads(line)

        yield answer


def tickers(symbol):
    return [event for event in events(symbol) if isinstance(event, BestQuote)]


def quotes_of(found):
    """Tickers as the packages want them: in base and quote units."""
    return [(q.bid_price_e8 / 1e8, q.bid_quantity_e8 / 1e8, q.ask_price_e8 / 1e8, q.ask_quantity_e8 / 1e8) for q in found]


# The environment -----------------------------------------------------------------------


def test_the_packages_are_pinned_with_hashes_and_nothing_else():
    text = (HERE / "requirements.txt").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [after for line, after in pairwise([*lines, ""]) if PIN.fullmatch(line) and not HASH.fullmatch(after)] == []
    wanted = [
        Requirement(line) for line in (HERE / "requirements.in").read_text("utf-8").splitlines() if not line.startswith("#")
    ]
    assert [str(one) for one in wanted if not all(map(one.specifier.contains, pins(text)[one.name.lower()]))] == []


def test_the_packages_that_are_asked_are_those_that_are_pinned(ask):
    pinned = pins((HERE / "requirements.txt").read_text(encoding="utf-8"))
    assert ask("versions", names=COMPARED) == {name: pinned[name][0] for name in COMPARED}


# orderflow-metrics ---------------------------------------------------------------------


def test_the_package_finds_the_same_flow_in_each_of_the_first_20000_tickers(ask):
    first = tickers("BTCUSDT")[:20_000]
    theirs = ask("flow_of_quotes", quotes=quotes_of(first))
    sums, totals = QuoteSums(), []
    for e in first:
        sums.quote(e.bid_price_e8, e.bid_quantity_e8, e.ask_price_e8, e.ask_quantity_e8, e.ts_recv_ns)
        totals.append(sums.bid_added - sums.bid_removed - sums.ask_added + sums.ask_removed)
    ours = [(b - a) / 1e8 for a, b in pairwise(totals)]
    assert len(theirs) == 19_999
    assert max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) < 1.1e-15  # their floats; ours are exact
    assert round(sum(theirs), 5) == -347.15684
    assert totals[-1] == e8("-347.15684")


@both
def test_the_package_finds_the_same_flow_in_every_record(ask, symbol):
    """Each record's tickers are known by their number, n_bbo; the quote before them is the first one's predecessor."""
    steps = ask("flow_of_quotes", quotes=quotes_of(tickers(symbol)))
    records = sorted(spot(symbol)[2].values(), key=lambda r: r.t)
    ends = dict(zip((r.t for r in records), accumulate(r.n_bbo or 0 for r in records), strict=True))
    for r in complete(symbol):
        theirs = sum(steps[ends[r.t] - r.n_bbo - 1 : ends[r.t] - 1])
        assert order_flow([r], r.t - 1, r.t).ofi_e8 / 1e8 == pytest.approx(theirs, abs=1e-9)


def test_by_rank_the_package_leaves_out_a_level_that_was_not_there(ask):
    """Bids 1.40x10, 1.39x10 become 1.41x7, 1.40x10, 1.39x10. It says 7, 10, 0 and we 7, 10, 10, as the paper does (arXiv
    1907.06230): it skips a rank that one of both books lacks, where we count all that came to it."""
    asks = [(1.50 + n / 100, 1.0) for n in range(3)]
    before, after = [(1.40, 10.0), (1.39, 10.0)], [(1.41, 7.0), (1.40, 10.0), (1.39, 10.0)]
    assert ask("flow_by_rank", before=(before, asks), after=(after, asks), ranks=3) == [7, 10, 0]
    desk = open_desk([("1.40", 10), ("1.39", 10)], [("1.50", 1), ("1.51", 1), ("1.52", 1)])
    desk.diff([("1.41", 7)], at=1.5)
    assert order_flow([desk.tick(2)], 1, 2).ofi_levels_e8[:3] == (e8(7), e8(10), e8(10))


@both
def test_the_package_finds_the_same_imbalance_slope_and_illiquidity(ask, symbol):
    trades, columns = recorded(symbol), Columns.of(complete(symbol))
    theirs = ask(
        "imbalance",
        trades=[(t.price_e8 / 1e8, t.quantity_e8 / 1e8, "sell" if t.buyer_is_maker else "buy") for t in trades],
    )
    assert flow_of(trades).tfi == pytest.approx(theirs, abs=1e-12)
    ten, minute = windows(columns, 10), windows(columns, 60)
    whole = ten.coverage == 1
    slope = ask("slope", moves=ten.move_bps[whole].tolist(), volumes=(ten.signed_quote[whole] / 1e6).tolist())
    assert kyle_slope(columns).beta == pytest.approx(slope, rel=1e-9)
    whole = minute.coverage == 1
    illiquidity = ask("illiquidity", moves=minute.move_bps[whole].tolist(), volumes=(minute.quote[whole] / 1e6).tolist())
    assert amihud(columns).bps_per_million == pytest.approx(illiquidity, rel=1e-12)


def test_the_package_says_zero_where_we_say_that_there_is_none(ask):
    """Nothing traded, nothing varied: to it the absence of a number is 0, to us it is None."""
    nothing = Columns.of([])
    assert (ask("imbalance", trades=[]), flow_of([]).tfi) == (0, None)
    assert (ask("slope", moves=[], volumes=[]), kyle_slope(nothing)) == (0, None)
    assert (ask("illiquidity", moves=[], volumes=[]), amihud(nothing).bps_per_million) == (0, None)


# MarketProfile -------------------------------------------------------------------------


def test_the_package_agrees_on_the_published_example(ask):
    prices = range(101, 111)
    _, poc, value_area = ask("profile", prices=list(map(float, prices)), volumes=list(map(float, CBOT)), row=1.0)
    assert (poc, value_area) == (106, [105, 108])
    assert named(profile_of(list(map(trade, prices, CBOT)), row_e8=1))[:2] == (106, (105, 108))


def test_the_package_goes_on_at_the_target_drops_empty_rows_and_names_rows_by_their_upper_edge(ask):
    """10 70 20: we stop at 70 of 100, which holds the target; it goes on while it holds no more than that, to row 3.
    30 40 _ _ 20 10: it knows only rows that traded and so jumps the hole; we cross it, since prices lie in it.
    Its rows are by ceiling: 1.2 lies in (1, 2], which it calls 2; ours are [1, 2), by their lower edge."""
    assert ask("profile", prices=[1.0, 2, 3], volumes=[10.0, 70, 20], row=1.0)[2] == [2, 3]
    assert named(profile_of_rows([10, 70, 20]))[1] == (2, 2)
    rows, poc, value_area = ask("profile", prices=[1.0, 2, 5, 6], volumes=[30.0, 40, 20, 10], row=1.0)
    assert rows == [1, 2, 5, 6]
    assert (poc, value_area) == (2, [1, 5])
    assert named(profile_of_rows([30, 40, 0, 0, 20, 10]))[1] == (1, 2)
    assert ask("profile", prices=[0.4, 1.0, 1.2], volumes=[1.0, 1, 1], row=1.0)[0] == [1, 2]
    assert [row.low_e8 for row in profile_of([trade(price, 1) for price in (4, 10, 12)], row_e8=10).rows] == [0, 10]


def test_the_package_on_bitcoin_has_the_same_trades_on_another_grid(ask):
    """By ceiling: its 61720 is (61715, 61720]. Shifted by one unit of 1e-8 our rows are the same as its, up to the name; on our
    own grid the point of control is [61660, 61665), the value area 61640 to 61740."""
    trades = recorded("BTCUSDT")
    prices, volumes = ([getattr(t, name) / 1e8 for t in trades] for name in ("price_e8", "quantity_e8"))
    rows, poc, value_area = ask("profile", prices=prices, volumes=volumes, row=5.0)
    assert (poc, value_area) == (61720, [61650, 61745])
    shifted = profile_of([trade(t.price_e8 - 1, t.quantity_e8) for t in trades], 1, row_e8=e8("5"))
    assert [row.high_e8 / 1e8 for row in shifted.rows] == rows
    assert shifted.poc_high_e8 / 1e8 == poc
    assert [shifted.value_area_low_e8 / 1e8 + 5, shifted.value_area_high_e8 / 1e8] == value_area
    own = profile_of(trades, TICK, row_e8=e8("5"))
    assert (own.poc_low_e8, own.value_area_low_e8, own.value_area_high_e8) == (e8("61660"), e8("61640"), e8("61740"))


# frds ----------------------------------------------------------------------------------


def test_the_package_weighs_an_effective_spread_by_quote_value_as_we_do(ask):
    """A buy of 1 at 100.02 and a sell of 3 at 99.97 against 100: 4 bps on 100.02 quote, 6 on 299.91, together 2199.54 / 399.93.
    To it 100 is the mid, to us the first price of a taker order that went on from there: the same sum."""
    theirs = ask("effective", prices=[100.02, 99.97], mids=[100.0, 100.0], sizes=[1.0, 3.0], signs=[1, -1])
    assert round(theirs, 7) == 0.0549981
    orders = [
        Batch(0, buys, 2, e8(size), e8(price) * e8(size), e8(100), e8(price))
        for buys, price, size in ((True, "100.02", 1), (False, "99.97", 3))
    ]
    assert effective_spread([], orders).walked_bps == pytest.approx(100 * theirs, rel=1e-12)


@both
def test_the_package_finds_the_same_walk_beyond_the_first_price_in_the_recordings(ask, symbol):
    """In percent of the first price; with a sign, which is never below 0, since the price of an order never moves back."""
    orders = batches(recorded(symbol))
    theirs = ask(
        "effective",
        prices=[order.quote_e16 / order.quantity_e8 / 1e8 for order in orders],
        mids=[order.first_price_e8 / 1e8 for order in orders],
        sizes=[order.quantity_e8 / 1e8 for order in orders],
        signs=[1 if order.buys else -1 for order in orders],
    )
    assert effective_spread([], orders).walked_bps == pytest.approx(100 * theirs, rel=1e-8)


def test_a_quoted_spread_is_to_the_package_a_mean_over_rows_and_to_us_one_over_time(ask):
    """The first 20,000 tickers of BTC, and the records of their seconds. A wide spread is soon gone, but many tickers come in it:
    many rows, little time. A plain loop over the same tickers, each for as long as it stood, is with us."""
    first = tickers("BTCUSDT")[:20_000]
    quotes = quotes_of(first)
    theirs = ask("quoted", bids=[quote[0] for quote in quotes], asks=[quote[2] for quote in quotes])
    assert round(100 * theirs, 4) == 0.0342
    lasted = [after.ts_recv_ns - before.ts_recv_ns for before, after in pairwise(first)]
    spreads = [1e4 * (ask_price - bid_price) / ((ask_price + bid_price) / 2) for bid_price, _, ask_price, _ in quotes[:-1]]
    by_time = sum(map(float.__mul__, spreads, map(float, lasted))) / sum(lasted)
    seconds = [r for r in complete("BTCUSDT") if first[0].ts_recv_ns <= (r.t - 1) * 10**9 and r.t * 10**9 <= first[-1].ts_recv_ns]
    ours = effective_spread(seconds, []).quoted_bps
    assert (len(seconds), round(ours, 4)) == (255, 0.004)
    assert ours == pytest.approx(by_time, rel=1e-4)
