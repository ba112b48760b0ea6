"""Second against the published vectors and against plain loops over what happened."""

import random
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import book, e8, ns, quote, trade, update

from leadline.core.records import BookState, Flag, TradeState
from leadline.core.second import Second
from leadline.core.sums import QuoteSums

QUICK = settings(derandomize=True, deadline=None, max_examples=150)
TICK = 10**6  # 0.01

WIDE = ([(100, 5), (98, 5)], [(102, 7), (104, 7)])


class Desk:
    """A Second with a LIVE book; times are seconds since the tick of second 0."""

    def __init__(self, bids=WIDE[0], asks=WIDE[1], *, limit=5000, ready_at=0, resync=False):
        self.second = Second()
        self.book = book(bids, asks, limit=limit)
        self.epoch = 1
        self.t = 0
        self.second.book_ready(self.book, ns(ready_at), resync=resync)
        self.last_update = (ns(ready_at), ns(ready_at))

    def tick(self, at, **how):
        """Close the next second at receive time `at`."""
        self.t += 1
        live = self.book is not None
        self.snapshot, record = self.second.close(
            self.t,
            state=BookState.LIVE if live else BookState.SYNCING,
            reason=None if live else "gap",
            epoch=self.epoch,
            book=self.book,
            last_update=self.last_update,
            tick_recv_ns=ns(at),
            sample_ns=ns(at) + 5_000_000,
            **how,
        )
        return record

    def diff(self, bids=(), asks=(), *, at, ids=1):
        change = update(self.book.update_id + 1, self.book.update_id + ids, bids, asks, at=at)
        self.second.depth_coming(change, self.book)
        self.book.apply(change)
        self.second.depth_applied(change, self.book)
        self.last_update = (change.ts_event_ns, change.ts_recv_ns)

    def quotes(self, *rows):
        """(id, bid, bid quantity, ask, ask quantity, received at)"""
        for update_id, bid, bid_qty, ask, ask_qty, at in rows:
            self.second.quote_received(quote(update_id, bid, bid_qty, ask, ask_qty, recv=at))

    def trades(self, *rows):
        """(id, price, quantity, buys, trade time, received at)"""
        for number, price, quantity, buys, at, recv in rows:
            self.second.trade_received(trade(number, price, quantity, buys=buys, at=at, recv=recv))


def parts(record):
    return record.bid_added, record.bid_removed, record.ask_added, record.ask_removed


def ofi(record):
    added_bid, removed_bid, added_ask, removed_ask = parts(record)
    return added_bid - removed_bid - added_ask + removed_ask


# Order flow at the best prices ------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "flow"),
    [
        ((100, 8, 102, 7), 3),
        ((101, 2, 102, 7), 2),
        ((99, 4, 102, 7), -5),
        ((100, 5, 102, 9), -2),
        ((100, 5, 101, 3), -3),
        ((100, 5, 103, 6), 7),
        ((101, 4, 103, 6), 11),
        ((100, 5, 102, 7), 0),
    ],
)
def test_order_flow_of_one_change_is_the_published_one(after, flow):
    """By hand, from (Pb 100, qb 5, Pa 102, qa 7); the same through tickers, through diffs and through the bare sums."""
    sums = QuoteSums()
    sums.quote(100, 5, 102, 7, 0)
    sums.quote(*after, 1)
    assert sums.bid_added - sums.bid_removed - sums.ask_added + sums.ask_removed == flow
    tickers = Desk()
    tickers.quotes((1, 100, 5, 102, 7, 0.1), (2, *after, 0.2))
    record = tickers.tick(1)
    assert (ofi(record), record.ofi_source) == (e8(flow), "event")
    diffs = Desk([(100, 5)], [(102, 7)])
    bid, bid_qty, ask, ask_qty = after
    gone_bid, gone_ask = [(100, 0)] * (bid != 100), [(102, 0)] * (ask != 102)
    diffs.diff([*gone_bid, (bid, bid_qty)], [*gone_ask, (ask, ask_qty)], at=0.2)
    record = diffs.tick(1)
    assert (ofi(record), record.ofi_source) == (e8(flow), "diff")


def test_the_four_parts_are_what_came_and_what_went_on_each_side():
    """+3 at the bid, then the ask 102x7 leaves for 103x6: -7 there; then the bid falls from 100x8 to 98x5: -8."""
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1), (2, 100, 8, 102, 7, 0.2), (3, 100, 8, 103, 6, 0.3), (4, 98, 5, 103, 6, 0.4))
    assert parts(desk.tick(1)) == (e8(3), e8(8), 0, e8(7))
    desk.quotes((5, 98, 5, 101, 4, 1.1))
    assert parts(desk.tick(2)) == (0, 0, e8(4), 0)


def test_the_chain_goes_on_over_the_tick_but_its_sums_do_not():
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1))
    assert ofi(desk.tick(1)) == 0
    desk.quotes((2, 100, 9, 102, 7, 1.1))
    assert ofi(desk.tick(2)) == e8(4)
    assert ofi(desk.tick(3)) == 0


def test_the_first_ticker_of_an_epoch_has_no_predecessor():
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1), (2, 100, 9, 102, 7, 0.2))
    desk.second.book_lost(gap=True, crossed=False)
    desk.quotes((3, 100, 20, 102, 7, 0.3))
    desk.second.book_ready(desk.book, ns(0.4), resync=True)
    desk.quotes((4, 100, 50, 102, 7, 0.5), (5, 100, 51, 102, 7, 0.6))
    record = desk.tick(1)
    assert parts(record) == (e8(1), 0, 0, 0)
    assert record.flags == Flag.PARTIAL | Flag.GAP | Flag.RESYNC
    assert record.n_bbo == 5
    assert record.mid2_open == e8(202)


