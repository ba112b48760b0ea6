"""Growing columns against a plain list of rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.growing import Growing

ROW_BYTES = 8 + 1 + 24


class Rows(Struct, frozen=True):
    t: NDArray[np.int64]
    odd: NDArray[np.bool_]
    wide: NDArray[np.float64]


def rows(ticks):
    t = np.array(ticks, np.int64)
    return Rows(t, t % 2 == 1, np.column_stack([t / 2, t * 3.0, -t]) if len(t) else np.zeros((0, 3)))


def same(found, ticks):
    wanted = rows(ticks)
    assert found.t.dtype == np.int64
    assert found.odd.dtype == bool
    assert found.wide.shape == (len(ticks), 3)
    for name in Rows.__struct_fields__:
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)


added = st.tuples(st.just("add"), st.integers(1, 9), st.sampled_from([0, 1, 2, 7, 200, 5_000]))
dropped = st.tuples(st.just("drop"), st.integers(-3, 12_000), st.just(0))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.lists(st.one_of(added, dropped), max_size=12), st.integers(-5, 40_000), st.integers(0, 20_000))
def test_what_is_held_is_what_was_added_and_not_let_go(steps, after, length):
    """Gaps of several seconds between parts; sizes around the first room of 256 rows and beyond it."""
    growing, model, newest = Growing(rows([])), [], 0
    for what, number, count in steps:
        if what == "add":
            part = list(range(newest + number, newest + number + count))
            growing.append(rows(part))
            model += part
            newest = model[-1] if part else newest
        else:
            growing.drop_until(number)
            model = [t for t in model if t > number]
    same(growing.between(-1, newest), model)
    same(growing.between(after, after + length), [t for t in model if after < t <= after + length])


def test_a_view_stays_right_whatever_is_added_or_let_go_afterwards():
    """First in the room there is, then with a move to a larger one."""
    growing = Growing(rows([]))
    growing.append(rows(range(1, 101)))
    before = growing.between(10, 90)
    growing.append(rows(range(200, 300)))
    same(before, list(range(11, 91)))
    growing.drop_until(250)
    growing.append(rows(range(1_000, 9_000)))
    same(before, list(range(11, 91)))
    same(growing.between(0, 10_000), [*range(251, 300), *range(1_000, 9_000)])


def test_rows_come_in_order_and_only_once():
    growing = Growing(rows([]))
    growing.append(rows([5, 6]))
    for early in ([6, 7], [4]):
        with pytest.raises(AssertionError, match="order of t"):
            growing.append(rows(early))
    growing.drop_until(6)
    growing.append(rows([3]))  # what was let go is forgotten
    same(growing.between(0, 9), [3])


def test_memory_is_that_of_the_rows_held_and_a_quarter_more():
    """10,000 rows are kept of 200,000 that come in parts of 240: at most 5/4 of 10,000 rows and a part are ever reserved."""
    growing, most = Growing(rows([])), 0
    assert growing.nbytes == 0
    growing.append(rows([-1]))
    assert growing.nbytes == 256 * ROW_BYTES  # the first room
    for first in range(0, 200_000, 240):
        growing.append(rows(range(first, first + 240)))
        growing.drop_until(first + 239 - 10_000)
        most = max(most, growing.nbytes)
    assert len(growing.between(0, 10**6).t) == 10_000
    assert most <= (10_000 + 240) * 5 // 4 * ROW_BYTES
    assert growing.nbytes >= 10_000 * ROW_BYTES
