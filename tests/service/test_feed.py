"""Feed: seconds, incidents, trade blocks, anchors and what may be read. Driven as a recording drives it, or as a clock does."""

import pytest
from tests.core.build import SYMBOL, e8, ns, quote, snapshot, trade, update

from leadline.core.records import BookState, Disconnected, Flag, Subscribed, SymbolSecond, TradeState
from leadline.core.sync import FetchSnapshot, StreamSilent
from leadline.core.trade_chain import FetchTrades
from leadline.service.feed import ANCHOR_PAUSE_S, RECORDING_GAP_S, Feed

BIDS, ASKS = [(99, 3), (98, 1)], [(101, 3), (102, 1)]
T = 1_000


class Recorded:
    """A feed driven by event time. Receive stamps lie half a second behind."""

    def __init__(self, **options):
        self.feed = Feed(SYMBOL, event_ticks=True, **options)
        self.rows = []
        self.asked = []
        self.trades_asked = []
        self.id = 10

    def note(self, effects):
        for effect in effects:
            match effect:
                case SymbolSecond():
                    self.rows.append(effect)
                case FetchSnapshot():
                    self.asked.append(effect)
                case FetchTrades():
                    self.trades_asked.append(effect)

    def diff(self, at, bids=(), asks=(), *, skip=0):
        """The next diff at event time T + at; skip: ids that were lost before it."""
        self.id += 1 + skip
        event = update(self.id, self.id, bids, asks, at=T + at, recv=T + at - 0.5)
        self.note(self.feed.handle(event, T + at, 0))

    def answer(self, bids=BIDS, asks=ASKS, *, update_id=None, limit=5000):
        number = self.asked[-1].request_id
        made = snapshot(self.id if update_id is None else update_id, bids, asks, limit=limit)
        self.note(self.feed.snapshot_received(number, made, self.feed.newest_event_ns / 1e9, self.feed.newest_event_ns))

    def trade(self, number, at, **how):
        self.note(self.feed.handle(trade(number, at=T + at, **how), T + at, 0))

    def live(self, at=0.0):
        self.diff(at)
        self.answer(update_id=self.id - 1)
        return self

    @property
    def records(self):
        return {row.second - T: row.record for row in self.rows}

    @property
    def incidents(self):
        return [incident for row in self.rows for incident in row.incidents]

    def stored(self):
        """Incidents as the store has them: written again under the same key."""
        return {(incident.second, incident.n): incident for incident in self.incidents}


class Clocked:
    """A feed driven by a clock, which stands at T + `at` seconds of wall time and `at` seconds of monotonic time."""

    def __init__(self, **options):
        self.feed = Feed(SYMBOL, **options)
        self.asked = []
        self.id = 10

    def carry(self, effects):
        self.asked += [effect for effect in effects if isinstance(effect, FetchSnapshot)]
        return effects

    def diff(self, at, bids=(), asks=(), *, skip=0):
        self.id += 1 + skip
        return self.carry(self.feed.handle(update(self.id, self.id, bids, asks, at=T + at), at, ns(T + at)))

    def answer(self, at, bids=BIDS, asks=ASKS, *, update_id=None, limit=5000):
        made = snapshot(self.id if update_id is None else update_id, bids, asks, limit=limit)
        return self.carry(self.feed.snapshot_received(self.asked[-1].request_id, made, at, ns(T + at)))

    def hear(self, event, at):
        return self.carry(self.feed.handle(event, at, ns(T + at)))

    def tick(self, at, **how):
        """Close second T + at; the sample is taken 4 ms late."""
        effects = self.feed.tick(T + at, tick_recv_ns=ns(T + at), sample_ns=ns(T + at) + 4_000_000, now=at, **how)
        [row] = [effect for effect in effects if isinstance(effect, SymbolSecond)]
        self.anchors = [effect for effect in self.carry(effects) if isinstance(effect, FetchSnapshot)]
        return row

    def live(self, at=0.0, **how):
        self.diff(at)
        self.answer(at, update_id=self.id - 1, **how)
        return self


def gone(at):
    return Disconnected((SYMBOL,), "closed by peer", ns(T + at))


def heard(at):
    return Subscribed((SYMBOL,), ns(T + at))


# Seconds by event time -------------------------------------------------------------------


def test_an_event_exactly_on_a_second_belongs_to_the_second_that_ends_there():
    desk = Recorded().live(0.5)
    desk.diff(1.0, [(99, 7)])
    assert desk.rows == []
    desk.diff(1.001, [(99, 8)])
    [row] = desk.rows
    assert (row.second, row.snapshot.timestamp, row.snapshot.bids[0]) == (T + 1, T + 1, (e8(99), e8(7)))
    assert (row.record.event_ms, row.record.n_diff, row.record.sample_ms) == ((T + 1) * 1000, 1, (T + 1) * 1000)


