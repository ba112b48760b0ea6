"""BookSync: the rule in tables, and against a model exchange that loses, repeats, reorders and cuts its stream."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.core.build import e8, snapshot, update

from leadline.core.records import BookState, DepthSnapshot, DepthUpdate
from leadline.core.sync import BookAnchored, BookLost, BookReady, BookSync, Fault, FetchSnapshot, Lost, StreamSilent

BIDS, ASKS = [(99, 3), (98, 1)], [(101, 3), (102, 1)]


def live_at(update_id: int, *, bids=BIDS, asks=ASKS, now: float = 0.0, **options) -> BookSync:
    """A LIVE sync whose first buffered update ends at update_id, bridged."""
    sync = BookSync(**options)
    sync.update_received(update(update_id, update_id, bids=bids[:1]), now)
    [ready] = sync.snapshot_received(1, snapshot(update_id - 1, bids, asks), now)
    assert ready == BookReady(sync.epoch, update_id, bridged=True)
    return sync


# Going LIVE ---------------------------------------------------------------------


def test_nothing_is_asked_for_before_the_stream_speaks():
    sync = BookSync()
    assert (sync.state, sync.book, sync.last) == (BookState.WAITING, None, None)


def test_the_first_update_asks_for_a_snapshot_at_once_and_the_next_ones_do_not():
    sync = BookSync()
    assert sync.update_received(update(5, 7), 1.5) == [FetchSnapshot(1, 1, 1.5)]
    assert sync.update_received(update(8, 9), 1.6) == []
    assert sync.state is BookState.SYNCING


@pytest.mark.parametrize(
    ("snapshot_id", "ready_at", "dropped", "applied"),
    [
        (8, None, 0, 0),  # two ids before the first update: a hole
        (9, 16, 0, 2),  # one before: nothing is lost (U = L + 1)
        (10, 16, 0, 2),  # at the first update's U: it overlaps
        (11, 16, 0, 2),  # inside the first update
        (12, 16, 1, 1),  # at the first update's u: dropped, the second continues (U = L + 1)
        (13, 16, 1, 1),  # at the second's U
        (15, 16, 1, 1),  # inside the second
        (16, 16, 2, 0),  # at the end of the buffer: nothing left, not confirmed by any update
    ],
)
def test_where_the_snapshot_falls_decides_which_buffered_updates_count(snapshot_id, ready_at, dropped, applied):
    """Updates 10..12 and 13..16 wait in the buffer (docs/exchange.md, steps 3 to 6)."""
    sync = BookSync()
    sync.update_received(update(10, 12, bids=[(99, 7)]), 0.0)
    sync.update_received(update(13, 16, asks=[(101, 8)]), 0.0)
    effects = sync.snapshot_received(1, snapshot(snapshot_id, BIDS, ASKS), 0.0)
    if ready_at is None:
        assert effects == [FetchSnapshot(2, 2, 1.0)]
        assert sync.book is None
    else:
        assert effects == [BookReady(1, ready_at, bridged=applied > 0)]
        assert sync.book.update_id == ready_at
        assert sync.book.best_bid == (e8(99), e8(7 if dropped == 0 else 3))
        assert sync.book.best_ask == (e8(101), e8(8 if applied else 3))
    assert (sync.events_dropped, sync.events_applied) == (dropped, applied)


def ahead_at(snapshot_id):
    """The stream is at 12, exchange time 0 s; the snapshot is ahead of it."""
    sync = BookSync()
    sync.update_received(update(10, 12), 0.0)
    assert sync.snapshot_received(1, snapshot(snapshot_id, BIDS, ASKS), 0.0) == []
    assert (sync.state, sync.book, sync.ahead_id) == (BookState.SYNCING, None, snapshot_id)
    return sync


def test_a_snapshot_ahead_of_the_stream_is_the_book_when_the_stream_has_come_to_it_and_not_before():
    """Until then nothing shows that it is this market's: ids of another one may be higher by millions."""
    sync = ahead_at(17)
    assert sync.update_received(update(13, 15, bids=[(99, 7)]), 0.1) == []
    assert sync.book is None
    assert sync.update_received(update(16, 18, asks=[(101, 8)]), 0.2) == [BookReady(1, 18, bridged=True)]
    assert (sync.book.best_bid, sync.book.best_ask) == ((e8(99), e8(3)), (e8(101), e8(8)))
    assert (sync.events_dropped, sync.events_applied, sync.first_applied) == (2, 1, (16, 18))


def test_a_stream_that_stands_exactly_where_the_snapshot_is_confirms_it():
    sync = ahead_at(17)
    assert sync.update_received(update(13, 17), 0.1) == [BookReady(1, 17, bridged=False)]
    assert (sync.events_dropped, sync.events_applied) == (2, 0)


def test_a_stream_that_passes_by_a_snapshot_ahead_of_it_asks_for_another():
    sync = ahead_at(17)
    assert sync.update_received(update(20, 21), 0.1) == [FetchSnapshot(2, 2, 1.1)]
    assert sync.snapshot_received(2, snapshot(20, BIDS, ASKS), 1.2) == [BookReady(1, 21, bridged=True)]


