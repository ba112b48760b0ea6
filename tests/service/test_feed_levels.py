"""Feed: from which size on a level is large, what it knows of earlier runs, and the ring of cells."""

import pytest
from tests.core.build import SYMBOL, e8, ns, update
from tests.service.test_feed import Clocked, Recorded, T, gone

from leadline.core.sizes import bin_value
from leadline.service.feed import Feed

CALM = {"bids": [("99.99", 1)], "asks": [("100.01", 1)]}  # the mid is 100
MINUTE = 1020 - T  # the first full minute after T
P99 = bin_value(300)


def sizes(minutes, size=P99):
    """size_p99 of the farthest bucket at these minutes, counted from the first full one after T."""
    return [(T + MINUTE + 60 * n, [None] * 5 + [size]) for n in minutes]


def busy(desk, at, size=2):
    """A diff that sets a size 200 times, 7 bps from the mid."""
    desk.diff(at, [("99.93", size)] * 200)


def flash(desk, at):
    """A bid of 10 at 6 bps that lives for 100 ms."""
    desk.diff(at, [("99.94", 10)])
    desk.diff(at + 0.1, [("99.94", 0)])


def test_from_the_thirtieth_minute_on_a_level_is_large_by_the_medians_of_our_own_minutes():
    """One of 200 entries is 2 x 99.93 quote. Thirty blocks are there at the thirtieth minute's tick, and count after it."""
    desk = Clocked().live(**CALM)
    for n in range(30):
        assert desk.feed.size_thresholds is None
        busy(desk, MINUTE + 60 * n - 5)
        flash(desk, MINUTE + 60 * n - 4)
        assert desk.tick(MINUTE + 60 * n).record.n_large_bid is None
    [*unknown, threshold] = desk.feed.size_thresholds
    assert (unknown, threshold) == ([None] * 5, pytest.approx(2 * 99.93, rel=0.05))
    flash(desk, MINUTE + 60 * 29 + 0.5)
    assert desk.tick(MINUTE + 60 * 29 + 1).record.n_large_bid == 1


def test_what_an_earlier_run_stored_counts_at_once():
    desk = Clocked().live(**CALM)
    desk.feed.remember_sizes(sizes(range(-30, 0)), T)
    assert desk.feed.size_thresholds == (None, None, None, None, None, P99)
    flash(desk, 0.5)
    assert desk.tick(1).record.n_large_bid == 0, "999.4 quote are less than that"


def test_where_the_present_second_is_not_known_what_was_stored_counts_from_the_next_minute_on():
    desk = Clocked().live(**CALM)
    desk.feed.remember_sizes(sizes(range(-30, 0)), None)
    assert desk.feed.size_thresholds is None
    desk.tick(MINUTE)
    assert desk.feed.size_thresholds == (None, None, None, None, None, P99)


def test_minutes_of_two_runs_are_one_history():
    desk = Clocked().live(**CALM)
    desk.feed.remember_sizes(sizes(range(-29, 0), bin_value(250)), T)
    assert desk.feed.size_thresholds is None
    busy(desk, 1)
    desk.tick(MINUTE)
    assert desk.feed.size_thresholds == (None, None, None, None, None, bin_value(250))


def test_after_a_day_the_minutes_of_an_earlier_run_count_no_more():
    """At 60 the thirty minutes of -1439 to -1410 are less than a day old, at 120 the first is not."""
    desk = Clocked().live(**CALM)
    desk.feed.remember_sizes(sizes(range(-1438, -1408)), T)
    desk.tick(MINUTE + 60)
    assert desk.feed.size_thresholds is not None
    desk.tick(MINUTE + 120)
    assert desk.feed.size_thresholds is None
    flash(desk, MINUTE + 120.5)
    assert desk.tick(MINUTE + 121).record.n_large_bid is None


def test_thresholds_handed_in_from_outside_stay_until_our_own_minutes_say_something():
    desk = Clocked().live(**CALM)
    desk.feed.second.set_size_thresholds([500.0] * 6)
    flash(desk, 0.5)
    assert desk.tick(1).record.n_large_bid == 1
    for n in range(3):
        busy(desk, MINUTE + 60 * n - 5)
        desk.tick(MINUTE + 60 * n)
    assert desk.feed.size_thresholds == (500.0,) * 6
    desk.feed.remember_sizes(sizes(range(-30, 0)), T + MINUTE + 120)
    assert desk.feed.size_thresholds == (None, None, None, None, None, P99)


