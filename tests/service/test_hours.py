"""Trades of long windows: equal to what the blocks give, whoever summed them up and when; and what is known of them."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store import samples

from leadline.core.errors import StoreError
from leadline.core.records import BookState, Flag, SymbolSecond, Trade, TradeBlock, TradeHour, TradeState
from leadline.service import hours, steps
from leadline.service.hours import TradeCover, traded_between
from leadline.store.engine import Engine
from leadline.store.history import History
from leadline.store.memory import MemoryEngine
from leadline.store.rocks import RocksEngine

HOUR = 490_000 * 3_600  # 1,764,000,000
NANO = 10**9
GOOD, LATER, GONE = TradeState.COMPLETE, TradeState.BACKFILLED, TradeState.MISSING
HEAVY = 2**62
ENGINES = pytest.mark.parametrize("make", [MemoryEngine, None], ids=["memory", "rocks"])


def fill(ids: tuple[int, int], second: float, *, price: int = 100, quantity: int = 10, buy: bool = True) -> Trade:
    """The fills `ids` at HOUR + second."""
    return Trade("BTCUSDT", ids[0], price, quantity, *ids, round((HOUR + second) * 1_000) * 10**6, not buy)


def store(history: History, trades: Iterable[Trade], state: TradeState = GOOD) -> None:
    """In the blocks of their seconds, as if the feed had handed them in."""
    by_second: dict[int, list[Trade]] = {}
    for trade in trades:
        by_second.setdefault(trade.ts_trade_ns // NANO, []).append(trade)
    blocks = [TradeBlock("BTCUSDT", second, state, tuple(found)) for second, found in by_second.items()]
    put(history, *blocks)


def put(history: History, *blocks: TradeBlock) -> None:
    assert history.write([SymbolSecond("BTCUSDT", HOUR, None, None, None, blocks, ())]) == []


def records(history: History, lo: int, hi: int, **changes: object) -> None:
    """Records of the ticks HOUR + lo + 1 ... HOUR + hi: they tell of the seconds [lo, hi)."""
    rows = [samples.row(HOUR + second + 1, **({"flags": 0} | changes)) for second in range(lo, hi)]
    assert history.write(rows) == []


def keep(history: History, second: int = 0) -> bool:
    claim = history.claim_hour("BTCUSDT", HOUR + second)
    hour = steps.run(hours.summed_hour(history, "BTCUSDT", HOUR + second))
    return hour is not None and history.write_hour(hour, claim)


def asked(history: History, lo: int, hi: int) -> tuple[Any, TradeCover]:
    return steps.run(traded_between(history, "BTCUSDT", HOUR + lo, HOUR + hi))


def cover(history: History, lo: int, hi: int) -> TradeCover:
    return asked(history, lo, hi)[1]


def history_of(make: Callable[[], Engine] | None, tmp_path_factory: pytest.TempPathFactory) -> History:
    return History(make() if make is not None else RocksEngine(tmp_path_factory.mktemp("db") / "db"), "the test's store")


# What is known, by hand ----------------------------------------------------------------------


def test_ids_that_close_up_make_every_second_between_two_trades_complete():
    """Trades in the seconds 0, 3, 8 and 20, no record: 0 and 20 are known in part, for nothing lies on their other side."""
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0), fill((2, 4), 3.5), fill((5, 5), 8.2), fill((6, 6), 20)])
    assert cover(history, 0, 20) == TradeCover(19, 0, 0, 1, 0)  # second 0: what came before its trade?
    assert cover(history, 3, 9) == TradeCover(6, 0, 0, 0, 0)
    assert cover(history, 4, 8) == TradeCover(4, 0, 0, 0, 0)  # between two trades that lie outside
    assert cover(history, 0, 21) == TradeCover(19, 0, 0, 2, 0)
    assert cover(history, -5, 30) == TradeCover(19, 0, 0, 16, 0)


def test_a_hole_takes_every_second_it_touches_and_its_ids_are_counted():
    """Fills 5, 6, 7 are missing between the seconds 3 and 8: 3, 4, 5, 6, 7 and 8 are missing."""
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0), fill((2, 4), 3.5), fill((8, 9), 8.2), fill((10, 10), 20)])
    assert cover(history, 1, 20) == TradeCover(13, 0, 6, 0, 3)
    assert cover(history, 5, 7) == TradeCover(0, 0, 2, 0, 3)  # the hole spans the window; its ids may lie in it
    assert cover(history, 5, 15) == TradeCover(6, 0, 4, 0, 3)
    assert cover(history, 1, 5) == TradeCover(2, 0, 2, 0, 3)
    assert cover(history, 9, 20) == TradeCover(11, 0, 0, 0, 0)


def test_two_holes_in_one_second_are_one_second():
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0), fill((3, 3), 4.1), fill((5, 5), 4.2), fill((9, 9), 4.3), fill((10, 10), 6)])
    assert cover(history, 1, 6) == TradeCover(1, 0, 4, 0, 5)


def test_ids_that_begin_anew_cannot_be_counted():
    history = History(MemoryEngine(), "s")
    store(history, [fill((100, 100), 0), fill((101, 101), 2), fill((1, 1), 5), fill((2, 2), 9)])
    assert cover(history, 1, 9) == TradeCover(4, 0, 4, 0, None)
    assert cover(history, 3, 5) == TradeCover(0, 0, 2, 0, None)
    assert cover(history, 6, 9) == TradeCover(3, 0, 0, 0, 0)


def test_a_block_says_whether_its_own_second_was_fetched_later():
    """Seconds 3 and 5 were backfilled; in between nothing traded, which the ids prove, and which needed no backfill."""
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0), fill((4, 4), 6), fill((5, 5), 9)])
    store(history, [fill((2, 2), 3), fill((3, 3), 5)], LATER)
    assert cover(history, 1, 9) == TradeCover(6, 2, 0, 0, 0)
    assert cover(history, 5, 6) == TradeCover(0, 1, 0, 0, 0)


def test_a_block_that_says_missing_is_believed_where_the_ids_close_up():
    """An earlier block of second 3 was damaged; its trades came again."""
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0), fill((3, 3), 6)])
    store(history, [fill((2, 2), 3)], GONE)
    assert cover(history, 1, 6) == TradeCover(4, 0, 1, 0, 0)


def test_beside_the_last_trade_the_records_tell():
    """Last trade in second 3. Records: 3 to 9 sound, 10 partial, 11 late, 12 not LIVE, 13 with an open hole; then none."""
    history = History(MemoryEngine(), "s")
    records(history, 3, 10)
    records(history, 10, 11, flags=int(Flag.PARTIAL))
    records(history, 11, 12, flags=int(Flag.CLOCK))
    records(history, 12, 13, state=BookState.SYNCING)
    records(history, 13, 14, trade_state=GONE)
    store(history, [fill((1, 1), 0), fill((2, 2), 3)])
    assert cover(history, 1, 10) == TradeCover(9, 0, 0, 0, 0)
    assert cover(history, 1, 16) == TradeCover(9, 0, 1, 5, 0)


def test_before_the_first_trade_the_records_tell_too():
    """First trade in second 5: the part of that second before it was seen only if the record of tick 6 is sound."""
    history = History(MemoryEngine(), "s")
    records(history, 2, 5)
    store(history, [fill((1, 1), 5.5), fill((2, 2), 9)], LATER)
    assert cover(history, 0, 9) == TradeCover(6, 0, 0, 3, 0)
    records(history, 5, 6)
    assert cover(history, 0, 9) == TradeCover(6, 1, 0, 2, 0)


def test_without_any_trade_only_the_records_tell():
    history = History(MemoryEngine(), "s")
    records(history, 2, 1_500)
    put(history, TradeBlock("BTCUSDT", HOUR + 7, GONE, ()))
    assert cover(history, 0, 1_600) == TradeCover(1_497, 0, 1, 102, 0)


def test_a_single_second_is_judged_from_both_its_sides():
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0), fill((2, 2), 5), fill((4, 4), 9)])
    assert cover(history, 5, 6) == TradeCover(0, 0, 1, 0, 1)
    assert cover(history, 1, 5) == TradeCover(4, 0, 0, 0, 0)


def test_an_empty_window_has_nothing_in_it():
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), 0)])
    histogram, known = asked(history, 5, 5)
    assert (len(histogram.ts_ns), known) == (0, TradeCover(0, 0, 0, 0, 0))


def test_a_neighbour_that_cannot_be_read_is_as_good_as_none():
    class Damaged(MemoryEngine):
        def last(self, family, lo, upto):
            raise StoreError("s", "damaged")

    history = History(Damaged(), "s")
    store(history, [fill((1, 1), 0), fill((2, 2), 5), fill((3, 3), 9)])
    assert cover(history, 3, 9) == TradeCover(3, 0, 0, 3, 0)


# What is known, by a model ---------------------------------------------------------------------

Model = dict[int, tuple[TradeState, list[Trade]]]


def judged(stored: Model, sound: set[int], lo: int, hi: int) -> TradeCover:
    """Second by second, pair by pair. sound: seconds whose record says that nothing was missing."""
    trades = [trade for second in sorted(stored) for trade in stored[second][1]]
    seconds = [trade.ts_trade_ns // NANO for trade in trades]
    holes = [
        (seconds[i], seconds[i + 1], b.first_id - a.last_id - 1)
        for i, (a, b) in enumerate(pairwise(trades))
        if b.first_id != a.last_id + 1
    ]
    said: Counter[str] = Counter()
    for second in range(lo, hi):
        state = stored.get(second, (GOOD, []))[0] if stored.get(second, (GOOD, []))[1] else GOOD
        if any(first <= second <= last for first, last, _ in holes):
            said["missing"] += 1
        elif not trades or second <= seconds[0] or second >= seconds[-1]:
            empty_and_missing = second in stored and not stored[second][1] and stored[second][0] is GONE
            bad = state is GONE or empty_and_missing
            said["missing" if bad else state.value.lower() if second in sound else "unknown"] += 1
        else:
            said[state.value.lower()] += 1
    touching = [gap for first, last, gap in holes if last >= lo and first < hi]
    counted = None if any(gap < 0 for gap in touching) else sum(touching)
    return TradeCover(said["complete"], said["backfilled"], said["missing"], said["unknown"], counted)


SPANS = st.tuples(st.integers(-4_000, 8_000), st.integers(-4_000, 8_000)).map(sorted)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[int, TradeState, list[Trade]]]:
    """Some seconds with trades over three hours; ids mostly close up, sometimes leave a hole, rarely fall."""
    seconds = sorted(draw(st.sets(st.integers(-3_700, 7_300) | st.integers(-3, 3) | st.integers(3_597, 3_602), max_size=12)))
    next_id, found = 1_000, []
    for second in seconds:
        trades = []
        for _ in range(draw(st.integers(0, 3))):
            next_id += draw(st.sampled_from([0, 0, 0, 0, 1, 5, -40]))
            length = draw(st.integers(1, 3))
            price, quantity = draw(st.sampled_from([100, 200, 250])), draw(st.sampled_from([1, 7, 10**6, HEAVY]))
            ids = (next_id, next_id + length - 1)
            trades.append(fill(ids, second + len(trades) / 4, price=price, quantity=quantity, buy=draw(st.booleans())))
            next_id += length
        trades.sort(key=lambda trade: trade.agg_id)
        found.append((HOUR + second, draw(st.sampled_from([GOOD, GOOD, LATER, GONE])), trades))
    return found


@settings(max_examples=150, deadline=None)
@given(stories(), SPANS, st.sets(st.integers(-1, 2)), st.sets(st.integers(-4_000, 8_000), max_size=4))
def test_coverage_is_that_of_the_rule_whichever_hours_are_kept(
    story: list[tuple[int, TradeState, list[Trade]]], window: list[int], kept: set[int], sound: set[int]
):
    history = History(MemoryEngine(), "s")
    blocks = [TradeBlock("BTCUSDT", second, state, tuple(trades)) for second, state, trades in story]
    put(history, *blocks)
    for second in sound:
        records(history, second, second + 1)
    for number in kept:
        assert keep(history, 3_600 * number)
    stored = {block.second: (block.state, list(block.trades)) for block in blocks}
    lo, hi = window
    found = cover(history, lo, hi)
    assert found == judged(stored, {HOUR + second for second in sound}, HOUR + lo, HOUR + hi)
    assert found.expected_s == hi - lo


# Sums, by a model --------------------------------------------------------------------------------


def lines(histogram: Any) -> dict[tuple[int, int], tuple[int, int, int]]:
    """(start of 5 minutes, price) -> bought, sold, fills; exact."""
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    columns = (histogram.ts_ns, histogram.price_e8, histogram.buy_e8, histogram.sell_e8, histogram.fills)
    for ts_ns, price, *sums in zip(*(column.tolist() for column in columns), strict=True):
        place = (ts_ns // NANO // 300 * 300, price)
        found[place] = tuple(a + b for a, b in zip(found.get(place, (0, 0, 0)), sums, strict=True))  # type: ignore[assignment]
    return found


def added(trades: Sequence[Trade]) -> dict[tuple[int, int], tuple[int, int, int]]:
    """The same from the trades, one by one."""
    found: dict[tuple[int, int], tuple[int, int, int]] = {}
    for trade in trades:
        place = (trade.ts_trade_ns // NANO // 300 * 300, trade.price_e8)
        bought, sold, fills = found.get(place, (0, 0, 0))
        if trade.buyer_is_maker:
            sold += trade.quantity_e8
        else:
            bought += trade.quantity_e8
        found[place] = bought, sold, fills + trade.last_id - trade.first_id + 1
    return found


def batches(trades: Sequence[Trade]) -> int:
    """Runs of one time and one aggressor whose price never moves back against it."""
    count = 0
    before: Trade | None = None
    for trade in trades:
        goes_on = (
            before is not None
            and before.ts_trade_ns == trade.ts_trade_ns
            and before.buyer_is_maker == trade.buyer_is_maker
            and (trade.price_e8 - before.price_e8) * (-1 if trade.buyer_is_maker else 1) >= 0
        )
        count += not goes_on
        before = trade
    return count


def sums(trades: Sequence[Trade]) -> tuple[int, int, int, int, int]:
    times = [trade.ts_trade_ns for trade in trades]
    return (
        sum(trade.price_e8 * trade.quantity_e8 for trade in trades),
        sum(trade.quantity_e8**2 for trade in trades),
        batches(trades),
        min(times, default=0),
        max(times, default=0),
    )


def sums_of(found: Any) -> tuple[int, int, int, int, int]:
    return found.quote_e16, found.squares_e16, found.batches, found.first_ns, found.last_ns


def between(stored: Model, lo: int, hi: int) -> list[Trade]:
    return [trade for second in sorted(stored) if lo <= second < hi for trade in stored[second][1]]


def written(stored: Model, second: int, state: TradeState, trades: Sequence[Trade]) -> None:
    """What the store makes of a block: merged by id, the worse state stays."""
    held_state, held = stored.get(second, (GOOD, []))
    merged = {trade.agg_id: trade for trade in (*held, *trades)}
    order = [GOOD, LATER, GONE]
    stored[second] = max(state, held_state, key=order.index), [merged[agg_id] for agg_id in sorted(merged)]


_steps = st.one_of(
    st.tuples(st.just("write"), st.integers(-2, 7_202), st.integers(1, 40), st.sampled_from([GOOD, LATER, GONE])),
    st.tuples(st.just("claim"), st.integers(0, 1)),
    st.tuples(st.just("sum"), st.integers(0, 1)),
    st.tuples(st.just("keep"), st.integers(0, 1)),
    st.tuples(st.just("cut"), st.sampled_from([-3_600, 0, 1, 1_800, 3_600, 3_601])),
)


@ENGINES
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(_steps, max_size=25))
def test_an_hour_that_is_served_equals_the_sum_over_its_blocks_or_is_absent(
    tmp_path_factory: pytest.TempPathFactory, make: Callable[[], Engine] | None, story: list[tuple[Any, ...]]
):
    """Blocks are written, late and anew, claims are made, hours summed up and kept, retention cuts: in any order."""
    history = history_of(make, tmp_path_factory)
    stored: Model = {}
    last = fill((90, 90), 50_000)  # of a symbol without a block nothing is kept
    store(history, [last])
    written(stored, HOUR + 50_000, GOOD, [last])
    claims: dict[int, bytes] = {}
    summed: dict[int, TradeHour | None] = {}
    cut = 0
    for number, (what, at, *more) in enumerate(story):
        match what:
            case "write":
                agg_id, state = more
                trade = fill((agg_id, agg_id), at + 0.25, price=100 + number, quantity=number + 1, buy=number % 2 == 0)
                put(history, TradeBlock("BTCUSDT", HOUR + at, state, (trade,)))
                written(stored, HOUR + at, state, [trade])
            case "claim":
                claims[at] = history.claim_hour("BTCUSDT", HOUR + 3_600 * at)
                summed.pop(at, None)
            case "sum":
                if at in claims:
                    summed[at] = steps.run(hours.summed_hour(history, "BTCUSDT", HOUR + 3_600 * at))
            case "keep":
                hour = summed.get(at)
                if hour is not None:
                    history.write_hour(hour, claims[at])
            case _:
                cut = max(cut, HOUR + at)
                history.cut_before(HOUR + at)
                stored = {second: block for second, block in stored.items() if second >= HOUR + at}
        for hour_number in (0, 1):
            start = HOUR + 3_600 * hour_number
            found = history.trade_hour("BTCUSDT", start)
            if found is not None:
                assert start >= cut
                trades = between(stored, start, start + 3_600)
                assert lines(found) == added(trades)
                assert sums_of(found) == sums(trades)
                assert (found.first_id, found.last_id) == ((trades[0].first_id, trades[-1].last_id) if trades else (0, 0))
        histogram, known = asked(history, -1, 7_201)
        assert lines(histogram) == added(between(stored, HOUR - 1, HOUR + 7_201))
        assert known == judged(stored, set(), HOUR - 1, HOUR + 7_201)
    history.engine.close()


def test_an_hour_that_nobody_touches_is_kept_and_served():
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 2), 0), fill((3, 3), 1_800), fill((4, 4), 3_599.9), fill((5, 5), 3_600)])
    assert keep(history)
    found = history.trade_hour("BTCUSDT", HOUR)
    assert found is not None
    assert (found.fills.tolist(), found.complete_s, found.missing_s, found.missing_ids) == ([2, 1, 1], 3_598, 0, 0)
    assert (found.first_id, found.last_id, found.first_state, found.last_state) == (1, 4, GOOD, GOOD)


def test_an_hour_without_trades_is_kept_too():
    history = History(MemoryEngine(), "s")
    store(history, [fill((1, 1), -1), fill((2, 2), 3_600)])
    assert keep(history)
    assert cover(history, 0, 3_600) == TradeCover(3_600, 0, 0, 0, 0)


@settings(max_examples=60, deadline=None)
@given(stories(), SPANS, st.sets(st.integers(-1, 2)))
def test_a_window_is_the_sum_of_its_trades_whichever_hours_are_kept(
    story: list[tuple[int, TradeState, list[Trade]]], window: list[int], kept: set[int]
):
    history = History(MemoryEngine(), "s")
    put(history, *[TradeBlock("BTCUSDT", second, state, tuple(trades)) for second, state, trades in story])
    for number in kept:
        assert keep(history, 3_600 * number)
    stored = {second: (state, trades) for second, state, trades in story}
    lo, hi = window
    histogram, _ = asked(history, lo, hi)
    trades = between(stored, HOUR + lo, HOUR + hi)
    assert lines(histogram) == added(trades)
    assert sums_of(histogram) == sums(trades)


def test_less_than_an_hour_of_trading_is_told_in_blocks_of_ten_seconds_whatever_is_kept():
    """Trades at 0, 12 and 3,599 s, and one that makes it an hour of trading, at 3,600 s."""
    history = History(MemoryEngine(), "s")
    store(history, [fill((n, n), second) for n, second in enumerate((0, 12, 3_599, 3_600))])
    for _ in range(2):
        short, long = asked(history, 0, 3_600)[0], asked(history, 0, 3_601)[0]
        assert ((short.ts_ns // NANO - HOUR).tolist(), short.block_ns) == ([0, 10, 3_590], 10 * NANO)
        assert ((long.ts_ns // NANO - HOUR).tolist(), long.block_ns) == ([0, 3_300, 3_600], 300 * NANO)
        assert keep(history)


def test_quantities_whose_sum_passes_64_bits_stay_exact_in_a_kept_hour():
    """Four trades of 2^62 at one price in one block, two of them bought: 2^63 a side, which no line can hold."""
    history = History(MemoryEngine(), "s")
    trades = [fill((n, n), n, quantity=HEAVY, buy=n % 2 == 0) for n in range(4)]
    trades.append(fill((4, 4), 3_600))
    store(history, trades)
    assert keep(history)
    histogram, _ = asked(history, 0, 3_601)
    assert lines(histogram) == {(HOUR, 100): (2**63, 2**63, 4), (HOUR + 3_600, 100): (10, 0, 1)}
    assert sums_of(histogram) == sums(trades)


def test_an_hour_with_a_block_that_does_not_decode_is_not_summed_up():
    history = History(MemoryEngine(), "s")
    store(history, [fill((n, n), n) for n in range(5)])
    history.engine.write([("trades", b"BTCUSDT:%d" % (HOUR + 2), b"\xc1")])
    assert steps.run(hours.summed_hour(history, "BTCUSDT", HOUR)) is None
    assert cover(history, 0, 5) == TradeCover(0, 0, 3, 2, 1)


def test_a_profile_of_kept_hours_is_the_profile_of_the_trades():
    """A day of random trades, with all of its hours kept and with none: the same histogram line by line, the same coverage."""
    rng = random.Random(5)
    history = History(MemoryEngine(), "s")
    at, trades = 0.0, []
    for n in range(4_000):
        at += rng.expovariate(1 / 20)
        quantity = rng.randint(1, 10**6) * 1_000
        trades.append(fill((n, n), at, price=rng.randint(1, 300) * 10**6, quantity=quantity, buy=rng.random() < 0.5))
    store(history, trades)
    plain, plain_cover = asked(history, 600, 80_000)
    for number in range(24):
        assert keep(history, 3_600 * number)
    kept, kept_cover = asked(history, 600, 80_000)
    order, kept_order = np.lexsort((plain.price_e8, plain.ts_ns)), np.lexsort((kept.price_e8, kept.ts_ns))
    for name in ("ts_ns", "price_e8", "buy_e8", "sell_e8", "fills"):
        np.testing.assert_array_equal(getattr(plain, name)[order], getattr(kept, name)[kept_order])
    assert (sums_of(plain), plain_cover, plain.block_ns) == (sums_of(kept), kept_cover, kept.block_ns)


# Steps ------------------------------------------------------------------------------------------


class Watched:
    """A history that tells how many trades each read gave."""

    def __init__(self, history: History) -> None:
        self._history = history
        self.reads: list[int] = []

    def trade_columns(self, symbol: str, lo: int, hi: int) -> Any:
        found = self._history.trade_columns(symbol, lo, hi)
        self.reads.append(len(found.ts_ns))
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)


def test_a_busy_hour_is_read_in_steps_of_some_thousand_trades_and_a_quiet_one_in_few():
    """40 trades a second in the first ten minutes, then one a minute."""
    history = History(MemoryEngine(), "s")
    busy = [fill((40 * s + n, 40 * s + n), s + n / 50) for s in range(600) for n in range(40)]
    quiet = [fill((24_000 + n, 24_000 + n), 600 + 60 * n) for n in range(50)]
    store(history, [*busy, *quiet])
    reader = Watched(history)
    pauses = 0
    asking = traded_between(reader, "BTCUSDT", HOUR, HOUR + 3_600)
    while True:
        before = len(reader.reads)
        try:
            next(asking)
        except StopIteration as done:
            histogram, _ = done.value
            break
        pauses += 1
        assert len(reader.reads) <= before + 1
    assert int(histogram.fills.sum()) == 24_050
    assert max(reader.reads) <= 4_000
    assert len(reader.reads) < 20
    assert pauses > len(reader.reads)
