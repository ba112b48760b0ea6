"""What the protocol asks of a cell, where it asks anything. Everything else is reported."""

from collections.abc import Mapping
from typing import Any

from bench.injection.cells import ICEBERG
from bench.injection.checks import COUNTED, DEPTH, INCIDENT, NO_SCORE
from bench.injection.score import Result

DEPTH_SHARES = {"ETHUSDT": 0.8}  # of the others: 0.9


def gate(result: Result) -> str:
    """What is asked, and whether it is met; empty where nothing is."""
    return "; ".join(f"{asked}: {'met' if met else 'MISSED'}" for asked, met in _asked(result))


def _asked(result: Result) -> list[tuple[str, bool]]:
    said: Mapping[str, Any] = result.parameters
    recall = result.recall or 0.0
    shares = {name: share for name, (share, _) in result.checks.items()}
    match result.row:
        case 1 if said["times"] == 20 and said["seconds"] >= 3:
            return [("recall >= 0.95", recall >= 0.95)]
        case 2 if said["sides"] == "both" and said["share"] == 0.9 and said["seconds"] >= 10:
            return [("recall >= 0.9", recall >= 0.9)]
        case 2 if said["sides"] == "both" and said["share"] == 0.5 and DEPTH in shares:
            least = DEPTH_SHARES.get(result.symbol, 0.9)
            return [(f"depth >= {least}", shares[DEPTH] >= least)]
        case 3:
            return [(f"{name} always", share == 1) for name, share in shares.items()]
        case 4 if COUNTED in shares:
            return [("counted >= 0.95", shares[COUNTED] >= 0.95)]
        case 5 if said["small"]:
            return [("no event", not result.false.get(ICEBERG))]
        case 7:
            asked = [("no anomaly", not result.false)]
            return asked + [(name, shares[name] == 1) for name in (INCIDENT, NO_SCORE) if name in shares]
    return []