def test_a_feed_that_crashed_hands_on_its_minutes_its_thresholds_and_its_tick_size():
    desk = Clocked(tick_e8=e8("0.01")).live(**CALM)
    desk.feed.remember_sizes(sizes(range(-29, 0)), T)
    desk.feed.second.set_size_thresholds([500.0] * 6)
    desk.tick(1)
    assert len(desk.feed.cells) == 1
    desk.feed = desk.feed.successor(ns(T + 1.5))
    assert (desk.feed.size_thresholds, desk.feed.cells) == ((500.0,) * 6, ())
    desk.diff(2)
    desk.answer(2, **CALM)
    desk.tick(3)
    assert [cells.ts_ns for cells in desk.feed.cells] == [ns(T + 3)]
    desk.feed.remember_sizes(sizes([0]), T + MINUTE)
    assert desk.feed.size_thresholds == (None, None, None, None, None, P99), "29 minutes were handed on"


def test_an_update_that_is_not_applied_brings_no_level_to_life():
    """An old update names 99.95 and is dropped; a new one takes back what was never there."""
    desk = Clocked().live(**CALM)
    desk.feed.second.set_size_thresholds([500.0] * 6)
    old = desk.id
    desk.diff(0.2)
    desk.hear(update(old, old, [("99.95", 10)], at=T + 0.1), 0.3)
    desk.diff(0.4, [("99.95", 0)])
    record = desk.tick(1).record
    assert (record.n_diff, record.n_large_bid) == (2, 0)


def test_a_lost_connection_forgets_the_levels_under_watch_and_the_cells():
    desk = Clocked(tick_e8=e8("0.01")).live(**CALM)
    desk.feed.second.set_size_thresholds([500.0] * 6)
    desk.tick(1)
    desk.diff(1.2, [("99.94", 10)])
    desk.hear(gone(1.3), 1.3)
    assert desk.feed.cells == ()
    desk.diff(1.4)
    desk.answer(1.5, [("99.99", 1), ("99.94", 10)], CALM["asks"])
    desk.diff(1.6, [("99.94", 0)])
    assert desk.tick(2).record.n_large_bid == 0


def test_where_event_time_drives_levels_die_in_the_second_of_their_last_update():
    desk = Recorded().live(0.1)
    desk.diff(0.2, [("99.99", 1), (99, 0), (98, 0)], [("100.01", 1), (101, 0), (102, 0)])
    desk.feed.second.set_size_thresholds([500.0] * 6)
    desk.diff(0.9, [("99.94", 10)])
    desk.diff(1.0, [("99.94", 0)])
    desk.diff(1.5, [("99.94", 10)])
    desk.diff(2.1, [("99.94", 0)])
    desk.diff(3.5)
    assert [record.n_large_bid for record in desk.records.values()] == [1, 0, 1]
    [event] = desk.records[3].level_events
    assert (event.born_ms, event.died_ms) == ((T + 1) * 1000 + 500, (T + 2) * 1000 + 100)


def test_the_cells_wait_for_a_tick_size_and_begin_anew_with_another():
    """0.5 bps of 100 are 0.005: a cell is one tick."""
    desk = Clocked().live(**CALM)
    desk.tick(1)
    assert desk.feed.cells == ()
    desk.feed.set_tick(e8("0.01"))
    desk.tick(2)
    desk.tick(3)
    assert [(cells.ts_ns, cells.cell_e8) for cells in desk.feed.cells] == [(ns(T + 2), e8("0.01")), (ns(T + 3), e8("0.01"))]
    desk.feed.set_tick(e8("0.001"))
    desk.tick(4)
    assert [(cells.ts_ns, cells.cell_e8) for cells in desk.feed.cells] == [(ns(T + 4), e8("0.005"))]


def test_a_feed_that_is_told_nothing_knows_no_tick_size():
    feed = Feed(SYMBOL)
    assert (feed.tick_e8, feed.cells, feed.size_thresholds) == (None, (), None)
