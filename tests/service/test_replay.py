"""The replay driver over a real store: what a recording says is stored, and what it cannot answer is said."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import pytest
from msgspec import structs
from tests.captures import captures
from tests.core import build
from tests.core.build import trade, update
from tests.fakes import FailingEngine

from leadline.core.errors import StoreFull
from leadline.core.records import BookState, DepthSnapshot, Disconnected, Flag, SecondRecord, SymbolRules, TradeState
from leadline.exchange.replay import Recording
from leadline.service.queries import coverage
from leadline.service.recorder import Recorder
from leadline.service.replay import BATCH_ROWS, Replay
from leadline.service.seeding import Sizes, stored_sizes
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

BTC = build.SYMBOL
T = 1_723_161_240
SNAPSHOT = build.snapshot(10, [(100, 1)], [(101, 1)])


class Run:
    def __init__(
        self,
        events: Iterable[Any],
        engine: MemoryEngine | None = None,
        epoch: int = 0,
        *,
        rules: SymbolRules | None = None,
        sizes_before: Callable[[History, str, int], Sizes] = lambda history, symbol, t: (),
    ) -> None:
        self.history = History(engine or MemoryEngine(), "the test's store")
        self.ruled: list[tuple[str, int, int]] = []
        self.recorder = Recorder(self.history)
        self.replay = Replay(
            self.recorder,
            epochs=lambda symbol: epoch,
            first_snapshot=lambda snapshot, since_s: self.rule(snapshot, since_s, rules),
            sizes_before=lambda symbol, t: sizes_before(self.history, symbol, t),
        )
        self.replay.run(events)

    def rule(self, snapshot: DepthSnapshot, since_s: int, rules: SymbolRules | None) -> SymbolRules | None:
        self.ruled.append((snapshot.symbol, snapshot.update_id, since_s))
        return rules

    def records(self, symbol: str = BTC) -> dict[int, SecondRecord]:
        return {record.t - T: record for record in self.history.seconds(symbol, 10**9, 2 * 10**9).rows}

    def snapshots(self, symbol: str = BTC) -> dict[int, int]:
        return {found.timestamp - T: found.update_id for found in self.history.snapshots(symbol, 10**9, 2 * 10**9).rows}

    def live(self, symbol: str = BTC) -> list[int]:
        return [second for second, record in self.records(symbol).items() if record.state is BookState.LIVE]


def steady(first_id: int, seconds: Sequence[float]) -> list[Any]:
    """One diff at each moment (event time, seconds after T), ids closing up."""
    return [update(first_id + n, first_id + n, [(100, n + 1)], at=T + at) for n, at in enumerate(seconds)]


def of(symbol: str, events: Iterable[Any]) -> list[Any]:
    return [structs.replace(event, symbol=symbol) for event in events]


def test_a_snapshot_earlier_than_the_question_is_held_until_it_is_asked():
    run = Run([SNAPSHOT, *steady(11, [0.5, 1.5, 2.5])])
    assert run.snapshots() == {1: 11, 2: 12}
    assert run.ruled == [(BTC, 10, T)]


def test_a_snapshot_later_than_the_question_is_taken_where_it_stands():
    run = Run([*steady(11, [0.5, 1.5]), structs.replace(SNAPSHOT, update_id=12), *steady(13, [2.5, 3.5])])
    assert run.live() == [2, 3]
    assert run.snapshots() == {2: 12, 3: 13}
    assert {second: record.reason for second, record in run.records().items() if second < 2} == {1: "starting"}


def test_of_two_snapshots_that_are_early_the_newer_one_serves():
    newer = build.snapshot(12, [(100, 9)], [(101, 9)])
    run = Run([SNAPSHOT, newer, *steady(11, [0.5, 0.6, 0.7, 1.5])])
    assert run.replay.feeds[BTC].sync.snapshot_update_id == 12


def test_a_snapshot_before_the_first_update_of_a_new_connection_is_not_wasted_on_an_old_question():
    """The gap at 1.6 asks and is not answered; the snapshot after the disconnect is for the question of the next update."""
    events = [
        SNAPSHOT,
        *steady(11, [0.5, 1.5]),
        *steady(20, [1.6]),
        Disconnected((BTC,), "reconnected", build.ns(T + 2)),
        build.snapshot(30, [(100, 1)], [(101, 1)]),
        *steady(31, [2.5, 3.5, 4.5]),
    ]
    run = Run(events)
    assert run.live() == [1, 3, 4]
    assert run.replay.feeds[BTC].sync.epoch == 2


def test_a_gap_without_a_later_snapshot_leaves_records_with_the_reason_and_no_snapshots():
    run = Run([SNAPSHOT, *steady(11, [0.5, 1.5]), *steady(20, [2.5, 3.5, 4.5])])
    assert run.snapshots() == {1: 11, 2: 12}
    assert {second: (record.state, record.reason) for second, record in run.records().items() if second > 2} == {
        3: (BookState.SYNCING, "gap"),
        4: (BookState.SYNCING, "gap"),
    }
    assert [(i.kind, i.start_ms, i.end_ms is not None) for i in run.history.incidents(BTC).rows if i.kind == "gap"] == [
        ("gap", T * 1000 + 2500, True)
    ]
    assert [(gap.from_s - T, gap.to_s - T, gap.cause) for gap in coverage(run.history, BTC, T + 1, T + 5).gaps] == [(3, 5, "gap")]


def test_a_disconnect_ends_the_epoch_of_each_symbol_it_names_and_of_no_other():
    eth = of("ETHUSDT", [SNAPSHOT, *steady(11, [0.5, 1.5, 2.5, 3.5])])
    btc = [SNAPSHOT, *steady(11, [0.5, 1.5]), Disconnected((BTC,), "reconnected", build.ns(T + 2)), *steady(13, [2.5, 3.5])]
    run = Run([*btc[:3], *eth[:3], *btc[3:], *eth[3:]])
    assert (run.live(), run.live("ETHUSDT")) == ([1], [1, 2, 3])
    assert run.records()[3].reason == "disconnected"


def test_a_hole_in_the_trades_is_missing_at_once_and_an_incident():
    trades = [trade(agg_id, at=T + at) for agg_id, at in ((1, 0.6), (2, 1.2), (5, 2.2), (6, 3.2))]
    run = Run([SNAPSHOT, *steady(11, [0.5]), trades[0], trades[1], *steady(12, [1.5]), trades[2], *steady(13, [2.5]), trades[3]])
    blocks = {b.second - T: (b.state, [t.agg_id for t in b.trades]) for b in run.history.trades(BTC, T, T + 9).rows}
    assert blocks == {
        0: (TradeState.COMPLETE, [1]),
        1: (TradeState.MISSING, [2]),
        2: (TradeState.MISSING, [5]),
        3: (TradeState.COMPLETE, [6]),  # the last second, that no update closed, keeps its trades
    }
    (noted,) = [i for i in run.history.incidents(BTC).rows if i.kind == "trades_missing"]
    assert (noted.detail, noted.start_ms, noted.end_ms) == ("aggregate ids 3..4", T * 1000 + 1200, T * 1000 + 2200)


def test_the_recordings_clock_is_the_only_one(caplog: pytest.LogCaptureFixture):
    """Years old, and nothing is refused; 30 quiet seconds are 30 records of the same book."""
    run = Run([SNAPSHOT, *steady(11, [0.5, 30.5])])
    assert run.snapshots() == dict.fromkeys(range(1, 31), 11)
    assert not any(record.flags & Flag.CLOCK for record in run.records().values())
    assert caplog.records == []


def test_rows_beyond_one_batch_are_all_stored():
    run = Run([SNAPSHOT, *steady(11, [n + 0.5 for n in range(2 * BATCH_ROWS + 10)])])
    assert list(run.records()) == list(range(1, 2 * BATCH_ROWS + 10))


def test_epochs_count_on_from_the_store():
    run = Run([SNAPSHOT, *steady(11, [0.5, 1.5])], epoch=41)
    assert {record.epoch for record in run.records().values()} == {42}


def test_the_rules_of_each_symbol_are_told_once():
    eth = of("ETHUSDT", [SNAPSHOT, *steady(11, [0.5, 1.5])])
    again = [*steady(20, [2.5]), structs.replace(SNAPSHOT, update_id=20), *steady(21, [3.5])]
    run = Run([SNAPSHOT, *steady(11, [0.5, 1.5]), *again, *eth])
    assert run.replay.feeds[BTC].sync.epoch == 2
    assert run.ruled == [(BTC, 10, T), ("ETHUSDT", 10, T)]


def test_a_store_that_refuses_ends_the_replay():
    engine = FailingEngine()
    engine.error = StoreFull("the test's store", "no space left on device")
    with pytest.raises(StoreFull):
        Run([SNAPSHOT, *steady(11, [0.5, 1.5])], engine)


def test_a_recording_without_events_stores_nothing():
    run = Run([])
    assert run.history.symbols() == []


def test_one_recording_run_twice_gives_equal_stores_byte_for_byte():
    recording = captures() / "multi" / "binance_20210404_btc_eth_dot.raw.gz"
    digests = []
    for _ in range(2):
        run = Run(Recording([recording]).events())
        digests.append(run.history.digest())
    assert digests[0] == digests[1]
    assert {symbol: feed.gaps for symbol, feed in run.replay.feeds.items()} == dict.fromkeys(["BTCUSDT", "DOTUSDT", "ETHUSDT"], 0)
    assert Run(islice(Recording([recording]).events(), 4000)).history.digest() != digests[0]


def test_a_recording_whose_snapshots_all_come_first_gives_the_same_books():
    """A held snapshot changes when a book is LIVE, and nothing of what it is."""
    path = captures() / "multi" / "binance_20210404_btc_eth_dot.raw.gz"
    events = list(Recording([path]).events())
    early = [event for event in events if isinstance(event, DepthSnapshot)]
    as_recorded, held = Run(events), Run([*early, *(event for event in events if not isinstance(event, DepthSnapshot))])
    for symbol in as_recorded.replay.feeds:
        expected = as_recorded.snapshots(symbol)
        assert expected and {second: held.snapshots(symbol)[second] for second in expected} == expected


# Sizes and cells ---------------------------------------------------------------------------

CALM = build.snapshot(10, [("99.99", 1)], [("100.01", 1)])


def busy(first_id: int, start: float, minutes: int) -> list[Any]:
    """Each minute a diff that sets a size 200 times, a level of 10 that comes and goes in 200 ms, and a diff after the tick."""
    made: list[Any] = []
    for n in range(minutes):
        for at, bids in ((40, [("99.93", 2)] * 200), (50, [("99.94", 10)]), (50.2, [("99.94", 0)]), (60.5, [])):
            number = first_id + len(made)
            made.append(update(number, number, bids, at=T + start + 60 * n + at))
    return made


def stored_before(history: History, symbol: str, t: int) -> Sizes:
    return stored_sizes(history, symbol, t - 86_400, t)


def large(run: Run, after: float) -> set[int | None]:
    return {record.n_large_bid for second, record in run.records().items() if second > after}


def test_the_sizes_of_a_store_before_the_recording_are_asked_for_once_by_its_first_tick():
    asked: list[tuple[str, int]] = []

    def sizes_before(history: History, symbol: str, t: int) -> Sizes:
        asked.append((symbol, t - T))
        return [(t - 60 * n, [None] * 5 + [500.0]) for n in range(1, 31)]

    again = [Disconnected((BTC,), "reconnected", build.ns(T + 2)), structs.replace(CALM, update_id=12), *steady(13, [2.5, 3.5])]
    run = Run([CALM, *steady(11, [0.5, 1.5]), *again], sizes_before=sizes_before)
    assert asked == [(BTC, 1)]
    assert {second: record.n_large_bid for second, record in run.records().items()} == {1: 0, 2: None, 3: 0}


def test_a_recording_is_judged_by_the_minutes_stored_before_it_and_never_by_its_own_run_before():
    """The first diff of all is part of the first book: from the second minute on there are 30 blocks after 31 minutes.

    The same once more finds its own minutes in the store, leaves them alone, and makes the same bytes.
    """
    engine, made = MemoryEngine(), [CALM, *busy(11, 0, 32)]
    first = Run(made, engine, sizes_before=stored_before)
    assert {record.n_large_bid for second, record in first.records().items() if second <= 31 * 60} == {None}
    assert large(first, 31 * 60) == {0, 1}
    digest = first.history.digest()
    again = Run(made, engine, epoch=0, sizes_before=stored_before)
    assert again.history.digest() == digest
    later = Run([CALM, *busy(11, 40 * 60, 2)], engine, sizes_before=stored_before)
    assert large(later, 40 * 60 + 1) == {0, 1}


def test_whoever_tells_the_rules_of_a_symbol_gets_its_cells():
    """m = 100, 0.5 bps are 0.005, and the tick is 0.01."""
    rules = SymbolRules(BTC, "TRADING", "", "", 10**6, 1, T, inferred=True)
    run = Run([CALM, *steady(11, [0.5, 1.5, 2.5])], rules=rules)
    assert [(cells.ts_ns, cells.cell_e8) for cells in run.replay.feeds[BTC].cells] == [(build.ns(T + n), 10**6) for n in (1, 2)]
    assert Run([CALM, *steady(11, [0.5, 1.5, 2.5])]).replay.feeds[BTC].cells == ()
