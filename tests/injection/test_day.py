"""Row 0: what is counted over a day, and what shuffled trades keep."""

import random
from collections import Counter

from bench.injection.asking import Found
from bench.injection.day import Day, Quiet, Shuffled, shuffled, table
from bench.injection.source import Source
from tests.injection.told import Told

from leadline.core.records import BestQuote, Trade


def trades(seconds: list) -> list[Trade]:
    return [event for events in seconds for event in events if isinstance(event, Trade)]


def test_shuffled_trades_keep_times_ids_and_sides_and_are_done_at_the_touch():
    source = Source("ETHUSDT", 3)
    seconds = [source.forward() for _ in range(20)]
    dealt = shuffled(seconds, random.Random(1))
    before, after = trades(seconds), trades(dealt)
    assert [(t.agg_id, t.first_id, t.last_id, t.ts_trade_ns, t.ts_recv_ns) for t in after] == [
        (t.agg_id, t.first_id, t.last_id, t.ts_trade_ns, t.ts_recv_ns) for t in before
    ]
    assert Counter(t.buyer_is_maker for t in after) == Counter(t.buyer_is_maker for t in before)
    assert sum(one.quantity_e8 != other.quantity_e8 for one, other in zip(before, after, strict=True)) > len(before) / 2
    touch = None
    for event in (event for events in dealt for event in events):
        if isinstance(event, BestQuote):
            touch = event
        elif isinstance(event, Trade) and touch is not None:
            sides = (touch.ask_price_e8, touch.ask_quantity_e8), (touch.bid_price_e8, touch.bid_quantity_e8)
            price, shown = sides[event.buyer_is_maker]
            assert event.price_e8 == price
            assert event.quantity_e8 <= shown
    assert Told({}, {}).follow(t for t in after).wrong == []


def test_a_shuffled_market_begins_as_it_is_and_goes_on_second_by_second():
    """The first minute is untouched; then seconds come in their order, each event at its time."""
    plain, mixed = Source("ETHUSDT", 3), Shuffled("ETHUSDT", 3)
    for n in range(64):
        one, other = plain.forward(), mixed.forward()
        assert [event.ts_recv_ns for event in one] == [event.ts_recv_ns for event in other], n
        assert (one == other) or n >= 60


def test_a_day_is_a_line_a_detector():
    quiet = Quiet("Absorption", 1_409, 1_400, 2, 2.06, {"Low": 3, "Medium": 1, "High": 0, "Critical": 0}, {"baseline_short": 9})
    text = table([Day("BTCUSDT", 7, 86_400, 60, False, [quiet], [Found("Absorption", "Low", 1, 2, 2, ())])])
    assert text.splitlines()[-1] == "| BTCUSDT | 24 h | Absorption | 1400, 9 baseline_short | 2 | 2.06 | 3, 1, 0, 0 |"
