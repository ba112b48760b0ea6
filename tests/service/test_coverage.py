"""Coverage against a model that looks at each second by itself, and the borders a model would share."""

import functools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store import samples

from leadline.core.errors import InvalidRequest
from leadline.core.records import BookState, Incident, SymbolSecond
from leadline.service.queries import Coverage, Desk, Gap, coverage, run
from leadline.service.queries.stored import get_coverage
from leadline.store.engine import Put
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

T = 1_723_161_240
SYMBOL = "BTCUSDT"


def store(rows: Sequence[SymbolSecond] = (), incidents: Sequence[Incident] = (), unreadable: Sequence[int] = ()) -> History:
    engine = MemoryEngine()
    history = History(engine, "the test's store")
    history.write(rows, incidents)
    engine.write([("seconds", f"{SYMBOL}:{second}".encode(), b"\xff no record") for second in unreadable])
    return history


def live(second: int, symbol: str = SYMBOL) -> SymbolSecond:
    return SymbolSecond(symbol, second, samples.record(second), None, None, (), ())


def not_live(second: int, reason: str) -> SymbolSecond:
    record = samples.record(second, state=BookState.SYNCING, reason=reason, update_id=None)
    return SymbolSecond(SYMBOL, second, record, None, reason, (), ())


def incident(start_s: float, end_s: float | None, kind: str, cause: str, symbol: str = SYMBOL, n: int = 0) -> Incident:
    end_ms = None if end_s is None else round(end_s * 1000)
    return Incident(symbol, int(start_s), n, kind, round(start_s * 1000), end_ms, None, None, cause, "")


# The model -------------------------------------------------------------------------


def why(second: int, kinds: dict[int, str], incidents: Sequence[Incident]) -> str | None:
    """None: LIVE. Else what a person would say who looks at this second alone."""
    match kinds.get(second, "absent"):
        case "live":
            return None
        case "unreadable":
            return "unreadable"
        case "absent":
            stored = [one for one, kind in kinds.items() if kind != "absent"]
            said, began = "unknown", -1
            if not stored:
                said = "nothing is stored"
            elif second < min(stored):
                said = "nothing is stored so far back"
            elif second > max(stored):
                said = "nothing is stored since"
            for noted in incidents:
                over = noted.end_ms is not None and noted.end_ms < second * 1000
                if noted.start_ms > began and noted.start_ms <= second * 1000 and not over:
                    began = noted.start_ms
                    said = noted.kind if noted.cause == noted.kind else noted.kind + " (" + noted.cause + ")"
            return said
        case reason:
            return reason


def spread(found: Coverage) -> dict[int, str]:
    """Cause by second; a second in two gaps fails."""
    causes: dict[int, str] = {}
    for gap in found.gaps:
        assert gap.from_s < gap.to_s
        for second in range(gap.from_s, gap.to_s):
            assert second not in causes
            causes[second] = gap.cause
    return causes


kinds = st.dictionaries(
    st.integers(T, T + 29), st.sampled_from(["live", "live", "unreadable", "gap", "disconnected", "absent"]), min_size=5
)


