"""The worst answer of each tool in 20 kB: what was cut is said, the order stays, and the rest can be had."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.fakes import FakeClock, run
from tests.serve.questions import BTC, OURS, QUESTIONS
from tests.service import desks
from tests.store import samples

from leadline.core.records import SymbolSecond
from leadline.serve import bounded
from leadline.serve.bounded import MCP_BYTES_MAX, encoded
from leadline.serve.dispatch import Dispatcher
from leadline.serve.tools import tool_of
from leadline.service.queries import Desk
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

LAST = desks.LAST
WORST: dict[str, dict[str, Any]] = QUESTIONS | {
    "orderbook_l2": {"symbol": BTC, "levels": 100},
    "get_order_flow": {"symbol": BTC, "window_duration_secs": 300},
    "get_volume_profile": {"symbol": BTC, "duration_hours": 168, "tick_size": "0.14"},
    "detect_market_anomalies": {"symbol": BTC, "window_duration_secs": 300},
    "get_liquidity_vacuums": {"symbol": BTC, "duration_hours": 168},
    "estimate_market_impact": {"symbol": BTC, "side": "both", "notional": "10000000000"},
    "generate_market_report": {"symbol": BTC, "options": {"volume_window_hours": 168, "orderbook_levels": 100}},
    "get_incidents": {"limit": 500},
    "get_history": {"symbol": BTC, "from_s": LAST - 3_000, "to_s": LAST + 1, "limit": 3_600},
}


def asked(name: str, arguments: Any, desk: Desk | None = None) -> Any:
    dispatcher = Dispatcher(FakeClock())
    dispatcher.desk = desk or desks.desk()
    outcome = run(dispatcher.call(name, arguments, transport="test"))
    assert outcome.failure is None, outcome.failure
    return outcome.value


@pytest.mark.parametrize("name", [tool.name for tool in OURS])
def test_the_worst_answer_of_each_tool_fits(name: str):
    value = asked(name, WORST[name])
    whole = msgspec.json.decode(msgspec.json.encode(value))
    plain, data = encoded(tool_of(name), value, MCP_BYTES_MAX)
    assert len(data) <= MCP_BYTES_MAX
    assert msgspec.json.decode(data) == msgspec.json.decode(msgspec.json.encode(plain))
    told = msgspec.json.decode(data)
    if len(msgspec.json.encode(value)) <= MCP_BYTES_MAX:
        assert told == whole
        return
    cut = {field for field, kept in told.items() if kept != whole[field]} - {"envelope", "next", "reading"}
    assert told["envelope"]["omitted"] == {field: len(whole[field]) - len(told[field]) for field in cut}
    assert told["envelope"]["truncated"] and told["envelope"]["next"] == bounded.NARROWER[name]
    for field in cut:
        places = [whole[field].index(row) for row in told[field]]
        assert places == sorted(set(places)) and places, field
    same = set(whole["envelope"]) - {"truncated", "omitted", "next", *(["coverage"] if name == "get_history" else [])}
    assert {key: told["envelope"][key] for key in same} == {key: whole["envelope"][key] for key in same}


def test_of_a_profile_the_rows_with_most_volume_stay():
    value = asked("get_volume_profile", WORST["get_volume_profile"])
    plain, _ = encoded(tool_of("get_volume_profile"), value, 8_000)
    volumes = sorted((float(row.volume) for row in value.histogram), reverse=True)
    kept = [float(row["volume"]) for row in plain["histogram"]]
    assert sorted(kept, reverse=True) == volumes[: len(kept)]
    assert 0 < len(kept) < len(volumes)


def test_of_a_ladder_the_rows_next_to_the_touch_stay():
    """Twenty stored levels a side do not fill 20 kB, so the bound is set lower."""
    value = asked("orderbook_l2", WORST["orderbook_l2"])
    plain, data = encoded(tool_of("orderbook_l2"), value, 2_000)
    assert len(data) <= 2_000
    for side in ("bids", "asks"):
        rows = msgspec.to_builtins(getattr(value, side))
        assert plain[side] == rows[: len(plain[side])] and plain[side]


def test_of_incidents_the_newest_stay():
    history = History(MemoryEngine(), "the test's store")
    history.set_meta({"origin": "replay:test"})
    history.set_rules(desks.RULES[BTC])
    [row] = desks.recorded().seconds(BTC, LAST, LAST + 1).rows
    history.write(
        [SymbolSecond(BTC, LAST, row, None, "", (), ())],
        [structs.replace(samples.incident(LAST - n), second=LAST - n, n=0) for n in range(400)],
    )
    value = asked("get_incidents", {"limit": 500}, Desk(history, now_ns=lambda: (LAST + 1) * 10**9))
    plain, data = encoded(tool_of("get_incidents"), value, MCP_BYTES_MAX)
    rows = msgspec.to_builtins(value.incidents)
    assert len(rows) == 400 and len(data) <= MCP_BYTES_MAX
    assert plain["incidents"] == rows[: len(plain["incidents"])]
    assert plain["envelope"]["omitted"] == {"incidents": 400 - len(plain["incidents"])}
    assert plain["total"] == 400


@pytest.mark.parametrize("step_s", [1, 7])
@pytest.mark.parametrize("kind", ["seconds", "snapshots"])
@pytest.mark.parametrize("bytes_max", [MCP_BYTES_MAX, 6_000])
def test_a_history_that_was_cut_goes_on_without_a_hole(kind: str, step_s: int, bytes_max: int):
    """Each page says where to go on; all pages together are the stored rows of the window, each once."""
    question = {"symbol": BTC, "from_s": LAST - 100, "to_s": LAST + 1, "kind": kind, "step_s": step_s, "limit": 60}
    found: list[dict[str, Any]] = []
    cursor, cut = question["from_s"], 0
    for _ in range(200):
        value = asked("get_history", {**question, "cursor": cursor})
        plain, data = encoded(tool_of("get_history"), value, bytes_max)
        assert len(data) <= bytes_max and plain["rows"]
        found += plain["rows"]
        cut += plain["envelope"]["truncated"]
        if plain["envelope"]["truncated"]:
            assert f"go on at {plain['next']}" in plain["reading"]
            assert plain["reading"].startswith(f"{BTC}: {len(plain['rows'])} {kind} of ")
        if plain["next"] is None:
            break
        cursor = plain["next"]
    times = [row["t"] for row in found]
    assert times == [t for t in range(LAST - 100, LAST + 1) if t % step_s == 0]
    assert all(a < b for a, b in pairwise(times))
    assert cut or bytes_max == MCP_BYTES_MAX


def with_holes(missing: set[int]) -> Desk:
    """A store of LAST - 300 to LAST without some of its seconds."""
    history = History(MemoryEngine(), "the test's store")
    history.set_meta({"origin": "replay:test"})
    history.set_rules(desks.RULES[BTC])
    there = [t for t in range(LAST - 300, LAST + 1) if t not in missing]
    history.write([SymbolSecond(BTC, t, samples.record(t), None, "", (), ()) for t in there], [])
    return Desk(history, now_ns=lambda: (LAST + 1) * 10**9)


@pytest.mark.parametrize("step_s", [1, 7])
@pytest.mark.parametrize(
    ("missing", "ever"),
    [
        (set(), True),
        ({3, 4, 40, 41, 200, 250}, True),  # before and after the cut
        ({3, *range(8, 60), 61}, True),  # across it
        ({3, *range(200, 222, 2)}, False),  # 12 gaps, of which the last ten are listed: those before the cut are not
        (set(range(2, 300, 2)), False),  # 149 gaps
        (set(range(1, 12)) | set(range(24, 44, 2)), True),  # 11 gaps, the listed ones before the cut but for the smallest bound
    ],
)
def test_a_history_that_was_cut_tells_the_coverage_of_what_is_left(missing: set[int], ever: bool, step_s: int):
    """The judge is the same question, asked for no more than what is left. Where it cannot be told, that is said."""
    desk = with_holes({LAST - 300 + n for n in missing})
    question = {"symbol": BTC, "from_s": LAST - 300, "to_s": LAST + 1, "step_s": step_s, "limit": 301}
    value = asked("get_history", question, desk)
    told = 0
    for bytes_max in (8_000, MCP_BYTES_MAX, 60_000):
        plain, data = encoded(tool_of("get_history"), value, bytes_max)
        if not plain["envelope"]["truncated"]:
            assert plain == msgspec.to_builtins(value)
            continue
        assert len(data) <= bytes_max
        again = msgspec.to_builtins(asked("get_history", {**question, "to_s": plain["next"]}, desk))
        assert plain["rows"] == again["rows"]
        assert plain["reading"] == again["reading"].removesuffix(".") + f", go on at {plain['next']}."
        left, right = plain["envelope"]["coverage"], again["envelope"]["coverage"]
        if left is None:
            assert value.envelope.coverage.gaps_total > 10 and plain["next"] < value.envelope.coverage.gaps[0][0]
            assert bounded.NOT_COVERED in plain["envelope"]["warnings"]
            continue
        told += 1
        assert {**left, "gaps": ()} == {**right, "gaps": ()}
        gaps = [list(gap) for gap in right["gaps"]]
        assert [list(gap) for gap in left["gaps"]] == gaps[len(gaps) - len(left["gaps"]) :]
        assert left["gaps_total"] > 10 or value.envelope.coverage.gaps_total > 10 or len(left["gaps"]) == left["gaps_total"]
        assert bounded.NOT_COVERED not in plain["envelope"]["warnings"]
    assert told or not ever


def test_what_fits_is_not_touched():
    value = asked("list_symbols", {})
    plain, data = encoded(tool_of("list_symbols"), value, MCP_BYTES_MAX)
    assert plain == msgspec.to_builtins(value) and data == msgspec.json.encode(value)
    assert plain["envelope"]["truncated"] is False and plain["envelope"]["next"] is None
