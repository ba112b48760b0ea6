"""The market in process: the same again, in the product's records, and a snapshot that its stream bears out."""

from bench.injection.path import Clean
from bench.injection.plain import PlainBook
from bench.injection.source import SECOND_NS, WAY_NS, Source
from bench.injection.usual import usual_of

from leadline.core.records import BestQuote, DepthUpdate, Trade


def test_a_second_is_handed_out_again_as_it_was():
    source = Source("ETHUSDT", 3)
    played = [source.forward() for _ in range(3)]
    assert [source.second(place) for place in range(3)] == played
    assert list(source.events(1, 9)) == [*played[1], *played[2]]
    assert {type(event) for events in played for event in events} == {DepthUpdate, BestQuote, Trade}


def test_what_is_received_comes_a_constant_later_than_it_was_sent():
    source = Source("ETHUSDT", 3)
    for place in range(3):
        for event in source.forward():
            sent_ns = event.ts_recv_ns - WAY_NS
            assert (source.start_s + place) * SECOND_NS < sent_ns <= (source.start_s + place + 1) * SECOND_NS
            if isinstance(event, DepthUpdate):
                assert 0 <= sent_ns - event.ts_event_ns < 1_000_000, "E is the moment of sending, in whole ms"


def test_the_same_seed_is_the_same_market_and_another_one_is_another():
    one, same, other = Source("ETHUSDT", 3), Source("ETHUSDT", 3), Source("ETHUSDT", 4)
    events = one.forward()
    assert same.forward() == events
    assert other.forward() != events


def test_the_snapshot_and_the_diffs_after_it_tell_of_one_book():
    """The answer of second 1 with the diffs of second 2 agrees with the answer of second 2 at every price that a diff named."""
    source = Source("ETHUSDT", 3)
    source.forward()
    first = source.snapshot()
    diffs = [event for event in source.forward() if isinstance(event, DepthUpdate)]
    book = PlainBook(first.update_id, first.bids, first.asks)
    for diff in diffs:
        book.apply(diff)
    second = source.snapshot()
    assert first.limit > len(first.bids), "complete to its end"
    assert second.update_id >= book.last_id > first.update_id
    (later,) = [next(e for e in source.forward() if isinstance(e, DepthUpdate))]
    named = {p for p, _ in later.bids}, {p for p, _ in later.asks}
    for side, levels in enumerate((second.bids, second.asks)):
        same = {p: q for p, q in levels if p not in named[side]}
        assert {p: q for p, q in book.quantities[side].items() if p not in named[side]} == same


def test_the_rules_are_those_of_the_exchange():
    rules = Source("BTCUSDT", 3).rules()
    assert (rules.symbol, rules.tick_e8, rules.step_e8, rules.quote_asset) == ("BTCUSDT", 10**6, 10**3, "USDT")


def test_what_is_usual_is_taken_from_the_records(clean: Clean):
    """The median of ids and the 1 % depth by sorted lists, from the records themselves."""
    lo, hi = clean.source.start_s + 10, clean.source.start_s + 131
    usual = usual_of(clean.history, clean.symbol, lo, hi)
    records = clean.history.seconds(clean.symbol, lo, hi).rows
    assert len(records) == 121
    assert usual.n_ids == sorted(r.n_ids for r in records)[60]
    depths = sorted(min(r.depth_bid[3], r.depth_ask[3]) / 1e16 for r in records)
    assert depths[1] <= usual.depth_p01 <= depths[2]  # 1 % of the 120 gaps between them: 1.2
    parts = sorted(abs(sum(r.buy_quote - r.sell_quote for r in records[n : n + 10])) / 1e16 for n in range(0, 120, 10))
    assert parts[-2] <= usual.signed_quote_p99 <= parts[-1]
    assert usual.large_quote(0.1) == usual.size_p99_quote[0]
    assert usual.large_quote(5) == usual.size_p99_quote[5]
