"""Two connections into one sequence. The model: one sequence of changes, cut into events differently for each connection."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core import build

from leadline.core.records import BestQuote, DepthUpdate, Disconnected, Subscribed, Trade
from leadline.exchange.binance.handover import BEHIND, HELD_MAX, SETTLE_S, Handover

BTC, ETH = build.SYMBOL, "ETHUSDT"
KINDS = (DepthUpdate, Trade, BestQuote)


def diff(first, last, symbol=BTC, recv=0):
    return DepthUpdate(symbol, first, last, 0, build.ns(recv), (), ())


def trade(number, symbol=BTC, recv=0):
    return Trade(symbol, number, 1, 1, number, number, 0, False, 0, build.ns(recv))


def quote(number, symbol=BTC, recv=0):
    return BestQuote(symbol, number, 1, 1, 2, 1, build.ns(recv))


def handover(*passed, symbols=(BTC,), kinds=KINDS):
    """Begun after these events were handed on."""
    return Handover(symbols, kinds, {(type(event), event.symbol): event for event in passed})


# One stream --------------------------------------------------------------------


def test_the_successor_is_heard_from_where_nothing_lies_between_and_the_old_no_more():
    over = handover(diff(1, 10))
    assert over.from_successor(diff(13, 15), 0.0) == []
    assert over.from_old(diff(11, 11)) == [diff(11, 11)], "12 is missing"
    assert over.from_successor(diff(16, 16), 0.1) == []
    assert over.from_old(diff(12, 14)) == [diff(12, 14), diff(13, 15), diff(16, 16)]
    assert over.from_old(diff(15, 16)) == []
    assert over.from_successor(diff(17, 17), 0.2) == [diff(17, 17)]


def test_what_the_old_brought_is_not_handed_on_again_when_the_successor_lags():
    over = handover(diff(1, 10), trade(7), quote(9))
    for event in (diff(5, 8), trade(6), quote(8)):
        assert over.from_successor(event, 0.0) == [], "nothing lies between, and nothing of it is news"
    assert over.complete and not over.over
    for event in (diff(9, 10), trade(7), quote(9)):
        assert over.from_successor(event, 0.1) == []
    for event in (diff(11, 11), trade(8), quote(11)):
        assert over.from_successor(event, 0.2) == [event]
    assert over.over


def test_a_ticker_joins_only_where_both_brought_the_same_for_its_ids_have_holes():
    over = handover(quote(9))
    assert over.from_successor(quote(12), 0.0) == [], "the old may have one of 10 or 11 on its way"
    assert over.from_old(quote(11)) == [quote(11)]
    assert over.from_successor(quote(13), 0.1) == []
    assert over.from_old(quote(12)) == [quote(12), quote(13)]


def test_what_the_successor_held_before_a_hole_carries_nobody_over_it():
    over = handover(diff(1, 10))
    over.from_successor(diff(13, 13), 0.0)
    over.from_successor(diff(15, 15), 0.1)  # 14 was lost
    assert over.from_old(diff(11, 12)) == [diff(11, 12)]
    assert over.from_old(diff(13, 13)) == [diff(13, 13)]
    assert over.from_old(diff(14, 14)) == [diff(14, 14), diff(15, 15)]


def test_ids_that_begin_anew_on_the_successor_are_not_swallowed():
    over = handover(diff(1, 100))
    assert over.from_successor(diff(90, 95), 0.0) == []
    assert over.from_successor(diff(3, 3), 0.1) == [diff(3, 3)]
    assert over.from_successor(diff(4, 4), 0.2) == [diff(4, 4)]


def test_the_successor_holds_no_more_than_its_bound():
    over = handover(diff(1, 10), kinds=(DepthUpdate,))
    for number in range(12, 12 + HELD_MAX + 1):
        over.from_successor(diff(number, number), 0.0)
    assert over.from_old(diff(11, 11)) == [diff(11, 11)], "the one that joins is gone"
    assert len(over.from_old(diff(12, 12))) == 1 + HELD_MAX


@pytest.mark.parametrize("passed", [(), (diff(1, 10), trade(7), quote(9))], ids=["never heard", "heard once"])
def test_a_stream_that_is_quiet_on_both_changes_over_a_while_after_the_acknowledgement(passed):
    over = handover(*passed)
    assert over.time_passed(1000.0, 0) == [] and not over.complete, "not acknowledged"
    over.acknowledged([BTC], 1000.0)
    assert over.time_passed(1000.0 + SETTLE_S - 0.01, 0) == [] and not over.complete
    assert over.time_passed(1000.0 + SETTLE_S, 0) == [] and over.complete
    for event in (diff(11, 11), trade(8), quote(11)):
        assert over.from_old(event) == []
        assert over.from_successor(event, 1006.0) == [event]


def test_a_late_copy_of_what_a_quiet_stream_brought_last_on_the_old_is_no_news():
    over = handover(quote(9))
    over.acknowledged([BTC], 0.0)
    assert over.from_old(quote(12)) == [quote(12)]
    over.time_passed(SETTLE_S, 0)
    assert over.from_successor(quote(12), SETTLE_S + 0.1) == []
    assert over.from_successor(quote(14), SETTLE_S + 0.2) == [quote(14)]


def test_an_old_connection_that_stays_behind_is_not_waited_for_and_what_cannot_be_joined_begins_anew():
    """ETHUSDT is joined. Trades of BTCUSDT are filled by id, so only its depth makes it begin anew."""
    over = handover(diff(1, 10), trade(7), diff(1, 5, ETH), symbols=(BTC, ETH), kinds=(DepthUpdate, Trade))
    over.acknowledged([BTC, ETH], 0.0)
    over.from_successor(diff(6, 6, ETH), 1.0)
    for event in (diff(15, 15, recv=2), trade(9, recv=1), diff(16, 16, recv=3)):
        assert over.from_successor(event, 4.0) == []
    assert over.time_passed(4.0 + SETTLE_S - 0.01, 77) == []
    told = over.time_passed(4.0 + SETTLE_S, 77)
    assert told == [
        trade(9, recv=1),
        Disconnected((BTC,), BEHIND, 77),
        Subscribed((BTC,), 77),
        diff(15, 15, recv=2),
        diff(16, 16, recv=3),
    ]
    assert over.complete and over.over
    assert over.from_old(diff(11, 11)) == []


# An end before the end ---------------------------------------------------------------


def test_when_the_old_ends_what_has_changed_over_notices_nothing_and_the_rest_begins_anew():
    over = handover(diff(1, 10), diff(1, 5, ETH), symbols=(BTC, ETH), kinds=(DepthUpdate, Trade))
    over.from_successor(trade(3, recv=1), 0.0)
    over.from_successor(diff(11, 11), 0.0)
    over.from_successor(diff(8, 8, ETH, recv=2), 0.0)
    assert over.old_ended("cut", 77) == [trade(3, recv=1), Disconnected((ETH,), "cut", 77), diff(8, 8, ETH, recv=2)]
    assert over.complete
    assert over.from_successor(diff(9, 9, ETH), 0.1) == [diff(9, 9, ETH)]


def test_a_symbol_whose_ticker_has_not_changed_over_begins_anew_for_nobody_knows_what_is_missing():
    over = handover(diff(1, 10), quote(9))
    over.acknowledged([BTC], 0.0)
    over.from_successor(diff(11, 11), 0.0)
    assert over.old_ended("cut", 77) == [Disconnected((BTC,), "cut", 77), Subscribed((BTC,), 77)]


def test_when_the_successor_ends_what_it_carried_is_lost_and_the_rest_stays_with_the_old():
    over = handover(diff(1, 10), diff(1, 5, ETH), symbols=(BTC, ETH))
    over.from_successor(diff(11, 11), 0.0)
    over.from_successor(diff(8, 8, ETH), 0.0)
    assert over.carries(BTC) and not over.carries(ETH)
    assert over.successor_ended("cut", 77) == [Disconnected((BTC,), "cut", 77)]
    assert handover(diff(1, 10)).successor_ended("cut", 77) == []


# Any two connections -------------------------------------------------------------------

IDS = 400
ID_S = 0.05  # seconds between two changes
PRICES = 6


class World:
    """Changes 1..IDS, each sets one price; every third is a trade; some move the best price, which a ticker tells."""

    def __init__(self, rng):
        self.changes = [(rng.randrange(PRICES), rng.randrange(4)) for _ in range(IDS)]
        self.tickers = [number for number in range(1, IDS + 1) if rng.random() < 0.3]

    def truth(self, last):
        book = {}
        for price, quantity in self.changes[:last]:
            book[price] = quantity
        return {price: quantity for price, quantity in book.items() if quantity}

    def connection(self, rng, after, lag_s, loss=0.0):
        """[(arrival, event)] of all that a connection brings which was subscribed after change `after`; one socket keeps order.

        Second result: first ids of depth and trade events with a loss directly before them.
        """
        born = []
        first = after + 1
        while first <= IDS:
            last = min(IDS, first + rng.randrange(8))
            levels = {}
            for price, quantity in self.changes[first - 1 : last]:
                levels[price] = quantity
            born.append((last, DepthUpdate(BTC, first, last, 0, 0, tuple(levels.items()), ())))
            first = last + 1
        born += [(number, quote(number)) for number in self.tickers if number > after]
        born += [(number, trade(number // 3)) for number in range(3, IDS + 1, 3) if number > after]
        born.sort(key=lambda pair: pair[0])
        arrivals, lost_before, lost, at = [], set(), {}, 0.0
        for number, event in born:
            at = max(at, number * ID_S + rng.uniform(0.0, lag_s))
            if rng.random() < loss:
                lost[type(event)] = True
                continue
            if lost.pop(type(event), False):
                lost_before.add(id(event))
            arrivals.append((at, event))
        return arrivals, lost_before


def span(event):
    return (event.first_id, event.last_id) if isinstance(event, DepthUpdate) else (event.agg_id, event.agg_id)


def joined(rng, *, lags=(2.0, 2.0), losses=(0.0, 0.0), old_ends=None, successor_ends=None):
    """What comes out of a handover from change 100 on, with the events after which a loss is excused."""
    world = World(rng)
    old, old_lost = world.connection(rng, 0, lags[0], losses[0])
    new, new_lost = world.connection(rng, rng.randrange(100, 140), lags[1], losses[1])
    begin = 100 * ID_S
    timed = [(at, 1, "old", event) for at, event in old] + [(at, 2, "new", event) for at, event in new]
    timed += [(begin, 0, "begin", None), (150 * ID_S, 0, "ack", None)]
    timed += [(150 * ID_S + look / 2, 3, "look", None) for look in range(120)]
    timed += [(at, 0, f"{who} ends", None) for who, at in (("old", old_ends), ("new", successor_ends)) if at is not None]
    out, passed, over, ended = [], {}, None, set()
    for at, _, what, event in sorted(timed, key=lambda entry: entry[:2]):
        if what.split()[0] in ended:
            continue
        news = []
        match what:
            case "begin":
                over = Handover((BTC,), KINDS, passed)
            case "ack" if "new" not in ended:
                over.acknowledged([BTC], at)
            case "look" if not ended:
                news = over.time_passed(at, 0)
            case "old" if over is None or "new" in ended:
                news = [event]
            case "old":
                news = over.from_old(event)
            case "new":
                news = over.from_successor(event, at)
            case "old ends" if over.complete:
                ended.add("old")  # nobody listens any more
            case "old ends":
                news = over.old_ended("cut", 0)
                ended.add("old")
            case "new ends" if not over.complete:
                news = over.successor_ended("cut", 0)
                ended.add("new")
        out += news
        passed |= {(type(event), BTC): event for event in news if isinstance(event, KINDS)}
    return world, out, old_lost | new_lost, over


def assert_true(world, out, excused=frozenset()):
    """Books and trades run on without hole or repetition between two disconnections, and the book is the truth at each id."""
    book, last = {}, {}
    for event in out:
        if isinstance(event, Disconnected):
            last.clear()
        elif isinstance(event, BestQuote):
            assert event.update_id > last.get(BestQuote, 0)
            last[BestQuote] = event.update_id
        elif isinstance(event, DepthUpdate | Trade):
            first, end = span(event)
            before = last.get(type(event))
            if before is None or (first > before + 1 and id(event) in excused):
                book = world.truth(first - 1) if isinstance(event, DepthUpdate) else book  # fetched anew
            else:
                assert first <= before + 1 and end > before, event
            last[type(event)] = end
            if isinstance(event, DepthUpdate):
                book = {price: quantity for price, quantity in (book | dict(event.bids)).items() if quantity}
                assert book == world.truth(end)
    return last


seeds = st.integers(0, 2**32).map(random.Random)
lag = st.sampled_from([0.0, 0.1, 0.5, 2.0])


@given(seeds, lag, lag)
@settings(max_examples=300, deadline=None)
def test_two_connections_that_are_cut_differently_make_one_sequence_without_hole_or_repetition(rng, lag_old, lag_new):
    world, out, _, over = joined(rng, lags=(lag_old, lag_new))
    assert not [event for event in out if isinstance(event, Disconnected | Subscribed)]
    assert assert_true(world, out)[DepthUpdate] == IDS
    assert [event.agg_id for event in out if isinstance(event, Trade)] == list(range(1, IDS // 3 + 1))
    assert [event.update_id for event in out if isinstance(event, BestQuote)] == world.tickers
    assert over.complete


@given(seeds, lag, lag, st.sampled_from([0.0, 0.1, 0.4]), st.sampled_from([0.0, 0.1, 0.4]))
@settings(max_examples=300, deadline=None)
def test_a_hole_in_the_sequence_is_a_hole_of_the_connection_it_came_from(rng, lag_old, lag_new, lost_old, lost_new):
    world, out, excused, _ = joined(rng, lags=(lag_old, lag_new), losses=(lost_old, lost_new))
    assert_true(world, out, excused)


@given(seeds, lag, lag, st.floats(100 * ID_S, 250 * ID_S))
@settings(max_examples=300, deadline=None)
def test_an_old_connection_that_ends_early_leaves_one_sequence_or_says_where_it_broke(rng, lag_old, lag_new, ends):
    world, out, _, over = joined(rng, lags=(lag_old, lag_new), old_ends=ends)
    assert assert_true(world, out)[DepthUpdate] == IDS
    assert len([event for event in out if isinstance(event, Disconnected)]) <= 1
    assert over.complete


@given(seeds, lag, lag, st.floats(100 * ID_S, 250 * ID_S))
@settings(max_examples=300, deadline=None)
def test_a_successor_that_ends_early_costs_only_what_it_had_taken_over(rng, lag_old, lag_new, ends):
    world, out, _, over = joined(rng, lags=(lag_old, lag_new), successor_ends=ends)
    lost = [index for index, event in enumerate(out) if isinstance(event, Disconnected)]
    assert len(lost) <= (not over.complete)
    depth = [event for event in out if isinstance(event, DepthUpdate)]
    assert_true(world, [event for event in out if not isinstance(event, Trade)])
    if not over.complete:
        assert depth[-1].last_id == IDS
