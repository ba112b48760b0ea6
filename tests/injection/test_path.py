"""The whole path: forks against the clean pass, and what an injection does to the records that come out."""

import pickle

import numpy as np
import pytest
from bench.injection.cells import cells
from bench.injection.edits import Ahead, Label
from bench.injection.path import Clean, fork, window
from bench.injection.placements import Placement
from bench.injection.plain import BID
from bench.injection.run import Ground, Scene, injected, stage_at
from bench.injection.source import SECOND_NS, WAY_NS
from bench.injection.usual import Usual
from bench.injection.weave import woven
from msgspec import structs

from leadline.core.records import SecondRecord
from leadline.store import keys
from leadline.store.history import History

RECORDED = ("snapshots", "seconds", "trades", "incidents")
CELLS = {cell.name: cell for cell in cells({1, 2, 3, 4, 5, 6})}


def rows(history: History, family: str, lo: int, hi: int) -> list[tuple[bytes, bytes]]:
    return history.engine.scan(family, *keys.window("BTCUSDT", lo, hi)).rows


def test_a_fork_without_an_edit_has_the_records_of_the_clean_pass_byte_for_byte(clean: Clean):
    at = clean.checkpoints[0]
    stage = stage_at(clean, at)
    forked = fork(clean, at, woven(window(clean, at, 50), stage, iter(())), lambda: pytest.fail("nobody asks"))
    lo, hi = clean.source.start_s, at.closed_s + 49
    for family in RECORDED:
        same = rows(clean.history, family, lo, hi)
        assert rows(forked, family, lo, hi) == same, family
        assert len(same) > 100 or family == "incidents"
    assert rows(forked, "seconds", at.closed_s + 1, hi) != []


def test_a_fork_leaves_the_clean_history_as_it_is(clean: Clean, usual: Usual):
    before = clean.history.digest()
    outcome(clean, usual, "spread bps=20 seconds=10")
    assert clean.history.digest() == before


def test_the_clean_pass_has_no_fault(clean: Clean):
    first = clean.source.start_s + 3  # the second is that of the first snapshot
    records = clean.history.seconds(clean.symbol, first, first + 140).rows
    assert [record.t for record in records if record.flags] == []
    assert [incident.kind for incident in clean.history.incidents(clean.symbol).rows] == ["start"]


# What an injection does ---------------------------------------------------------------


def outcome(
    clean: Clean, usual: Usual, name: str, number: int = 0
) -> tuple[Label, list[SecondRecord], list[SecondRecord], History]:
    """Label; records from the fork on, of the fork and of the clean pass; the fork."""
    at = clean.checkpoints[0]
    start_ns = (at.closed_s + 5) * SECOND_NS + WAY_NS + SECOND_NS // 4
    placement = Placement(0, at, start_ns, 0, 1.0)
    events = window(clean, at, 50)
    where = Scene(placement, events, [event.ts_recv_ns for event in events], Ahead(events), b"", None, None)
    label = CELLS[name].label(placement)
    history = injected(Ground(clean, usual, None), where, CELLS[name], label)
    lo, hi = at.closed_s + 1, at.closed_s + 48
    edited, base = (h.seconds(clean.symbol, lo, hi).rows for h in (history, clean.history))
    assert [incident.kind for incident in history.incidents(clean.symbol).rows] == ["start"]
    assert {record.flags for record in edited} == {0}, "an injected market is a true one: no audit, no break, no gap"
    assert [record.t for record in edited] == [record.t for record in base]
    return label, edited, base, history


def whole(label: Label, records: list[SecondRecord]) -> list[int]:
    """Places of the seconds that lie in the injection, by E."""
    start_ns, end_ns = label.start_ns - WAY_NS, label.end_ns - WAY_NS
    return [n for n, r in enumerate(records) if (r.t - 1) * SECOND_NS >= start_ns and r.t * SECOND_NS <= end_ns]


def test_a_burst_adds_so_many_ids_to_each_of_its_seconds_and_nothing_to_the_trades(clean: Clean, usual: Usual):
    label, edited, base, _ = outcome(clean, usual, "burst times=20 seconds=3")
    inside = whole(label, edited)
    assert len(inside) == 2
    for n in inside:
        assert edited[n].n_ids - base[n].n_ids == pytest.approx(20 * usual.n_ids, rel=0.05)
    for one, other in zip(edited, base, strict=True):
        assert (one.n_buy, one.n_sell, one.mid2_close, one.cost_buy[0]) == (
            other.n_buy, other.n_sell, other.mid2_close, other.cost_buy[0],
        )  # fmt: skip
    assert [r.n_ids for r in edited[-20:]] == [r.n_ids for r in base[-20:]]


@pytest.mark.parametrize(("share", "least", "most"), [(0.5, 0.35, 0.65), (0.9, 0.02, 0.22)])
def test_a_withdrawal_leaves_that_share_of_the_depth(clean: Clean, usual: Usual, share: float, least: float, most: float):
    """Sizes differ, so the depth that is left of hundreds of levels is near 1 - share, not equal to it."""
    label, edited, base, _ = outcome(clean, usual, f"withdrawal share={share} both seconds=10")
    inside = whole(label, edited)
    left = [edited[n].depth_bid[3] / base[n].depth_bid[3] for n in inside]
    assert len(inside) == 9
    assert least < np.median(left) < most
    after = [n for n in range(len(base)) if edited[n].t * SECOND_NS > label.end_ns + SECOND_NS]
    assert [edited[n].depth_bid for n in after] == [base[n].depth_bid for n in after]