def test_a_first_event_exactly_on_a_second_opens_the_second_that_ends_there():
    desk = Recorded().live(1.0)
    desk.diff(1.5)
    assert [row.second for row in desk.rows] == [T + 1]


def test_each_silent_second_gets_its_record():
    desk = Recorded().live(0.5)
    desk.diff(1.5, [(99, 7)])
    desk.diff(5.2, [(99, 9)])
    assert [row.second - T for row in desk.rows] == [1, 2, 3, 4, 5]
    assert [record.n_diff for record in desk.records.values()] == [0, 1, 0, 0, 0]
    assert [row.snapshot.bids[0][1] for row in desk.rows] == [e8(3)] + [e8(7)] * 4
    assert [record.live_ms for record in desk.records.values()] == [999, 1000, 1000, 1000, 1000]


def test_a_second_that_no_later_event_closes_is_not_written():
    desk = Recorded().live(0.5)
    desk.diff(0.9)
    desk.trade(1, 0.9)
    rest = desk.feed.finish(0)
    assert (desk.rows, rest.record, rest.snapshot) == ([], None, None)
    assert [block.second for block in rest.trades] == [T]
    assert rest.second == T


def test_durations_are_receive_stamps_and_the_tick_takes_the_stamp_of_the_event_that_closes_it():
    """LIVE at receive time 0.2 (event 0.7); the tick of second 1 is triggered at 0.7 (event 1.2): 500 ms."""
    desk = Recorded().live(0.7)
    desk.diff(1.2)
    assert (desk.records[1].live_ms, desk.records[1].recv_ms) == (500, T * 1000 + 200)


def test_a_recording_that_was_off_closes_the_second_before_and_says_which_are_missing():
    """Off from the second of 1.5 on. What came in it is in its record, and in no later one."""
    desk = Recorded().live(0.5)
    desk.diff(1.5, [(99, 7)])
    desk.trade(1, 1.6)
    later = 2 + RECORDING_GAP_S + 10
    desk.diff(later + 0.5, [(99, 8)])
    desk.diff(later + 1.5)
    assert [row.second - T for row in desk.rows] == [1, 2, later + 1]
    assert [(record.n_diff, record.buy_qty) for record in desk.records.values()] == [(0, 0), (1, e8(1)), (1, 0)]
    [missed] = [incident for incident in desk.incidents if incident.kind == "missed_seconds"]
    assert (missed.start_ms, missed.end_ms) == ((T + 2) * 1000, (T + later) * 1000)
    assert missed.cause == "recording"


def test_a_long_silence_that_is_no_gap_of_the_recording_has_all_its_seconds():
    desk = Recorded().live(0.5)
    desk.diff(RECORDING_GAP_S)
    assert [row.second - T for row in desk.rows] == list(range(1, RECORDING_GAP_S))
    assert not [incident for incident in desk.incidents if incident.kind == "missed_seconds"]


# Seconds by the clock ------------------------------------------------------------------------


def test_a_clock_closes_a_second_with_what_came_before_it():
    desk = Clocked().live(0.2)
    desk.diff(0.4, [(99, 7)])
    row = desk.tick(1)
    assert (row.second, row.record.n_diff, row.record.live_ms) == (T + 1, 1, 800)
    assert (row.record.event_ms, row.record.sample_ms) == (T * 1000 + 400, (T + 1) * 1000 + 4)
    assert desk.tick(2, flags=Flag.CLOCK).record.flags == Flag.CLOCK


def test_before_the_first_book_a_second_has_a_record_and_no_snapshot_and_says_why():
    desk = Clocked()
    row = desk.tick(1)
    assert (row.record.state, row.record.reason, row.record.epoch) == (BookState.WAITING, "starting", None)
    assert (row.snapshot, row.skipped) == (None, "book not live (starting)")
    assert desk.feed.view(5) is None


def test_an_empty_book_has_no_snapshot_and_says_why():
    row = Clocked().live(0.2, bids=[], asks=[]).tick(1)
    assert (row.snapshot, row.skipped, row.record.state) == (None, "empty orderbook", BookState.LIVE)


def test_a_book_is_live_from_the_moment_its_snapshot_came_not_from_the_last_diff_before():
    """A quiet symbol: its only diff came at 0.0, the snapshot at 5.9. In second 6 it was LIVE for 100 ms."""
    desk = Clocked()
    desk.diff(0.0)
    for at in range(1, 6):
        desk.tick(at)
    desk.answer(5.9)
    assert desk.tick(6).record.live_ms == 100


def test_a_book_that_no_update_of_this_connection_confirmed_has_no_time_of_a_last_update():
    """LIVE, disconnected, acknowledged again, quiet: the last update belongs to the book that is gone."""
    desk = Clocked().live(0.2)
    desk.hear(gone(1.5), 1.5)
    desk.hear(heard(2.0), 2.0)
    desk.answer(4.0)
    record = desk.tick(5).record
    assert (record.state, record.event_ms, record.recv_ms) == (BookState.LIVE, None, None)
    assert desk.feed.view(1).reason == "unbridged"


