"""Confidence from what was measured by injection; the table in the test is made up."""

import numpy as np
import pytest

from leadline.analytics.anomalies import MEASURED, AnomalyType, Severity
from leadline.analytics.calibration import ASSUMED_BASE_RATE, TABLE, Measured, confidence

BURST, ICEBERG = AnomalyType.MESSAGE_BURST, AnomalyType.REFILL
INFERRED = sorted(set(AnomalyType) - MEASURED)


@pytest.fixture
def measured(monkeypatch):
    """Enters a figure into an empty table, and tells the confidence that follows."""
    for key in list(TABLE):
        monkeypatch.delitem(TABLE, key)

    def enter(kind, severity, tpr, fpr):
        monkeypatch.setitem(TABLE, (kind, severity), Measured(tpr, fpr))
        return confidence(kind, severity)

    return enter


def test_what_was_not_measured_has_no_confidence(measured):
    """Another severity of the same detector says nothing, and neither does another detector."""
    assert measured(BURST, Severity.HIGH, 0.9, 1e-4) is not None
    for kind, severity in ((BURST, Severity.LOW), (BURST, Severity.CRITICAL), (ICEBERG, Severity.HIGH)):
        assert confidence(kind, severity) is None


def test_confidence_is_the_share_of_findings_that_are_real_under_the_assumed_base_rate(measured):
    """One window in 10,000 has the pattern. Found in 90 % of those and in one of 10,000 others:
    0.9e-4 / (0.9e-4 + 0.9999e-4) = 0.9 / 1.8999."""
    assert ASSUMED_BASE_RATE[BURST] == 1e-4
    assert measured(BURST, Severity.HIGH, 0.9, 1e-4) == pytest.approx(0.9 / 1.8999, rel=1e-12)
    assert measured(BURST, Severity.LOW, 0.9, 0.0) == 1
    assert measured(BURST, Severity.MEDIUM, 0.0, 0.1) == 0
    assert measured(BURST, Severity.CRITICAL, 0.0, 0.0) is None  # it never said anything


@pytest.mark.parametrize("kind", INFERRED)
def test_what_is_inferred_is_never_more_likely_than_not(kind, measured):
    assert measured(kind, Severity.LOW, 0.9, 0.0) == 0.5
    assert measured(kind, Severity.MEDIUM, 0.9, 1e-4) == pytest.approx(0.9 / 1.8999, rel=1e-12)


def test_iceberg_fleeting_and_absorption_are_the_inferred_ones():
    assert INFERRED == ["Absorption", "FleetingLiquidity", "IcebergOrder"]


@pytest.mark.parametrize("kind", AnomalyType)
def test_more_found_and_fewer_mistaken_is_never_less_sure(kind, measured):
    random = np.random.default_rng(1)
    for low_tpr, high_tpr, low_fpr, high_fpr in np.sort(random.random((200, 2, 2)), axis=2).reshape(-1, 4):
        worst = measured(kind, Severity.LOW, low_tpr, high_fpr)
        for tpr, fpr in ((high_tpr, high_fpr), (low_tpr, low_fpr), (high_tpr, low_fpr)):
            assert worst <= measured(kind, Severity.LOW, tpr, fpr) <= 1


def test_the_shipped_table_says_what_its_counts_say():
    """Bursts, High: 47 of 144 found, none of 2,816 clean windows: (47.5/145) / (47.5/145 + 9999 * 0.5/2817) = 0.1558."""
    assert confidence(BURST, Severity.HIGH) == pytest.approx(0.1558, abs=5e-5)
    assert confidence(BURST, Severity.CRITICAL) is None
    assert confidence(AnomalyType.FLEETING, Severity.LOW) is None
    assert {kind for kind, _ in TABLE} == {BURST, AnomalyType.LIQUIDITY_STRESS, ICEBERG}
