"""The judge of standin_clients can say no: each doctored line is a difference, and the undoctored one is none."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from standin_clients.compare import Tally, book_difference, ticker_difference, trade_differences
from standin_clients.follow import FollowedBook, Gap

TRUTH = {
    "update_id": 50,
    "bids": {"99.00000000": "2.00000000", "100.00000000": "1.00000000", "98.00000000": "3.00000000"},
    "asks": {"102.00000000": "5.00000000", "101.00000000": "4.00000000"},
}
BOOK = {
    "book": "BTCUSDT",
    "id": 50,
    "levels": 2,
    "bids": [["100.0", "1"], ["99.0", "2"]],
    "asks": [["101.0", "4"], ["102.0", "5"]],
    "low": None,
    "high": None,
}
TICKER = {"ticker": "BTCUSDT", "id": 50, "bid": ["100", "1"], "ask": ["101", "4.0"]}
# Two taker orders: fills 7 and 8, then 9.
ROWS = [
    {"a": 1, "p": "100.00000000", "q": "3.00000000", "f": 7, "l": 8, "T": 1000, "m": True},
    {"a": 2, "p": "101.00000000", "q": "0.50000000", "f": 9, "l": 9, "T": 1001, "m": False},
]
AGGS = [
    {"agg": "BTCUSDT", "id": 1, "price": "100", "qty": "3", "time_ms": 1000, "buyer_is_maker": True, "first": 7, "last": 8},
    {"agg": "BTCUSDT", "id": 2, "price": "101", "qty": "0.5", "time_ms": 1001, "buyer_is_maker": False, "first": 9, "last": 9},
]
TRADES = [
    {"trade": "BTCUSDT", "id": 7, "price": "100.0", "qty": "1.0", "time_ms": 1000, "buyer_is_maker": True},
    {"trade": "BTCUSDT", "id": 8, "price": "100.0", "qty": "2.0", "time_ms": 1000, "buyer_is_maker": True},
    {"trade": "BTCUSDT", "id": 9, "price": "101.0", "qty": "0.5", "time_ms": 1001, "buyer_is_maker": False},
]

Doctor = Callable[[dict[str, Any]], object]


def test_a_book_that_shows_the_truth_in_other_spelling_is_no_difference() -> None:
    assert book_difference(BOOK, TRUTH) is None


@pytest.mark.parametrize(
    "doctor",
    [
        pytest.param(lambda line: line["bids"][1].__setitem__(1, "2.00000001"), id="a quantity below the top"),
        pytest.param(lambda line: line["asks"][1].__setitem__(0, "102.01"), id="a price"),
        pytest.param(lambda line: line["bids"].pop(), id="a level too few"),
        pytest.param(lambda line: line["asks"].insert(1, ["101.5", "1"]), id="a level too many"),
        pytest.param(lambda line: (line["bids"].insert(0, ["500", "1"]), line.update(high="102")), id="a crossing bid"),
        pytest.param(lambda line: line["bids"].reverse(), id="the wrong order"),
        pytest.param(lambda line: line["asks"].clear(), id="an empty side"),
        pytest.param(lambda line: line.update(levels=None), id="a whole book without its last bid"),
        pytest.param(lambda line: line.update(id=49), id="another id"),
    ],
)
def test_every_doctored_book_is_a_difference(doctor: Doctor) -> None:
    line = copy.deepcopy(BOOK)
    doctor(line)
    assert book_difference(line, TRUTH) is not None


def test_levels_outside_what_the_client_can_know_are_not_judged_and_those_inside_are() -> None:
    hole = {**BOOK, "levels": None, "bids": [["100.0", "1"]], "low": "99.5"}
    assert book_difference(hole, TRUTH) is None
    assert book_difference({**hole, "low": "99.0"}, TRUTH) == "bids level 2: client none, truth 99.00000000 x 2.00000000"


def test_a_ticker_is_judged_by_both_prices_and_by_the_quantities_that_it_shows() -> None:
    assert ticker_difference(TICKER, TRUTH) is None
    assert ticker_difference({**TICKER, "bid": ["100", None]}, TRUTH) is None
    assert ticker_difference({**TICKER, "bid": ["99", None]}, TRUTH) is not None
    assert ticker_difference({**TICKER, "ask": ["101", "4.1"]}, TRUTH) == "ask: client 101 x 4.1, truth 101.00000000 x 4.00000000"


def test_trades_as_they_were_are_no_difference() -> None:
    assert list(trade_differences(AGGS, ROWS)) == []
    assert list(trade_differences(TRADES, ROWS)) == []
    assert list(trade_differences(TRADES[1:], ROWS)) == []  # the client came in the middle of the first order


@pytest.mark.parametrize("lines", [AGGS, TRADES], ids=["agg", "trade"])
@pytest.mark.parametrize(
    "doctored", [{"price": "100.01"}, {"qty": "9"}, {"time_ms": 999}, {"buyer_is_maker": False}, {"id": 70}], ids=str
)
def test_every_doctored_trade_is_a_difference(lines: list[dict[str, Any]], doctored: dict[str, Any]) -> None:
    assert list(trade_differences([{**lines[0], **doctored}, *lines[1:]], ROWS))


def test_trades_out_of_order_twice_or_left_out_are_differences() -> None:
    assert list(trade_differences([TRADES[1], TRADES[0], TRADES[2]], ROWS))
    assert list(trade_differences([TRADES[0], TRADES[0], TRADES[1], TRADES[2]], ROWS))
    assert list(trade_differences([TRADES[0], TRADES[2]], ROWS)) == ["trade 9 after 7"]
    assert list(trade_differences([{**AGGS[0], "last": 9}], ROWS)) == ["agg 1: client has trades 7..9, exchange 7..8"]


def tally_of(*lines: dict[str, Any], truth: dict[str, Any] | None = TRUTH) -> Tally:
    tally = Tally(["BTCUSDT"], seconds=1.0)  # two books are due
    tally.take({"client": "c", "version": "1", "shows": ["book", "ticker"]}, None)
    for line in lines:
        tally.take(line, truth)
    return tally


def test_a_client_passes_only_with_enough_books_everything_it_shows_and_no_difference() -> None:
    assert tally_of(BOOK, BOOK, TICKER).failures() == []
    assert tally_of(BOOK, TICKER).failures() == ["1 books of BTCUSDT, at least 2 were due"]
    assert tally_of(BOOK, BOOK).failures() == ["no ticker of BTCUSDT"]
    assert tally_of(BOOK, BOOK, {**TICKER, "bid": ["99", "1"]}).failures() == ["1 differences"]
    assert tally_of(BOOK, BOOK, TICKER, {"error": "gap"}).failures() == ["1 complaints of the client's own"]
    assert tally_of({"snapshot": "BTCUSDT"}, BOOK, BOOK, TICKER).failures() == []
    assert tally_of(BOOK, {"snapshot": "BTCUSDT"}, BOOK, TICKER).failures() == ["1 resyncs"]
    assert "not connected" in tally_of().failures()


def test_an_id_that_the_truth_does_not_know_and_a_line_that_is_none_are_differences() -> None:
    assert tally_of(BOOK, truth=None).differences == 1
    assert tally_of({**TICKER, "bid": ["NaN?", "1"]}).differences == 1
    assert tally_of({"boook": "BTCUSDT"}).differences == 1


def test_the_followed_book_applies_an_event_that_overlaps_its_snapshot_and_drops_older_ones() -> None:
    book = FollowedBook()
    assert not book.event(5, 9, [["1.0", "7"]], [])  # too old
    assert not book.event(10, 12, [["1.0", "0.00000000"], ["2.0", "6"]], [["3.0", "8"]])
    assert book.snapshot(11, [["1.0", "5"]], [["4.0", "1"]])
    assert (book.update_id, book.sides()) == (
        12,
        ([(Decimal(2), Decimal(6))], [(Decimal(3), Decimal(8)), (Decimal(4), Decimal(1))]),
    )
    assert not book.event(10, 12, [], [])
    with pytest.raises(Gap):
        book.event(14, 15, [], [])
    assert not book.snapshot(12, [], [])  # 13 is still missing
    assert book.snapshot(13, [], [])


def test_what_a_library_prints_does_not_come_between_the_lines() -> None:
    script = """
from standin_clients.lines import Lines, leave
lines = Lines("pytest", ["book"])
print("a library's own print")
lines.snapshot("BTCUSDT", [["2", "1"], ["1", "1"]], [["3", "1"]], 2)
lines.book("BTCUSDT", 7, [[2.5, 1e-05]], [])
leave()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [next(iter(line)) for line in told] == ["client", "snapshot", "book"]
    assert told[2] == {
        "book": "BTCUSDT", "id": 7, "levels": 20, "bids": [["2.5", "1e-05"]], "asks": [], "low": "1", "high": None
    }  # fmt: skip
    assert "a library's own print" in done.stderr
