"""How much rests, and how near: the newest snapshot level by level, the bands of its record, and one band over time."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from leadline.core.records import BANDS_BPS
from leadline.plot import sheet
from leadline.plot.series import (
    BAND_BPS,
    BookSeries,
    BookSide,
    DepthSeries,
    Floats,
    Names,
    bin_edges,
    bin_width,
    binned,
    binned_run,
)

DEFINITION = (
    "Definitions: a stored snapshot holds the 20 best levels a side; depth is price times quantity, summed from the best "
    "price outwards, distance is from the mid. Bands hold all that rests within so many bps of the mid; one whose edge lies "
    "beyond the range in which the book is known to be complete has no number, and is not zero. No line joins two runs of "
    "the book."
)


def drawn(book: BookSeries, found: DepthSeries, names: Names, form: str) -> bytes:
    """The picture as a file of that form."""
    lo, hi = int(found.ticks[0]) - 1, int(found.ticks[-1])
    numbers, why = sheet.causes(found.blanks, f"Gaps, seconds without a {BAND_BPS} bps band on both sides")
    mid = (
        "no mid: a side has no known best price" if book.mid is None else f"mid {book.mid:,.{names.decimals + 1}f} {names.quote}"
    )
    before = f"; the book of {hi - book.second:,} s before the end of the window" if book.second < hi else ""
    with sheet.style():
        page = sheet.Sheet(
            f"{names.symbol} depth at {sheet.moment(book.second)} UTC",
            f"{mid}; {_known(book)}{before}",
            [why, DEFINITION],
            f"Source: Leadline store, origin {names.origin}; as of {sheet.moment(hi)} UTC",
            height_in=7.2,
            strip=True,
            nrows=2,
            ncols=2,
            height_ratios=[1.1, 1.0],
            width_ratios=[1.45, 1.0],
            hspace=0.36,
            wspace=0.27,
        )
        _levels(page.panel((0, 0)), book, names)
        _bands(page.panel((0, 1)), book, names)
        over = page.panel((1, slice(None)))
        _over_time(over, found, names)
        sheet.shade(over, found.blanks)
        sheet.time_axis(over, lo, hi, labels=False)
        below = page.strip_below(over)
        sheet.strip(below, found.blanks, numbers, lo, hi)
        sheet.time_axis(below, lo, hi)
        return page.saved(form)


def _known(book: BookSeries) -> str:
    def edge(side: BookSide) -> str:
        return "to their end" if side.known_bps is None else f"to {side.known_bps:.4g} bps from the mid"

    if book.mid is None:
        return "no distances"
    if not len(book.band_bid):
        return "known range not recorded"
    return f"known range: bids {edge(book.bids)}, asks {edge(book.asks)}"


def _levels(axes: Axes, book: BookSeries, names: Names) -> None:
    for side, sign, color, label in ((book.bids, -1, sheet.BUY, "bids"), (book.asks, 1, sheet.SELL, "asks")):
        if len(side.bps):
            x, y = steps(side)
            axes.fill_between(sign * x, y, step=None, color=color, alpha=0.25, linewidth=0)
            axes.plot(sign * x, y, color=color, linewidth=1.5, label=f"{label}, {_levels_known(side)}")
    if book.mid is None:
        sheet.nothing(axes, "a side has no known best price: there is no mid to measure from")
    else:
        axes.axvline(0, color=sheet.GREY, linewidth=0.8, linestyle=":")
        sheet.legend_above(axes)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("distance from the mid, bps")
    sheet.number_axis(axes.yaxis, "cumulative depth", names.quote, sheet.largest(book.bids.value, book.asks.value))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: sheet.plain(value)))


def _levels_known(side: BookSide) -> str:
    return f"{len(side.bps)} levels" if len(side.bps) == side.stored else f"{len(side.bps)} of {side.stored} levels known"


def steps(side: BookSide) -> tuple[Floats, Floats]:
    """Corners from 0 at the best price outwards, up at each level."""
    return np.repeat(side.bps, 2), np.concatenate(([0.0], np.repeat(side.value, 2)[:-1]))


def _bands(axes: Axes, book: BookSeries, names: Names) -> None:
    places = np.arange(len(BANDS_BPS))
    axes.set_xticks(places, [str(width) for width in BANDS_BPS])
    axes.set_xlabel("within so many bps of the mid")
    axes.grid(axis="x", visible=False)
    sheet.number_axis(axes.yaxis, "depth in bands", names.quote, sheet.largest(book.band_bid, book.band_ask))
    if not len(book.band_bid):
        sheet.nothing(axes, "this snapshot has no record beside it")
        return
    unknown = []
    for values, shift, color, label in ((book.band_bid, -0.2, sheet.BUY, "bids"), (book.band_ask, 0.2, sheet.SELL, "asks")):
        axes.bar(places + shift, values, width=0.38, color=color, label=label)
        unknown += [place + shift for place in places[np.isnan(values)]]
    axes.set_ylim(bottom=0)
    for place in unknown:
        axes.text(
            place,
            0.02,
            "not known",
            rotation=90,
            ha="center",
            va="bottom",
            size=8,
            color=sheet.GREY,
            transform=axes.get_xaxis_transform(),
        )
    sheet.legend_above(axes)


def _over_time(axes: Axes, found: DepthSeries, names: Names) -> None:
    width = bin_width(len(found.ticks))
    bid, ask, run = binned(found.bid, width), binned(found.ask, width), binned_run(found.epoch, width)
    edges = bin_edges(found.ticks, width)
    at = found.ticks if width == 1 else (edges[1:] + edges[:-1]) / 2
    mean = "" if width == 1 else f", mean of {width} s"
    for values, color, label in ((bid, sheet.BUY, "bids"), (ask, sheet.SELL, "asks")):
        sheet.line(axes, at, values, run, color=color, linewidth=1.2, label=f"{label} within {BAND_BPS} bps{mean}")
    if np.isnan(bid).all() and np.isnan(ask).all():
        sheet.nothing(axes, f"no {BAND_BPS} bps band is known in this window")
    axes.set_ylim(bottom=0)
    sheet.number_axis(axes.yaxis, f"depth within {BAND_BPS} bps", names.quote, sheet.largest(bid, ask))
    sheet.legend_above(axes)