def test_a_snapshot_that_stays_ahead_of_a_stream_that_delivers_is_asked_for_again_after_ten_seconds_of_its_time_then_twenty():
    """It was another market's. By the stream's time: one that is late itself is given longer each time."""
    sync = ahead_at(9_000)
    for second in range(1, 10):
        assert sync.update_received(update(12 + second, 12 + second, at=second), float(second)) == []
    assert sync.update_received(update(22, 22, at=10), 10.0) == [FetchSnapshot(2, 2, 11.0)]
    assert sync.ahead_id is None
    sync.snapshot_received(2, snapshot(9_000, BIDS, ASKS), 11.0)
    assert sync.update_received(update(23, 23, at=29), 29.0) == []
    assert len(sync.update_received(update(24, 24, at=30), 30.0)) == 1


def test_a_snapshot_ahead_of_a_stream_that_says_nothing_more_shows_after_ten_seconds_that_it_is_silent():
    sync = ahead_at(17)
    assert sync.time_passed(9.9) == []
    assert sync.time_passed(10.0) == [StreamSilent("the exchange is at 17, its stream at 12")]
    assert (sync.state, sync.ahead_id) == (BookState.WAITING, None)
    sync.disconnected()
    assert sync.subscribed(11.0) == []
    assert len(sync.update_received(update(18, 19), 12.0)) == 1


def test_a_cut_forgets_a_snapshot_that_is_ahead_of_the_stream():
    sync = ahead_at(17)
    sync.disconnected()
    assert sync.ahead_id is None
    assert sync.time_passed(99.0) == []


def test_the_snapshot_of_a_quiet_symbol_is_not_believed_any_more_when_its_stream_begins_behind_it():
    sync = BookSync()
    [fetch] = sync.subscribed(0.0)
    assert sync.snapshot_received(fetch.request_id, snapshot(17, BIDS, ASKS), 2.0) == [BookReady(1, 17, bridged=False)]
    lost, again = sync.update_received(update(10, 12), 3.0)
    assert lost == BookLost(1, Fault(Lost.UNBRIDGED, "a snapshot of 17, and the stream is at 12"))
    assert sync.snapshot_received(again.request_id, snapshot(12, BIDS, ASKS), 4.0) == [BookReady(2, 12, bridged=False)]


def test_an_anchor_that_stays_ahead_of_a_stream_that_delivers_is_forgotten_and_another_may_be_asked_for():
    """It was another market's: while it waits for its id no other could be taken."""
    sync = live_at(10)
    fetch = anchored(sync)
    assert sync.snapshot_received(fetch.request_id, snapshot(9_000, BIDS, ASKS), 5.0) == []
    sync.update_received(update(11, 12), 14.0)
    assert sync.time_passed(14.9) == []
    assert sync.request_anchor(14.9) == []
    assert sync.time_passed(15.0) == []
    assert len(sync.request_anchor(15.0)) == 1
    assert sync.book.update_id == 12


def test_the_first_applied_update_is_remembered_with_its_ids():
    sync = BookSync()
    sync.update_received(update(10, 12), 0.0)
    sync.update_received(update(13, 16), 0.0)
    sync.snapshot_received(1, snapshot(12, BIDS, ASKS), 0.0)
    sync.update_received(update(17, 18), 0.0)
    assert (sync.first_applied, sync.snapshot_update_id) == ((13, 16), 12)


@pytest.mark.parametrize(
    ("first", "last", "outcome"),
    [
        (8, 9, "ignored"),
        (9, 10, "ignored"),  # u = L carries nothing new
        (10, 10, "ignored"),
        (10, 11, "applied"),  # an overlap is legal: quantities are absolute
        (11, 11, "applied"),
        (11, 15, "applied"),
        (1, 15, "applied"),
        (12, 12, "gap"),  # U = L + 2
        (12, 15, "gap"),
        (50, 60, "gap"),
    ],
)
def test_what_a_live_book_at_10_does_with_the_next_update(first, last, outcome):
    sync = live_at(10)
    effects = sync.update_received(update(first, last, bids=[(99, 9)]), 0.0)
    if outcome == "gap":
        assert effects[0] == BookLost(1, Fault(Lost.GAP, f"expected 11, got {first}"))
        assert sync.book is None
    else:
        assert effects == []
        assert sync.book.update_id == (last if outcome == "applied" else 10)
        assert sync.book.best_bid == (e8(99), e8(9 if outcome == "applied" else 3))


def test_ten_thousand_contiguous_updates_cause_no_resync():
    sync = live_at(10)
    for number in range(11, 10_011):
        assert sync.update_received(update(number, number, bids=[(98, number % 7)], at=number), 0.0) == []
    assert (sync.epoch, sync.events_applied, sync.book.update_id) == (1, 10_001, 10_010)


