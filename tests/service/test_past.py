"""get_history: pages of a window put together are what is stored in it, however far the window reaches."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.service.test_coverage import SYMBOL, T, desk_of, live, store

from leadline.service.queries.past import get_history
from leadline.service.steps import run

seconds = st.sets(st.integers(0, 400), max_size=60)


@settings(deadline=None)
@given(
    stored=seconds,
    begin=st.integers(-50, 420),
    length=st.integers(1, 500),
    step_s=st.sampled_from([1, 2, 7, 60]),
    limit=st.integers(1, 90),
)
def test_pages_put_together_are_the_stored_seconds_on_the_grid_of_the_window(stored, begin, length, step_s, limit):
    desk = desk_of(store([live(T + one) for one in stored]) if stored else store([live(T, "ETHUSDT"), live(T + 10**6)]))
    lo, hi = T + begin, T + begin + length
    found, cursor, described = [], None, 0
    while True:
        page = run(get_history(desk, SYMBOL, from_s=lo, to_s=hi, step_s=step_s, limit=limit, cursor=cursor))
        assert len(page.rows) <= limit
        found += [row["t"] for row in page.rows]
        assert page.envelope.coverage is not None
        described += page.envelope.coverage.live_s
        if page.next is None:
            break
        assert page.rows, "a page that goes on has something"
        cursor = page.next
    assert found == [T + one for one in sorted(stored) if lo <= T + one < hi and (T + one) % step_s == 0]
    if step_s == 1:
        assert described == len(found)


def test_where_nothing_is_stored_nothing_is_looked_for():
    """Since 1970: it was 28 million reads, and no answer within the deadline."""
    desk = desk_of(store([live(T), live(T + 1)]))
    for step_s in (1, 3600):
        steps = get_history(desk, SYMBOL, from_s=0, to_s=9_999_999_999, step_s=step_s)
        assert sum(1 for _ in steps) < 10
    page = run(get_history(desk, SYMBOL, from_s=0, to_s=9_999_999_999, limit=1))
    assert ([row["t"] for row in page.rows], page.next) == ([T], T + 1)
    cover = page.envelope.coverage
    assert cover is not None
    assert cover.gaps == [(0, T, "nothing is stored so far back")]