@pytest.mark.parametrize("again", [1, 2])
def test_a_ticker_id_that_does_not_rise_breaks_the_chain_and_is_flagged(again):
    desk = Desk()
    desk.quotes((2, 100, 5, 102, 7, 0.1), (again, 100, 50, 102, 7, 0.2), (3, 100, 51, 102, 7, 0.3))
    record = desk.tick(1)
    assert ofi(record) == e8(1)
    assert record.flags == Flag.PARTIAL | Flag.BBO_BREAK
    assert desk.tick(2).flags == 0


def test_a_disconnected_ticker_has_no_predecessor_and_may_begin_with_any_id():
    desk = Desk()
    desk.quotes((9, 100, 5, 102, 7, 0.1))
    desk.second.disconnected()
    desk.quotes((1, 100, 50, 102, 7, 0.3))
    record = desk.tick(1)
    assert ofi(record) == 0
    assert not record.flags & Flag.BBO_BREAK


# Order flow by rank ------------------------------------------------------------------


def test_order_flow_by_rank_of_the_papers_example():
    """Xu, Gould, Howison: bids 1.40x10, 1.39x10 become 1.41x7, 1.40x10, 1.39x10: 7, 10, 10; the asks stand still."""
    desk = Desk([("1.40", 10), ("1.39", 10)], [("1.50", 3)])
    desk.diff([("1.41", 7)], at=0.1)
    record = desk.tick(1)
    assert record.ofi_diff == [e8(7), e8(10), e8(10)] + [0] * 7
    assert record.ofi_top20 == e8(27)


def test_order_flow_by_rank_of_the_asks_has_the_other_sign():
    desk = Desk([("1.30", 3)], [("1.40", 10), ("1.41", 10)])
    desk.diff([], [("1.39", 7)], at=0.1)
    assert desk.tick(1).ofi_diff == [e8(-7), e8(-10), e8(-10)] + [0] * 7
    desk.diff([], [("1.39", 0)], at=1.1)  # back: ranks 1 and 2 get worse by their old sizes, rank 3 is absent
    assert desk.tick(2).ofi_diff == [e8(7), e8(10), e8(10)] + [0] * 7


def test_ranks_eleven_to_twenty_count_in_the_sum_only():
    """25 bids of 1 at 100, 99, ...; a new best of 3: rank 1 gains 3, ranks 2 to 20 gain the level that moved in: 1 each."""
    desk = Desk([(100 - n, 1) for n in range(25)], [(101 + n, 1) for n in range(25)])
    desk.diff([("100.5", 3)], at=0.1)
    record = desk.tick(1)
    assert record.ofi_diff == [e8(3)] + [e8(1)] * 9
    assert record.ofi_top20 == e8(3 + 19)


def rank_model(states):
    """Ranks over a list of states [(bids best first, asks best first)], by the document's cases, absent as a case of its own."""
    total = [0] * 20
    for (bids0, asks0), (bids1, asks1) in pairwise(states):
        for k in range(20):
            for sign, before, after in ((1, bids0, bids1), (-1, asks0, asks1)):
                old, new = before[k] if k < len(before) else None, after[k] if k < len(after) else None
                if old is None and new is None:
                    change = 0
                elif old is None:
                    change = new[1]
                elif new is None:
                    change = -old[1]
                elif old[0] == new[0]:
                    change = new[1] - old[1]
                else:
                    better = (new[0] > old[0]) == (sign > 0)
                    change = new[1] if better else -old[1]
                total[k] += sign * change
    return total[:10], sum(total)


sides = st.lists(st.tuples(st.integers(0, 24), st.integers(0, 4)), max_size=8)


@QUICK
@given(st.booleans(), st.lists(st.tuples(sides, sides), max_size=12))
def test_order_flow_by_rank_equals_the_documents_cases_over_every_diff(deep, diffs):
    """Books of 0 to 25 levels; bids at 99 and below, asks at 100 and above. The state at a tick is the next second's first."""
    start = [(99 - n, 1) for n in range(22 if deep else 2)], [(100 + n, 1) for n in range(22 if deep else 2)]
    desk = Desk(*start)
    held = [dict(side) for side in start]
    states = [([*sorted(held[0].items(), reverse=True)], [*sorted(held[1].items())])]
    for number, (bids, asks) in enumerate(diffs):
        bids, asks = [(99 - n, q) for n, q in bids], [(100 + n, q) for n, q in asks]
        desk.diff(bids, asks, at=number / 100)
        for side, changes in zip(held, (bids, asks), strict=True):
            side.update(changes)
        held = [{p: q for p, q in side.items() if q} for side in held]
        states.append(([*sorted(held[0].items(), reverse=True)], [*sorted(held[1].items())]))
        if number == len(diffs) // 2:
            record = desk.tick(1)
            by_rank, top20 = rank_model(states)
            assert ([q * 10**8 for q in by_rank], top20 * 10**8) == (record.ofi_diff, record.ofi_top20)
            states = states[-1:]
    record = desk.tick(2)
    by_rank, top20 = rank_model(states)
    assert ([q * 10**8 for q in by_rank], top20 * 10**8) == (record.ofi_diff, record.ofi_top20)


def test_rank_twenty_beyond_the_known_range_makes_ranks_unknown_and_is_flagged():
    """25 levels asked for, 25 given: the bids are known down to 76. When six of the best go, rank 20 is 75."""
    desk = Desk([(100 - n, 1) for n in range(25)], [(101 + n, 1) for n in range(25)], limit=25)
    desk.diff([(75, 1), (74, 1)], at=0.1)
    record = desk.tick(1)
    assert (record.flags & Flag.RANGE, record.ofi_top20) == (0, 0)
    desk.diff([(100 - n, 0) for n in range(6)], at=1.1)
    desk.diff([(100 - n, 1) for n in range(6)], at=1.2)
    record = desk.tick(2)
    assert record.flags == Flag.RANGE, "it was beyond after one of the diffs, though not at the tick"
    assert (record.ofi_diff, record.ofi_top20) == (None, None)
    assert ofi(record) == 0, "the best prices were known all the time"
    assert desk.tick(3).flags == 0