def test_a_hole_in_the_buffer_keeps_the_updates_behind_it_for_the_next_snapshot():
    sync = BookSync()
    for first, last in ((10, 12), (15, 16), (17, 18)):
        sync.update_received(update(first, last, bids=[(97, last)]), 0.0)
    assert sync.snapshot_received(1, snapshot(11, BIDS, ASKS), 0.0) == [FetchSnapshot(2, 2, 1.0)]
    assert sync.snapshot_received(2, snapshot(14, BIDS, ASKS), 0.0) == [BookReady(1, 18, bridged=True)]
    assert sync.book.bids.top(3)[2] == (e8(97), e8(18))


def test_a_full_buffer_forgets_its_oldest_update_and_a_newer_snapshot_overlaps_the_rest():
    sync = BookSync(buffer_max=3)
    for number in range(10, 15):
        sync.update_received(update(number, number), 0.0)
    assert sync.snapshot_received(1, snapshot(10, BIDS, ASKS), 0.0) == [FetchSnapshot(2, 2, 1.0)]
    assert sync.snapshot_received(2, snapshot(11, BIDS, ASKS), 0.0) == [BookReady(1, 14, bridged=True)]


def test_a_crossed_snapshot_is_not_accepted():
    sync = BookSync()
    sync.update_received(update(10, 12), 0.0)
    assert sync.snapshot_received(1, snapshot(11, [(101, 1)], [(101, 1)]), 0.0) == [FetchSnapshot(2, 2, 1.0)]
    assert sync.book is None


def test_a_buffered_update_that_crosses_the_book_makes_no_live_book():
    sync = BookSync()
    sync.update_received(update(10, 12, bids=[(101, 1)]), 0.0)
    assert sync.snapshot_received(1, snapshot(11, BIDS, ASKS), 0.0) == [FetchSnapshot(2, 2, 1.0)]
    assert sync.snapshot_received(2, snapshot(12, BIDS, ASKS), 0.0) == [BookReady(1, 12, bridged=False)]


def test_each_failed_try_waits_twice_as_long_up_to_a_minute():
    sync = BookSync()
    effects = sync.update_received(update(10, 12), 0.0)
    waits = []
    for _ in range(9):
        [fetch] = effects
        waits.append(fetch.not_before)
        effects = sync.snapshot_failed(fetch.request_id, 0.0)
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_stale_snapshot_counts_as_a_failed_try():
    sync = BookSync()
    effects = sync.update_received(update(50, 52), 0.0)
    waits = []
    for age in (50, 5, 1):
        [fetch] = effects
        waits.append((fetch.attempt, fetch.not_before))
        effects = sync.snapshot_received(fetch.request_id, snapshot(49 - age, BIDS, ASKS), 0.0)
    assert waits == [(1, 0), (2, 1), (3, 2)]
    assert sync.snapshot_received(4, snapshot(49, BIDS, ASKS), 0.0) == [BookReady(1, 52, bridged=True)]


def test_answers_to_old_questions_change_nothing():
    sync = BookSync()
    sync.update_received(update(10, 12), 0.0)
    sync.snapshot_failed(1, 0.0)
    assert sync.snapshot_received(1, snapshot(11, BIDS, ASKS), 0.0) == []
    assert sync.snapshot_failed(1, 0.0) == []
    assert sync.state is BookState.SYNCING
    sync.snapshot_received(2, snapshot(11, BIDS, ASKS), 0.0)
    assert sync.snapshot_received(2, snapshot(99, [(1, 1)], [(2, 1)]), 0.0) == []
    assert sync.snapshot_failed(2, 0.0) == []
    assert (sync.state, sync.book.update_id) == (BookState.LIVE, 12)


def test_a_question_is_wanted_until_it_is_answered_or_overtaken_by_another():
    sync = BookSync()
    assert not sync.wants(0)
    sync.subscribed(0.0)
    assert sync.wants(1)
    sync.update_received(update(10, 12), 0.5)
    assert (sync.wants(1), sync.wants(2)) == (False, True)
    sync.snapshot_received(2, snapshot(11, BIDS, ASKS), 1.0)
    assert not sync.wants(2)
    [look] = sync.request_anchor(2.0)
    assert sync.wants(look.request_id)
    sync.disconnected()
    assert not sync.wants(look.request_id)
    sync.update_received(update(20, 22), 3.0)
    assert sync.wants(4)
    sync.disconnected()
    assert not sync.wants(4)


# Quiet symbols ---------------------------------------------------------------------


def test_an_acknowledged_stream_that_stays_quiet_is_asked_for_after_two_seconds():
    sync = BookSync()
    assert sync.subscribed(5.0) == [FetchSnapshot(1, 1, 7.0)]
    assert sync.subscribed(5.1) == []
    assert sync.snapshot_received(1, snapshot(10, BIDS, ASKS), 7.2) == [BookReady(1, 10, bridged=False)]