@st.composite
def noted(draw: st.DrawFn) -> list[Incident]:
    whole = st.integers(T - 5, T + 32).map(lambda second: second * 1000)
    starts = draw(st.lists(whole | st.integers((T - 5) * 1000, (T + 32) * 1000), max_size=6, unique=True))
    made = []
    for n, start_ms in enumerate(starts):
        length_ms = draw(st.none() | st.sampled_from([0, 1000, 2000, 7000]) | st.integers(0, 12_000))
        end_ms = None if length_ms is None else start_ms + length_ms
        kind, cause = draw(st.sampled_from([("gap", "gap"), ("outage", "killed"), ("queue_full", "slow store")]))
        symbol = draw(st.sampled_from([SYMBOL, "*"]))
        made.append(Incident(symbol, start_ms // 1000, n, kind, start_ms, end_ms, None, None, cause, ""))
    return made


@settings(max_examples=200, deadline=None)
@given(
    kinds=kinds,
    old=st.none() | st.integers(T - 600, T - 571),
    incidents=noted(),
    lo=st.integers(T - 620, T + 20),
    length=st.integers(0, 680),
)
def test_every_second_is_live_or_in_exactly_one_gap_with_the_cause_a_person_would_name(
    kinds: dict[int, str], old: int | None, incidents: list[Incident], lo: int, length: int
):
    """A slice ends 600 s after lo or the oldest record, so in and around the seconds that are looked at."""
    kinds |= {} if old is None else {old: "live"}
    rows = [live(second, "BTCUSDC") for second in range(T, T + 30)]  # a neighbour whose name begins alike
    for second, kind in kinds.items():
        if kind == "live":
            rows.append(live(second))
        elif kind not in {"absent", "unreadable"}:
            rows.append(not_live(second, kind))
    history = store(rows, incidents, [second for second, kind in kinds.items() if kind == "unreadable"])
    hi = lo + length
    found = coverage(history, SYMBOL, lo, hi)
    expected = {second: cause for second in range(lo, hi) if (cause := why(second, kinds, incidents)) is not None}
    assert spread(found) == expected
    assert found.live_s == length - len(expected)
    assert found.ratio == (None if length == 0 else found.live_s / length)
    for before, after in zip(found.gaps, found.gaps[1:], strict=False):
        assert before.to_s <= after.from_s
        assert before.to_s < after.from_s or before.cause != after.cause


# By hand ---------------------------------------------------------------------------


def test_the_window_is_half_open():
    history = store([live(second) for second in (T - 1, T, T + 1, T + 2)])
    assert coverage(history, SYMBOL, T, T + 2) == Coverage(SYMBOL, T, T + 2, 2, ())
    assert coverage(history, SYMBOL, T + 2, T + 4).gaps == (Gap(T + 3, T + 4, "nothing is stored since"),)


@functools.cache
def two_hours() -> list[Put]:
    """Rows of T .. T+7200, encoded once."""
    return [
        ("seconds", key, value) for key, value in store([live(T + i) for i in range(7201)]).engine.scan("seconds", b"", b"~").rows
    ]


def two_hours_without(*missing: int) -> History:
    engine = MemoryEngine()
    gone = {f"{SYMBOL}:{second}".encode() for second in missing}
    engine.write([put for put in two_hours() if put[1] not in gone])
    return History(engine, "the test's store")


def test_a_gap_across_slices_is_one_gap():
    history = two_hours_without(*range(T + 3590, T + 3610))
    found = coverage(history, SYMBOL, T, T + 7201)
    assert (found.gaps, found.live_s) == ((Gap(T + 3590, T + 3610, "unknown"),), 7181)


@pytest.mark.parametrize("missing", [1, 599, 600, 3600, 7199])
def test_a_second_missing_at_the_border_of_a_slice_is_seen(missing: int):
    history = two_hours_without(T + missing)
    found = coverage(history, SYMBOL, T, T + 7201)
    assert (found.gaps, found.live_s) == ((Gap(T + missing, T + missing + 1, "unknown"),), 7200)


def test_the_reason_of_a_record_is_nearer_than_an_incident():
    history = store([not_live(T, "gap")], [incident(T - 1, T + 5, "outage", "killed", "*")])
    assert coverage(history, SYMBOL, T, T + 2).gaps == (Gap(T, T + 1, "gap"), Gap(T + 1, T + 2, "outage (killed)"))


def test_an_incident_covers_the_ticks_at_both_its_ends():
    history = store([], [incident(T + 2, T + 4, "gap", "gap"), incident(T + 6.001, T + 7.999, "crossed", "crossed")])
    causes, none = spread(coverage(history, SYMBOL, T, T + 9)), "nothing is stored"
    assert [causes[T + i] for i in range(9)] == [none] * 2 + ["gap"] * 3 + [none] * 2 + ["crossed", none]


def test_an_incident_of_another_symbol_explains_nothing():
    history = store([live(T, "ETHUSDT")], [incident(T - 1, T + 5, "gap", "gap", "ETHUSDT")])
    assert coverage(history, SYMBOL, T, T + 1).gaps == (Gap(T, T + 1, "nothing is stored"),)


def test_trades_that_stay_away_or_are_not_made_are_no_cause_of_a_missing_book():
    missing = incident(T, T + 9, "trades_missing", "no answer, 5 attempts")
    restart = incident(T, T + 9, "chain_restart", "id_restart", n=1)
    halted = incident(T, T + 9, "not_trading", "HALT", n=2)
    history = store([], [missing, restart, halted, incident(T - 5, T + 4, "missed_seconds", "the service stalled", "*")])
    assert coverage(history, SYMBOL, T, T + 9).gaps == (
        Gap(T, T + 5, "missed_seconds (the service stalled)"),
        Gap(T + 5, T + 9, "nothing is stored"),
    )


def test_a_month_that_nobody_recorded_is_one_gap_and_quickly_said():
    """2,592,000 seconds beside 300 incidents: a look at each second would not end within a test's patience."""
    incidents = [incident(T - 1000 + i, T - 999.5 + i, "gap", "gap", n=0) for i in range(300)]
    found = coverage(store([], incidents), SYMBOL, T, T + 30 * 86_400)
    assert found.gaps == (Gap(T, T + 30 * 86_400, "nothing is stored"),)


def test_a_store_that_never_heard_of_the_symbol_says_so():
    assert coverage(store(), "NEWUSDT", T, T + 10).gaps == (Gap(T, T + 10, "nothing is stored"),)


def test_an_empty_window_has_no_ratio():
    assert coverage(store([live(T)]), SYMBOL, T, T).ratio is None


# The question ----------------------------------------------------------------------


def desk_of(history: History) -> Desk:
    return Desk(history, now_ns=lambda: (T + 60) * 10**9)


@given(kinds)
@settings(deadline=None)
def test_the_question_says_the_same_of_all_that_is_stored_and_one_gap_on_either_side(found: dict[int, str]):
    """Margins that nothing was read of are told as such; the seconds between are the model's."""
    found = {T + 30: "live", **found}
    rows = [live(s) if kind == "live" else not_live(s, kind) for s, kind in found.items() if kind not in {"absent", "unreadable"}]
    history = store(rows)
    oldest, newest = min(row.second for row in rows), max(row.second for row in rows)
    answer = run(get_coverage(desk_of(history), SYMBOL, from_s=T - 5, to_s=T + 40))
    told = {s: cause for first, after, cause in answer.gaps for s in range(first, after)}
    stored = {row.second for row in rows}
    for second in range(T - 5, T + 40):
        if second < oldest:
            assert told[second] == "nothing is stored so far back"
        elif second > newest:
            assert told[second] == "nothing is stored since"
        elif second not in stored:
            assert told[second] == "unknown"
        elif found[second] == "live":
            assert second not in told
        else:
            assert told[second] == found[second]
    assert (answer.live_s, answer.expected_s) == (sum(found[s] == "live" for s in stored), 45)
    assert answer.ratio == answer.live_s / 45
    assert answer.envelope.coverage is not None and answer.envelope.coverage.live_s == answer.live_s


def test_by_default_the_question_is_of_everything_that_is_stored():
    history = store([live(T), live(T + 1), live(T + 5_000)])
    answer = run(get_coverage(desk_of(history), SYMBOL))
    assert (answer.from_s, answer.to_s, answer.live_s) == (T, T + 5_001, 3)
    assert answer.gaps == [(T + 2, T + 5_000, "unknown")]
    assert answer.reading == (
        "BTCUSDT: 3 of 5001 s are there (0.06 %) from 2024-08-08T23:54:00Z to 2024-08-09T01:17:21Z, 4998 s are missing in 1 gap."
    )


def test_a_window_that_ends_before_it_begins_is_refused_and_a_far_one_is_not_read():
    history = store([live(T)])
    with pytest.raises(InvalidRequest, match="to_s"):
        run(get_coverage(desk_of(history), SYMBOL, from_s=T + 5, to_s=T + 5))
    steps = get_coverage(desk_of(history), SYMBOL, from_s=0, to_s=9_999_999_999)
    assert sum(1 for _ in steps) == 1
