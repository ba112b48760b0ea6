"""From an injection to an answer that is judged: a short history, so that most detectors must say that they cannot tell yet."""

import pytest
from bench.injection.asking import Past, Questions
from bench.injection.cells import cells
from bench.injection.path import Clean
from bench.injection.placements import Placement
from bench.injection.run import Ground, Scene, run_cell, scene
from bench.injection.source import SECOND_NS, WAY_NS
from bench.injection.usual import Usual

CELLS = {cell.name: cell for cell in cells(set(range(1, 8)))}


@pytest.fixture(scope="module")
def ground(clean: Clean, usual: Usual) -> Ground:
    return Ground(clean, usual, Past(clean.history, clean.symbol, clean.source.start_s))


@pytest.fixture(scope="module")
def where(ground: Ground) -> Scene:
    at = ground.clean.checkpoints[0]
    return scene(ground, Placement(0, at, (at.closed_s + 5) * SECOND_NS + WAY_NS, 2, 1.0))


def test_an_unready_detector_is_no_miss(ground: Ground, where: Scene):
    found = run_cell(ground, where, CELLS["burst times=20 seconds=3"])
    assert found.found is None
    assert found.false == {}
    assert found.became["ids_per_s"] == pytest.approx(20 * ground.usual.n_ids, rel=0.05)
    assert (found.start_s, found.end_s) == (where.placement.start_ns / 1e9, pytest.approx(where.placement.start_ns / 1e9 + 3))
    assert found.tercile == 2


def test_a_detector_without_baseline_finds_the_iceberg(ground: Ground, where: Scene):
    found = run_cell(ground, where, CELLS["iceberg refills=10 delay_ms=0 small=0"])
    assert found.found is True
    assert found.severity in {"Low", "Medium", "High"}
    assert 0 < found.delay_s < 12


def test_half_of_the_depth_less_is_seen_by_depth_alone(ground: Ground, where: Scene):
    (share,) = run_cell(ground, where, CELLS["withdrawal share=0.9 both seconds=10"]).checks.values()
    assert share == 1.0


def test_wide_spreads_lower_their_scores(ground: Ground, where: Scene):
    assert run_cell(ground, where, CELLS["spread bps=20 seconds=10"]).checks == {
        "spread score falls": True,
        "cost score falls": True,
    }


def test_a_lost_book_is_an_incident_and_has_no_score(ground: Ground, where: Scene):
    found = run_cell(ground, where, CELLS["dropped"])
    assert found.checks == {"incident as expected": True, "marked": True, "no score without a book": True}
    assert found.target == "" and found.found is None


def test_a_fork_is_asked_about_its_own_records(ground: Ground, where: Scene):
    """The clean history knows nothing of the withdrawal; what was asked of one fork is not remembered in the next."""
    before = where.clean.health(where.placement.start_ns // SECOND_NS + 9).overall
    run_cell(ground, where, CELLS["withdrawal share=0.9 both seconds=10"])
    again = Questions(ground.clean.history, ground.clean.symbol, where.past)
    assert again.health(where.placement.start_ns // SECOND_NS + 9).overall == before