def test_one_side_is_withdrawn_alone(clean: Clean, usual: Usual):
    label, edited, base, _ = outcome(clean, usual, "withdrawal share=0.9 one seconds=10")
    fields = ("depth_bid", "depth_ask") if label.side == BID else ("depth_ask", "depth_bid")
    for n in whole(label, edited):
        gone, kept = (getattr(edited[n], field)[4] / getattr(base[n], field)[4] for field in fields)
        assert gone < 0.4
        assert kept > 0.75, "the mid moves a little, so the band of the other side does"


@pytest.mark.parametrize("bps", [1, 5, 20])
def test_a_widened_spread_is_that_wide_and_closes_again(clean: Clean, usual: Usual, bps: int):
    label, edited, base, _ = outcome(clean, usual, f"spread bps={bps} seconds=10")
    for n in whole(label, edited):
        assert edited[n].spread_tw / (edited[n].mid2_close / 2) * 1e4 > 1.9 * bps
        assert edited[n].depth_bid[0] == 0
        assert (edited[n].cost_buy[0] or 1e9) > 0.9 * bps
    assert edited[-1].spread_tw == base[-1].spread_tw


def test_a_large_level_that_lives_shortly_is_counted_once(clean: Clean, usual: Usual):
    """The feed is told what is large before the fork; by itself it would know after half an hour."""
    at = clean.checkpoints[0]
    feed = pickle.loads(at.feed)
    feed.second.set_size_thresholds(list(usual.size_p99_quote))
    knowing = structs.replace(clean, checkpoints=[structs.replace(at, feed=pickle.dumps(feed))])
    label, edited, _, _ = outcome(knowing, usual, "large level times=3 bps=5 life_s=0.5 flow=0")
    seen = [event for r in edited for event in r.level_events if event.kind == "fleeting" and event.price_e8 in label.prices_e8]
    assert label.parameters["lived_s"] == 0.5
    assert len(seen) == 1
    assert seen[0].peak_e8 * seen[0].price_e8 / 1e16 == pytest.approx(3 * usual.large_quote(5), rel=1e-3)
    assert abs(seen[0].distance_bps - 5) < 0.05
    assert 400 <= seen[0].died_ms - seen[0].born_ms <= 600


def test_takers_beside_a_large_level_hit_the_other_side(clean: Clean, usual: Usual):
    label, edited, base, _ = outcome(clean, usual, "large level times=3 bps=5 life_s=0.5 flow=1")
    bought, sold = (sum(getattr(r, f) for r in edited) - sum(getattr(r, f) for r in base) for f in ("buy_quote", "sell_quote"))
    other, same = (bought, sold) if label.side == BID else (sold, bought)
    assert same == 0
    assert other / 1e16 == pytest.approx(label.parameters["flow_quote"], rel=1e-3), "the base finds a little less there"
    assert other > 0


@pytest.mark.parametrize(("delay_ms", "least", "most"), [(0, 9, 21), (50, 5, 21), (300, 0, 4)])
def test_an_iceberg_is_hit_twice_a_round_and_shows_no_more_than_its_peak(
    clean: Clean, usual: Usual, delay_ms: int, least: int, most: int
):
    """Ten rounds of two hits of a peak: those in one slot of 100 ms are a peak more than was displayed, so 10 with no delay, half
    of that after 50 ms, none after 300. What the base's takers find there comes on top, at most as much again."""
    label, edited, _, history = outcome(clean, usual, f"iceberg refills=10 delay_ms={delay_ms} small=0")
    (price,) = label.prices_e8
    peak = round(label.parameters["peak_quote"] * 1e16 / price)
    assert label.parameters["rounds"] == 10
    first, last = label.start_ns // SECOND_NS, label.end_ns // SECOND_NS
    trades = [t for block in history.trades(clean.symbol, first, last + 1).rows for t in block.trades if t.price_e8 == price]
    assert sum(abs(t.quantity_e8 - peak) <= 1 and t.fills == 1 for t in trades) >= 20
    books = [(s.bids, s.asks)[label.side] for s in history.snapshots(clean.symbol, first + 1, last + 1).rows]
    assert max(dict(side).get(price, 0) for side in books) <= peak + 1
    told = [e for r in edited for e in r.level_events if e.kind == "refill" and e.price_e8 == price]
    assert least <= max(((e.traded_e8 - e.displayed_e8) / peak for e in told), default=0) <= most


def test_absorption_is_one_sided_flow_that_does_not_push_the_price_through(clean: Clean, usual: Usual):
    label, edited, base, _ = outcome(clean, usual, "absorption times=2 seconds=10")
    inside = whole(label, edited)
    field = "sell_quote" if label.side == BID else "buy_quote"
    more = sum(getattr(edited[n], field) - getattr(base[n], field) for n in inside) / 1e16
    assert more > 0.5 * label.parameters["quote"] > usual.signed_quote_p99 * 0.5
    for n in inside:
        mid2 = edited[n].mid2_low if label.side == BID else -edited[n].mid2_high
        assert mid2 >= (2 if label.side == BID else -2) * label.prices_e8[0] - 1