def test_a_complete_side_with_few_levels_is_no_reason_for_range():
    desk = Desk([(100, 1)], [(101, 1)])
    assert desk.tick(1).flags == Flag.PARTIAL


def test_a_swapped_in_anchor_breaks_no_chain():
    desk = Desk([(100, 5), (98, 5)], [(102, 7)])
    other = book([(100, 5), (98, 5)], [(102, 7)], update_id=desk.book.update_id)
    desk.book = other
    desk.second.book_swapped(other)
    desk.diff([(100, 6)], at=0.3)
    record = desk.tick(1)
    assert (ofi(record), record.ofi_diff[0]) == (e8(1), e8(1))


def test_what_a_swapped_in_anchor_knows_more_is_no_flow():
    """The live book knew two bids, the anchor knows a third of 5: nobody placed it in this second."""
    desk = Desk([(100, 5), (98, 5)], [(102, 7)], limit=2)
    desk.tick(1)
    desk.book = book([(100, 5), (98, 5), (97, 5)], [(102, 7)], update_id=desk.book.update_id)
    desk.second.book_swapped(desk.book)
    record = desk.tick(2)
    assert (record.ofi_diff, record.ofi_top20, record.flags) == ([0] * 10, 0, 0)


# Mid and spread ---------------------------------------------------------------------------


def test_the_time_weighted_spread_of_the_published_example():
    """1 tick for 900 ms and 11 ticks for 100 ms are 2 ticks."""
    desk = Desk()
    desk.quotes((1, "100.00", 1, "100.01", 1, 0))
    desk.tick(0)
    desk.quotes((2, "100.00", 1, "100.11", 1, 0.9))
    record = desk.tick(1)
    assert (record.spread_tw, record.spread_max) == (2 * TICK, 11 * TICK)


def test_a_second_without_length_has_the_spread_of_its_tick():
    desk = Desk()
    desk.quotes((1, 100, 1, 101, 1, 0), (2, 100, 1, 103, 1, 0))
    record = desk.tick(0)
    assert (record.spread_tw, record.spread_max) == (e8(3), e8(3))


def test_a_spread_is_weighed_from_the_first_quote_of_the_epoch_on():
    """Epoch begins at 0.2 with no quote; 4 from 0.5 to 0.7, 2 from 0.7 to 1.0: (4*2 + 2*3)/5 = 2.8."""
    desk = Desk(ready_at=0.2)
    desk.quotes((1, 100, 1, 104, 1, 0.5), (2, 100, 1, 102, 1, 0.7))
    assert desk.tick(1).spread_tw == pytest.approx(2.8 * 10**8, rel=1e-12)


def test_time_without_a_two_sided_book_weighs_nothing():
    """diff source: 2 wide until 0.4, no ask until 0.6, 4 wide until the tick: (2*0.4 + 4*0.4)/0.8 = 3; no flow over the hole."""
    desk = Desk([(100, 1)], [(102, 1)])
    desk.diff([], [(102, 0)], at=0.4)
    desk.diff([], [(104, 9)], at=0.6)
    record = desk.tick(1)
    assert record.spread_tw == pytest.approx(3 * 10**8, rel=1e-12)
    assert (parts(record), record.mid_sq) == ((0, 0, 0, 0), 0)
    assert (record.mid2_open, record.mid2_close, record.mid2_high) == (e8(202), e8(204), e8(204))


def test_a_ticker_with_an_empty_side_is_no_price_of_zero():
    """Zeros stand in the place of a side that is empty: 2 wide until 0.4, nothing until 0.6, 4 wide: (2*0.4 + 4*0.4)/0.8 = 3."""
    desk = Desk()
    desk.quotes((1, 100, 1, 102, 1, 0), (2, 0, 0, 102, 1, 0.4), (3, 0, 0, 101, 5, 0.5), (4, 100, 9, 104, 1, 0.6))
    record = desk.tick(1)
    assert (record.mid2_open, record.mid2_low, record.mid2_high, record.mid2_close) == (e8(202), e8(202), e8(204), e8(204))
    assert (record.spread_tw, record.spread_max) == (pytest.approx(3 * 10**8, rel=1e-12), e8(4))
    assert (parts(record), record.mid_sq, record.n_bbo) == ((0, 0, 0, 0), 0, 4)
    desk.quotes((5, 100, 1, 0, 0, 1.5))
    record = desk.tick(2)
    assert (record.mid2_open, record.mid2_low, record.mid2_close, record.spread_tw) == (None,) * 4


def test_a_book_that_is_one_sided_at_the_tick_has_no_mid_of_the_second():
    desk = Desk([(100, 1)], [(102, 1)])
    desk.diff([], [(102, 0)], at=0.4)
    record = desk.tick(1)
    assert (record.mid2_open, record.mid2_close, record.spread_tw, record.spread_max, record.mid_sq) == (None,) * 5
    assert (record.cost_buy, record.fill_buy, record.depth_bid) == ([None] * 6, [None] * 6, [None] * 6)
    assert desk.snapshot.asks == ()