# Losses are incidents --------------------------------------------------------------------------


def test_the_seconds_before_the_first_book_are_an_incident_that_the_first_book_closes():
    desk = Clocked(epoch=7)
    desk.hear(heard(0.5), 0.5)
    [opened] = desk.tick(1).incidents
    assert (opened.kind, opened.start_ms, opened.end_ms) == ("start", T * 1000 + 500, None)
    assert (opened.epoch_before, opened.epoch_after, opened.cause) == (None, None, "starting")
    desk.answer(2.5)
    [closed] = desk.tick(3).incidents
    assert (closed.second, closed.n, closed.end_ms, closed.epoch_after) == (opened.second, opened.n, T * 1000 + 2500, 8)


def losses():
    def gap(desk):
        desk.diff(2.5, skip=3)

    def crossed(desk):
        desk.diff(2.5, [(101, 1)])

    def restart(desk):
        desk.id = 2
        desk.diff(2.5)

    def cut(desk):
        desk.note(desk.feed.handle(gone(2.5), T + 2.5, 0)) if isinstance(desk, Recorded) else desk.hear(gone(2.5), 2.5)

    return [
        pytest.param(gap, "gap", Flag.GAP, id="gap"),
        pytest.param(crossed, "crossed", Flag.CROSSED, id="crossed"),
        pytest.param(restart, "id_restart", Flag.GAP, id="id_restart"),
        pytest.param(cut, "disconnected", Flag.GAP, id="disconnected"),
    ]


@pytest.mark.parametrize(("lose", "kind", "flag"), losses())
def test_each_loss_is_an_incident_that_the_next_book_closes_with_both_epochs(lose, kind, flag):
    desk = Clocked(epoch=3).live(0.5)
    desk.tick(1)
    desk.tick(2)
    lose(desk)
    row = desk.tick(3)
    [opened] = row.incidents
    assert (opened.kind, opened.cause, opened.start_ms, opened.end_ms) == (kind, kind, T * 1000 + 2500, None)
    assert (opened.epoch_before, opened.epoch_after) == (4, None)
    assert (row.record.reason, row.record.flags & (Flag.GAP | Flag.CROSSED), row.record.epoch) == (kind, flag, 4)
    assert (row.snapshot, row.skipped) == (None, f"book not live ({kind})")
    desk.diff(3.2)
    desk.answer(3.7)
    row = desk.tick(4)
    [closed] = row.incidents
    assert (closed.second, closed.n, closed.kind) == (opened.second, opened.n, kind)
    assert (closed.end_ms, closed.epoch_before, closed.epoch_after) == (T * 1000 + 3700, 4, 5)
    assert (row.record.flags & Flag.RESYNC, row.record.live_ms, row.record.epoch) == (Flag.RESYNC, 300, 5)
    assert desk.tick(5).incidents == ()


def test_in_a_recording_losses_are_dated_by_event_time():
    desk = Recorded().live(0.5)
    desk.diff(1.5)
    desk.diff(2.5, skip=3)
    desk.diff(3.5)
    desk.answer()
    desk.diff(4.5)
    loss = desk.stored()[T + 2, 0]
    assert (loss.kind, loss.start_ms, loss.end_ms, loss.epoch_before, loss.epoch_after) == (
        *("gap", T * 1000 + 2500, T * 1000 + 3500),
        *(1, 2),
    )


def test_counters_tell_losses_apart():
    desk = Clocked().live(0.5)
    desk.diff(1.1, skip=1)
    desk.answer(1.2)
    desk.diff(1.3, [(101, 1)])
    desk.answer(1.4)
    desk.hear(gone(1.5), 1.5)
    assert (desk.feed.gaps, desk.feed.crossings, desk.feed.resyncs, desk.feed.sync.epoch) == (1, 1, 2, 3)


def test_two_losses_of_one_second_have_two_keys_and_stored_keys_are_not_used_again():
    desk = Clocked(incident_keys={(T + 1, 0)}).live(0.5)
    for at in (1.2, 1.6):
        desk.diff(at, skip=1)
        desk.answer(at + 0.1, update_id=desk.id - 1)
    keys = [(incident.second, incident.n) for incident in desk.tick(2).incidents if incident.kind == "gap"]
    assert keys == [(T + 1, 1), (T + 1, 1), (T + 1, 2), (T + 1, 2)]


def test_an_incident_that_is_open_when_the_service_ends_is_closed_without_a_new_epoch():
    desk = Clocked().live(0.5)
    desk.diff(1.2, skip=1)
    desk.tick(2)
    rest = desk.feed.finish(ns(T + 2.5))
    [closed] = rest.incidents
    assert (closed.end_ms, closed.epoch_before, closed.epoch_after) == (T * 1000 + 2500, 1, None)


