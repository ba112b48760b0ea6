"""Walls: thresholds from minutes, and the levels above them."""

from msgspec.structs import replace
from tests.analytics.build_books import BEYOND, E16, Z, top_of, view
from tests.core.build import e8, levels

from leadline.analytics.walls import Wall, Walls
from leadline.core.minute import BUCKETS_BPS
from leadline.core.records import MinuteBlock
from leadline.core.sizes import size_thresholds


def minute(*size_p99):
    return MinuteBlock(60, [None] * 100, [None] * 100, [None] * 6, list(size_p99))


def test_a_size_is_large_beyond_the_median_of_at_least_30_minutes():
    """Bucket 0 knows 1..30, median 15.5; bucket 1 knows 29 of them; the others nothing."""
    minutes = [minute(float(n), None if n == 30 else float(n), None, None, None, None) for n in range(1, 31)]
    assert size_thresholds([one.size_p99 for one in minutes]) == [15.5, None, None, None, None, None]
    assert size_thresholds([one.size_p99 for one in minutes[:29]]) == [None] * 6
    assert size_thresholds([]) == [None] * 6


def test_walls_are_levels_above_the_threshold_of_their_distance():
    """Mid 100000: 1 is 0.1 bps. Bids 0.2, 0.25, 1, 9.9 and 11 bps away; the border of 0.25 belongs to the next bucket."""
    bids = levels([("99998", 2), ("99997.5", 2), ("99990", 2), ("99901", 2), ("99890", 2)])
    asks = levels([("100002", 2)])
    thresholds = [200_000.0, 199_994.0, 1e9, 199_000.0, 1e9, 199_801.9]
    walls = top_of(view(bids, asks), wall_thresholds_quote=thresholds).walls
    assert [wall.price_e8 for wall in walls.bids] == [e8("99997.5"), e8(99990), e8(99901)]
    assert walls.bids[0] == Wall(e8("99997.5"), e8(2), 199_995 * E16, 199_994.0)
    assert [wall.price_e8 for wall in walls.asks] == [e8(100002)]
    assert list(BUCKETS_BPS) == [0.25, 0.5, 1, 2, 5, 10]


def test_a_level_at_the_threshold_is_no_wall():
    near = view(levels([("99999", 2)]), levels([("100001", 2)]))
    assert top_of(near, wall_thresholds_quote=[199_998.0] * 6).walls == Walls(
        (), (Wall(e8(100001), e8(2), 200_002 * E16, 199_998.0),)
    )


def test_what_cannot_be_judged_is_no_list_without_walls():
    def told(thresholds, book=Z):
        top = top_of(book, wall_thresholds_quote=thresholds)
        return top.walls, top.reasons.get("walls")

    near = view(levels([("99999", 2)]), levels([("100001", 2)]))
    assert told([None] * 6) == (None, "baseline_short")
    assert told([None, 1.0, 1.0, 1.0, 1.0, 1.0], near) == (None, "too_few")
    assert told([1e9] * 6, near) == (Walls((), ()), None)
    assert told([1e9] * 6, replace(near, known_ask=e8(100002))) == (None, BEYOND)
    assert told([1.0] * 6) == (Walls((), ()), None)  # Z's best levels are 10 bps away: behind the last bucket