def test_the_mid_of_a_second_opens_where_the_one_before_closed():
    """mid2 202, 204, 203, then 206: steps 2, -1 in the first second, 3 in the second."""
    desk = Desk()
    desk.quotes((1, 100, 1, 102, 1, 0.1), (2, 101, 1, 103, 1, 0.2), (3, 101, 1, 102, 1, 0.3))
    one = desk.tick(1)
    desk.quotes((4, 102, 1, 104, 1, 1.5))
    two = desk.tick(2)
    e16 = 10**16
    assert (one.mid2_open, one.mid2_high, one.mid2_low, one.mid2_close) == (e8(202), e8(204), e8(202), e8(203))
    assert (two.mid2_open, two.mid2_high, two.mid2_low, two.mid2_close) == (e8(203), e8(206), e8(203), e8(206))
    assert (one.mid_sq, two.mid_sq) == (5 * e16, 9 * e16)


def test_a_quiet_second_keeps_the_mid_and_says_that_nothing_happened():
    desk = Desk([(100, 5)], [(102, 7)])
    desk.quotes((1, 100, 5, 102, 7, 0.1))
    desk.tick(1)
    record = desk.tick(2)
    assert (record.n_diff, record.n_ids, record.n_levels, record.n_bbo, record.n_eval) == (0, 0, 0, 0, 1)
    assert (parts(record), record.ofi_diff, record.ofi_top20) == ((0, 0, 0, 0), [0] * 10, 0)
    assert record.mid2_open == record.mid2_high == record.mid2_low == record.mid2_close == e8(202)
    assert (record.mid_sq, record.spread_tw, record.spread_max) == (0, e8(2), e8(2))
    assert (record.flags, record.live_ms, record.trade_state) == (0, 1000, TradeState.COMPLETE)
    assert (record.depth_min_bid, record.depth_min_ask) == (record.depth_bid, record.depth_ask)
    assert (record.px_first, record.px_last, record.px_high, record.first_id, record.max_batch_quote) == (None,) * 5


path = st.lists(
    st.tuples(st.integers(0, 999), st.integers(95, 100), st.integers(1, 9), st.integers(101, 106), st.integers(1, 9)), max_size=25
).map(lambda rows: sorted(rows, key=lambda row: row[0]))


@QUICK
@given(path, path)
def test_a_second_of_tickers_equals_a_plain_loop_over_them(first, second):
    """Model: order flow by the document's indicator formula, the spread summed millisecond by millisecond."""
    desk = Desk()
    update_id, previous = 0, None
    for number, rows in enumerate((first, second)):
        flow, squares, mids, spreads, per_ms = 0, 0, [], [], []
        if previous is not None:
            mids, spreads = [previous[0] + previous[2]], [previous[2] - previous[0]]
        queue = list(rows)
        for ms in range(1000):
            while queue and queue[0][0] == ms:
                _, bid, bid_qty, ask, ask_qty = queue.pop(0)
                update_id += 1
                desk.quotes((update_id, bid, bid_qty, ask, ask_qty, Decimal(number * 1000 + ms) / 1000))
                if previous is not None:
                    pb, qb, pa, qa = previous
                    flow += (bid >= pb) * bid_qty - (bid <= pb) * qb - (ask <= pa) * ask_qty + (ask >= pa) * qa
                    squares += (bid + ask - pb - pa) ** 2
                previous = (bid, bid_qty, ask, ask_qty)
                mids.append(bid + ask)
                spreads.append(ask - bid)
            if previous is not None:
                per_ms.append(previous[2] - previous[0])
        record = desk.tick(number + 1)
        if previous is None:
            assert (record.ofi_source, record.n_bbo) == ("diff", None)
            continue
        assert ofi(record) == flow * 10**8
        assert record.mid_sq == squares * 10**16
        assert (record.mid2_open, record.mid2_close) == (mids[0] * 10**8, mids[-1] * 10**8)
        assert (record.mid2_high, record.mid2_low) == (max(mids) * 10**8, min(mids) * 10**8)
        assert record.spread_max == max(spreads) * 10**8
        assert record.spread_tw == pytest.approx(float(Fraction(sum(per_ms), len(per_ms))) * 10**8, rel=1e-12)
        assert record.n_bbo == len(rows)


@QUICK
@given(path)
def test_swapping_the_sides_changes_the_sign_of_the_flow_and_swaps_its_parts(rows):
    """Prices reflected at 101: a bid of p is an ask of 202 - p. The flow by rank changes sign too."""
    ours, mirrored = Desk([(100, 5)], [(102, 5)]), Desk([(100, 5)], [(102, 5)])
    for number, (_, bid, bid_qty, ask, ask_qty) in enumerate(rows, 1):
        ours.quotes((number, bid, bid_qty, ask, ask_qty, 0))
        mirrored.quotes((number, 202 - ask, ask_qty, 202 - bid, bid_qty, 0))
        ours.diff([(bid, bid_qty % 3)], [(ask, ask_qty % 3)], at=0)
        mirrored.diff([(202 - ask, ask_qty % 3)], [(202 - bid, bid_qty % 3)], at=0)
        ours.trades((number, bid, bid_qty, bid % 2 == 0, 0, 0))
        mirrored.trades((number, 202 - bid, bid_qty, bid % 2 == 1, 0, 0))
    a, b = ours.tick(1), mirrored.tick(1)
    assert parts(a) == (b.ask_added, b.ask_removed, b.bid_added, b.bid_removed)
    assert ofi(a) == -ofi(b)
    assert a.ofi_diff == [-flow for flow in b.ofi_diff]
    assert a.ofi_top20 == -b.ofi_top20
    assert (a.buy_qty, a.sell_qty, a.n_batches) == (b.sell_qty, b.buy_qty, b.n_batches)