def test_nothing_is_left_over_of_a_feed_that_was_closed_by_its_last_tick():
    desk = Clocked().live(0.5)
    desk.tick(1)
    assert desk.feed.finish(ns(T + 1.5)) is None


# Trades -------------------------------------------------------------------------------------------


def blocks(row):
    return [(block.second - T, block.state, [t.agg_id for t in block.trades]) for block in row.trades]


COMPLETE, BACKFILLED, MISSING = TradeState.COMPLETE, TradeState.BACKFILLED, TradeState.MISSING


def test_trades_go_to_the_block_of_their_own_time_and_to_the_record_in_which_they_came():
    desk = Clocked().live(0.5)
    for number, at in ((1, 0.2), (2, 0.999), (3, 1.0)):
        desk.hear(trade(number, at=T + at, recv=T + 1.5), 1.5)
    row = desk.tick(2)
    assert blocks(row) == [(0, COMPLETE, [1, 2]), (1, COMPLETE, [3])]
    assert (row.record.n_buy, row.record.trade_state) == (3, COMPLETE)
    assert blocks(desk.tick(3)) == []


def test_a_trade_that_was_seen_counts_once():
    desk = Clocked().live(0.5)
    for number in (1, 2, 2, 1):
        desk.hear(trade(number, at=T + 1), 1.5)
    row = desk.tick(2)
    assert (row.record.n_buy, blocks(row), desk.feed.fills) == (2, [(1, COMPLETE, [1, 2])], 2)


def test_a_hole_that_is_open_at_the_tick_makes_the_second_missing_and_its_filling_backfilled():
    desk = Clocked().live(0.5)
    desk.hear(trade(1, at=T + 1), 1.1)
    [fetch] = desk.hear(trade(4, at=T + 2), 2.1)
    row = desk.tick(3)
    assert (row.record.trade_state, blocks(row)) == (MISSING, [(1, COMPLETE, [1])])
    assert (row.record.flags & Flag.TRADES_LATE, row.record.n_buy) == (Flag.TRADES_LATE, 2)
    quiet = desk.tick(4).record
    assert (quiet.trade_state, quiet.flags) == (MISSING, 0)
    desk.feed.trades_received(fetch.request_id, [trade(2, at=T + 1.5), trade(3, at=T + 2)], 4.5)
    row = desk.tick(5)
    assert row.record.trade_state is BACKFILLED
    assert row.record.n_buy == 0, "backfilled trades are in the blocks, not in what was received"
    assert blocks(row) == [(1, BACKFILLED, [2]), (2, BACKFILLED, [3, 4])]
    assert desk.tick(6).record.trade_state is COMPLETE


def test_trades_that_stay_away_are_an_incident_and_mark_the_seconds_beside_them():
    desk = Clocked().live(0.5)
    desk.hear(trade(1, at=T + 1.5), 1.6)
    effects = desk.hear(trade(4, at=T + 3.25), 3.3)
    for _ in range(5):
        [fetch] = effects
        effects = desk.feed.trades_failed(fetch.request_id, 3.4)
    row = desk.tick(4)
    assert blocks(row) == [(1, MISSING, [1]), (3, MISSING, [4])]
    assert row.record.trade_state is MISSING
    [missing] = [incident for incident in row.incidents if incident.kind == "trades_missing"]
    assert (missing.start_ms, missing.end_ms) == (T * 1000 + 1500, T * 1000 + 3250)
    assert missing.detail == "aggregate ids 2..3"
    assert desk.feed.trades_missing == 2
    assert desk.tick(5).record.trade_state is COMPLETE


def test_a_hole_that_is_filled_does_not_hide_another_that_stayed_away_in_the_same_second():
    """2 is lost for good, 4 is filled: the second is MISSING, not BACKFILLED."""
    desk = Clocked().live(0.5)
    desk.hear(trade(1, at=T + 1), 1.1)
    effects = desk.hear(trade(3, at=T + 1), 1.2)
    for _ in range(5):
        effects = desk.feed.trades_failed(effects[0].request_id, 1.3)
    [fetch] = desk.hear(trade(5, at=T + 1), 1.4)
    desk.feed.trades_received(fetch.request_id, [trade(4, at=T + 1)], 1.5)
    row = desk.tick(2)
    assert (row.record.trade_state, blocks(row)) == (MISSING, [(1, MISSING, [1, 3, 4, 5])])


def test_fills_that_do_not_close_up_are_an_incident_of_their_own():
    desk = Clocked().live(0.5)
    desk.hear(trade(1, at=T + 1, first=10, last=12), 1.1)
    desk.hear(trade(2, at=T + 1, first=15, last=15), 1.2)
    row = desk.tick(2)
    [missing] = [incident for incident in row.incidents if incident.kind == "trades_missing"]
    assert (missing.detail, missing.cause) == ("fills 13..14", "fills do not close up")
    assert (desk.feed.trades_missing, blocks(row)) == (0, [(1, MISSING, [1, 2])])


