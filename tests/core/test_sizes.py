"""From which size on a level is large: medians over minute blocks, and the memory of a day of them."""

from math import nan
from statistics import median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadline.core.sizes import BLOCKS_MIN, DAY_S, SIZE_BINS, SizeHistory, bin_value, bins_of, size_thresholds

MINUTE = 1_723_161_600  # a multiple of 60


def row(*sizes):
    return [*sizes, *[None] * (6 - len(sizes))]


def test_the_threshold_is_the_median_of_at_least_thirty_blocks():
    """1 to 30: 15.5. Of the second bucket 29 blocks know; of the third 31: 0 to 30, 15."""
    rows = [row(n + 1, None if n == 3 else 7.0, n) for n in range(30)]
    assert size_thresholds([*rows, row(None, None, 30)]) == [15.5, None, 15.0, None, None, None]
    assert size_thresholds(rows[:29]) == [None] * 6
    assert size_thresholds([]) == [None] * 6
    assert BLOCKS_MIN == 30


def test_nan_and_none_say_the_same():
    assert size_thresholds(np.full((40, 6), nan)) == [None] * 6
    assert size_thresholds([[2.0] * 5 + [nan]] * 30) == [2.0] * 5 + [None]


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(st.lists(st.one_of(st.none(), st.floats(1e-3, 1e9)), min_size=6, max_size=6), min_size=25, max_size=70))
def test_the_threshold_of_any_blocks_is_the_median_of_what_is_known(rows):
    known = [[size for size in column if size is not None] for column in zip(*rows, strict=True)]
    assert size_thresholds(rows) == [median(sizes) if len(sizes) >= 30 else None for sizes in known]


def test_the_middle_of_each_bin_lies_in_it():
    values = np.array([bin_value(index) for index in range(SIZE_BINS)])
    assert bins_of(values).tolist() == list(range(SIZE_BINS))
    assert (bins_of(np.array([1e-30, 1e30])).tolist(), len(set(values))) == ([0, SIZE_BINS - 1], SIZE_BINS)


def history(minutes, sizes=bin_value):
    found = SizeHistory()
    for n in minutes:
        found.add(MINUTE + 60 * n, row(sizes(n)))
    return found


def test_a_day_of_blocks_is_remembered_exactly_as_it_was_told():
    """Middles of bins 200 to 240, 41 of them: the median is that of bin 220."""
    assert history(range(200, 241)).thresholds(MINUTE + 60 * 240) == row(bin_value(220))


def test_the_order_of_arrival_does_not_matter_and_a_block_told_again_counts_once():
    told = [*range(220, 241), *range(200, 221), *reversed(range(200, 241))]
    assert history(told).thresholds(MINUTE + 60 * 240) == row(bin_value(220))
    assert len(history(told)) == 41


def test_the_last_word_on_a_minute_counts():
    found = history(range(30), lambda n: 1.0)
    for n in range(30):
        found.add(MINUTE + 60 * n, row(bin_value(300)))
    assert found.thresholds(MINUTE + 60 * 29) == row(bin_value(300))


@pytest.mark.parametrize(("at", "known"), [(29 * 60, True), (29 * 60 - 1, False), (DAY_S - 1, True), (DAY_S, False)])
def test_only_blocks_of_the_24_hours_up_to_now_count(at, known):
    """30 blocks at 0, 60 .. 1740: all are there from 1740 on, and at 86,400 the first is a day old."""
    assert (history(range(30)).thresholds(MINUTE + at)[0] is not None) is known


def test_a_memory_of_more_than_a_day_lets_the_oldest_go():
    found = history(range(1600), lambda n: 5.0)
    assert len(found) == 1440
    found.add(MINUTE, row(7.0))
    assert len(found) == 1440, "older than a day when it is told"
    found.add(MINUTE + 60 * 10_000, row(7.0))
    assert len(found) == 1


def test_a_full_day_takes_23_kilobytes():
    found = history(range(1440), lambda n: 5.0)
    assert sum(len(memory) * memory.itemsize for memory in (found._minutes, found._bins)) == 1440 * (4 + 12)