@QUICK
@given(path, st.integers(0, 25))
def test_a_tick_in_between_splits_the_sums_and_loses_nothing(rows, at):
    """Records over [a, b) plus [b, c) = [a, c), for flow, squares, counts and trades."""
    whole, cut = Desk(), Desk()
    halves = []
    for desk in (whole, cut):
        for number, (_, bid, bid_qty, ask, ask_qty) in enumerate(rows, 1):
            if desk is cut and number == at + 1:
                halves.append(desk.tick(0.5))
            desk.quotes((number, bid, bid_qty, ask, ask_qty, 0.1))
            desk.diff([(bid - 5, bid_qty)], [(ask + 5, ask_qty)], at=0.1)
            desk.trades((number, bid, bid_qty, bid % 2 == 0, number, 0.1))
    halves.append(cut.tick(1))
    one = whole.tick(1)
    for field in ("bid_added", "bid_removed", "ask_added", "ask_removed", "mid_sq", "ofi_top20", "n_diff", "n_ids", "n_levels"):
        assert getattr(one, field) or sum(getattr(half, field) or 0 for half in halves) == 0, field
        assert (getattr(one, field) or 0) == sum(getattr(half, field) or 0 for half in halves), field
    for field in ("buy_qty", "sell_qty", "buy_quote", "sell_quote", "n_buy", "n_sell", "n_batches"):
        assert getattr(one, field) == sum(getattr(half, field) for half in halves), field
    assert one.ofi_diff == [sum(flows) for flows in zip(*(half.ofi_diff for half in halves), strict=True)]


def test_one_diff_cut_into_many_changes_no_state_at_the_tick_and_no_event_flow():
    whole, pieces = Desk(), Desk()
    for desk in (whole, pieces):
        desk.quotes((1, 100, 5, 102, 7, 0.1), (2, 101, 1, 102, 7, 0.2))
    whole.diff([(101, 1), (98, 2)], [(104, 1)], at=0.5, ids=4)
    for ids, (bids, asks) in ((1, ([(101, 3)], [])), (1, ([(98, 2)], [])), (1, ([(101, 1)], [])), (1, ([], [(104, 1)]))):
        pieces.diff(bids, asks, at=0.5, ids=ids)
    a, b = whole.tick(1), pieces.tick(1)
    assert whole.snapshot == pieces.snapshot
    for field in ("depth_bid", "depth_ask", "cost_buy", "cost_sell", "update_id", "bid_added", "mid_sq", "n_ids"):
        assert getattr(a, field) == getattr(b, field), field
    assert (a.n_diff, b.n_diff) == (1, 4)


# Trades ---------------------------------------------------------------------------------


def test_batches_of_the_published_example():
    """By hand: 4 batches of 2, 1, 1 and 2 trades, 2 of them sweeps."""
    desk = Desk()
    desk.quotes((1, 9, 1, 20, 1, 0))
    rows = [(100, True, 10), (100, True, 11), (100, True, 10), (101, True, 12), (101, False, 12), (101, False, 11)]
    desk.trades(*((n, price, 1, buys, at, 0.5) for n, (at, buys, price) in enumerate(rows)))
    record = desk.tick(1)
    assert (record.n_batches, record.n_sweeps) == (4, 2)
    assert record.max_batch_quote == (12 + 11) * 10**16


def test_trades_are_summed_by_aggressor_and_counted_by_fills():
    """+100x2 of 3 fills, -100x4, +102x3, -101x1 of 2 fills: bought 5 for 506, sold 5 for 501."""
    desk = Desk()
    for row in (
        trade(1, 100, 2, first=10, last=12, at=1),
        trade(2, 100, 4, buys=False, first=13, last=13, at=2),
        trade(3, 102, 3, first=14, last=14, at=3),
        trade(4, 101, 1, buys=False, first=15, last=16, at=4),
    ):
        desk.second.trade_received(row)
    record = desk.tick(1)
    assert (record.buy_qty, record.sell_qty) == (e8(5), e8(5))
    assert (record.buy_quote, record.sell_quote) == (506 * 10**16, 501 * 10**16)
    assert (record.n_buy, record.n_sell, record.n_batches) == (4, 3, 4)
    assert (record.first_id, record.last_id) == (10, 16)
    assert (record.px_first, record.px_last, record.px_high, record.px_low) == (e8(100), e8(101), e8(102), e8(100))
    assert record.max_batch_quote == 400 * 10**16
    assert desk.tick(2).buy_qty == 0


def test_the_lowest_price_is_found_after_the_highest_and_the_other_way_round():
    for order in ((100, 103, 98), (100, 98, 103)):
        desk = Desk()
        desk.trades(*((n, price, 1, True, n, 0.5) for n, price in enumerate(order)))
        record = desk.tick(1)
        assert (record.px_high, record.px_low) == (e8(103), e8(98))


def test_a_batch_that_goes_on_over_the_tick_is_counted_where_it_began_and_is_not_the_next_seconds_largest():
    """300 of it came before the tick and 500 after; the only batch begun in the second second took 100."""
    desk = Desk()
    desk.trades((1, 100, 3, True, 7, 0.9))
    one = desk.tick(1)
    desk.trades((2, 100, 5, True, 7, 1.1), (3, 100, 1, True, 8, 1.2))
    two = desk.tick(2)
    assert (one.n_batches, one.max_batch_quote) == (1, 300 * 10**16)
    assert (two.n_batches, two.max_batch_quote, two.buy_qty) == (1, 100 * 10**16, e8(6))


def test_a_sweep_that_took_more_than_was_shown_has_the_excess():
    """Shown in the 100 ms before at 102: at most 7. The buyer took 5 + 4 there and went on: 2 more than shown, 204 quote."""
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1), (2, 100, 5, 102, 3, 0.45))
    desk.trades((1, 102, 5, True, 9, 0.5), (2, 102, 4, True, 9, 0.5), (3, 103, 1, True, 9, 0.5), (4, 103, 1, True, 9, 0.5))
    record = desk.tick(1)
    assert (record.n_sweeps, record.n_excess, record.excess_quote) == (1, 1, 204 * 10**16)