def test_ids_that_begin_anew_are_an_incident():
    desk = Clocked().live(0.5)
    desk.hear(trade(1000, at=T + 1), 1.1)
    desk.hear(trade(5, at=T + 1.5), 1.6)
    row = desk.tick(2)
    [restart] = [incident for incident in row.incidents if incident.kind == "chain_restart"]
    assert (restart.start_ms, restart.end_ms) == (T * 1000 + 1000, T * 1000 + 1500)
    assert (row.record.n_buy, blocks(row)) == (2, [(1, COMPLETE, [1000, 5])])


def test_a_stored_last_trade_is_continued_from():
    desk = Clocked(last_trade=trade(7, at=T - 100)).live(0.5)
    [fetch] = desk.hear(trade(9, at=T + 1), 1.1)
    assert (fetch.from_id, fetch.to_id) == (8, 8)


def test_a_stop_stores_what_waits_behind_holes_and_names_them():
    desk = Clocked().live(0.5)
    for number in (1, 3, 5):
        desk.hear(trade(number, at=T + 1), 1.1)
    desk.tick(2)
    rest = desk.feed.finish(ns(T + 2.5))
    assert blocks(rest) == [(1, MISSING, [3, 5])]
    assert [incident.detail for incident in rest.incidents] == ["aggregate ids 2..2", "aggregate ids 4..4"]
    assert (rest.record, rest.second) == (None, T + 2)


# What may be read ---------------------------------------------------------------------------------


def test_a_live_view_is_a_copy_with_its_times():
    desk = Clocked(epoch=1).live(0.5)
    desk.diff(0.75, [(99, 7)])
    view = desk.feed.view(1)
    assert (view.state, view.reason, view.epoch, view.update_id) == (BookState.LIVE, None, 2, 12)
    assert (view.bids, view.asks) == (((e8(99), e8(7)),), ((e8(101), e8(3)),))
    assert (view.ts_event_ns, view.ts_recv_ns) == (ns(T + 0.75), ns(T + 0.75))
    desk.diff(0.8, [(99, 8)])
    assert view.bids == ((e8(99), e8(7)),)


def test_after_a_loss_the_last_good_book_is_shown_as_stale_with_the_time_it_had():
    desk = Clocked().live(0.5)
    desk.diff(0.75, [(99, 7)])
    desk.diff(2.5, [(99, 1)], skip=2)
    desk.diff(2.6, [(99, 2)])
    view = desk.feed.view(5)
    assert (view.state, view.reason, view.epoch, view.update_id) == (BookState.STALE, "gap", 1, 12)
    assert view.bids[0] == (e8(99), e8(7))
    assert (view.ts_event_ns, view.ts_recv_ns) == (ns(T + 0.75), ns(T + 0.75))


def test_a_crossed_book_is_shown_to_nobody():
    desk = Clocked().live(0.5)
    desk.diff(0.75, [(101, 7)])
    assert desk.feed.view(5) is None


# Anchors ------------------------------------------------------------------------------------------


def test_without_an_anchor_period_there_is_no_second_look():
    desk = Clocked(deepen=True).live(0.5)
    desk.tick(100_000)
    assert desk.anchors == []


def test_a_second_look_is_taken_when_its_time_has_come_and_not_before():
    desk = Clocked(anchor_s=600.0).live(0.5)
    seen = []
    for at in (1, 600, 601, 602, 1200, 1201, 1202):
        desk.diff(at - 0.1)
        desk.tick(at)
        seen += [at] * len(desk.anchors)
        if desk.anchors:
            assert desk.anchors[0].anchor
            desk.answer(at)
    assert seen == [601, 1201]
    assert (desk.feed.sync.epoch, desk.feed.resyncs) == (1, 0)


def test_a_shallow_first_snapshot_is_deepened_at_the_first_tick_and_once():
    desk = Clocked(anchor_s=600.0, deepen=True).live(0.5, limit=2)
    desk.tick(1)
    [look] = desk.anchors
    assert look.anchor
    desk.answer(1.5, bids=[*BIDS, (90, 5)], asks=ASKS)
    row = desk.tick(2)
    assert (row.record.known_bid, row.record.known_ask, row.record.epoch) == (None, None, 1)
    assert (row.record.flags, row.record.ofi_top20) == (0, 0), "a level that is known anew is no flow"
    for at in (3, 100, 500):
        desk.diff(at - 0.1)
        desk.tick(at)
        assert desk.anchors == []


