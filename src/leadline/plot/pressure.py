"""Who pressed, second by second: mid, pressure at the best prices, cumulative volume delta."""

import numpy as np
from matplotlib.axes import Axes

from leadline.plot import sheet
from leadline.plot.series import FlowSeries, Names, bin_edges, bin_width, binned

DEFINITION = (
    "Definitions (order_flow/1): mid, mean of best bid and ask at each whole second. Pressure, at the best prices: for "
    "buyers what came to the bid or left the ask, for sellers what came to the ask or left the bid, valued at the mid. "
    "Volume delta: what takers bought less what they sold, by trade time, so it goes on where trades are complete without a "
    "book. No line joins two runs of the book."
)


def drawn(found: FlowSeries, names: Names, form: str) -> bytes:
    """The picture as a file of that form."""
    lo, hi = int(found.ticks[0]) - 1, int(found.ticks[-1])
    numbers, why = sheet.causes(found.blanks, "Gaps, seconds without a clean record")
    again = " It begins at 0 again behind a hole in the trades." if len(found.anchors) > 1 else ""
    runs = "" if found.epochs == 1 else f" in {found.epochs} unbroken runs of the book"
    with sheet.style():
        page = sheet.Sheet(
            f"{names.symbol} order flow, {sheet.span(lo, hi)}",
            f"{found.clean_s:,} of {len(found.ticks):,} s with a clean record{runs}",
            [why, DEFINITION + again],
            f"Source: Leadline store, origin {names.origin}; as of {sheet.moment(hi)} UTC",
            height_in=7.2,
            strip=True,
            nrows=3,
            ncols=1,
            height_ratios=[1.0, 1.0, 0.8],
            hspace=0.3,
        )
        top = page.panel(0)
        panels = [top, *(page.panel(row, sharex=top) for row in (1, 2))]
        _mid(panels[0], found, names)
        _pressure(panels[1], found, names)
        _delta(panels[2], found, names)
        for panel in panels:
            sheet.shade(panel, found.blanks)
            sheet.time_axis(panel, lo, hi, labels=False)
        below = page.strip_below(panels[-1])
        sheet.strip(below, found.blanks, numbers, lo, hi)
        sheet.time_axis(below, lo, hi)
        return page.saved(form)


def _mid(axes: Axes, found: FlowSeries, names: Names) -> None:
    sheet.line(axes, found.ticks, found.mid, found.epoch, color=sheet.INK, linewidth=1.2, label="mid price")
    sheet.price_axis(axes, found.mid, names.tick, names.decimals)
    axes.set_ylabel(f"mid price\n{names.quote}")
    sheet.legend_above(axes)


def _pressure(axes: Axes, found: FlowSeries, names: Names) -> None:
    width = bin_width(len(found.ticks))
    edges = bin_edges(found.ticks, width)
    bid, ask = binned(found.bid_rate, width), binned(found.ask_rate, width)
    net = bid - ask
    per = "per second" if width == 1 else f"mean of {width} s"
    for values, color, label in (
        (bid, sheet.BUY, "for buyers"),
        (-ask, sheet.SELL, "for sellers"),
    ):
        axes.stairs(values, edges, fill=True, color=color, alpha=0.3, linewidth=0, label=label)
    for values, color, label in (
        (np.where(net > 0, net, np.nan), sheet.BUY, "net, buyers ahead"),
        (np.where(net < 0, net, np.nan), sheet.SELL, "net, sellers ahead"),
    ):
        axes.stairs(values, edges, fill=True, color=color, linewidth=0, label=label)
    axes.axhline(0, color=sheet.INK, linewidth=0.8)
    sheet.number_axis(axes.yaxis, f"pressure, {per}", names.quote, sheet.largest(bid, ask), after="/s")
    sheet.legend_above(axes)


def _delta(axes: Axes, found: FlowSeries, names: Names) -> None:
    moments = np.arange(len(found.cvd)) + int(found.ticks[0]) - 1
    runs = np.searchsorted(np.array(found.anchors), moments, side="right").astype(float)
    axes.axhline(0, color=sheet.GREY, linewidth=0.6)
    sheet.line(axes, moments, found.cvd, runs, color=sheet.DELTA, linewidth=1.6, label="cumulative volume delta")
    if not found.anchors:
        sheet.nothing(axes, "the trades of this window are not known to be complete")
    elif len(found.anchors) > 1:
        later = found.anchors[1:]
        axes.plot(
            later, np.zeros(len(later)), linestyle="none", marker="o", color=sheet.INK, markersize=4, label="begins at 0 again"
        )
    sheet.number_axis(axes.yaxis, "volume delta", names.base, sheet.largest(found.cvd))
    sheet.legend_above(axes)
