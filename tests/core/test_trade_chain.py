"""TradeChain: every hole is asked for, filled in its place or named; against a model stream that loses and repeats."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from tests.core.build import trade

from leadline.core import trade_chain
from leadline.core.records import TradeState
from leadline.core.trade_chain import (
    HOLE_MAX,
    PAGE,
    RETRY_S,
    ChainRestarted,
    FetchTrades,
    TradeChain,
    TradesAccepted,
    TradesMissing,
)

COMPLETE, BACKFILLED = TradeState.COMPLETE, TradeState.BACKFILLED


def trades(*ids):
    return tuple(trade(number, at=number) for number in ids)


def accepted(*ids, state=COMPLETE):
    return TradesAccepted(trades(*ids), state)


def chain_at(last: int) -> TradeChain:
    chain = TradeChain()
    chain.received(trade(last, at=last), 0.0)
    return chain


def receive(chain, *ids, now=0.0):
    return [effect for number in ids for effect in chain.received(trade(number, at=number), now)]


def test_trades_that_close_up_are_accepted_as_they_come():
    assert receive(TradeChain(), 5, 6, 7) == [accepted(5), accepted(6), accepted(7)]


def test_a_trade_that_was_seen_is_accepted_once():
    assert receive(TradeChain(), 5, 6, 6, 5, 7) == [accepted(5), accepted(6), accepted(7)]


def test_a_hole_is_asked_for_by_its_own_ids_and_live_trades_wait_behind_it():
    chain = chain_at(10)
    assert receive(chain, 14, now=2.0) == [FetchTrades(1, 11, 13, 3, 2.0)]
    assert chain.hole == (11, 13)
    assert receive(chain, 15, now=2.1) == []
    assert chain.page_received(1, trades(11, 12, 13), 2.5) == [accepted(11, 12, 13, state=BACKFILLED), accepted(14, 15)]
    assert chain.hole is None
    assert receive(chain, 16) == [accepted(16)]


def test_one_missing_trade_is_a_hole_of_one():
    assert receive(chain_at(10), 12) == [FetchTrades(1, 11, 11, 1, 0.0)]


def test_trades_in_the_answer_beyond_the_hole_are_not_taken_twice():
    chain = chain_at(10)
    receive(chain, 12)
    assert chain.page_received(1, trades(9, 10, 11, 12, 13), 0.0) == [accepted(11, state=BACKFILLED), accepted(12)]
    assert receive(chain, 13) == [accepted(13)]


def test_a_long_hole_is_read_page_by_page():
    chain = chain_at(10)
    assert receive(chain, 2512) == [FetchTrades(1, 11, 2511, PAGE, 0.0)]
    assert chain.page_received(1, trades(*range(11, 1011)), 1.0) == [FetchTrades(2, 1011, 2511, PAGE, 1.0)]
    assert chain.page_received(2, trades(*range(1011, 2011)), 2.0) == [FetchTrades(3, 2011, 2511, 501, 2.0)]
    filled, live = chain.page_received(3, trades(*range(2011, 2512)), 3.0)
    assert filled == accepted(*range(11, 2512), state=BACKFILLED)
    assert live == accepted(2512)


def test_the_database_that_lags_is_asked_again_after_1_2_4_and_8_seconds_and_then_the_hole_is_named():
    chain = chain_at(10)
    [fetch] = receive(chain, 13)
    waits = []
    for _ in RETRY_S[1:]:
        [fetch] = chain.page_received(fetch.request_id, (), 100.0)
        waits.append(fetch.not_before - 100.0)
    assert waits == [1, 2, 4, 8]
    missing, live = chain.page_received(fetch.request_id, (), 100.0)
    assert missing == TradesMissing(11, 12, trade(10, at=10), trade(13, at=13), "not in the answer, 5 attempts")
    assert live == accepted(13)


def test_an_exchange_that_does_not_answer_is_asked_five_times():
    chain = chain_at(10)
    [fetch] = receive(chain, 13)
    for _ in range(4):
        [fetch] = chain.page_failed(fetch.request_id, 0.0)
    missing, live = chain.page_failed(fetch.request_id, 0.0)
    assert (missing.from_id, missing.to_id, missing.why) == (11, 12, "no answer, 5 attempts")
    assert live == accepted(13)


def test_a_page_with_something_in_it_begins_the_count_of_tries_anew():
    chain = chain_at(10)
    [fetch] = receive(chain, 14)
    for _ in range(4):
        [fetch] = chain.page_failed(fetch.request_id, 50.0)
    assert fetch.not_before == 58.0
    assert chain.page_received(fetch.request_id, trades(11), 60.0) == [FetchTrades(6, 12, 13, 2, 60.0)]


def test_what_came_of_a_hole_is_kept_when_its_rest_stays_away():
    chain = chain_at(10)
    [fetch] = receive(chain, 14)
    [fetch] = chain.page_received(fetch.request_id, trades(11), 0.0)
    for _ in range(4):
        [fetch] = chain.page_failed(fetch.request_id, 0.0)
    filled, missing, live = chain.page_failed(fetch.request_id, 0.0)
    assert (filled, live) == (accepted(11, state=BACKFILLED), accepted(14))
    assert (missing.from_id, missing.to_id, missing.after, missing.before) == (12, 13, trade(11, at=11), trade(14, at=14))


def test_answers_to_old_questions_change_nothing():
    chain = chain_at(10)
    [old] = receive(chain, 13)
    [new] = chain.page_failed(old.request_id, 0.0)
    assert chain.page_received(old.request_id, trades(11, 12), 0.0) == []
    assert chain.page_failed(old.request_id, 0.0) == []
    assert chain.page_received(new.request_id, trades(11, 12), 0.0) == [accepted(11, 12, state=BACKFILLED), accepted(13)]
    assert chain.page_received(new.request_id, trades(11, 12), 0.0) == []
    assert chain.page_failed(new.request_id, 0.0) == []


def test_a_question_is_wanted_until_it_is_answered_or_given_up():
    chain = chain_at(10)
    assert not chain.wants(0)
    receive(chain, 13)
    assert chain.wants(1)
    chain.page_failed(1, 0.0)
    assert (chain.wants(1), chain.wants(2)) == (False, True)
    chain.give_up("stop")
    assert not chain.wants(2)


def test_several_holes_are_asked_for_one_after_the_other():
    chain = chain_at(10)
    receive(chain, 12, 13, 15, 18)
    assert chain.page_received(1, trades(11), 0.0) == [
        accepted(11, state=BACKFILLED),
        accepted(12, 13),
        FetchTrades(2, 14, 14, 1, 0.0),
    ]
    assert chain.page_received(2, trades(14), 0.0) == [
        accepted(14, state=BACKFILLED),
        accepted(15),
        FetchTrades(3, 16, 17, 2, 0.0),
    ]
    assert chain.page_received(3, trades(16, 17), 0.0) == [accepted(16, 17, state=BACKFILLED), accepted(18)]


def test_giving_up_names_every_hole_and_lets_all_live_trades_go_on():
    """A stop must not lose what was received: 12, 13 and 15 wait behind the holes 11 and 14."""
    chain = chain_at(10)
    receive(chain, 12, 13, 15)
    effects = chain.give_up("stop")
    assert [effect for effect in effects if isinstance(effect, TradesAccepted)] == [accepted(12, 13), accepted(15)]
    holes = [(effect.from_id, effect.to_id) for effect in effects if isinstance(effect, TradesMissing)]
    assert holes == [(11, 11), (14, 14)]
    assert not any(isinstance(effect, FetchTrades) for effect in effects)
    assert chain.hole is None
    assert chain.give_up("stop") == []


def test_a_hole_that_is_not_worth_the_wait_is_named_at_once():
    chain = chain_at(10)
    at_most = 10 + HOLE_MAX
    assert isinstance(receive(chain, at_most)[0], FetchTrades)
    chain = chain_at(10)
    missing, live = receive(chain, at_most + 1)
    assert (missing.from_id, missing.to_id, missing.why) == (11, at_most, "the hole is too long")
    assert live == accepted(at_most + 1)


def test_a_second_hole_that_is_not_worth_the_wait_is_named_too():
    chain = chain_at(10)
    receive(chain, 12, 13 + HOLE_MAX)
    filled, live, missing, after = chain.page_received(1, trades(11), 0.0)
    assert (filled, live) == (accepted(11, state=BACKFILLED), accepted(12))
    assert (missing.from_id, missing.to_id) == (13, 12 + HOLE_MAX)
    assert after == accepted(13 + HOLE_MAX)


def test_too_many_waiting_trades_end_the_wait(monkeypatch):
    monkeypatch.setattr(trade_chain, "WAITING_MAX", 3)
    chain = chain_at(10)
    assert receive(chain, 12, 13, 14)[1:] == []
    missing, live = receive(chain, 15)
    assert (missing.from_id, missing.to_id) == (11, 11)
    assert live == accepted(12, 13, 14, 15)


def test_a_stored_last_trade_is_continued_from():
    chain = TradeChain(trade(10, at=10))
    assert receive(chain, 9, 10) == []
    assert receive(chain, 13) == [FetchTrades(1, 11, 12, 2, 0.0)]


@pytest.mark.parametrize(("first", "last"), [(12, 12), (13, 14), (10, 11)])
def test_fills_that_do_not_close_up_are_said_even_where_aggregate_ids_do(first, last):
    chain = chain_at(10)
    odd = trade(11, at=11, first=first, last=last)
    assert chain.received(odd, 0.0) == [
        TradesMissing(11, 10, trade(10, at=10), odd, "fills do not close up"),
        TradesAccepted((odd,), COMPLETE),
    ]


def test_fills_close_up_over_aggregates_of_many_fills():
    chain = TradeChain()
    rows = [trade(1, first=100, last=109), trade(2, first=110, last=110), trade(3, first=111, last=120)]
    assert [chain.received(row, 0.0) for row in rows] == [[TradesAccepted((row,), COMPLETE)] for row in rows]


def test_fills_that_do_not_close_up_inside_an_answer_are_said_where_they_are():
    chain = chain_at(10)
    receive(chain, 14)
    page = (trade(11, at=11), trade(12, at=12, first=20, last=20), trade(13, at=13, first=21, last=21))
    effects = chain.page_received(1, page, 0.0)
    assert effects == [
        TradesAccepted(page[:1], BACKFILLED),
        TradesMissing(12, 11, page[0], page[1], "fills do not close up"),
        TradesAccepted(page[1:], BACKFILLED),
        TradesMissing(14, 13, page[2], trade(14, at=14), "fills do not close up"),
        accepted(14),
    ]


def test_ids_that_fall_while_trade_time_rises_begin_another_chain():
    chain = chain_at(1000)
    first = trade(3, at=2000)
    assert chain.received(first, 0.0) == [ChainRestarted(trade(1000, at=1000), first), TradesAccepted((first,), COMPLETE)]
    assert chain.received(trade(4, at=2001), 0.0) == [TradesAccepted((trade(4, at=2001),), COMPLETE)]


def test_a_trade_of_the_same_time_and_a_lower_id_is_a_repetition():
    chain = chain_at(1000)
    assert chain.received(trade(999, at=1000), 0.0) == []


def test_another_chain_ends_every_wait_of_the_one_before():
    """Holes 11 and 13 are open, 12 and 14 wait. The restart names both holes and asks for nothing of the old chain."""
    chain = chain_at(10)
    receive(chain, 12, 14)
    first = trade(1, at=99)
    effects = chain.received(first, 0.0)
    assert [(effect.from_id, effect.to_id) for effect in effects if isinstance(effect, TradesMissing)] == [(11, 11), (13, 13)]
    assert [effect for effect in effects if isinstance(effect, TradesAccepted)] == [
        accepted(12),
        accepted(14),
        TradesAccepted((first,), COMPLETE),
    ]
    assert effects[-2] == ChainRestarted(trade(14, at=14), first)
    assert not any(isinstance(effect, FetchTrades) for effect in effects)
    assert (chain.hole, chain.last) == (None, first)


def test_the_newest_trade_is_the_one_that_waits():
    chain = chain_at(10)
    assert chain.newest == trade(10, at=10)
    receive(chain, 13)
    assert chain.newest == trade(13, at=13)
    assert TradeChain().newest is None


class Tape(RuleBasedStateMachine):
    """The truth is a list of trades. Everything given out, in its order, must be exactly that list: each trade once, or its id
    in a range that was named missing, and nothing else."""

    def __init__(self):
        super().__init__()
        self.chain = TradeChain()
        self.generation = 0
        self.number = 0
        self.time = 0
        self.truth = {}  # id -> trade, of this generation
        self.out = []  # (id, trade or None) of this generation, in order
        self.began = None
        self.lost_before_the_end = 0
        self.asked = None
        self.old = [0]

    def note(self, effects):
        for effect in effects:
            match effect:
                case FetchTrades():
                    self.old.append(self.asked.request_id if self.asked else 0)
                    self.asked = effect
                    assert effect.limit == min(PAGE, effect.to_id - effect.from_id + 1)
                case TradesAccepted():
                    assert effect.trades
                    self.out += [(row.agg_id, row) for row in effect.trades]
                case TradesMissing():
                    assert effect.from_id <= effect.to_id, "the model's fills always close up"
                    self.out += [(number, None) for number in range(effect.from_id, effect.to_id + 1)]
                    assert self.truth[effect.from_id - 1] == effect.after
                    assert self.truth[effect.to_id + 1] == effect.before
                case ChainRestarted():
                    self.check_order()
                    self.out = []
                    self.truth = {effect.first.agg_id: effect.first}
        if self.chain.hole is None:
            self.asked = None

    def print_one(self):
        self.number += 1
        self.time += 1
        # Aggregates of one to three fills, so that fill ids and aggregate ids part.
        first = self.truth[self.number - 1].last_id + 1 if self.number - 1 in self.truth else 100 * self.number
        row = trade(self.number, at=self.time, first=first, last=first + self.number % 3)
        self.truth[self.number] = row
        return row

    @rule(count=st.integers(1, 4), times=st.sampled_from([1, 1, 2]))
    def live_trades(self, count, times):
        for _ in range(count):
            row = self.print_one()
            for _ in range(times):
                self.note(self.chain.received(row, 0.0))

    @rule(count=st.sampled_from([1, 1, 2, 5, 1500]))
    def lost_on_the_wire(self, count):
        for _ in range(count):
            self.print_one()

    @precondition(lambda self: self.truth)
    @rule(back=st.integers(0, 6))
    def an_old_one_again(self, back):
        if (row := self.truth.get(self.number - back)) and self.chain.newest and row.agg_id <= self.chain.newest.agg_id:
            before = len(self.out)
            self.note(self.chain.received(row, 0.0))
            assert len(self.out) == before

    @precondition(lambda self: self.asked is not None)
    @rule(missing=st.sampled_from([0, 0, 1, 3, 2000]), skip=st.sampled_from([False, False, False, True]))
    def a_page_comes(self, missing, skip):
        """As the exchange answers: from the id on, up to the limit, beyond the hole too; short if the database lags."""
        asked, self.asked = self.asked, None
        rows = [self.truth[n] for n in range(asked.from_id, asked.from_id + asked.limit + 2) if n in self.truth]
        rows = rows[: max(0, len(rows) - missing)]
        if skip:
            rows = rows[1:]
        self.note(self.chain.page_received(asked.request_id, rows, 0.0))

    @precondition(lambda self: self.asked is not None)
    @rule()
    def no_answer(self):
        asked, self.asked = self.asked, None
        self.note(self.chain.page_failed(asked.request_id, 0.0))

    @rule(data=st.data())
    def a_late_answer(self, data):
        number = data.draw(st.sampled_from(self.old))
        if self.asked is not None and number == self.asked.request_id:
            return
        assert self.chain.page_received(number, list(self.truth.values())[:50], 0.0) == []
        assert self.chain.page_failed(number, 0.0) == []

    @rule()
    def give_up(self):
        self.note(self.chain.give_up("enough"))
        assert self.chain.hole is None

    @precondition(lambda self: self.number > 50 and self.truth)
    @rule()
    def ids_restart(self):
        if self.chain.newest is None or self.chain.newest.agg_id < 2:
            return
        self.number = 0
        self.time += 1
        row = trade(1, at=self.time, first=1, last=1)
        self.number = 1
        self.note(self.chain.received(row, 0.0))
        self.truth = {1: row}

    @rule()
    def the_service_restarts(self):
        """The store has all that was given out. What waited is lost with the process, and is a hole again."""
        last = next((row for _, row in reversed(self.out) if row is not None), None)
        if last is not None and self.out[-1][1] is not None:
            self.chain = TradeChain(last)
            self.asked = None
            self.old = [0]

    def check_order(self):
        numbers = [number for number, _ in self.out]
        if numbers:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        for number, row in self.out:
            assert row is None or row == self.truth[number]

    @invariant()
    def what_is_given_out_and_what_is_named_missing_is_the_truth_in_order(self):
        self.check_order()
        newest = self.chain.newest
        if self.out and newest is not None:
            waiting_from = self.chain.hole[0] if self.chain.hole else newest.agg_id + 1
            assert self.out[-1][0] <= newest.agg_id
            assert self.chain.hole is not None or self.out[-1][0] == newest.agg_id
            assert waiting_from > self.out[-1][0]

    @invariant()
    def a_hole_is_being_asked_for(self):
        assert (self.chain.hole is None) == (self.asked is None)


def test_what_is_accepted_and_what_is_named_missing_is_exactly_the_truth():
    run_state_machine_as_test(Tape, settings=settings(derandomize=True, deadline=None, max_examples=200, stateful_step_count=40))


# Probes ---------------------------------------------------------------------------------------------


def test_a_probe_asks_from_the_next_id_on_and_what_it_finds_continues_the_chain():
    chain = TradeChain(trade(10))
    [asked] = chain.probe(5.0)
    assert (asked.from_id, asked.limit, asked.not_before, asked.probe) == (11, 1000, 5.0, True)
    assert chain.wants(asked.request_id)
    assert chain.probe(6.0) == []
    found = (trade(11), trade(12))
    assert chain.page_received(asked.request_id, [trade(10), *found], 6.0) == [TradesAccepted(found, TradeState.BACKFILLED)]
    assert not chain.wants(asked.request_id)
    assert chain.received(trade(12), 7.0) == []
    assert chain.received(trade(13), 7.0) == [TradesAccepted((trade(13),), TradeState.COMPLETE)]


def test_a_probe_that_finds_nothing_or_fails_changes_nothing():
    chain = TradeChain(trade(10))
    for answer in (lambda n: chain.page_received(n, [], 0.0), lambda n: chain.page_failed(n, 0.0)):
        [asked] = chain.probe(0.0)
        assert answer(asked.request_id) == []
    assert chain.last == trade(10)
    assert TradeChain().probe(0.0) == []


def test_a_hole_that_opens_meanwhile_takes_the_place_of_the_probe():
    chain = TradeChain(trade(10))
    [probe] = chain.probe(0.0)
    [asked] = chain.received(trade(14), 1.0)
    assert not asked.probe
    assert chain.page_received(probe.request_id, [trade(11)], 1.0) == []
    assert chain.probe(2.0) == []
    effects = chain.page_received(asked.request_id, [trade(11), trade(12), trade(13)], 2.0)
    assert [t.agg_id for effect in effects for t in effect.trades] == [11, 12, 13, 14]