def test_where_event_time_drives_a_snapshot_that_is_ahead_of_the_stream_shows_no_silence():
    """Seconds are closed by the stream itself there, and the caller's clock is another than theirs."""
    feed = Feed(SYMBOL, event_ticks=True)
    [fetch] = feed.handle(update(11, 11, at=T + 0.5), 5.0, 0)
    assert feed.snapshot_received(fetch.request_id, snapshot(20, BIDS, ASKS), 5.0, 0) == []
    effects = feed.handle(update(12, 12, at=T + 2.5), 7.0, 0)
    assert [type(effect) for effect in effects] == [SymbolSecond, SymbolSecond]
    assert feed.sync.ahead_id == 20
    feed.handle(update(13, 20, at=T + 2.6), 7.1, 0)
    assert feed.sync.book.update_id == 20


def test_an_anchor_that_waited_for_an_update_adds_only_the_flow_of_the_update():
    """The anchor is ahead by one id; its update adds 4 at the best bid, the anchor itself a level of 5."""
    desk = Clocked(anchor_s=600.0, deepen=True).live(0.5, limit=2)
    desk.tick(1)
    desk.answer(1.5, bids=[(99, 7), (98, 1), (90, 5)], asks=ASKS, update_id=desk.id + 1)
    assert desk.feed.view(3).known_bid == e8(98)
    desk.diff(1.6, [(99, 7)])
    assert desk.feed.view(3).known_bid is None
    record = desk.tick(2).record
    assert (record.flags, record.bid_added, record.n_diff) == (Flag.RANGE, e8(4), 1)
    assert record.ofi_top20 is None, "after the diff the ranks were those of the shallow book"
    assert desk.tick(3).record.ofi_top20 == 0


def test_a_look_that_failed_is_tried_again_after_a_pause():
    desk = Clocked(anchor_s=600.0, deepen=True).live(0.5, limit=2)
    desk.tick(1)
    [look] = desk.anchors
    desk.feed.snapshot_failed(look.request_id, 1.5, ns(T + 1.5))
    desk.tick(int(ANCHOR_PAUSE_S))
    assert desk.anchors == []
    desk.tick(1 + int(ANCHOR_PAUSE_S))
    assert len(desk.anchors) == 1


@pytest.mark.parametrize(("best", "thin"), [("95.1", False), ("95", False), ("94.9", True)])
def test_a_second_look_is_taken_when_more_than_half_of_the_known_range_is_used_up(best, thin):
    """Known from 99 down to 91: 8 quote. Half of it is left when the best bid is at 95."""
    desk = Clocked(anchor_s=600.0)
    desk.diff(0.5)
    desk.answer(0.5, bids=[(99, 1), (96, 1), (91, 1)], asks=[(101, 1)], limit=3)
    desk.diff(0.6, [(99, 0), (96, 0), (best, 1)])
    desk.tick(1)
    assert bool(desk.anchors) is thin


def test_a_ticker_that_disagrees_with_the_book_is_flagged_and_a_second_snapshot_is_the_judge():
    desk = Clocked(anchor_s=600.0).live(0.5)
    desk.hear(quote(11, 99, 3, 101, 4), 0.6)
    desk.diff(0.7)
    desk.hear(quote(13, 99, 3, 101, 3), 0.8)
    row = desk.tick(1)
    assert row.record.flags & Flag.AUDIT
    assert (desk.feed.audit.checks, desk.feed.audit.mismatches) == (1, 1) or desk.feed.audit.checks == 2
    assert len(desk.anchors) == 1


def test_an_anchor_that_differs_ends_the_epoch_and_is_flagged():
    desk = Clocked(anchor_s=600.0).live(0.5)
    desk.tick(700)
    desk.answer(700.5, bids=[(99, 4), (98, 1)])
    row = desk.tick(701)
    assert (row.record.reason, row.record.flags & Flag.AUDIT) == ("audit", Flag.AUDIT)
    assert [incident.kind for incident in row.incidents] == ["audit"]
    assert desk.feed.gaps == 0


def test_a_feed_that_crashed_hands_on_what_it_had_accepted_and_says_so():
    desk = Clocked(epoch=4).live(0.5)
    desk.tick(1)
    desk.hear(trade(1, at=T + 1), 1.1)
    heir = desk.feed.successor(ns(T + 1.5))
    [row] = heir.tick(T + 2, tick_recv_ns=ns(T + 2), sample_ns=ns(T + 2), now=2.0)
    assert blocks(row) == [(1, COMPLETE, [1])]
    assert (row.record.reason, row.record.epoch, heir.sync.epoch) == ("feed_crash", None, 5)
    assert [(incident.kind, incident.cause) for incident in row.incidents] == [("start", "feed_crash")]
    assert heir.chain.last.agg_id == 1


# Silence ------------------------------------------------------------------------------------------


