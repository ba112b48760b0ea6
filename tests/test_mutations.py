"""A seeded sample of the faults is tried in every run; all of them by `python tests/mutate.py`."""

import random
from pathlib import Path

import pytest
from tests import mutate
from tests.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("core/test_units.py", "core/test_audit.py", "core/test_capture.py", "service/test_feed.py", "store/test_keys.py")
SAMPLE = sorted(random.Random(20240808).sample([n for n, fault in enumerate(MUTATIONS) if fault.tests[0] in QUICK], 6))


def test_every_fault_fits_the_source_and_names_tests_that_exist():
    unfit = [
        (number, fault.file, fault.old)
        for number, fault in enumerate(MUTATIONS)
        if (ROOT / "src" / "leadline" / fault.file).read_text().count(fault.old) != 1
        or fault.old == fault.new
        or not all((ROOT / "tests" / test).is_file() for test in fault.tests)
    ]
    assert unfit == []
    assert len(set(MUTATIONS)) == len(MUTATIONS) >= 60


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return mutate.copy_of_the_project(tmp_path_factory.mktemp("mutations"))


@pytest.mark.parametrize("number", SAMPLE)
def test_a_fault_of_the_sample_is_caught(number, tree):
    verdict = mutate.tried(number, MUTATIONS[number], tree)
    assert verdict.by, verdict


def test_a_line_that_changes_nothing_is_not_caught(tree):
    """Else the tests above would pass for any reason: here the copy is as it should be."""
    comment = Mutation("core/units.py", "DECIMALS = 8\n", "DECIMALS = 8  # places\n", ("core/test_units.py",))
    assert mutate.tried(0, comment, tree).by == ""