def test_a_sweep_over_three_prices_is_one_sweep_and_its_excess_is_that_at_the_first():
    """7 shown at 102, 9 taken there: 2 x 102. What was taken at 103 and 104 is compared with nothing."""
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.45))
    desk.trades(*((n, price, 9, True, 9, 0.5) for n, price in enumerate((102, 103, 103, 104))))
    record = desk.tick(1)
    assert (record.n_sweeps, record.n_excess, record.excess_quote) == (1, 1, 204 * 10**16)
    assert record.max_batch_quote == 9 * (102 + 103 + 103 + 104) * 10**16


def test_what_was_shown_more_than_100_ms_before_counts_only_as_the_state_at_their_start():
    """7 until 0.30, 3 until 0.50: at 0.55 the window is [0.45, 0.55], its state at the start 3. 9 taken: 6 more than shown."""
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1), (2, 100, 5, 102, 3, 0.3), (3, 100, 5, 102, 1, 0.5))
    desk.trades((1, 102, 9, True, 9, 0.55), (2, 103, 1, True, 9, 0.55))
    assert desk.tick(1).excess_quote == 6 * 102 * 10**16


def test_a_sweep_of_bids_is_compared_with_what_was_shown_at_the_bid():
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 70, 0.1))
    desk.trades((1, 100, 6, False, 9, 0.15), (2, 99, 1, False, 9, 0.15))
    record = desk.tick(1)
    assert (record.n_sweeps, record.n_excess, record.excess_quote) == (1, 1, 100 * 10**16)


def test_a_sweep_that_took_what_was_shown_has_no_excess():
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1))
    desk.trades((1, 102, 7, True, 9, 0.15), (2, 103, 1, True, 9, 0.15))
    record = desk.tick(1)
    assert (record.n_sweeps, record.n_excess, record.excess_quote) == (1, 0, 0)


def test_without_a_ticker_sweeps_are_unknown_not_none():
    desk = Desk()
    desk.trades((1, 102, 7, True, 9, 0.15), (2, 103, 1, True, 9, 0.15))
    record = desk.tick(1)
    assert (record.n_sweeps, record.n_excess, record.excess_quote, record.n_bbo, record.n_batches) == (None, None, None, None, 1)


# Depth, costs and the tick ------------------------------------------------------------------


def test_the_least_depth_of_a_second_is_seen_after_each_diff_even_if_it_came_back():
    """Bids 99.95x10 (within 5 bps of 100): 10, then 1, then 8. Asks the other way round."""
    desk = Desk([("99.95", 10)], [("100.05", 4)])
    desk.tick(0)
    desk.diff([("99.95", 1)], [("100.05", 9)], at=0.3)
    desk.diff([("99.95", 8)], [("100.05", 6)], at=0.6)
    record = desk.tick(1)
    assert record.n_eval == 2
    assert (record.depth_min_bid[2], record.depth_bid[2]) == (e8("99.95") * e8(1), e8("99.95") * e8(8))
    assert (record.depth_min_ask[2], record.depth_ask[2]) == (e8("100.05") * e8(6), e8("100.05") * e8(6))
    assert (record.depth_min_bid[0], record.depth_bid[0]) == (0, 0)


def test_a_depth_that_was_unknown_once_has_no_minimum():
    """Known down to 99.9. The mid rises to 100.05 and back: 10 bps reach 99.95, then 99.9 again. From 99.8 on it was unknown."""
    desk = Desk([("99.99", 1), ("99.9", 1)], [("100.01", 1), ("100.2", 5)], limit=2)
    desk.diff([("99.99", 0), ("99.95", 1)], at=0.1)  # m = 99.98: 10 bps end below 99.9
    desk.diff([("99.99", 1)], at=0.2)
    record = desk.tick(1)
    assert record.depth_bid[3] is not None
    assert record.depth_min_bid[3] is None
    assert record.depth_min_ask[3] is not None


def test_costs_at_the_tick_are_those_of_the_book():
    """m = 100: 10,000 quote are bought at 100.1 for 10 bps; 50,000 fill all of 30,030 + 20,040 in part; 100,000 are not there."""
    desk = Desk([("99.9", 300)], [("100.1", 300), ("100.2", 200)])
    record = desk.tick(1)
    taken = Fraction(300) + (50_000 - 30_030) / Fraction("100.2")
    assert record.cost_buy[:2] == pytest.approx([10, 10], rel=1e-12)
    assert record.cost_buy[2] == pytest.approx(float((50_000 / taken / 100 - 1) * 10_000), rel=1e-12)
    assert record.cost_buy[3:] == [None] * 3
    assert record.fill_buy == [None] * 3 + [50_070 * 10**16] * 3
    assert record.cost_sell[:2] == pytest.approx([10, 10], rel=1e-12)
    assert record.fill_sell == [None, None, 29_970 * 10**16, 29_970 * 10**16, 29_970 * 10**16, 29_970 * 10**16]


def test_a_record_says_which_update_it_rests_on_and_when_it_was_taken():
    desk = Desk([(100, 1)], [(101, 1)], limit=1)
    desk.second.depth_applied(change := update(2, 9, [(100, 4)], [], at="7.125", recv="5.875"), desk.book)
    desk.book.apply(change)
    desk.last_update = (change.ts_event_ns, change.ts_recv_ns)
    record = desk.tick(8, trade_state=TradeState.BACKFILLED, flags=Flag.TRADES_LATE)
    assert (record.t, record.update_id, record.event_ms, record.recv_ms, record.sample_ms) == (1, 9, 7125, 5875, 8005)
    assert (record.known_bid, record.known_ask) == (e8(100), e8(101))
    assert (record.n_diff, record.n_ids, record.n_levels) == (1, 8, 1)
    assert record.trade_state is TradeState.BACKFILLED
    assert record.flags & Flag.TRADES_LATE
    assert desk.snapshot.update_id == 9
    assert desk.snapshot.timestamp == 1


