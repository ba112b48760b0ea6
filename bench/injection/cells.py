"""The cells of the table: each a kind of injection at one strength, what should find it, and how to make it."""

from collections.abc import Callable
from functools import partial
from itertools import product

from msgspec import Struct

from bench.injection import edits
from bench.injection.edits import Label, Plot, Steps
from bench.injection.faults import FAULTS, LASTS_S
from bench.injection.placements import Placement
from bench.injection.source import SECOND_NS
from bench.injection.weave import Stage

BURST, STRESS, FLEETING, ICEBERG, ABSORPTION = (
    "QuoteStuffing",
    "FlashCrashRisk",
    "FleetingLiquidity",
    "IcebergOrder",
    "Absorption",
)
DETECTORS = (BURST, STRESS, FLEETING, ICEBERG, ABSORPTION)

Script = Callable[[Stage, Plot], Steps]


class Cell(Struct, frozen=True):
    """target: the detector that should find it, empty: none. seconds: the longest it lasts. script None: a fault of that name."""

    row: int
    kind: str
    target: str
    seconds: float
    parameters: dict[str, float | str]
    script: Script | None = None

    @property
    def name(self) -> str:
        """Kind and strength."""
        said = " ".join(f"{name}={value:g}" if not isinstance(value, str) else value for name, value in self.parameters.items())
        return f"{self.kind} {said}".strip()

    def label(self, placement: Placement) -> Label:
        """Of an injection that is about to begin."""
        start_ns = placement.start_ns
        return Label(self.kind, start_ns, start_ns + int(self.seconds * SECOND_NS), dict(self.parameters))


def cells(rows: set[int]) -> list[Cell]:
    """Of these rows, in order."""
    return [cell for cell in _all() if cell.row in rows]


def _all() -> list[Cell]:
    out = []
    for times, seconds in product((5, 10, 20), (1, 3, 10)):
        out.append(_cell(1, "burst", BURST, seconds, edits.burst, times=times, seconds=seconds))
    for share, sides, seconds in product((0.3, 0.5, 0.7, 0.9), ("one", "both"), (2, 10, 30)):
        out.append(_cell(2, "withdrawal", STRESS, seconds, edits.withdrawal, share=share, sides=sides, seconds=seconds))
    for bps in (1, 5, 20):
        out.append(_cell(3, "spread", STRESS, 10, edits.widened, bps=bps, seconds=10))
    # 1.9, not 2: a level that stands for two seconds to the millisecond is over the detector's limit every other time.
    for large, away, life_s, flow in product((1.5, 3, 10), (0.5, 2, 5), (0.2, 0.5, 1.9, 10), (0, 1)):
        out.append(_cell(4, "large level", FLEETING, life_s, edits.large, times=large, bps=away, life_s=life_s, flow=flow))
    for small, refills, delay_ms in product((0, 1), (3, 10), (0, 50, 300)):
        target, kind = ("", "iceberg below the filter") if small else (ICEBERG, "iceberg")
        out.append(_cell(5, kind, target, 12, edits.iceberg, refills=refills, delay_ms=delay_ms, small=small))
    out.append(_cell(6, "absorption", ABSORPTION, 10, edits.absorption, times=2, seconds=10))
    out += [Cell(7, name, "", LASTS_S, {}) for name in FAULTS]
    return out


def _cell(row: int, kind: str, target: str, lasts_s: float, script: Callable[..., Steps], /, **parameters: float | str) -> Cell:
    return Cell(row, kind, target, lasts_s, parameters, partial(script, **parameters))
