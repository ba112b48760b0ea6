"""Where trading happened, and the way the mid went meanwhile; levels, not targets."""

from matplotlib.axes import Axes

from leadline.plot import sheet
from leadline.plot.series import Names, PricePath, ProfileSeries
from leadline.service.queries.profile import VolumeProfileAnswer

DEFINITION = (
    "Definitions (volume_profile/1): buys and sells are takers'. Point of control: the row with most volume; its IQR, over "
    "resamples of time, says how firm it is. Value area: rows around it that hold 70 % of the volume. n_eff: so many trades "
    "of equal size would be as good a sample. Nodes: rows that stand out, and do so again in resamples. No line joins two "
    "runs of the book."
)


def drawn(
    rows: ProfileSeries, path: PricePath, answer: VolumeProfileAnswer, names: Names, *, hours: int, end_s: int, form: str
) -> bytes:
    """The picture as a file of that form."""
    with sheet.style():
        page = sheet.Sheet(
            f"{names.symbol} volume profile, {hours} h to {sheet.moment(end_s)} UTC",
            _findings(answer, names),
            [_of_nodes(answer), DEFINITION],
            f"Source: Leadline store, origin {names.origin}; as of {sheet.moment(end_s)} UTC",
            warning=missing(answer),
            height_in=6.4,
            top_in=1.65,
            nrows=1,
            ncols=2,
            width_ratios=[1.25, 1.0],
            wspace=0.1,
        )
        left = page.panel(0)
        right = page.panel(1, sharey=left)
        _rows(left, rows, answer, names)
        _levels(left, answer, names)
        sheet.legend_above(left, columns=3)
        _path(right, path, answer, names)
        return page.saved(form)


def missing(answer: VolumeProfileAnswer) -> str:
    """A sentence if not all trades of the window are known to be there; else empty."""
    state, covered = answer.trade_state, answer.envelope.coverage
    if covered is None or covered.live_s == covered.expected_s:
        return ""
    parts = [f"All trades are known for {covered.live_s:,} of {covered.expected_s:,} s ({sheet.share(covered.ratio)})"]
    if state.missing_s:
        count = "" if not state.missing_ids else f" ({state.missing_ids:,} of them)"
        parts.append(f"trades are missing{count} in {state.missing_s:,} s")
    if state.unknown_s:
        parts.append(f"nothing is known of {state.unknown_s:,} s")
    return "; ".join(parts) + "."


def _findings(answer: VolumeProfileAnswer, names: Names) -> str:
    firm = (
        "too short to tell how firm"
        if answer.poc_iqr is None
        else f"IQR {sheet.plain(float(f'{answer.poc_iqr:.4g}'))} {names.quote}"
    )
    volume = sheet.plain(float(f"{float(answer.total_volume):.6g}"))
    return (
        f"{answer.n_trades:,} trades of {volume} {names.base}, n_eff {answer.n_eff:,.0f}; point of control "
        f"{_price(answer.poc_low, names)} – {_price(answer.poc_high, names)} ({firm})"
    )


def _of_nodes(answer: VolumeProfileAnswer) -> str:
    first, last = (text[:10] + " " + text[11:19] for text in (answer.time_period_start, answer.time_period_end))
    rows = f"Trades from {first} to {last} UTC, in rows of {answer.bin_size}."
    if answer.nodes is None:
        return f"{rows} Nodes: too few trades to tell."
    return rows if answer.nodes else f"{rows} Nodes: none is stable."


def _rows(axes: Axes, rows: ProfileSeries, answer: VolumeProfileAnswer, names: Names) -> None:
    height = rows.high - rows.low
    axes.barh(rows.low, rows.buy, height, align="edge", color=sheet.BUY, linewidth=0, label="takers bought")
    axes.barh(rows.low, rows.sell, height, rows.buy, align="edge", color=sheet.SELL, linewidth=0, label="takers sold")
    sheet.price_axis(axes, sheet.joined(rows.low, rows.high), names.tick, names.decimals)
    axes.set_ylabel(f"price, {names.quote}")
    axes.set_xlim(left=0)
    sheet.number_axis(axes.xaxis, "volume in a row", names.base, sheet.largest(rows.buy + rows.sell), between=", ")
    for kind, face in (("high", sheet.MARK), ("low", "white")):
        places = [(float(node.low) + float(node.high)) / 2 for node in answer.nodes or () if node.kind == kind]
        if places:
            axes.plot(
                [1.014] * len(places),
                places,
                linestyle="none",
                marker="<",
                markersize=7,
                color=sheet.MARK,
                markerfacecolor=face,
                transform=axes.get_yaxis_transform(),
                clip_on=False,
                label=f"{kind}-volume node",
            )


def _levels(axes: Axes, answer: VolumeProfileAnswer, names: Names) -> None:
    low, high = answer.value_area_low, answer.value_area_high
    axes.axhspan(
        float(low),
        float(high),
        color=sheet.AREA,
        alpha=0.3,
        linewidth=0,
        zorder=0,
        label=f"value area {_price(low, names)} – {_price(high, names)}",
    )
    axes.axhline(
        float(answer.point_of_control),
        color=sheet.INK,
        linewidth=1.2,
        label=f"point of control {_price(answer.point_of_control, names)}",
    )
    axes.axhline(float(answer.vwap), color=sheet.INK, linewidth=1.4, linestyle="--", label=f"VWAP {_price(answer.vwap, names)}")


def _price(text: str, names: Names) -> str:
    """With the decimals of a price, one more where it lies between two."""
    digits = len(text.partition(".")[2].rstrip("0"))
    return f"{float(text):,.{min(digits, names.decimals + 1) if digits > names.decimals else names.decimals}f}"


def _path(axes: Axes, path: PricePath, answer: VolumeProfileAnswer, names: Names) -> None:
    axes.tick_params(labelleft=False)
    if len(path.ticks) < 2:
        sheet.nothing(axes, "no record of the mid in this window")
        return
    step = (
        "every second" if path.step_s == 1 else f"every {path.step_s} s" if path.step_s < 60 else f"every {path.step_s // 60} min"
    )
    axes.axhspan(float(answer.value_area_low), float(answer.value_area_high), color=sheet.AREA, alpha=0.3, linewidth=0, zorder=0)
    axes.axhline(float(answer.point_of_control), color=sheet.INK, linewidth=0.8)
    sheet.line(axes, path.ticks, path.mid, path.epoch, color=sheet.INK, linewidth=0.9, label=f"mid price, {step}")
    sheet.time_axis(axes, float(path.ticks[0]), float(path.ticks[-1]), ticks_max=5)
    sheet.legend_above(axes)
