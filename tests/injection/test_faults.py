"""Faults of our data: what does not come, and that each is an incident and never a market's doing."""

import pickle
from itertools import pairwise

import pytest
from bench.injection.cells import cells
from bench.injection.edits import Ahead, Label, Plot
from bench.injection.faults import FAULTS, crossed_first
from bench.injection.path import Clean, window
from bench.injection.placements import Placement
from bench.injection.plain import PlainBook
from bench.injection.run import Ground, Scene, injected
from bench.injection.source import SECOND_NS, WAY_NS, Event
from bench.injection.usual import Usual

from leadline.core.records import BookState, DepthUpdate, SecondRecord, Trade
from leadline.store.history import History

CELLS = {cell.kind: cell for cell in cells({7})}


def plot_at(start_ns: int) -> Plot:
    return Plot(start_ns, 0, None, Ahead([]), Label("", start_ns, start_ns, {}))


def delivered(name: str, base: list[Event], start_ns: int) -> list[Event]:
    return list(FAULTS[name].deliver(base, plot_at(start_ns)))


@pytest.fixture(scope="module")
def base(clean: Clean) -> list[Event]:
    return window(clean, clean.checkpoints[0], 20)


def start(clean: Clean) -> int:
    return (clean.checkpoints[0].closed_s + 4) * SECOND_NS + WAY_NS + SECOND_NS // 4


def test_a_dropped_diff_is_the_first_after_the_start(clean: Clean, base: list[Event]):
    out = delivered("dropped", base, start(clean))
    (lost,) = [event for event in base if event not in out]
    assert isinstance(lost, DepthUpdate)
    assert 0 <= lost.ts_recv_ns - start(clean) < SECOND_NS // 5
    assert len(out) == len(base) - 1


def test_doubled_diffs_come_one_behind_the_other(clean: Clean, base: list[Event]):
    out = delivered("doubled", base, start(clean))
    assert len(out) == len(base) + 5
    assert sum(one is other for one, other in pairwise(out)) == 5


def test_two_diffs_change_places_and_nothing_else(clean: Clean, base: list[Event]):
    out = delivered("reordered", base, start(clean))
    ids = [event.last_id for event in out if isinstance(event, DepthUpdate)]
    falls = [n for n in range(1, len(ids)) if ids[n] < ids[n - 1]]
    assert sorted(ids) == [event.last_id for event in base if isinstance(event, DepthUpdate)]
    assert len(falls) == 1


def test_silence_takes_everything_and_lost_trades_only_trades(clean: Clean, base: list[Event]):
    at = start(clean)
    inside = [event for event in base if at <= event.ts_recv_ns < at + 10 * SECOND_NS]
    assert delivered("silence", base, at) == [event for event in base if event not in inside]
    lost = [event for event in base if event not in delivered("lost trades", base, at)]
    assert lost == [event for event in inside if isinstance(event, Trade)]
    assert len(lost) > 10


def test_a_clock_that_steps_moves_event_times_for_ten_seconds(clean: Clean, base: list[Event]):
    out = delivered("clock -2 s", base, start(clean))
    moved = [(b, e) for b, e in zip(base, out, strict=True) if b != e]
    assert {b.ts_event_ns - e.ts_event_ns for b, e in moved} == {2 * SECOND_NS}
    assert {type(b) for b, _ in moved} == {DepthUpdate, Trade}
    assert all(start(clean) <= b.ts_recv_ns < start(clean) + 10 * SECOND_NS for b, _ in moved)


def test_only_the_first_snapshot_answered_is_crossed():
    book = PlainBook(5, [(100, 1)], [(101, 2)])
    answer = crossed_first(lambda: book.snapshot("X"))
    first, second = answer(), answer()
    assert first.bids[0][0] >= first.asks[0][0]
    assert second == book.snapshot("X")


# Through the path --------------------------------------------------------------------


def came(clean: Clean, usual: Usual, name: str) -> tuple[History, list[SecondRecord]]:
    """The fork, and its records from the fork on."""
    at = clean.checkpoints[0]
    events = window(clean, at, 60)
    placement = Placement(0, at, start(clean), 0, 1.0)
    where = Scene(placement, events, [event.ts_recv_ns for event in events], Ahead(events), b"", None, None)
    label = CELLS[name].label(placement)
    history = injected(Ground(clean, usual, None), where, CELLS[name], label)
    return history, history.seconds(clean.symbol, at.closed_s + 1, at.closed_s + 90).rows


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.incident == "gap"])
def test_a_lost_diff_is_a_gap_and_the_book_comes_back_true(clean: Clean, usual: Usual, name: str):
    """The answer takes three seconds, and three again where the first one is refused: so many seconds have no book."""
    history, records = came(clean, usual, name)
    (gap,) = [i for i in history.incidents(clean.symbol).rows if i.kind not in {"start", "trades_missing"}]
    dark = [r.t for r in records if r.state is not BookState.LIVE]
    assert gap.kind == "gap"
    assert (gap.epoch_before, gap.epoch_after) == (1, 2)
    assert dark == list(range(dark[0], dark[-1] + 1))
    assert len(dark) == (6 if name == "crossed snapshot" else 3)
    after = [r for r in records if r.t > dark[-1] + 1]
    true = {r.t: r for r in clean.history.seconds(clean.symbol, after[0].t, after[-1].t + 1).rows}
    assert [(r.depth_bid, r.depth_ask, r.update_id) for r in after] == [
        (true[r.t].depth_bid, true[r.t].depth_ask, true[r.t].update_id) for r in after
    ]
    assert {r.flags for r in after} == {0}


def test_lost_trades_are_missing_and_the_book_goes_on(clean: Clean, usual: Usual):
    history, records = came(clean, usual, "lost trades")
    kinds = [i.kind for i in history.incidents(clean.symbol).rows]
    assert kinds.count("trades_missing") == 1
    assert {r.state for r in records} == {BookState.LIVE}
    assert any(r.trade_state == "MISSING" for r in records)


def test_doubled_diffs_leave_no_trace(clean: Clean, usual: Usual):
    history, records = came(clean, usual, "doubled")
    assert [i.kind for i in history.incidents(clean.symbol).rows] == ["start"]
    assert records == clean.history.seconds(clean.symbol, records[0].t, records[-1].t + 1).rows


def test_a_stepped_clock_closes_seconds_too_early_and_then_none_for_a_while(clean: Clean, usual: Usual):
    """Thirty seconds ahead for ten: thirty ticks come at once, empty; when the clock is right again the next takes thirty."""
    _, records = came(clean, usual, "clock +30 s")
    empty = [r.t for r in records if not r.n_diff]
    assert len(empty) in {29, 30}
    assert max(r.n_diff for r in records) >= 280
    assert {r.state for r in records} == {BookState.LIVE}


def test_a_pickled_book_is_the_true_one(clean: Clean):
    """At the second checkpoint: the book pickled there, and the one pickled before with all diffs between."""
    first, second = clean.checkpoints[:2]
    book = pickle.loads(first.book)
    for event in clean.source.events(first.place, second.place):
        if isinstance(event, DepthUpdate):
            book.apply(event)
    later = pickle.loads(second.book)
    assert (book.last_id, book.quantities, book.prices) == (later.last_id, later.quantities, later.prices)
