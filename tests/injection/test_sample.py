"""A small fixed sample of the injections, through the whole path, after forty minutes of clean market.

The full runs, with their shares and intervals, are in bench/README.md. These are the few that must hold at every placement.
"""

import pytest
from bench.injection.asking import Past
from bench.injection.cells import cells
from bench.injection.path import clean_pass
from bench.injection.placements import placements
from bench.injection.run import ROOM_S, Ground, run_cell, scene
from bench.injection.source import Source
from bench.injection.usual import usual_of

LEAD_S, AFTER_S, PLACES = 2_460, 330, 3


@pytest.fixture(scope="module")
def ground():
    """Of a detector's history 1,800 s are needed, of the sizes of levels 30 minutes."""
    source = Source("BTCUSDT", 7)
    clean = clean_pass(source, LEAD_S + AFTER_S, every=60, first=LEAD_S)
    usual = usual_of(clean.history, clean.symbol, source.start_s + 60, source.start_s + LEAD_S)
    return Ground(clean, usual, Past(clean.history, clean.symbol, source.start_s))


@pytest.fixture(scope="module")
def scenes(ground):
    places = placements(ground.clean, PLACES, 7, room_s=ROOM_S)
    assert len(places) == PLACES
    return [scene(ground, place) for place in places]


def chosen(row, **parameters):
    found = [cell for cell in cells({row}) if all(cell.parameters.get(name) == value for name, value in parameters.items())]
    assert found
    return found


def outcomes(ground, scenes, wanted):
    return [run_cell(ground, where, cell) for where in scenes for cell in wanted]


def test_nine_tenths_of_the_depth_gone_for_ten_seconds_is_found_at_once(ground, scenes):
    found = outcomes(ground, scenes, chosen(2, share=0.9, sides="both", seconds=10))
    assert [one.found for one in found] == [True] * PLACES
    assert all(one.delay_s <= 4 for one in found)


def test_twenty_times_the_messages_without_a_trade_for_ten_seconds_is_found(ground, scenes):
    found = outcomes(ground, scenes, chosen(1, times=20, seconds=10))
    assert [one.found for one in found] == [True] * PLACES


def test_scores_fall_where_the_spread_opens(ground, scenes):
    for one in outcomes(ground, scenes, chosen(3)):
        assert all(one.checks.values()), (one.name, one.checks)


def test_large_levels_that_vanish_are_counted(ground, scenes):
    found = outcomes(ground, scenes, [cell for cell in chosen(4, times=3) if cell.parameters.get("life_s", 0) <= 1.9][:3])
    assert all(one.checks and all(one.checks.values()) for one in found)


def test_what_lies_below_the_size_filter_is_no_iceberg(ground, scenes):
    wanted = [cell for cell in cells({5}) if cell.parameters.get("small")]
    assert wanted
    assert all("IcebergOrder" not in one.false and one.found is not True for one in outcomes(ground, scenes, wanted))


def test_data_faults_are_incidents_and_never_anomalies(ground, scenes):
    for one in outcomes(ground, scenes[:2], cells({7})):
        assert one.false == {}, one.name
        assert False not in one.checks.values(), (one.name, one.checks)  # None: asks for nothing here