def test_an_update_after_the_acknowledgement_asks_at_once_and_only_once():
    sync = BookSync()
    sync.subscribed(5.0)
    assert sync.update_received(update(10, 12), 5.5) == [FetchSnapshot(2, 1, 5.5)]
    assert sync.update_received(update(13, 13), 5.6) == []
    assert sync.snapshot_received(1, snapshot(11, BIDS, ASKS), 7.0) == []


def test_an_acknowledgement_behind_the_first_update_changes_nothing():
    sync = BookSync()
    sync.update_received(update(10, 12), 0.0)
    assert sync.subscribed(1.0) == []
    live = live_at(10)
    assert live.subscribed(1.0) == []
    assert live.state is BookState.LIVE


@pytest.mark.parametrize(("first", "bridges"), [(9, True), (11, True), (12, False)])
def test_the_first_update_of_a_quiet_symbol_bridges_its_snapshot_or_proves_it_stale(first, bridges):
    sync = BookSync()
    sync.subscribed(0.0)
    sync.snapshot_received(1, snapshot(10, BIDS, ASKS), 2.0)
    assert not sync.bridged
    effects = sync.update_received(update(first, 15), 3600.0)
    if bridges:
        assert effects == []
        assert sync.bridged
    else:
        assert effects == [BookLost(1, Fault(Lost.UNBRIDGED, "expected 11, got 12")), FetchSnapshot(2, 1, 3600.0)]


def test_silence_is_no_loss():
    sync = live_at(10)
    assert sync.update_received(update(11, 11, at=1), 36_000.0) == []
    assert sync.state is BookState.LIVE


# Losing it ---------------------------------------------------------------------------


def test_a_gap_takes_the_book_away_and_keeps_what_showed_it():
    sync = live_at(10)
    assert sync.update_received(update(12, 14, bids=[(99, 8)]), 3.0) == [
        BookLost(1, Fault(Lost.GAP, "expected 11, got 12")),
        FetchSnapshot(2, 1, 3.0),
    ]
    assert (sync.state, sync.book) == (BookState.SYNCING, None)
    assert sync.snapshot_received(2, snapshot(11, BIDS, ASKS), 3.2) == [BookReady(2, 14, bridged=True)]
    assert sync.book.best_bid == (e8(99), e8(8))


def test_a_crossed_book_is_lost_not_mended_and_shown_to_nobody():
    sync = live_at(10)
    effects = sync.update_received(update(11, 11, bids=[(101, 5)]), 0.0)
    assert effects == [BookLost(1, Fault(Lost.CROSSED, "at 11")), FetchSnapshot(2, 1, 0.0)]
    assert (sync.book, sync.last) == (None, None)


def test_ids_that_fall_while_exchange_time_rises_end_the_epoch():
    sync = live_at(1000)
    sync.update_received(update(1001, 1001, at=5), 0.0)
    assert sync.update_received(update(20, 22, at=6), 1.0) == [
        BookLost(1, Fault(Lost.ID_RESTART, "from 1001 to 22")),
        FetchSnapshot(2, 1, 1.0),
    ]
    assert sync.update_received(update(23, 24, at=7), 1.0) == []
    assert sync.snapshot_received(2, snapshot(21, BIDS, ASKS), 1.0) == [BookReady(2, 24, bridged=True)]


def test_ids_that_fall_with_an_older_exchange_time_are_a_repetition():
    sync = live_at(1000)
    sync.update_received(update(1001, 1001, at=5), 0.0)
    assert sync.update_received(update(20, 22, at=5), 0.0) == []
    assert sync.update_received(update(1001, 1001, at=5), 0.0) == []
    assert sync.state is BookState.LIVE


def test_ids_that_restart_while_a_snapshot_is_on_its_way_begin_a_new_buffer():
    sync = BookSync()
    sync.update_received(update(1000, 1001, at=5), 0.0)
    assert sync.update_received(update(20, 22, at=6), 0.0) == [FetchSnapshot(2, 2, 1.0)]
    assert sync.snapshot_received(1, snapshot(1000, BIDS, ASKS), 0.0) == []
    assert sync.snapshot_received(2, snapshot(20, BIDS, ASKS), 1.0) == [BookReady(1, 22, bridged=True)]


@pytest.mark.parametrize("at", [0, 9])
def test_another_connection_may_begin_with_lower_ids(at):
    sync = live_at(1000)
    sync.disconnected("x")
    assert sync.update_received(update(20, 22, at=at), 1.0) == [FetchSnapshot(2, 1, 1.0)]
    assert sync.snapshot_received(2, snapshot(21, BIDS, ASKS), 1.0) == [BookReady(2, 22, bridged=True)]


