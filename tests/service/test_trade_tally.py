"""Bought less sold since midnight, against a plain loop over the same trades, asked in any order while trades come in."""

from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.core.records import SymbolSecond, Trade, TradeBlock, TradeState
from leadline.service.steps import run
from leadline.service.trade_tally import Tallies
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

MIDNIGHT = 1_723_161_600
NANO = 10**9
SYMBOL = "X"
QUICK = settings(derandomize=True, deadline=None, max_examples=80)


def trade(n, second, quantity, *, buys=True, fills=1, first=None):
    first = 10 * n if first is None else first
    return Trade(SYMBOL, n, 100, quantity, first, first + fills - 1, (MIDNIGHT + second) * NANO, not buys)


def store(trades):
    history = History(MemoryEngine(), "trades")
    put(history, trades)
    return history


def put(history, trades):
    seconds = sorted({one.ts_trade_ns // NANO for one in trades})
    blocks = [
        TradeBlock(SYMBOL, s, TradeState.COMPLETE, tuple(one for one in trades if one.ts_trade_ns // NANO == s)) for s in seconds
    ]
    assert history.write([SymbolSecond(SYMBOL, MIDNIGHT, None, None, None, tuple(blocks), ())]) == []


def chained(rows):
    """(second, quantity, buys) with ids that close up, beginning with one before midnight."""
    return [trade(n, second, quantity, buys=buys, first=n) for n, (second, quantity, buys) in enumerate(rows)]


def test_a_chain_that_begins_before_midnight_has_no_hole():
    history = store(chained([(-5, 7, True), (1, 5, True), (2, 3, False), (100, 4, True)]))
    tally = run(Tallies(history).upto(SYMBOL, MIDNIGHT, MIDNIGHT + 200))
    assert (tally.delta_e8, tally.holes) == (5 - 3 + 4, ())


def test_a_day_whose_beginning_nobody_saw_has_a_hole_there_even_if_its_first_id_is_0():
    tally = run(Tallies(store(chained([(10, 5, True), (11, 3, True)]))).upto(SYMBOL, MIDNIGHT, MIDNIGHT + 60))
    assert tally.missing_between(MIDNIGHT, MIDNIGHT + 9)
    assert not tally.missing_between(MIDNIGHT + 10, MIDNIGHT + 60)
    assert tally.missing_s == 10


def test_a_missing_trade_is_a_hole_between_its_neighbours():
    rows = chained([(-1, 1, True), (10, 1, True), (20, 1, True), (30, 1, True)])
    tally = run(Tallies(store([rows[0], rows[1], rows[3]])).upto(SYMBOL, MIDNIGHT, MIDNIGHT + 60))
    assert [(hole.from_ns // NANO - MIDNIGHT, hole.to_ns // NANO - MIDNIGHT) for hole in tally.holes] == [(10, 30)]
    assert not tally.missing_between(MIDNIGHT, MIDNIGHT + 10)
    assert tally.missing_between(MIDNIGHT + 29, MIDNIGHT + 40)


def test_a_hole_that_is_filled_later_is_found_filled_when_the_day_is_looked_through_again():
    rows = chained([(-1, 1, True), (10, 1, True), (20, 9, True), (30, 1, True)])
    history = store([rows[0], rows[1], rows[3]])
    tallies = Tallies(history)
    assert run(tallies.upto(SYMBOL, MIDNIGHT, MIDNIGHT + 100)).holes
    put(history, [rows[2]])
    assert run(tallies.upto(SYMBOL, MIDNIGHT, MIDNIGHT + 150)).holes, "not yet"
    found = run(tallies.upto(SYMBOL, MIDNIGHT, MIDNIGHT + 450))
    assert (found.holes, found.delta_e8) == ((), 11)


@given(
    st.lists(st.tuples(st.integers(-20, 2_000), st.integers(1, 10**12), st.booleans()), min_size=1, max_size=60),
    st.lists(st.integers(1, 2_100), min_size=1, max_size=12),
)
@QUICK
def test_any_order_of_questions_gives_what_a_plain_loop_gives(rows, ends):
    """All trades are stored from the start; questions jump about, also back."""
    trades = chained(sorted(rows, key=lambda row: row[0]))
    tallies = Tallies(store(trades))
    for end in ends:
        tally = run(tallies.upto(SYMBOL, MIDNIGHT, MIDNIGHT + end))
        inside = [one for one in trades if MIDNIGHT * NANO <= one.ts_trade_ns < (MIDNIGHT + end) * NANO]
        assert tally.delta_e8 == sum(-one.quantity_e8 if one.buyer_is_maker else one.quantity_e8 for one in inside)
        begun = any(one.ts_trade_ns < MIDNIGHT * NANO for one in trades)
        assert bool(tally.holes) == bool(inside and not begun)
