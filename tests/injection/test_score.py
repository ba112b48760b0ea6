"""Scores by hand: matching, shares with their intervals, what is left out, and what a line of the table says."""

import pytest
from bench.injection.asking import Found
from bench.injection.cells import cells
from bench.injection.checks import CHECKS, COUNTED, DEPTH, INCIDENT
from bench.injection.gates import gate
from bench.injection.score import Outcome, Result, distinct, matches, results, table, wilson


def found(start_s: int, end_s: int, kind: str = "QuoteStuffing", severity: str = "Low", detected_s: int = 0) -> Found:
    return Found(kind, severity, start_s, end_s, detected_s or start_s + 1, ())


def outcome(number: int, **said) -> Outcome:
    plain = {"row": 1, "kind": "burst", "name": "burst times=20 seconds=3", "target": "QuoteStuffing", "symbol": "BTCUSDT"}
    place = {"placement": number, "tercile": number % 3, "start_s": 100.5, "end_s": 103.5}
    return Outcome(**plain, **place, parameters={"times": 20, "seconds": 3}, **said)


@pytest.mark.parametrize(
    ("start_s", "end_s", "matched"),
    [
        (101, 103, True),
        (106, 120, True),  # tick 106 begins at 105, and 103.5 + 2 is later
        (107, 120, False),  # tick 107 begins at 106
        (90, 99, True),  # ends at 99, and 100.5 - 2 is earlier
        (90, 98, False),
    ],
)
def test_an_event_matches_with_two_seconds_to_spare(start_s: int, end_s: int, matched: bool):
    assert matches(found(start_s, end_s), 100.5, 103.5) is matched


def test_events_of_a_kind_that_are_near_are_one_with_the_worse_severity():
    events = [found(200, 201), found(100, 103), found(131, 132, severity="High", detected_s=140), found(150, 151, "Absorption")]
    assert distinct(events) == [
        found(150, 151, "Absorption"),
        Found("QuoteStuffing", "High", 100, 132, 101, ()),  # 131 - 103 = 28
        found(200, 201),  # 200 - 132 = 68
    ]


def test_the_interval_of_a_share_is_wilson_s():
    """8 of 10, z = 1.959964: (0.8 + 0.192073) / 1.384146 = 0.716740, and z sqrt(0.016 + 0.009604) / 1.384146 = 0.226577."""
    assert wilson(8, 10) == pytest.approx((0.490163, 0.943317), abs=2e-6)
    assert wilson(0, 10)[0] == 0
    assert wilson(10, 10) == pytest.approx((0.722467, 1.0), abs=1e-6)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_cell_counts_what_was_evaluated_and_leaves_out_what_the_market_does_itself():
    """Five placements: two found, one not, one not evaluated, one where the base has such an event; two other events."""
    (result,) = results(
        [
            outcome(0, found=True, severity="High", delay_s=2.0),
            outcome(1, found=True, severity="Low", delay_s=1.0, false={"QuoteStuffing": 2}),
            outcome(2, found=False, false={"Absorption": 1}),
            outcome(3, found=None),
            outcome(4, found=True, natural=True, severity="Low", delay_s=9.0),
        ]
    )
    assert (result.placements, result.evaluated, result.found, result.natural) == (5, 3, 2, 1)
    assert result.recall == pytest.approx(2 / 3)
    assert result.precision == pytest.approx(2 / 4)
    assert result.by_severity == {"High": 1, "Low": 1}
    assert result.by_tercile == [(1, 1), (1, 1), (0, 1)]
    assert (result.delay_median_s, result.delay_p90_s) == (2.0, 2.0)
    assert result.false == {"QuoteStuffing": 2, "Absorption": 1}


def test_checks_are_means_over_the_placements_that_have_them():
    (result,) = results([outcome(n, checks={"a": value, "b": None}) for n, value in enumerate((True, False, True, None))])
    assert result.checks == {"a": (pytest.approx(2 / 3), 3)}


def test_a_line_says_all_of_it():
    (result,) = results([outcome(0, found=True, delay_s=1.5), outcome(1, found=None)])
    line = table([result], gate).splitlines()[-1]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        *("1", "BTCUSDT", "burst times=20 seconds=3", "1/1, 1 not evaluated", "1.00 (0.21-1.00)", "1/1 0/0 0/0"),
        *("1.00", "1.5, 1.5", "", "", "recall >= 0.95: met"),
    ]


# What is asked of a cell -----------------------------------------------------------------


def result(row: int, symbol: str = "BTCUSDT", recall: float | None = None, false=None, checks=None, **parameters) -> Result:
    (plain,) = results([outcome(0)])
    values = {name: getattr(plain, name) for name in Result.__struct_fields__}
    values |= {"row": row, "symbol": symbol, "recall": recall, "parameters": parameters}
    return Result(**values | {"false": false or {}, "checks": checks or {}})


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (result(1, recall=0.94, times=20, seconds=3), "recall >= 0.95: MISSED"),
        (result(1, recall=0.1, times=20, seconds=1), ""),
        (result(2, recall=0.9, share=0.9, sides="both", seconds=10), "recall >= 0.9: met"),
        (result(2, recall=0.0, share=0.9, sides="one", seconds=10), ""),
        (result(2, checks={DEPTH: (0.85, 9)}, share=0.5, sides="both", seconds=2), "depth >= 0.9: MISSED"),
        (result(2, "ETHUSDT", checks={DEPTH: (0.85, 9)}, share=0.5, sides="both", seconds=2), "depth >= 0.8: met"),
        (result(3, checks={"cost score falls": (0.995, 200)}, bps=1), "cost score falls always: MISSED"),
        (result(4, checks={COUNTED: (0.96, 9), "lived as asked": (0.1, 9)}, life_s=0.2), "counted >= 0.95: met"),
        (result(5, false={"IcebergOrder": 1}, small=1), "no event: MISSED"),
        (result(5, false={"IcebergOrder": 1}, small=0), ""),
        (result(7, false={"Absorption": 1}, checks={INCIDENT: (1, 9)}), "no anomaly: MISSED; incident as expected: met"),
    ],
)
def test_what_is_asked_of_a_cell_can_be_missed(cell: Result, said: str):
    assert gate(cell) == said


def test_every_row_with_checks_has_cells_and_every_cell_a_name_of_its_own():
    every = cells(set(range(1, 8)))
    assert set(CHECKS) <= {cell.row for cell in every}
    assert len({(cell.row, cell.name) for cell in every}) == len(every)
    assert [sum(cell.row == row for cell in every) for row in range(1, 8)] == [9, 24, 3, 72, 12, 1, 9]
