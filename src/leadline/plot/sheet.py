"""Paper and ink of all pictures: size, colours, axes in units, the strip of seconds without numbers, and the source line.

Nothing is taken from the machine: settings are the library's own defaults and ours, and no file carries the time of its making.
"""

import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from leadline.plot.series import Blank, Floats, Ints, broken, lone

# Okabe and Ito, "Color Universal Design" (2008): told apart by people with any colour vision.
BUY, SELL, INK = "#0072B2", "#D55E00", "#222222"
DELTA, MARK, AREA = "#CC79A7", "#009E73", "#F0E442"
GREY, PALE = "#6E6E6E", "#DADADA"

WIDTH_IN, DPI = 12.0, 120
LEFT_IN, RIGHT_IN, TOP_IN, FOOT_IN, STRIP_IN, LINE_IN = 1.35, 0.5, 1.2, 0.8, 0.5, 0.17
WRAP = 195  # characters of the small print a line
TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
TIME_TICKS_MAX = 9
CHARACTER_PX, LABEL_GAP_PX = 9, 6

_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelsize": 9.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.parse_math": False,  # a name with two dollar signs is no formula
    "hatch.linewidth": 0.5,
    "svg.hashsalt": "leadline",
    "pdf.fonttype": 42,
}
_UNDATED: dict[str, dict[str, Any]] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@contextmanager
def style() -> Iterator[None]:
    """Our settings and no others, for as long as something is drawn."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


class Sheet:
    """One page: title, findings and a warning above, panels, small print and source below.

    height_in: of the panels; top_in: of what stands above them. strip: keep room for one below. grid: for the panels' GridSpec.
    """

    def __init__(
        self,
        title: str,
        findings: str,
        small_print: Sequence[str],
        source: str,
        *,
        height_in: float,
        top_in: float = TOP_IN,
        warning: str = "",
        strip: bool = False,
        **grid: Any,
    ) -> None:
        lines = [line for text in small_print for line in textwrap.wrap(text, WRAP)]
        foot_in = FOOT_IN + STRIP_IN * strip + LINE_IN * (len(lines) + 1)
        height_in += foot_in + top_in
        self.figure = Figure(figsize=(WIDTH_IN, height_in), dpi=DPI, facecolor="white")
        self.grid = GridSpec(
            figure=self.figure,
            left=LEFT_IN / WIDTH_IN,
            right=1 - RIGHT_IN / WIDTH_IN,
            bottom=foot_in / height_in,
            top=1 - top_in / height_in,
            **grid,
        )
        x = 0.35 / WIDTH_IN
        self.figure.text(x, 1 - 0.2 / height_in, title, size=15, weight="bold", va="top")
        self.figure.text(x, 1 - 0.54 / height_in, findings, size=10.5, va="top", color=INK)
        self.figure.text(x, 1 - 0.77 / height_in, warning, size=10, va="top", color=SELL)
        for place, line in enumerate([*lines, source]):
            y = (0.12 + LINE_IN * (len(lines) - place)) / height_in
            self.figure.text(x, y, line, size=8, va="bottom", color=GREY if place == len(lines) else INK)

    def panel(self, place: Any, **shared: Any) -> Axes:
        """Axes in that cell of the grid."""
        axes: Axes = self.figure.add_subplot(self.grid[place], **shared)
        return axes

    def strip_below(self, axes: Axes) -> Axes:
        """A narrow panel under the lowest one, with the same time axis."""
        box, height_in = axes.get_position(), self.figure.get_figheight()
        return self.figure.add_axes((box.x0, box.y0 - STRIP_IN / height_in, box.width, 0.32 / height_in), sharex=axes)

    def saved(self, form: str) -> bytes:
        """The file's bytes."""
        self.figure.align_ylabels()
        out = io.BytesIO()
        self.figure.savefig(out, format=form, dpi=DPI, metadata=_UNDATED[form])
        return out.getvalue()


# Axes ------------------------------------------------------------------------


def legend_above(axes: Axes, columns: int = 8) -> None:
    """Above the panel, outside of the data."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.15, handlelength=1.6, columnspacing=1.6)


def line(axes: Axes, x: Floats | Ints, y: Floats, run: Floats, **look: Any) -> None:
    """A line that joins neighbours of one run only; what has no neighbour is a dot."""
    axes.plot(*broken(x, y, run), **look)
    alone = lone(broken(x, y, run)[1])
    places, values = (part[alone] for part in broken(x, y, run))
    if len(places):
        axes.plot(places, values, linestyle="none", marker=".", markersize=3, color=look.get("color"))


def time_axis(axes: Axes, lo: float, hi: float, *, labels: bool = True, ticks_max: int = TIME_TICKS_MAX) -> None:
    """Unix seconds as UTC, from lo to hi; the day under the first label and wherever it changes."""
    step = next((step for step in TIME_STEPS_S if (hi - lo) / step <= ticks_max), TIME_STEPS_S[-1])
    places = np.arange(math.ceil(lo / step) * step, hi + 1e-6, step).tolist()
    axes.set_xlim(lo, hi)
    axes.xaxis.set_major_locator(FixedLocator(places))
    if not labels:
        axes.tick_params(labelbottom=False)
        return
    texts, day = [], ""
    for place in places:
        at = datetime.fromtimestamp(place, UTC)
        clock = at.strftime("%H:%M:%S" if step < 60 else "%H:%M")
        texts.append(clock if at.strftime("%Y-%m-%d") == day else f"{clock}\n{at:%Y-%m-%d}")
        day = at.strftime("%Y-%m-%d")
    axes.set_xticks(places, texts)
    axes.set_xlabel("time, UTC")


def price_axis(axes: Axes, prices: Floats, tick: float, decimals: int) -> None:
    """Wide enough for ten price steps, so that a quiet market looks quiet; numbers with the price's own decimals."""
    there = prices[~np.isnan(prices)]
    if len(there):
        low, high = float(there.min()), float(there.max())
        pad = max(0.05 * (high - low), (10 * tick - (high - low)) / 2, tick)
        axes.set_ylim(low - pad, high + pad)
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.{decimals}f}"))


