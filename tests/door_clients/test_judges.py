"""The judges of door_clients can say no: each doctored answer is a difference, and the undoctored one is none."""

from decimal import Decimal
from typing import Any

import pytest
from door_clients.books import broken, crossed, difference, of_integers, of_texts
from door_clients.checks import Checks
from door_clients.conformance import RULES, expected, judge
from door_clients.inspector import README, pasted

TRUTH = {"update_id": 50, "bids": {"99.0": "2.0", "100.0": "1.0", "98.0": "3.0"}, "asks": {"102.0": "5.0", "101.0": "4.0"}}
BIDS, ASKS = [["100", "1"], ["99", "2"]], [["101", "4"], ["102", "5"]]


def test_the_exchange_s_own_levels_are_no_difference():
    assert difference((of_texts(BIDS), of_texts(ASKS)), TRUTH, 2) is None


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([["100", "1.1"], ["99", "2"]], ASKS),
        ([["100.5", "1"], ["99", "2"]], ASKS),
        ([["100", "1"]], ASKS),
        ([*BIDS, ["98", "3"]], ASKS),  # more than was asked for
        (BIDS, [["101", "4"], ["103", "5"]]),
    ],
)
def test_a_level_that_is_not_the_exchange_s_is_a_difference(bids: list[list[str]], asks: list[list[str]]):
    assert difference((of_texts(bids), of_texts(asks)), TRUTH, 2)


def test_integers_are_units_of_1e_8():
    side = of_integers({"price_e8": ["10050000000"], "quantity_e8": ["1"]})
    assert side == {Decimal("100.5"): Decimal("0.00000001")}


def test_a_bid_at_the_best_ask_crosses_a_book():
    assert crossed((of_texts([["101", "1"]]), of_texts(ASKS)))
    assert not crossed((of_texts(BIDS), of_texts(ASKS)))


@pytest.mark.parametrize("links", [[(1, 0), (3, 2)], [(1, 0), (1, 1)], [(2, 1)]])
def test_a_message_that_names_another_one_before_it_breaks_the_chain(links: list[tuple[int, int]]):
    assert broken(links)
    assert broken([(1, 0), (2, 1), (5, 2)]) is None


# Conformance -----------------------------------------------------------------

ROWS = expected("""
[[expected]]
why = "It calls a tool of the suite's own server."
says = "no such tool: 'test_"
of = ["fixture", "many:second"]
""")
FIXTURE = {"id": "first", "status": "FAILURE", "errorMessage": "no such tool: 'test_image'"}
SECOND = {**FIXTURE, "id": "second"}
FINE = {"id": "first", "status": "SUCCESS"}


def failures(*found: tuple[str, list[dict[str, Any]]]) -> int:
    checks = Checks()
    judge(list(found), ROWS, checks)
    return len(checks.failed)


def test_what_fails_as_expected_is_no_failure():
    assert failures(("fixture", [FIXTURE, SECOND]), ("many", [FINE, SECOND])) == 0


def test_what_fails_and_is_not_expected_is_a_failure():
    assert failures(("fixture", [FIXTURE]), ("many", [FIXTURE, SECOND])) == 1
    assert (
        failures(("fixture", [FIXTURE]), ("many", [SECOND]), ("ping", [{**FINE, "status": "WARNING", "description": "slow"}]))
        == 1
    )


def test_what_fails_in_another_way_is_a_failure_and_its_row_is_unused():
    assert failures(("fixture", [{**FIXTURE, "errorMessage": "socket closed"}]), ("many", [SECOND])) == 2


def test_what_is_expected_to_fail_and_passes_is_a_failure():
    assert failures(("fixture", [FINE]), ("many", [SECOND])) == 1


def test_each_scenario_stands_in_one_row_and_each_row_has_a_reason():
    rows = expected(RULES.read_text(encoding="utf-8"))
    names = [name for row in rows for name in row.of]
    assert len(names) == len(set(names))
    assert all(row.why.endswith(".") for row in rows)


# What people paste -----------------------------------------------------------


def test_the_readme_has_a_configuration_for_each_kind_of_assistant():
    program, address = pasted(README.read_text(encoding="utf-8"))
    assert program == {"command": "/path/to/leadline/.venv/bin/leadline", "args": ["mcp"]}
    assert address == {"type": "http", "url": "http://127.0.0.1:3001/mcp"}