def test_a_disconnect_ends_the_epoch_and_what_was_buffered():
    sync = live_at(10)
    assert sync.disconnected("closed by peer") == [BookLost(1, Fault(Lost.DISCONNECTED, "closed by peer"))]
    assert (sync.state, sync.book) == (BookState.WAITING, None)
    assert sync.disconnected() == []
    waiting = BookSync()
    waiting.update_received(update(10, 12, bids=[(99, 5)]), 0.0)
    assert waiting.disconnected() == []
    assert waiting.snapshot_received(1, snapshot(11, BIDS, ASKS), 0.0) == []
    waiting.update_received(update(20, 22), 0.0)
    assert waiting.snapshot_received(2, snapshot(21, BIDS, ASKS), 0.0) == [BookReady(1, 22, bridged=True)]
    assert waiting.events_dropped == 0, "nothing of the old connection was left to drop"


def test_the_last_good_book_stays_as_it_was_until_there_is_a_new_one():
    sync = live_at(10)
    good = sync.book
    sync.update_received(update(12, 14, bids=[(99, 8)]), 0.0)
    sync.update_received(update(15, 16, bids=[(99, 0)]), 0.0)
    assert sync.last is good
    assert (good.update_id, good.best_bid) == (10, (e8(99), e8(3)))
    sync.snapshot_received(2, snapshot(13, BIDS, ASKS), 0.0)
    assert sync.last is None
    assert sync.lost is None


def test_losses_in_quick_succession_back_off_and_sixty_steady_seconds_forgive_them():
    """Lost 1 s after each start: 0, 1, 2, 4 s; then LIVE for 59.5 s: 8 s; then for 60 s: 0 s again."""
    sync = live_at(10)
    now, update_id, waits = 0.0, 10, []
    for steady in (1.0, 1.0, 1.0, 1.0, 59.5, 60.0, 1.0):
        now += steady
        update_id += 10
        lost, fetch = sync.update_received(update(update_id, update_id, at=now), now)
        assert lost.fault.reason is Lost.GAP
        waits.append(round(fetch.not_before - now, 6))
        sync.snapshot_received(fetch.request_id, snapshot(update_id, BIDS, ASKS), now)
        sync.update_received(update(update_id + 1, update_id + 1, at=now), now)
        update_id += 1
    assert waits == [0, 1, 2, 4, 8, 0, 1]


def test_an_epoch_continues_from_where_the_store_left_off():
    assert live_at(10, epoch=41).epoch == 42


# Anchors ------------------------------------------------------------------------------


def anchored(sync: BookSync, now: float = 0.0) -> FetchSnapshot:
    [fetch] = sync.request_anchor(now)
    assert fetch.anchor
    return fetch


def test_an_anchor_at_the_books_own_id_takes_its_place_and_widens_what_is_known():
    sync = live_at(10, bids=[(99, 3)], asks=[(101, 3)])
    fetch = anchored(sync)
    wide = snapshot(10, BIDS, ASKS, limit=2)
    # The live book is complete to its end, so 98 and 102 are levels it ought to have.
    assert sync.snapshot_received(fetch.request_id, wide, 0.0)[0] == BookLost(
        1, Fault(Lost.AUDIT, "2 missing, 0 wrong, 0 extra of 4 at 10")
    )
    cut = BookSync()
    cut.update_received(update(10, 10), 0.0)
    cut.snapshot_received(1, snapshot(9, BIDS[:1], ASKS[:1], limit=1), 0.0)
    fetch = anchored(cut)
    assert cut.snapshot_received(fetch.request_id, wide, 0.0) == [BookAnchored(10, 2, 0, 0, 0)]
    assert (cut.book.known_bid, cut.book.known_ask, cut.epoch) == (e8(98), e8(102), 1)


def test_an_anchor_older_than_the_book_is_bridged_with_what_was_applied_since_it_was_asked_for():
    sync = live_at(10)
    fetch = anchored(sync)
    sync.update_received(update(11, 12, bids=[(99, 5)]), 0.0)
    sync.update_received(update(13, 13, asks=[(101, 6)]), 0.0)
    assert sync.snapshot_received(fetch.request_id, snapshot(11, [(99, 5), (98, 1)], ASKS), 0.0) == [BookAnchored(13, 4, 0, 0, 0)]
    assert (sync.book.update_id, sync.book.best_ask) == (13, (e8(101), e8(6)))


def test_an_anchor_ahead_of_the_book_waits_for_the_stream():
    sync = live_at(10)
    fetch = anchored(sync)
    assert sync.snapshot_received(fetch.request_id, snapshot(12, [(99, 5), (98, 1)], ASKS), 0.0) == []
    assert sync.update_received(update(11, 11, bids=[(99, 4)]), 0.0) == []
    assert sync.book.update_id == 11
    assert sync.update_received(update(12, 13, bids=[(99, 5)]), 0.0) == [BookAnchored(13, 4, 0, 0, 0)]


def test_an_anchor_older_than_all_that_was_kept_is_forgotten_and_another_may_be_asked_for():
    sync = live_at(10)
    before = sync.book
    fetch = anchored(sync)
    assert sync.snapshot_received(fetch.request_id, snapshot(9, [(99, 9)], ASKS), 0.0) == []
    assert sync.book is before
    fetch = anchored(sync)
    sync.update_received(update(11, 12), 0.0)
    assert sync.snapshot_received(fetch.request_id, snapshot(9, [(99, 9)], ASKS), 0.0) == []
    assert sync.book is before
    assert anchored(sync)


