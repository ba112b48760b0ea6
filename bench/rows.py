"""One measured figure beside what it is compared with, and tables of them."""

import gc
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct


class Row(Struct, frozen=True):
    """value and baseline_value are in `unit`; both medians of the same run. value None: not run, `verdict` says why.

    bar: what the product promises, empty where it promises nothing. met: whether it is kept, None without a bar.
    """

    figure: str
    value: float | None
    unit: str
    baseline: str = ""
    baseline_value: float | None = None
    bar: str = ""
    met: bool | None = None
    not_run: str = ""

    @property
    def ratio(self) -> float | None:
        """value / baseline in the same run: 0.50 is half of the baseline."""
        return None if self.value is None or not self.baseline_value else self.value / self.baseline_value

    @property
    def verdict(self) -> str:
        """met, MISSED, or why there is no figure."""
        return self.not_run or {True: "met", False: "MISSED", None: ""}[self.met]


def ceiling(
    figure: str, value: float, unit: str, limit: float, *, baseline: str = "", baseline_value: float | None = None
) -> Row:
    """A figure that must stay below `limit`, in its own unit."""
    return Row(figure, value, unit, baseline, baseline_value, f"< {limit:g} {unit}", value < limit)


def table(rows: Sequence[Row], *, markdown: bool) -> str:
    """Text with aligned columns, or a GitHub table."""
    head = ("figure", "value", "baseline", "ratio", "bar", "")
    lines = [head, *(_cells(row) for row in rows)]
    if markdown:
        lines.insert(1, ("---", "---:", "---", "---:", "---", "---"))
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    right = {1, 3}
    text = [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join(line.rstrip() for line in text)


def _cells(row: Row) -> tuple[str, ...]:
    value = "-" if row.value is None else f"{number(row.value)} {row.unit}"
    baseline = row.baseline if row.baseline_value is None else f"{row.baseline}: {number(row.baseline_value)} {row.unit}"
    return row.figure, value, baseline, "" if row.ratio is None else f"{number(row.ratio)}x", row.bar, row.verdict


def number(value: float) -> str:
    """Three figures that mean something, thousands apart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return (
        f"{value:.0f}"
        if abs(value) >= 100
        else f"{value:.1f}"
        if abs(value) >= 10
        else f"{value:.2f}"
        if abs(value) >= 0.1
        else f"{value:.3g}"
    )


def settle() -> None:
    """Take the material out of the garbage collector's rounds: a service does not hold it, so it must cost nothing here."""
    gc.collect()
    gc.freeze()


def interleaved(cases: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Medians. Each round runs each case once, so that a neighbour's load falls on all of them."""
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            seen[name].append(case())
    return {name: statistics.median(values) for name, values in seen.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank."""
    ordered: list[Any] = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(share * len(ordered)))])
