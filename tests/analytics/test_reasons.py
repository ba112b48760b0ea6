"""The codes of absence."""

from tests.analytics.build_flow import REASONS

from leadline.analytics import reasons


def test_the_codes_are_those_that_are_promised_and_no_other():
    assert {value for name, value in vars(reasons).items() if name.isupper()} == REASONS