@pytest.mark.parametrize(
    ("bids", "found"),
    [
        ([(99, 3), (98, 1), (97, 1)], "1 missing, 0 wrong, 0 extra of 5"),
        ([(99, 4), (98, 1)], "0 missing, 1 wrong, 0 extra of 4"),
        ([(99, 3)], "0 missing, 0 wrong, 1 extra of 4"),
    ],
)
def test_an_anchor_that_differs_ends_the_epoch_and_counts_what_is_missing_wrong_and_extra_apart(bids, found):
    sync = live_at(10)
    fetch = anchored(sync)
    assert sync.snapshot_received(fetch.request_id, snapshot(10, bids, ASKS), 7.0) == [
        BookLost(1, Fault(Lost.AUDIT, f"{found} at 10")),
        FetchSnapshot(3, 1, 7.0),
    ]
    assert sync.book is None


def test_levels_beyond_either_known_range_are_no_difference():
    sync = BookSync()
    sync.update_received(update(10, 10), 0.0)
    sync.snapshot_received(1, snapshot(9, [(99, 3), (98, 1)], [(101, 3), (102, 1)], limit=2), 0.0)
    sync.update_received(update(11, 11, bids=[(90, 9)], asks=[(110, 9)]), 0.0)  # touched, outside
    fetch = anchored(sync)
    deep = snapshot(11, [(99, 3), (98, 1), (97, 5)], [(101, 3), (102, 1), (103, 5)], limit=3)
    assert sync.snapshot_received(fetch.request_id, deep, 0.0) == [BookAnchored(11, 4, 0, 0, 0)]


def test_a_crossed_anchor_is_no_judge_of_the_live_book():
    sync = live_at(10)
    before = sync.book
    fetch = anchored(sync)
    assert sync.snapshot_received(fetch.request_id, snapshot(10, [(103, 1)], ASKS), 0.0) == []
    assert sync.book is before
    assert anchored(sync)


def test_after_an_anchor_ended_the_epoch_a_snapshot_older_than_the_book_was_is_not_accepted():
    """The book was at 12 when the anchor condemned it; LIVE at 10 again would go back behind what the stream has said."""
    sync = live_at(10)
    sync.update_received(update(11, 12, bids=[(99, 5)]), 0.0)
    fetch = anchored(sync)
    lost, again = sync.snapshot_received(fetch.request_id, snapshot(12, [(99, 6)], ASKS), 0.0)
    assert lost.fault.reason is Lost.AUDIT
    [once_more] = sync.snapshot_received(again.request_id, snapshot(10, BIDS, ASKS), 0.0)
    assert isinstance(once_more, FetchSnapshot)
    assert sync.book is None
    assert sync.snapshot_received(once_more.request_id, snapshot(12, BIDS, ASKS), 0.0) == [BookReady(2, 12, bridged=False)]


def test_an_anchor_that_stays_ahead_for_ten_seconds_shows_that_the_stream_is_silent():
    """The exchange is at 12, its stream says nothing of it: LIVE would be a lie. Only an update proves that it speaks again."""
    sync = live_at(10)
    fetch = anchored(sync)
    assert sync.snapshot_received(fetch.request_id, snapshot(12, BIDS, ASKS), 5.0) == []
    assert sync.time_passed(14.9) == []
    assert sync.time_passed(15.0) == [
        BookLost(1, Fault(Lost.SILENT, "the exchange is at 12, its stream at 10")),
        StreamSilent("the exchange is at 12, its stream at 10"),
    ]
    assert (sync.state, sync.book, sync.last.update_id) == (BookState.WAITING, None, 10)
    assert sync.time_passed(99.0) == []
    sync.disconnected()
    assert sync.subscribed(100.0) == []
    assert sync.update_received(update(13, 14), 101.0) == [FetchSnapshot(3, 1, 101.0)]
    sync.disconnected()
    assert len(sync.subscribed(102.0)) == 1


def test_time_alone_is_no_fault():
    sync = live_at(10)
    assert sync.time_passed(1e6) == []
    anchored(sync)
    assert sync.time_passed(2e6) == [], "the answer to the question has not come"
    assert BookSync().time_passed(1e6) == []


def test_only_a_live_book_is_anchored_and_by_one_anchor_at_a_time():
    assert BookSync().request_anchor(0.0) == []
    sync = live_at(10)
    fetch = anchored(sync)
    assert sync.request_anchor(1.0) == []
    assert sync.snapshot_failed(fetch.request_id, 2.0) == []
    assert anchored(sync, 3.0).not_before == 3.0


def test_an_anchor_that_comes_after_the_book_was_lost_changes_nothing():
    sync = live_at(10)
    fetch = anchored(sync)
    sync.update_received(update(20, 20), 0.0)
    assert sync.snapshot_received(fetch.request_id, snapshot(20, BIDS, ASKS), 0.0) == []
    assert sync.state is BookState.SYNCING


