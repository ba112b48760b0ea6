"""Placements: where they may be, how they are spread, and that a seed is enough to have them again."""

import pytest
from bench.injection.path import Checkpoint, Clean
from bench.injection.placements import placements
from bench.injection.source import SECOND_NS, WAY_NS
from msgspec import structs

NUMBER = 30


@pytest.fixture(scope="module")
def many(clean: Clean) -> Clean:
    """Thirty checkpoints, three seconds apart so that a short pass has them."""
    first = clean.checkpoints[0]
    points = [structs.replace(first, place=62 + 2 * n, closed_s=clean.source.start_s + 61 + 2 * n) for n in range(NUMBER)]
    return structs.replace(clean, checkpoints=points)


def test_each_tercile_has_as_many(many: Clean):
    chosen = placements(many, 15, 7, room_s=5)
    assert [sum(p.tercile == t for p in chosen) for t in range(3)] == [5, 5, 5]
    calm, middle, wild = ([p.volatility_bps for p in chosen if p.tercile == t] for t in range(3))
    assert max(calm) <= min(middle) <= max(middle) <= min(wild)


def test_they_come_in_order_of_time_and_begin_after_their_fork(many: Clean):
    chosen = placements(many, 15, 7, room_s=5)
    assert [p.number for p in chosen] == list(range(15))
    assert [p.checkpoint.place for p in chosen] == sorted({p.checkpoint.place for p in chosen})
    for p in chosen:
        after_ns = p.start_ns - WAY_NS - (many.source.start_s + p.checkpoint.place) * SECOND_NS
        assert 2 * SECOND_NS <= after_ns < 12 * SECOND_NS


def test_a_seed_is_enough_to_have_them_again(many: Clean):
    assert placements(many, 9, 7, room_s=5) == placements(many, 9, 7, room_s=5)
    assert placements(many, 9, 7, room_s=5) != placements(many, 9, 8, room_s=5)


def test_there_are_no_more_than_checkpoints_with_room_behind_them(many: Clean):
    """150 seconds of frames: of the places 62, 64 .. 120, those up to 110 have 40 seconds behind them: 25."""
    assert len(placements(many, 200, 7, room_s=40)) == 25


def test_volatility_is_that_of_the_minute_before(many: Clean):
    """By hand from the records of one placement: root mean square of 1e4 ln(close / open)."""
    import math

    (one,) = placements(many, 1, 7, room_s=5)
    end_s = many.source.start_s + one.checkpoint.place
    records = many.history.seconds(many.symbol, end_s - 59, end_s + 1).rows
    squares = [(1e4 * math.log(r.mid2_close / r.mid2_open)) ** 2 for r in records if r.mid2_open]
    assert one.volatility_bps == pytest.approx(math.sqrt(sum(squares) / len(squares)))
    assert isinstance(one.checkpoint, Checkpoint)