def test_a_quiet_book_is_looked_at_more_and_more_seldom_and_stays_live():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    looks = []
    for at in range(1, 1000):
        desk.tick(at)
        if desk.anchors:
            looks.append(at)
            desk.answer(at, update_id=desk.id)
    assert looks == [61, 121, 241, 481, 961]  # 60 s after the last diff, then after twice as long each
    assert (desk.feed.sync.epoch, desk.feed.view(1).state) == (1, BookState.LIVE)


def test_a_diff_makes_the_wait_for_the_next_look_short_again():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    looks = []
    for at in range(1, 400):
        if at == 200:
            desk.diff(at - 0.5)
        desk.tick(at)
        if desk.anchors:
            looks.append(at)
            desk.answer(at, update_id=desk.id)
    assert looks == [61, 121, 260, 320]


def test_a_stream_that_delivers_nothing_while_the_exchange_moves_takes_the_book_away():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.tick(61)
    assert desk.anchors
    desk.answer(61, bids=[(99, 8)], update_id=desk.id + 5)
    for at in range(62, 71):
        assert desk.tick(at).snapshot is not None
    effects = desk.feed.tick(T + 71, tick_recv_ns=ns(T + 71), sample_ns=ns(T + 71), now=71.0)
    assert [type(effect) for effect in effects] == [StreamSilent, SymbolSecond]
    row = effects[1]
    assert (row.snapshot, row.record.state, row.record.reason) == (None, BookState.WAITING, "silent")
    assert [(i.kind, i.end_ms) for i in row.incidents] == [("silent", None)]
    # A new connection that is only acknowledged proves nothing; an update does.
    desk.hear(gone(71.2), 71.2)
    asked = len(desk.asked)
    desk.hear(heard(71.5), 71.5)
    assert len(desk.asked) == asked
    desk.id += 5
    desk.diff(72)
    desk.answer(72.1)
    assert (desk.feed.view(1).state, desk.feed.sync.epoch) == (BookState.LIVE, 2)


def test_a_snapshot_that_is_ahead_by_what_is_on_its_way_is_no_silence():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.tick(61)
    desk.answer(61, bids=[(99, 7), (98, 1)], update_id=desk.id + 1)
    desk.diff(70.5, [(99, 7)])
    for at in range(71, 90):
        assert desk.tick(at).snapshot is not None
    assert desk.feed.sync.epoch == 1


def test_tickers_that_run_ahead_of_a_silent_book_bring_the_look_forward():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.tick(31)
    desk.hear(quote(desk.id + 1, 99, 3, 101, 3, recv=T + 3), 3.0)
    desk.tick(32)
    assert desk.anchors == [], "three seconds are no silence"
    desk.hear(quote(desk.id + 2, 99, 4, 101, 3, recv=T + 33), 33.0)
    desk.tick(34)
    assert len(desk.anchors) == 1


def test_a_stream_that_lags_is_not_silent():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.tick(61)
    desk.answer(61, bids=[(99, 3), (98, 1)], update_id=desk.id + 40)
    for at in range(62, 90):
        desk.diff(at - 0.5)
        assert desk.tick(at).snapshot is not None
    assert desk.feed.sync.epoch == 1


def test_a_symbol_that_does_not_trade_is_asked_about_more_and_more_seldom():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.hear(trade(7, at=T + 1), 1.0)
    asked = []
    for at in range(2, 500):
        desk.diff(at - 0.1)
        effects = desk.feed.tick(T + at, tick_recv_ns=ns(T + at), sample_ns=ns(T + at), now=at)
        for effect in effects:
            if isinstance(effect, FetchTrades):
                asked.append(at)
                assert desk.feed.trades_received(effect.request_id, [], at) == []
            if isinstance(effect, SymbolSecond):
                assert (effect.record.flags & Flag.TRADES_LATE, effect.record.trade_state) == (0, TradeState.COMPLETE)
    assert asked == [61, 121, 241, 481]


def test_trades_that_the_stream_did_not_bring_are_taken_in_and_the_connection_is_replaced():
    """The look is taken 60 s after trade 7; trade 8 is 50 s old by then, trade 9 one second: it may be on its way."""
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.hear(trade(7, at=T + 1), 1.0)
    for at in range(2, 62):
        desk.diff(at - 0.1)
        effects = desk.feed.tick(T + at, tick_recv_ns=ns(T + at), sample_ns=ns(T + at), now=at)
    [probe] = [effect for effect in effects if isinstance(effect, FetchTrades)]
    out = desk.feed.trades_received(probe.request_id, [trade(8, at=T + 11), trade(9, at=T + 60)], 61.5)
    assert out == [StreamSilent("trades up to 8 did not come")]
    row = desk.tick(62)
    assert [(block.second, block.state, len(block.trades)) for block in row.trades] == [(T + 11, TradeState.BACKFILLED, 1)]
    desk.hear(trade(9, at=T + 60), 62.1)
    assert desk.feed.chain.last.agg_id == 9