# The model -----------------------------------------------------------------------------

FAR_BID, FAR_ASK = 70, 130  # never removed, so that no side is ever empty and a bid of 1000 always crosses
FLOORS = (3_000_000, 2_000_000, 1_000_000)  # ids restart far below all that came before


class Exchange(RuleBasedStateMachine):
    """The truth at every single id, and a wire that misbehaves. It shares no code with what it checks."""

    def __init__(self):
        super().__init__()
        self.sync = BookSync(buffer_max=8)
        self.now = 100.0
        self.event_time = 0
        self.floors = list(FLOORS)
        self.id = self.floors.pop(0)
        self.truth = {self.id: ({90: 1, FAR_BID: 5}, {110: 1, FAR_ASK: 5})}
        self.ids = [self.id]  # of this generation, rising
        self.wire = []
        self.delivered = 0
        self.asked = None  # the newest question that waits for an answer
        self.anchor = None
        self.old_questions = [0]
        self.epoch = 0
        self.last = None  # what the book was when it was lost
        self.lost_at = None

    # What we hear

    def note(self, effects):
        for effect in effects:
            match effect:
                case FetchSnapshot(anchor=True):
                    self.anchor = effect.request_id
                case FetchSnapshot():
                    assert effect.not_before >= self.now
                    if self.asked is not None:
                        self.old_questions.append(self.asked)
                    self.asked = effect.request_id
                case BookReady():
                    self.epoch += 1
                    assert (effect.epoch, effect.update_id) == (self.epoch, self.sync.book.update_id)
                    assert self.sync.last is None
                    self.asked = None
                case BookLost():
                    assert effect.epoch == self.epoch
                    if self.anchor is not None:
                        self.old_questions.append(self.anchor)
                    self.anchor = None
                    self.lost_at = self.remember(self.sync.last)
                    self.last = self.sync.last
                case BookAnchored():
                    assert (effect.missing, effect.wrong, effect.extra) == (0, 0, 0)
                    self.anchor = None

    @staticmethod
    def remember(book):
        return None if book is None else (book.update_id, dict(book.bids.quantities), dict(book.asks.quantities))

    # What the market does

    @rule(changes=st.lists(st.tuples(st.booleans(), st.integers(0, 12), st.integers(0, 3)), min_size=1, max_size=5))
    def market_moves(self, changes):
        first = self.id + 1
        sides = {}, {}
        for is_bid, offset, quantity in changes:
            bids, asks = map(dict, self.truth[self.id])
            mine, other, price = (bids, asks, 99 - offset) if is_bid else (asks, bids, 96 + offset)
            if quantity and any((price >= p) if is_bid else (price <= p) for p in other):
                quantity = 0  # an order that would cross trades instead
            mine[price] = quantity
            if not quantity:
                del mine[price]
            sides[not is_bid][price] = quantity
            self.id += 1
            self.ids.append(self.id)
            self.truth[self.id] = bids, asks
        self.event_time += 1
        both = [tuple((p * 10**8, q * 10**8) for p, q in side.items()) for side in sides]
        self.wire.append(DepthUpdate("S", first, self.id, self.event_time, self.event_time, *both))

    @precondition(lambda self: self.floors)
    @rule()
    def ids_restart(self):
        now = self.truth[self.id]
        self.id = self.floors.pop(0)
        self.ids = [self.id]
        self.truth[self.id] = now

    # What the wire does

    def hand_over(self, change):
        generation = change.last_id // 1_000_000
        if generation == self.delivered // 1_000_000 or not self.delivered:
            self.delivered = max(self.delivered, change.last_id)
        elif generation < self.delivered // 1_000_000:
            self.delivered = change.last_id
        self.note(self.sync.update_received(change, self.now))

    @precondition(lambda self: self.wire)
    @rule(times=st.sampled_from([1, 1, 1, 2]))
    def deliver(self, times):
        change = self.wire.pop(0)
        for _ in range(times):
            self.hand_over(change)

    @precondition(lambda self: self.wire)
    @rule()
    def deliver_all(self):
        while self.wire:
            self.deliver_next()

    def deliver_next(self):
        self.hand_over(self.wire.pop(0))

    @precondition(lambda self: self.wire)
    @rule()
    def lose_one(self):
        self.wire.pop(0)

    @precondition(lambda self: len(self.wire) > 1 and self.wire[0].last_id < self.wire[1].last_id)
    @rule()
    def swap_two(self):
        self.wire[:2] = self.wire[1::-1]

    @precondition(lambda self: self.wire)
    @rule()
    def garble_the_next(self):
        """A bid above every ask."""
        change = self.wire[0]
        self.wire[0] = DepthUpdate(
            "S", change.first_id, change.last_id, change.ts_event_ns, 0, (*change.bids, (1000 * 10**8, 10**8)), change.asks
        )

    @rule()
    def cut(self):
        self.wire.clear()
        if self.asked is not None:
            self.old_questions.append(self.asked)
        self.asked = None
        self.delivered = 0
        self.note(self.sync.disconnected())

    @rule()
    def acknowledge(self):
        self.note(self.sync.subscribed(self.now))

    @rule(seconds=st.sampled_from([0.1, 3.0, 70.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.note(self.sync.time_passed(self.now))

    # What the exchange answers

    def answer(self, age, depth, spoiled):
        update_id = self.ids[max(0, len(self.ids) - 1 - age)]
        bids, asks = map(dict, self.truth[update_id])
        if spoiled == "crossed":
            bids[1000] = 1
        elif spoiled == "wrong":
            bids[max(bids)] += 100
        return DepthSnapshot(
            "S",
            update_id,
            tuple((p * 10**8, q * 10**8) for p, q in sorted(bids.items(), reverse=True)[:depth]),
            tuple((p * 10**8, q * 10**8) for p, q in sorted(asks.items())[:depth]),
            depth,
        )

    @precondition(lambda self: self.asked is not None)
    @rule(
        age=st.one_of(st.just(0), st.integers(0, 15)), depth=st.sampled_from([1, 3, 5000]), crossed=st.sampled_from([0, 0, 0, 1])
    )
    def snapshot_arrives(self, age, depth, crossed):
        number, self.asked = self.asked, None
        self.note(self.sync.snapshot_received(number, self.answer(age, depth, "crossed" if crossed else None), self.now))
        self.old_questions.append(number)

    @precondition(lambda self: self.asked is not None)
    @rule()
    def snapshot_fails(self):
        number, self.asked = self.asked, None
        self.note(self.sync.snapshot_failed(number, self.now))
        self.old_questions.append(number)

    @rule(data=st.data(), fails=st.booleans())
    def late_answer_to_an_old_question(self, data, fails):
        number = data.draw(st.sampled_from(self.old_questions))
        garbage = DepthSnapshot("S", self.id + 50, ((1, 1),), ((2, 1),), 5000)
        before = self.sync.state, self.sync.book, self.epoch
        answer = self.sync.snapshot_failed(number, self.now) if fails else self.sync.snapshot_received(number, garbage, self.now)
        assert answer == []
        assert (self.sync.state, self.sync.book, self.epoch) == before

    @rule()
    def look_beside(self):
        self.note(self.sync.request_anchor(self.now))

    @precondition(lambda self: self.anchor is not None)
    @rule(
        age=st.one_of(st.just(0), st.integers(0, 15)),
        depth=st.sampled_from([1, 3, 5000]),
        spoiled=st.sampled_from([None, None, None, "wrong", "crossed"]),
    )
    def anchor_arrives(self, age, depth, spoiled):
        state = self.sync.state
        effects = self.sync.snapshot_received(self.anchor, self.answer(age, depth, spoiled), self.now)
        self.note(effects)
        # Not answered yet: it waits for the stream, and no second answer may come.
        if not effects:
            assert self.sync.state is state
            if self.anchor is not None:
                self.old_questions = [number for number in self.old_questions if number != self.anchor]
            self.anchor = None

    # What must hold

    @invariant()
    def a_live_book_is_the_true_book(self):
        book = self.sync.book
        assert (book is not None) == (self.sync.state is BookState.LIVE)
        if book is None:
            return
        for ladder, known, truth in zip(
            (book.bids, book.asks), (book.known_bid, book.known_ask), self.truth[book.update_id], strict=True
        ):
            held = {abs(key) // 10**8: quantity // 10**8 for key, quantity in ladder.quantities.items()}
            assert held.items() <= truth.items(), "a level that is not there, or another quantity"
            edge = None if known is None else known // 10**8
            inside = {p for p in truth if edge is None or (p >= edge if ladder.sign > 0 else p <= edge)}
            assert inside <= held.keys(), "a level inside the known range is missing"
        assert not book.crossed

    @invariant()
    def a_live_book_is_never_behind_what_was_delivered(self):
        assert self.sync.book is None or self.sync.book.update_id >= self.delivered

    @invariant()
    def it_is_live_or_waiting_or_somebody_is_asking(self):
        assert self.sync.state is not BookState.SYNCING or self.asked is not None or self.sync.ahead_id is not None

    @invariant()
    def the_last_view_is_what_the_book_was_when_it_was_lost(self):
        if self.sync.book is not None:
            assert self.sync.last is None
        elif self.last is not None:
            assert self.sync.last is self.last
            assert self.remember(self.last) == self.lost_at
            bids, asks = self.truth[self.last.update_id]
            assert max(bids) * 10**8 >= self.last.best_bid[0] < self.last.best_ask[0] >= min(asks) * 10**8

    @invariant()
    def the_number_of_live_runs_is_the_epoch(self):
        assert self.sync.epoch == self.epoch


def test_a_live_book_always_equals_the_exchange():
    run_state_machine_as_test(
        Exchange, settings=settings(derandomize=True, deadline=None, max_examples=250, stateful_step_count=50)
    )
