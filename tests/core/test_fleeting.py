"""Fleeting large levels against each word of their definition, and against a model that looks at whole histories of levels."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import book, e8, ns, trade, update

from leadline.core.records import BookState, LevelEvent
from leadline.core.second import Second

QUICK = settings(derandomize=True, deadline=None, max_examples=300)
LARGE = [1000.0] * 6  # quote
CALM = [("999.9", "0.1")], [("1000.1", "0.1")]  # the mid is 1000, 10 bps are 1


class Desk:
    """A Second over a LIVE book. Event times are seconds; receive stamps lie a minute behind them and run twice as fast."""

    def __init__(self, bids=CALM[0], asks=CALM[1], *, thresholds=LARGE):
        self.second = Second()
        self.second.set_size_thresholds(thresholds)
        self.trade_id = self.t = 0
        self.ready(bids, asks)

    def ready(self, bids=CALM[0], asks=CALM[1]):
        self.book = book(bids, asks)
        self.second.book_ready(self.book, 0, resync=False)

    def lost(self):
        self.second.book_lost(gap=True, crossed=False)
        self.book = None

    def diff(self, at, bids=(), asks=()):
        number = self.book.update_id + 1
        change = update(number, number, bids, asks, at=at, recv=2 * Decimal(str(at)) - 60)
        self.second.depth_coming(change, self.book)
        self.book.apply(change)
        self.second.depth_applied(change, self.book)

    def trade(self, at, price, quantity, *, buys):
        self.trade_id += 1
        self.second.trade_received(trade(self.trade_id, price, quantity, at=at, recv=0, buys=buys))

    def tick(self):
        self.t += 1
        state = BookState.LIVE if self.book else BookState.SYNCING
        last = (0, 0)
        how = {"reason": None, "epoch": 1, "last_update": last, "tick_recv_ns": ns(self.t), "sample_ns": ns(self.t)}
        return self.second.close(self.t, state=state, book=self.book, **how)[1]

    def flash(self, *, price="999.5", size=10, born=10, died="10.5", side="bid"):
        """One level, from birth to death, with nothing in between."""
        for at, quantity in ((born, size), (died, 0)):
            levels = [(price, quantity)]
            self.diff(at, levels if side == "bid" else (), levels if side == "ask" else ())


def large(record):
    return record.n_large_bid, record.n_large_ask


def seen(record):
    return [(e8_text(event.price_e8), event.born_ms, event.died_ms) for event in record.level_events if event.kind == "fleeting"]


def e8_text(value):
    return str(Decimal(value) / 10**8)


# One condition after the other ------------------------------------------------------------


def test_a_large_level_that_comes_and_goes_is_counted_with_its_peak_in_the_second_in_which_it_died():
    """10 at 999.5, 5 bps from 1000, then 12, then 2 are left: less than a fifth of 12. Its value was 12 x 999.5 = 11,994."""
    desk = Desk()
    desk.diff("10.1", [("999.5", 10)])
    desk.diff("10.4", [("999.5", 12)])
    assert large(desk.tick()) == (0, 0)
    desk.diff("11.3", [("999.5", 2)])
    record = desk.tick()
    assert large(record) == (1, 0)
    assert (record.large_bid_quote, record.large_ask_quote) == (11_994 * 10**16, 0)
    assert record.level_events == [
        LevelEvent("fleeting", "bid", e8("999.5"), e8(12), e8(2), 0, 10_100, 11_300, pytest.approx(5.0)),
    ]
    record = desk.tick()
    assert (large(record), record.large_bid_quote, record.level_events) == ((0, 0), 0, [])


def test_an_ask_counts_on_its_own_side():
    desk = Desk()
    desk.flash(side="ask", price="1000.4", size=3)
    record = desk.tick()
    assert large(record) == (0, 1)
    assert (record.large_bid_quote, record.large_ask_quote) == (0, e8("1000.4") * e8(3))
    assert [(event.side, event.distance_bps) for event in record.level_events] == [("ask", pytest.approx(4.0))]


@pytest.mark.parametrize(("died", "count"), [("12", 1), ("12.001", 0), ("12.1", 0)])
def test_a_level_that_lived_longer_than_two_seconds_by_event_time_is_not_fleeting(died, count):
    desk = Desk()
    desk.flash(born=10, died=died)
    assert large(desk.tick()) == (count, 0)


@pytest.mark.parametrize(("traded", "count"), [("0.99", 1), ("1", 0), ("1.1", 0)])
def test_a_level_against_which_a_tenth_of_its_peak_traded_is_not_fleeting(traded, count):
    desk = Desk()
    desk.diff(10, [("999.5", 10)])
    desk.trade("10.2", "999.5", traded, buys=False)
    desk.diff("10.5", [("999.5", 0)])
    record = desk.tick()
    assert large(record) == (count, 0)
    assert [event.traded_e8 for event in record.level_events] == [e8(traded)] * count


@pytest.mark.parametrize(
    ("at", "price", "buys", "count"),
    [
        ("9.9", "999.5", False, 0),  # 100 ms before birth
        ("9.899", "999.5", False, 1),
        ("10.5", "999.5", False, 0),  # at its death
        ("10.501", "999.5", False, 1),
        ("10.2", "999.6", False, 1),  # elsewhere
        ("10.2", "999.5", True, 1),  # a buyer does not take bids
    ],
)
def test_only_what_traded_against_it_from_100_ms_before_birth_to_death_counts(at, price, buys, count):
    desk = Desk()
    desk.trade("9.8", "999.5", "0.0001", buys=False)
    if float(at) < 10:
        desk.trade(at, price, 5, buys=buys)
    desk.flash()
    if float(at) >= 10:
        desk.trade(at, price, 5, buys=buys)
    assert large(desk.tick()) == (count, 0)


def test_a_trade_that_is_told_later_than_the_update_still_counts_before_the_tick():
    desk = Desk()
    desk.flash()
    desk.trade("10.4", "999.5", 10, buys=False)
    assert large(desk.tick()) == (0, 0)


def test_trades_are_remembered_over_the_ticks_of_a_life():
    """Trades of 20 s before make the memory tidy itself; what traded at birth is there at the death two ticks later."""
    desk = Desk()
    desk.trade("-10", "999.5", 9, buys=False)
    desk.trade(9, "999.5", "0.1", buys=False)
    desk.tick()
    desk.diff(10, [("999.5", 10)])
    desk.trade("10.01", "999.5", 1, buys=False)
    desk.tick()
    desk.trade("11.9", "999.7", 1, buys=False)
    desk.tick()
    desk.diff(12, [("999.5", 0)])
    assert large(desk.tick()) == (0, 0)


@pytest.mark.parametrize(("size", "count"), [("1.00050025", 0), ("1.00050026", 1), ("1.0005", 0)])
def test_a_level_is_large_only_if_its_peak_exceeds_the_threshold(size, count):
    """1000 / 999.5 = 1.000500250125..: the quantities are one step of 1e-8 apart."""
    desk = Desk()
    desk.flash(size=size)
    assert large(desk.tick()) == (count, 0)


def test_a_peak_that_equals_the_threshold_does_not_exceed_it():
    """2 x 999.5 = 1999."""
    for threshold, count in ((1999.0, 0), (1998.9999, 1)):
        for elsewhere in (1.0, 1e9):
            desk = Desk(thresholds=[elsewhere] * 5 + [threshold])
            desk.flash(size=2)
            assert large(desk.tick()) == (count, 0)


@pytest.mark.parametrize(
    ("side", "price", "count"),
    [
        ("bid", "999.01", 1),
        ("bid", "999", 0),
        ("bid", "998.99", 0),
        ("ask", "1000.99", 1),
        ("ask", "1001", 0),
        ("ask", "1001.01", 0),
    ],
)
def test_a_level_that_is_born_ten_bps_from_the_mid_or_farther_is_not_watched(side, price, count):
    """9.9, 10.0 and 10.1 bps on either side."""
    desk = Desk()
    desk.flash(side=side, price=price)
    assert sum(large(desk.tick())) == count


@pytest.mark.parametrize(("price", "bucket"), [("999.98", 0), ("999.975", 1), ("999.96", 1), ("999.9", 3), ("999.5", 5)])
def test_the_threshold_is_that_of_the_distance_at_birth_after_the_update_that_brought_it(price, bucket):
    """A level at 0.2, 0.25, 0.4, 1 and 5 bps. Its own diff moves the mid from 999.9 to 1000.

    After its birth the mid rises by 4.5 bps and more: at its death it would be in another bucket.
    """
    ask = {"999.5": "1000.2"}.get(price, str(2000 - Decimal(price)))  # 1000 is in the middle of the best bid and this
    for there, elsewhere, count in ((2000.0, 1e9, 1), (1e9, 2000.0, 0)):
        thresholds = [there if number == bucket else elsewhere for number in range(6)]
        desk = Desk([("999.8", 1)], [("1000", "0.01")], thresholds=thresholds)
        desk.diff(10, [(price, 3)], [("1000", 0), (ask, "0.01")])
        desk.diff("10.2", [], [("1000.9", "0.01"), (ask, 0)])
        desk.diff("10.4", [(price, 0)])
        assert large(desk.tick()) == (count, 0)


@pytest.mark.parametrize(("left", "count"), [(2, 0), ("1.99999999", 1)])
def test_a_level_dies_below_a_fifth_of_its_peak_and_not_at_it(left, count):
    desk = Desk()
    desk.diff(10, [("999.5", 10)])
    desk.diff("10.5", [("999.5", left)])
    assert large(desk.tick()) == (count, 0)


def test_the_fifth_is_that_of_the_peak_so_far():
    """5, 10, then 1.5: less than 2. From a peak of 5 it would live on."""
    desk = Desk()
    for at, quantity in (("10", 5), ("10.1", 10), ("10.2", "1.5")):
        desk.diff(at, [("999.5", quantity)])
    assert seen(desk.tick()) == [("999.5", 10_000, 10_200)]


def test_what_is_left_of_a_level_that_died_is_a_level_born_then():
    """10, 1 (dead after 3 s: not fleeting), 20 a second later, 0: it lived 1.5 s since the death."""
    desk = Desk()
    for at, quantity in (("10", 10), ("13", 1), ("14", 20), ("14.5", 0)):
        desk.diff(at, [("999.5", quantity)])
    assert seen(desk.tick()) == [("999.5", 13_000, 14_500)]


def test_what_is_left_of_a_level_that_died_out_of_reach_is_not_watched():
    """Born at 9.9 bps. The mid rises to 1000.2: 11.9 bps. There it dies, grows to 20 and vanishes, all within 2 s."""
    desk = Desk()
    desk.diff(10, [("999.01", 1)])
    desk.diff("10.1", [("1000.05", 1)], [("1000.1", 0), ("1000.35", 1)])
    for at, quantity in (("10.2", "0.1"), ("10.3", 20), ("10.4", 0)):
        desk.diff(at, [("999.01", quantity)])
    assert large(desk.tick()) == (0, 0)


def test_a_level_that_vanished_leaves_nothing_under_watch():
    desk = Desk()
    desk.flash()
    desk.flash(side="ask", price="1000.4", born=11, died=12)
    assert (desk.second._fleeting._bids.watch, desk.second._fleeting._asks.watch) == ({}, {})


def test_a_level_of_the_snapshot_was_not_seen_to_appear():
    desk = Desk([*CALM[0], ("999.5", 10)])
    desk.diff(10, [("999.5", 12)])
    desk.diff("10.5", [("999.5", 0)])
    assert large(desk.tick()) == (0, 0)
    desk.flash(born=11, died=12)
    assert large(desk.tick()) == (1, 0)


def test_a_level_that_came_within_reach_because_the_mid_moved_was_not_seen_to_appear():
    """999 is 11 bps below the mid of 1000.1 and 9.9 below 999.9901. It changes there, and vanishes."""
    desk = Desk([("1000", 1), ("999.8802", 1)], [("1000.2", 1)])
    desk.diff(10, [("999", 10)])
    desk.diff("10.1", [("1000", 0)], [("1000.1", 1)])
    desk.diff("10.2", [("999", 12)])
    desk.diff("10.3", [("999", 0)])
    assert large(desk.tick()) == (0, 0)


def test_a_level_that_went_out_of_reach_is_followed_to_its_death():
    desk = Desk()
    desk.diff(10, [("999.1", 10)])
    desk.diff("10.1", [("1000.05", 1)], [("1000.1", 0), ("1000.35", 1)])  # the mid is 1000.2: 11 bps away
    desk.diff("10.2", [("999.1", 0)])
    assert large(desk.tick()) == (1, 0)


def test_an_update_that_names_a_price_twice_means_its_last_word():
    desk = Desk()
    desk.diff(10, [("999.5", 10), ("999.5", 0), ("999.4", 3), ("999.4", 7)])
    desk.diff("10.5", [("999.5", 0), ("999.4", 0)])
    [event] = desk.tick().level_events
    assert (event.price_e8, event.peak_e8) == (e8("999.4"), e8(7))


def test_a_book_with_one_side_has_no_mid_and_no_level_is_born_near_it():
    desk = Desk()
    desk.diff(10, [("999.9", 0)], [("1000.5", 10)])
    desk.diff("10.5", [], [("1000.5", 0)])
    assert large(desk.tick()) == (0, 0)


# What is not known --------------------------------------------------------------------------


@pytest.mark.parametrize("thresholds", [None, [None] * 6])
def test_without_thresholds_nothing_is_known_and_nothing_listed(thresholds):
    desk = Desk(thresholds=thresholds)
    quiet = desk.tick()
    desk.flash()
    for record in (quiet, desk.tick()):
        assert (record.n_large_bid, record.n_large_ask, record.large_bid_quote, record.large_ask_quote) == (None,) * 4
        assert (record.level_events, record.level_events_dropped) == ([], 0)


def test_a_level_born_before_the_thresholds_came_counts_by_them():
    desk = Desk(thresholds=None)
    desk.diff(10, [("999.5", 10)])
    assert large(desk.tick()) == (None, None)
    desk.second.set_size_thresholds(LARGE)
    desk.diff(11, [("999.5", 0)])
    assert large(desk.tick()) == (1, 0)


def test_a_second_is_unknown_only_if_a_level_died_whose_distance_has_no_threshold():
    """Only the bucket of 2 to 5 bps has none. There one died young and untraded: it may have been large or not."""
    desk = Desk(thresholds=[1000.0] * 4 + [None, 1000.0])
    desk.flash()
    assert large(desk.tick()) == (1, 0), "the level at 5 bps could be judged, and nothing else died"
    desk.flash(price="999.7", size="0.001", born=11, died="11.1")
    desk.flash(born="11.2", died="11.3")
    record = desk.tick()
    assert (record.n_large_bid, record.n_large_ask, record.large_bid_quote, record.large_ask_quote) == (None,) * 4
    assert record.level_events == []
    desk.flash(price="999.7", size=5, born=12, died="14.1")
    assert large(desk.tick()) == (0, 0), "too old to count whatever its size"
    desk.diff(15, [("999.7", 5)])
    desk.trade("15.1", "999.7", 5, buys=False)
    desk.diff("15.2", [("999.7", 0)])
    assert large(desk.tick()) == (0, 0), "taken, whatever its size"


def test_the_end_of_an_epoch_forgets_what_was_under_watch_and_what_died_in_its_last_second():
    desk = Desk()
    desk.diff("10", [("999.5", 10), ("999.4", 10), ("999.3", 10)])
    desk.diff("10.2", [("999.5", 0)])
    desk.lost()
    record = desk.tick()
    assert (large(record), record.level_events) == ((None, None), [])
    desk.ready([*CALM[0], ("999.4", 10)])
    desk.diff("10.5", [("999.4", 0), ("999.3", 0)])
    assert large(desk.tick()) == (0, 0)


def test_a_resync_within_a_second_counts_only_what_was_born_in_the_new_epoch():
    desk = Desk()
    desk.flash(born="10.1", died="10.2")
    desk.lost()
    desk.ready()
    desk.flash(price="999.3", born="10.5", died="10.6")
    assert seen(desk.tick()) == [("999.3", 10_500, 10_600)]


def test_a_trade_before_the_epoch_is_a_fact_all_the_same():
    desk = Desk()
    desk.lost()
    desk.trade("9.95", "999.5", 5, buys=False)
    desk.ready()
    desk.flash()
    assert large(desk.tick()) == (0, 0)


# A model --------------------------------------------------------------------------------------

EDGES = [Fraction(edge) for edge in ("0.25", "0.5", "1", "2", "5", "10")]


def distance_bps(price, mid):
    return abs(price - mid) / mid * 10_000


def model(start, diffs, trades, thresholds):
    """(side, price, peak, born, died) of every fleeting large level, or "unknown", by second of death.

    start: {(side, price): quantity}; diffs: [(E, {(side, price): quantity})]; trades: [(T, side, price, quantity)]. Fractions.
    Every price has the list of its quantities after each diff, and every diff its mid; a life is a stretch of such a list.
    """
    held, mids = dict(start), []
    histories = {key: [held.get(key, 0)] for _, changes in diffs for key in changes}
    for _, changes in diffs:
        held |= changes
        bids = [price for (side, price), quantity in held.items() if side == "bid" and quantity]
        asks = [price for (side, price), quantity in held.items() if side == "ask" and quantity]
        mids.append((max(bids) + min(asks)) / 2 if bids and asks else None)
        for key, history in histories.items():
            history.append(held.get(key, 0))
    found = {}

    def near(n, price):
        return mids[n] is not None and distance_bps(price, mids[n]) < 10

    for (side, price), history in histories.items():
        born = None
        for n in range(len(diffs)):
            before, now = history[n], history[n + 1]
            peak = max(history[born + 1 : n + 1]) if born is not None else None
            if peak is not None and now < peak / 5:
                life = diffs[n][0] - diffs[born][0]
                traded = sum(
                    q for t, s, p, q in trades if (s, p) == (side, price) and diffs[born][0] - Fraction(1, 10) <= t <= diffs[n][0]
                )
                bucket = sum(distance_bps(price, mids[born]) >= edge for edge in EDGES)
                if life <= 2 and traded < peak / 10:
                    deaths = found.setdefault(-(-diffs[n][0] // 1), [])
                    if thresholds[bucket] is None:
                        deaths.append("unknown")
                    elif peak * price > thresholds[bucket]:
                        deaths.append((side, price, peak, diffs[born][0], diffs[n][0]))
                born = n if now and near(n, price) else None
            elif born is None and not before and now and near(n, price):
                born = n
    return found


BELOW = [Fraction(number) for number in ("0.02", "0.04", "0.08", "0.3", "0.6", "0.95", "1", "1.1")]  # 0.2 to 11 bps
prices = st.sampled_from([("bid", 1000 - below) for below in BELOW] + [("ask", 1000 + below) for below in BELOW])
quantities = st.sampled_from([0, 0, 0, 1, 2, 10, 11, 20, 50])
changes = st.dictionaries(prices, quantities, min_size=1, max_size=6)
steps = st.sampled_from([Fraction(1, 10), Fraction(1, 10), Fraction(1, 10), Fraction(3, 10), Fraction(9, 10)])
limits = st.sampled_from([None, 1500, 1500, 5000, 9999, 10_001])


@QUICK
@given(
    st.dictionaries(prices, st.integers(1, 20), max_size=6),
    st.lists(
        st.tuples(steps, changes, st.lists(st.tuples(prices, st.sampled_from([1, 2, 5])), max_size=1)), min_size=8, max_size=60
    ),
    st.lists(limits, min_size=6, max_size=6).filter(any),
)
def test_generated_streams_have_the_levels_that_whole_histories_show(start, moves, thresholds):
    """Trades come 60 ms before the diff of their step. Sometimes there is no mid."""
    desk = Desk(
        *[[(float(p), q) for (s, p), q in start.items() if s == side] for side in ("bid", "ask")],
        thresholds=[None if limit is None else float(limit) for limit in thresholds],
    )
    now, diffs, trades, records = Fraction(100), [], [], {}
    desk.t = 100
    for step, change, taken in moves:
        while now + step > desk.t + 1:
            records[desk.t] = desk.tick()
        now += step
        for (side, price), quantity in taken:
            at = now - Fraction(6, 100)
            trades.append((at, side, price, quantity))
            desk.trade(str(float(at)), float(price), quantity, buys=side == "ask")
        diffs.append((now, change))
        desk.diff(
            str(float(now)),
            *[[(float(price), quantity) for (s, price), quantity in change.items() if s == side] for side in ("bid", "ask")],
        )
    records[desk.t] = desk.tick()
    expected = model(start, diffs, trades, thresholds)
    for t, record in records.items():
        deaths = expected.get(t, [])
        if "unknown" in deaths:
            assert large(record) == (None, None), t
            continue
        for side, n, quote in (
            ("bid", record.n_large_bid, record.large_bid_quote),
            ("ask", record.n_large_ask, record.large_ask_quote),
        ):
            mine = [price * peak for its_side, price, peak, _, _ in deaths if its_side == side]
            assert (n, quote) == (len(mine), sum(mine) * 10**16), (t, side)
        listed = [
            (
                event.side,
                Fraction(event.price_e8, 10**8),
                event.peak_e8 // 10**8,
                Fraction(event.born_ms, 1000),
                Fraction(event.died_ms, 1000),
            )
            for event in record.level_events
        ]
        assert len(listed) + record.level_events_dropped == len(deaths)
        assert set(listed) <= set(deaths)