def test_the_snapshot_holds_at_most_twenty_levels_a_side_best_first():
    desk = Desk([(100 - n, n + 1) for n in range(25)], [(101 + n, n + 1) for n in range(25)])
    desk.tick(1)
    assert desk.snapshot.bids == tuple((e8(100 - n), e8(n + 1)) for n in range(20))
    assert desk.snapshot.asks == tuple((e8(101 + n), e8(n + 1)) for n in range(20))


def test_an_empty_book_gives_a_record_and_no_snapshot():
    desk = Desk([], [])
    record = desk.tick(1)
    assert desk.snapshot is None
    assert (record.state, record.update_id, record.mid2_close) == (BookState.LIVE, 1, None)


# Epochs ----------------------------------------------------------------------------------------


def test_an_epoch_that_began_in_the_second_is_live_from_its_first_moment_on():
    record = Desk(ready_at=0.75).tick(1)
    assert (record.live_ms, record.flags) == (250, Flag.PARTIAL)
    assert Desk(ready_at=-5).tick(1).live_ms == 999, "LIVE before the tick by the stamps, and yet not the whole second"
    desk = Desk(ready_at=0.75)
    desk.tick(1)
    assert desk.tick(2).live_ms == 1000


def test_a_resync_is_flagged_and_drops_what_the_epoch_before_had_summed():
    desk = Desk()
    desk.tick(1)
    desk.diff([(100, 50)], at=1.1)
    desk.trades((1, 102, 1, True, 9, 1.15))
    desk.second.book_lost(gap=True, crossed=False)
    desk.book = book([(90, 5)], [(110, 7)], update_id=500)
    desk.second.book_ready(desk.book, ns("1.6"), resync=True)
    desk.diff([(90, 6)], at=1.7)
    record = desk.tick(2)
    assert record.flags == Flag.PARTIAL | Flag.GAP | Flag.RESYNC
    assert (record.live_ms, record.n_diff, record.n_eval) == (400, 1, 1)
    assert (ofi(record), record.ofi_diff[0], record.mid_sq) == (e8(1), e8(1), 0)
    assert (record.mid2_open, record.mid2_high, record.mid2_low) == (e8(200), e8(200), e8(200))
    assert record.buy_qty == e8(1), "trades are facts of the second, not of the epoch"
    assert desk.tick(3).flags == 0


def test_a_second_without_a_live_book_has_no_numbers_of_it():
    desk = Desk()
    desk.quotes((1, 100, 5, 102, 7, 0.1))
    desk.tick(1)
    desk.diff([(100, 6)], at=1.2)
    desk.trades((1, 102, 1, True, 9, 1.15))
    desk.second.book_lost(gap=False, crossed=True)
    desk.book = None
    desk.quotes((2, 100, 9, 102, 7, 1.5))
    record = desk.tick(2)
    assert (record.state, record.reason, record.live_ms) == (BookState.SYNCING, "gap", 0)
    assert record.flags == Flag.PARTIAL | Flag.CROSSED
    for field in (
        *("update_id", "event_ms", "recv_ms", "sample_ms", "known_bid", "known_ask", "ofi_source"),
        *("bid_added", "bid_removed", "ask_added", "ask_removed", "ofi_diff", "ofi_top20"),
        *("mid2_open", "mid2_high", "mid2_low", "mid2_close", "mid_sq", "spread_tw", "spread_max"),
    ):
        assert getattr(record, field) is None, field
    for field in ("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask", "cost_buy", "cost_sell", "fill_buy", "fill_sell"):
        assert getattr(record, field) == [None] * 6, field
    assert (record.n_diff, record.n_ids, record.n_levels, record.n_eval) == (0, 0, 0, 0)
    assert (record.n_bbo, record.buy_qty, desk.snapshot) == (1, e8(1), None)


@QUICK
@given(path, path)
def test_a_resync_anywhere_changes_nothing_by_more_than_what_it_dropped(before, after):
    """A second cut by a resync sums exactly as one in which nothing came before the new book."""
    cut, fresh = Desk(), Desk()
    for number, (_, bid, bid_qty, ask, ask_qty) in enumerate(before, 1):
        cut.quotes((number, bid, bid_qty, ask, ask_qty, 0.1))
        cut.diff([(bid, bid_qty)], [(ask, ask_qty)], at=0.1)
    cut.second.book_lost(gap=True, crossed=False)
    for desk in (cut, fresh):
        desk.book = book([(94, 3)], [(107, 3)], update_id=1000)
        desk.second.book_ready(desk.book, ns(0.5), resync=True)
        for number, (_, bid, bid_qty, ask, ask_qty) in enumerate(after, 100):
            desk.quotes((number, bid, bid_qty, ask, ask_qty, 0.6))
            desk.diff([(bid, bid_qty)], [(ask, ask_qty)], at=0.6)
    a, b = cut.tick(1), fresh.tick(1)
    if not before or after:  # else one has seen a ticker and the other has not, and their sources differ
        fields = (
            "live_ms n_diff n_ids n_levels n_eval ofi_diff ofi_top20 mid_sq spread_tw spread_max mid2_open mid2_high mid2_low"
        )
        for field in fields.split():
            assert getattr(a, field) == getattr(b, field), field
        assert parts(a) == parts(b)


# The minute ------------------------------------------------------------------------------------