def number_axis(axis: Any, label: str, unit: str, largest: float, *, after: str = "", between: str = "\n") -> None:
    """Thousands separators; from ten million on in millions. The label says in what."""
    scale, word = (1e9, "billion ") if largest >= 1e10 else (1e6, "million ") if largest >= 1e7 else (1.0, "")
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value / scale)))
    axis.set_label_text(f"{label}{between}{word}{unit}{after}")


def joined(*columns: Floats) -> Floats:
    """One after the other."""
    return np.concatenate(columns)


def plain(value: float) -> str:
    """With thousands separators, and no more decimals than there are."""
    text = f"{value:,.8f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


def share(ratio: float) -> str:
    """In percent, rounded down: what is not all does not look like all."""
    return f"{math.floor(1e4 * ratio) / 100:g} %"


def largest(*columns: Floats) -> float:
    """Of all that is there, in size; 0: nothing is."""
    return max((float(np.abs(column[~np.isnan(column)]).max()) for column in columns if (~np.isnan(column)).any()), default=0.0)


def moment(second: float) -> str:
    """UTC, to the second."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S")


def span(lo: float, hi: float) -> str:
    """Two moments; the day of the second only if it is another."""
    first, second = moment(lo), moment(hi)
    return f"{first} – {second[11:] if first[:10] == second[:10] else second} UTC"


def nothing(axes: Axes, text: str) -> None:
    """A panel that has nothing to show says why."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, size=10)


# Seconds without numbers -------------------------------------------------------


def shade(axes: Axes, blanks: Sequence[Blank]) -> None:
    """Grey: no live book. Hatched: a book, but not clean."""
    for blank in blanks:
        look: dict[str, Any] = {"facecolor": "white", "hatch": "////"} if blank.live else {"facecolor": PALE}
        axes.axvspan(blank.from_s - 1, blank.to_s - 1, edgecolor="#BDBDBD", linewidth=0.4, zorder=0.5, **look)


def causes(blanks: Sequence[Blank], what: str) -> tuple[dict[tuple[str, bool], int], str]:
    """A number for each cause, and the sentence that explains them."""
    totals: dict[tuple[str, bool], list[int]] = {}
    for blank in blanks:
        totals.setdefault((blank.cause, blank.live), []).append(blank.to_s - blank.from_s)
    numbers = {cause: place for place, cause in enumerate(totals, 1)}
    if not totals:
        return numbers, f"{what}: every second has a clean record."
    texts = [
        f"[{numbers[cause, live]}] {'live, but ' if live else 'no live book: '}{cause}, {sum(lengths):,}\u00a0s"
        + (f" in {len(lengths):,}\u00a0stretches" if len(lengths) > 1 else "")
        for (cause, live), lengths in totals.items()
    ]
    return numbers, f"{what}: {'; '.join(texts)}."


def strip(axes: Axes, blanks: Sequence[Blank], numbers: dict[tuple[str, bool], int], lo: float, hi: float) -> None:
    """A narrow panel: dark where a second has a gap, with the number of its cause above, as far as there is room."""
    axes.set_ylim(0, 2)
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.text(-0.008, 0.25, "gaps", transform=axes.transAxes, ha="right", va="center", size=9)
    axes.axhspan(0, 1, color="#F2F2F2", linewidth=0)
    width_px = axes.get_window_extent().width
    free_from_px = -math.inf
    for first, end, touching in _together(blanks):
        axes.axvspan(first - 1, end - 1, ymin=0, ymax=0.5, color=INK, linewidth=0.6)
        label = ",".join(str(number) for number in dict.fromkeys(numbers[blank.cause, blank.live] for blank in touching))
        half_px = (len(label) * CHARACTER_PX + LABEL_GAP_PX) / 2
        centre_px = ((first + end) / 2 - 1 - lo) / (hi - lo) * width_px
        if centre_px - half_px >= free_from_px:
            axes.text((first + end) / 2 - 1, 1.15, label, ha="center", va="bottom", size=8.5)
            free_from_px = centre_px + half_px


def _together(blanks: Sequence[Blank]) -> Iterator[tuple[int, int, list[Blank]]]:
    """Stretches that touch, as one."""
    cuts = [0, *(place for place, (a, b) in enumerate(pairwise(blanks), 1) if a.to_s < b.from_s), len(blanks)]
    for start, stop in pairwise(cuts):
        if touching := list(blanks[start:stop]):
            yield touching[0].from_s, touching[-1].to_s, touching