def test_trades_of_a_symbol_without_a_single_diff_are_kept_at_the_end():
    desk = Recorded()
    desk.trade(1, 3.5)
    desk.trade(2, 4.5)
    row = desk.feed.finish(0)
    assert (row.second, row.record, [block.second for block in row.trades]) == (T + 4, None, [T + 3, T + 4])


# Trading status ------------------------------------------------------------------------------------


def halt(desk, at, status="HALT"):
    return desk.feed.trading(status, at, ns(T + at))


def not_trading(*rows):
    return [i for row in rows for i in row.incidents if i.kind == "not_trading"]


def test_a_live_book_of_a_symbol_that_does_not_trade_says_so_in_view_and_record_and_goes_on_by_its_ids():
    desk = Clocked().live(0.5)
    halt(desk, 0.7)
    row = desk.tick(1)
    assert (row.record.state, row.record.reason, row.record.epoch) == (BookState.LIVE, "not_trading", 1)
    assert (desk.feed.view(1).reason, row.snapshot is not None) == ("not_trading", True)
    halt(desk, 9.2, "TRADING")
    desk.diff(9.5, [(99, 7)])
    record = desk.tick(10).record
    assert (record.reason, record.epoch, record.n_diff, desk.feed.view(1).reason) == (None, 1, 1, None)


def test_the_time_without_trading_is_one_incident_for_each_word_of_the_exchange():
    desk = Clocked().live(0.5)
    for at in (0.7, 0.8):
        halt(desk, at)
    first = desk.tick(1)
    halt(desk, 3.5, "BREAK")
    halt(desk, 5.5, "TRADING")
    halt(desk, 5.6, "TRADING")
    told = not_trading(first, desk.tick(6))
    ms = T * 1000
    assert [(i.cause, i.start_ms - ms, i.end_ms and i.end_ms - ms) for i in told] == [
        ("HALT", 700, None),
        ("HALT", 700, 3500),
        ("BREAK", 3500, None),
        ("BREAK", 3500, 5500),
    ]
    assert [(i.epoch_before, i.epoch_after) for i in told] == [(None, None)] * 4


def test_a_lost_book_of_a_symbol_that_does_not_trade_says_why_it_was_lost():
    desk = Clocked().live(0.5)
    halt(desk, 0.7)
    desk.hear(gone(0.8), 0.8)
    assert (desk.tick(1).record.reason, desk.feed.view(1).reason) == ("disconnected", "disconnected")


def test_an_unconfirmed_book_of_a_symbol_that_does_not_trade_is_not_trading_first_of_all():
    desk = Clocked()
    halt(desk, 0.1)
    desk.hear(heard(0.2), 0.2)
    desk.answer(2.5)
    assert desk.feed.view(1).reason == "not_trading"
    halt(desk, 3.0, "TRADING")
    assert desk.feed.view(1).reason == "unbridged"


def test_a_second_snapshot_that_was_ahead_when_trading_stopped_proves_no_silence_then_or_later():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.tick(61)
    desk.answer(61, bids=[(99, 8)], update_id=desk.id + 5)
    halt(desk, 62)
    for at in range(62, 400):
        desk.tick(at)
        assert desk.anchors == []
    halt(desk, 400, "TRADING")
    for at in range(400, 459):
        effects = desk.feed.tick(T + at, tick_recv_ns=ns(T + at), sample_ns=ns(T + at), now=at)
        assert [type(effect) for effect in effects] == [SymbolSecond]
    assert (desk.feed.view(1).state, desk.feed.sync.epoch) == (BookState.LIVE, 1)


def test_a_stream_that_stays_silent_when_trading_has_come_back_is_noticed_as_ever():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    halt(desk, 1)
    halt(desk, 400, "TRADING")
    desk.tick(459)
    assert desk.anchors == []
    desk.tick(460)
    assert len(desk.anchors) == 1


def test_trades_of_a_symbol_that_does_not_trade_are_not_asked_for():
    desk = Clocked(anchor_s=86_400.0).live(0.5)
    desk.hear(trade(7, at=T + 1), 1.0)
    halt(desk, 2)
    for at in range(2, 200):
        assert not [
            effect
            for effect in desk.carry(desk.feed.tick(T + at, tick_recv_ns=0, sample_ns=ns(T + at), now=at))
            if isinstance(effect, FetchTrades)
        ]


def test_a_feed_that_crashed_or_stopped_hands_on_that_the_symbol_does_not_trade():
    desk = Clocked().live(0.5)
    halt(desk, 0.7)
    desk.tick(1)
    heir = desk.feed.successor(ns(T + 1.5))
    assert heir.trading("HALT", 2.0, ns(T + 2)) == []
    rest = heir.finish(ns(T + 3))
    assert [(i.cause, i.end_ms) for i in rest.incidents if i.kind == "not_trading"] == [("HALT", T * 1000 + 3000)]