def minute_of(desk, seconds=60):
    records = [desk.tick(desk.t + 1) for _ in range(seconds)]
    assert all(record.minute is None for record in records if record.t % 60)
    return records[-1].minute


def test_the_minute_block_comes_with_each_full_minute_only():
    desk = Desk()
    assert minute_of(desk).samples == 60
    assert minute_of(desk).samples == 60


def test_density_is_the_mean_quote_value_per_basis_point_in_half_basis_point_bins():
    """m = 1000. 999.85 is 1.5 bps away: bin 3, its lower edge included. 1000.04 is 0.4 bps: bin 0. 995 is 50 bps: outside."""
    desk = Desk([("999.96", 3), ("999.85", 2), (995, 9)], [("1000.04", 1), ("1004.96", 4)])
    block = minute_of(desk)
    assert block.density_bid[0] == pytest.approx(2 * 3 * 999.96)
    assert block.density_bid[3] == pytest.approx(2 * 2 * 999.85)
    assert sum(map(bool, block.density_bid)) == 2
    assert block.density_ask[0] == pytest.approx(2 * 1 * 1000.04)
    assert block.density_ask[99] == pytest.approx(2 * 4 * 1004.96)
    assert sum(map(bool, block.density_ask)) == 2


def test_density_is_averaged_over_the_ticks():
    """3 for 30 ticks, then 9 for 30: 6 in the mean."""
    desk = Desk([("999.96", 3)], [("1000.04", 1)])
    for _ in range(30):
        desk.tick(desk.t + 1)
    desk.diff([("999.96", 9)], at=30)
    assert minute_of(desk, 30).density_bid[0] == pytest.approx(2 * 6 * 999.96)


def test_density_beyond_the_known_range_is_unknown_not_empty():
    """m = 1000, known down to 999.84 = 1.6 bps: bins 0 to 2 are whole, bin 3 is not. Asks: 1000.15 = 1.5 bps, 3 bins."""
    desk = Desk([("999.96", 3), ("999.84", 2)], [("1000.04", 1), ("1000.15", 4)], limit=2)
    block = minute_of(desk)
    assert [value is None for value in block.density_bid] == [False] * 3 + [True] * 97
    assert [value is None for value in block.density_ask] == [False] * 3 + [True] * 97


def test_a_minute_without_a_live_tick_has_a_block_that_knows_nothing():
    desk = Desk()
    desk.book = None
    block = minute_of(desk)
    assert (block.samples, block.density_bid, block.size_p95) == (0, [None] * 100, [None] * 6)


def test_sizes_are_quantiles_of_entries_by_distance_within_the_ten_percent_of_their_bins():
    """m = 1000. 300 entries at 999.85, of 1, 8, 27 .. 300^3 lots of 1e-6: p95 is 285^3, p99 is 297^3.
    199 entries are too few; removals are no entries; 10 bps and more belong to no bucket."""
    desk = Desk([("999.99", 1)], [("1000.01", 1)])
    sizes = list(range(1, 301))
    random.Random(1).shuffle(sizes)
    for number, size in enumerate(sizes):
        bids = [("999.85", Decimal(size**3) / 10**6), ("990", 1), *[("999.9", 0)] * 9]
        desk.diff(bids, [*[("1000.15", 0)] * 9, *[("1000.4", size)] * (number < 199)], at=number / 10)
    block = minute_of(desk)
    assert block.size_p95[3] == pytest.approx(285**3 * 999.85 / 1e6, rel=0.05)
    assert block.size_p99[3] == pytest.approx(297**3 * 999.85 / 1e6, rel=0.05)
    assert [value is None for value in block.size_p95] == [True, True, True, False, True, True]


def test_two_hundred_entries_are_enough_and_a_bucket_begins_at_its_lower_edge():
    """0.25 bps from 1000 is 999.975: bucket 0.25-0.5. 5000 entries at 0.6 bps go through more than one batch of the histogram."""
    desk = Desk([("999.99", 1)], [("1000.01", 1)])
    for number in range(200):
        desk.diff([("999.975", 1 + number % 2)], [("1000.06", 1 + number % 2)] * 25, at=0)
    block = minute_of(desk)
    assert block.size_p95[0] is None
    assert block.size_p95[1:3] == pytest.approx([2 * 999.975, 2 * 1000.06], rel=0.05)


near = st.lists(st.tuples(st.integers(1, 600), st.integers(1, 50)), min_size=1, max_size=30, unique_by=lambda row: row[0])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(near, near, st.sampled_from([3, 5000]))
def test_the_density_of_any_book_equals_a_plain_loop_over_fractions(below, above, limit):
    """Levels on a grid of 0.1 bps of 1000, so that many lie on the edges of bins."""
    bids = sorted(((Fraction(1000) - Fraction(n, 100), q) for n, q in below), reverse=True)[:limit]
    asks = sorted((Fraction(1000) + Fraction(n, 100), q) for n, q in above)[:limit]
    desk = Desk([(Decimal(str(float(p))), q) for p, q in bids], [(Decimal(str(float(p))), q) for p, q in asks], limit=limit)
    desk.t = 59
    block = desk.tick(1).minute
    mid = (bids[0][0] + asks[0][0]) / 2
    for rows, density in ((bids, block.density_bid), (asks, block.density_ask)):
        known = None if len(rows) < limit else abs(rows[-1][0] - mid) / mid * 10_000
        for j in range(100):
            low, high = Fraction(j, 2), Fraction(j + 1, 2)
            inside = [p * q for p, q in rows if low <= abs(p - mid) / mid * 10_000 < high]
            if known is not None and high > known:
                assert density[j] is None
            else:
                assert density[j] == pytest.approx(float(sum(inside)) * 2, rel=1e-9)
