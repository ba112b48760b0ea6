"""generate_market_report: one symbol in one call, as Markdown for people.

Every number is what another question says, cut for reading; nothing is worked out here. Each question is asked once, and what it
refuses stands as a sentence where its numbers would be. The book is asked last and without a pause: all of it is of one moment.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from leadline.analytics import reasons as code
from leadline.analytics.anomalies import PATTERNS, SEVERITIES, AnomalyType
from leadline.analytics.health import WINDOW_S, Baseline
from leadline.analytics.ladder import LEVELS_MAX
from leadline.core.errors import BookNotLive, InvalidRequest, NotEnoughData
from leadline.core.records import TOP_LEVELS, BookState, BookView
from leadline.service.queries.anomalies import AnomalyAnswer, DetectorAnswer, MarketAnomaliesAnswer, detect_market_anomalies
from leadline.service.queries.books import book_of
from leadline.service.queries.coverage import Coverage, coverage_in_steps
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import GAPS_LISTED, Covered, Envelope, covered, of_service, of_view, utc
from leadline.service.queries.flow import OrderFlowAnswer, get_order_flow
from leadline.service.queries.health import HealthAnswer, get_microstructure_health
from leadline.service.queries.ladder import OrderbookL2Answer, orderbook_l2
from leadline.service.queries.profile import HOUR_S, HOURS, HOURS_MAX, HOURS_MIN, VolumeProfileAnswer, get_volume_profile
from leadline.service.queries.status import OrderbookHealthAnswer, orderbook_health
from leadline.service.queries.top import OrderbookL1Answer, orderbook_l1
from leadline.service.queries.vacuums import LiquidityVacuumsAnswer, get_liquidity_vacuums
from leadline.service.steps import Steps

DEFINITION = "market_report/1"
BYTES_MAX = 20_000
REFUSALS = (BookNotLive, NotEnoughData)
LISTED = 5  # large levels a side, nodes of a kind, zones of a list, findings
ASSET_MAX, NAME_MAX, SENTENCE_MAX = 20, 80, 400  # characters of a text that others wrote


class RefusedAnswer(Struct, frozen=True, kw_only=True):
    """An answer that a section should have told and that was refused.

    section: The section.
    question: The tool that refused.
    error: BookNotLive or NotEnoughData.
    reason: Its sentence.
    ready_in_s: When it may have an answer, s; null: not known.
    """

    section: str
    question: str
    error: str
    reason: str
    ready_in_s: float | None


class ReportAnswer(Struct, frozen=True, kw_only=True):
    """What the other tools say of one symbol now, for people; numbers are cut for reading, the tools give them exactly.

    markdown: The report, at most 20,000 bytes of UTF-8.
    symbol: The symbol.
    sections: Names of its sections, in their order.
    failed_sections: Answers that were refused, by section; the section says so too.
    data_age_ms: Since the last applied update of the newest book there is; null: there is none.
    envelope: The evidence; its coverage is that of data_health.
    """

    markdown: str
    symbol: str
    sections: list[str]
    failed_sections: list[RefusedAnswer]
    data_age_ms: int | None
    envelope: Envelope


class Page(Struct, frozen=True):
    """What sections need beside their answers. base, quote: assets as printed. rows: of the ladder at most. said: by the head."""

    base: str
    quote: str
    hours: int
    levels: int
    rows: int
    said: frozenset[str]


def generate_market_report(
    desk: Desk,
    symbol: str,
    *,
    include_sections: Sequence[str] | None = None,
    volume_window_hours: int = HOURS,
    orderbook_levels: int = TOP_LEVELS,
) -> Steps[ReportAnswer]:
    """Now. include_sections None: all. Raises UnknownSymbol, InvalidRequest."""
    sections = _chosen(include_sections)
    _within("options.volume_window_hours", volume_window_hours, HOURS_MIN, HOURS_MAX)
    _within("options.orderbook_levels", orderbook_levels, 1, LEVELS_MAX)
    symbol = desk.symbol(symbol)
    end_s = desk.end_s(symbol, None)
    start_s = end_s - volume_window_hours * HOUR_S
    answers: dict[str, Any] = {}
    for question, asked in _questions(desk, symbol, start_s, end_s, orderbook_levels).items():
        if any(question in SECTIONS[section] for section in sections):
            try:
                answers[question] = yield from asked
            except REFUSALS as refusal:
                answers[question] = refusal

    found = answers.get("coverage")
    envelope = _envelope(desk, symbol, None if found is None else covered(found, start_s, end_s))
    notes = Counter(note for answer in answers.values() for note in _warnings(answer))
    rules = desk.reader.rules(symbol)
    page = Page(
        base=_plain(rules.base_asset if rules is not None else "", ASSET_MAX) or "base units",
        quote=_plain(rules.quote_asset if rules is not None else "", ASSET_MAX) or "quote units",
        hours=volume_window_hours,
        levels=orderbook_levels,
        rows=orderbook_levels,
        said=frozenset([*envelope.warnings, *(note for note, times in notes.items() if times > 1)]),
    )
    envelope = structs.replace(envelope, warnings=list(dict.fromkeys([*envelope.warnings, *notes])))
    yield
    markdown = _markdown(sections, answers, envelope, page)
    while len(markdown.encode()) > BYTES_MAX and page.rows:
        yield
        page = structs.replace(page, rows=max(0, page.rows - 5))
        markdown = _markdown(sections, answers, envelope, page)
    ladder = answers.get("orderbook_l2")
    if isinstance(ladder, OrderbookL2Answer) and (left_out := len(_rows(ladder)) - page.rows) > 0:
        envelope = structs.replace(envelope, truncated=True, omitted={"ladder": left_out}, next="ask orderbook_l2")
    return ReportAnswer(
        markdown=markdown,
        symbol=symbol,
        sections=sections,
        failed_sections=list(_refused(sections, answers)),
        data_age_ms=envelope.age_ms,
        envelope=envelope,
    )


def _chosen(include: Sequence[str] | None) -> list[str]:
    """In the order of the report, each once. Raises InvalidRequest."""
    unknown = [name for name in include or () if name not in SECTIONS]
    if unknown or (include is not None and not include):
        wrong = f"no section {', '.join(repr(name[:NAME_MAX]) for name in unknown[:LISTED])}" if unknown else "empty"
        raise InvalidRequest("options.include_sections", wrong, ", ".join(SECTIONS))
    return [name for name in SECTIONS if include is None or name in include]


def _within(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidRequest(field, f"{value}", f"{least}-{most}")


# Asking ------------------------------------------------------------------------------------------


def _questions(desk: Desk, symbol: str, start_s: int, end_s: int, levels: int) -> Mapping[str, Steps[Any]]:
    """In the order of asking. Windows have one end; health alone is asked about now, since only then it looks at the book too."""

    def paused(steps: Steps[Any]) -> Steps[Any]:
        yield
        return (yield from steps)

    hours = (end_s - start_s) // HOUR_S
    return {
        "coverage": paused(coverage_in_steps(desk.reader, symbol, start_s + 1, end_s + 1)),
        "get_volume_profile": paused(get_volume_profile(desk, symbol, duration_hours=hours, end_s=end_s)),
        "get_order_flow": paused(get_order_flow(desk, symbol, end_s=end_s)),
        "detect_market_anomalies": paused(detect_market_anomalies(desk, symbol, end_s=end_s)),
        "get_microstructure_health": paused(get_microstructure_health(desk, symbol)),
        "get_liquidity_vacuums": paused(get_liquidity_vacuums(desk, symbol, duration_hours=hours, end_s=end_s)),
        "orderbook_health": paused(orderbook_health(desk, symbol)),
        "orderbook_l2": paused(orderbook_l2(desk, symbol, levels=levels)),
        "orderbook_l1": orderbook_l1(desk, symbol),
    }


def _envelope(desk: Desk, symbol: str, found: Covered | None) -> Envelope:
    """Of the newest book there is, however old."""
    view: BookView | None = None
    heard_ms: int | None = None
    followed = desk.books is not None and symbol in desk.books.symbols
    if desk.books is not None and followed:
        view, reason, heard_ms = desk.books.view(symbol, 1), desk.books.why_none(symbol), desk.books.status(symbol).heard_ms
    else:
        try:
            view, reason = book_of(desk, symbol, levels=1).view, ""
        except BookNotLive as error:
            reason = error.reason
    if view is not None:
        return of_view(desk, view, source="mixed" if followed else "store", definition=DEFINITION, covered=found)
    none = of_service(desk, symbol, definition=DEFINITION, covered=found)
    return structs.replace(none, state=BookState.WAITING.value if followed else "OFF", reason=reason, heard_ms=heard_ms)


def _refused(sections: Sequence[str], answers: Mapping[str, Any]) -> Iterator[RefusedAnswer]:
    for section in sections:
        for question in SECTIONS[section]:
            answer = answers[question]
            if isinstance(answer, REFUSALS):
                error, reason = type(answer).__name__, str(answer)
                yield RefusedAnswer(section=section, question=question, error=error, reason=reason, ready_in_s=answer.ready_in_s)


def _warnings(answer: Any) -> Sequence[str]:
    return answer.envelope.warnings if hasattr(answer, "envelope") else ()


# The page ----------------------------------------------------------------------------------------


def _markdown(sections: Sequence[str], answers: Mapping[str, Any], envelope: Envelope, page: Page) -> str:
    refused = {question: answer for question, answer in answers.items() if isinstance(answer, REFUSALS)}
    lines = [*_head(envelope, refused, page)]
    for section in sections:
        lines += ["", f"## {section.replace('_', ' ').capitalize()}", ""]
        for question, write in SECTIONS[section].items():
            answer = answers[question]
            if question in refused:
                lines.append(f"- No answer from `{question}`: {_plain(str(answer), SENTENCE_MAX)}.")
                continue
            lines += write(answer, page)
            lines += [f"- Mind: {note}." for note in _warnings(answer) if note not in page.said]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _head(envelope: Envelope, refused: Iterable[str], page: Page) -> Iterator[str]:
    origin = _plain(envelope.origin)
    born = {"synthetic": "SYNTHETIC DATA", "replay": "REPLAYED DATA", "unknown": "DATA OF UNKNOWN ORIGIN"}
    kind = born.get(envelope.origin.partition(":")[0])
    symbol = _plain(envelope.symbol)
    yield f"# Market report of {symbol}" if kind is None else f"# {kind} ({origin}): market report of {symbol}"
    yield ""
    yield f"- As of {utc(envelope.as_of_ms / 1000)}, data from {origin}."
    yield f"- {_newest(envelope)}."
    yield "- Numbers are cut for reading, the tools give them exactly. What is unknown is not zero."
    yield "- What was measured, and no more: no advice, no forecast, nobody's intent."
    yield from (f"- Mind: {note}." for note in sorted(page.said))
    if names := ", ".join(f"`{question}`" for question in refused):
        yield f"- No answer from {names}: the reason stands where it would be."


def _newest(envelope: Envelope) -> str:
    """The newest book, in a sentence."""
    reason = "" if envelope.reason is None else f" ({_words(envelope.reason)})"
    heard = "" if envelope.heard_ms is None else f"; its connection was heard {_duration(envelope.heard_ms)} ago"
    if envelope.epoch is None:
        return f"Book: none, {envelope.state}{reason}{heard}"
    state = f"the newest stored one, {envelope.state} then" if envelope.source == "store" else envelope.state
    received = "at an unknown time" if envelope.age_ms is None else f"{_duration(envelope.age_ms)} ago"
    return f"Book: {state}{reason}; its last update was received {received}{heard}"


# Book and price ----------------------------------------------------------------------------------


def _prices(top: OrderbookL1Answer, page: Page) -> Iterator[str]:
    for side in ("bid", "ask"):
        size = getattr(top, f"best_{side}_size")
        there = "" if size is None else f", {_cut(size)} {page.base} there"
        yield f"- Best {side}: {_field(top, f'best_{side}', page.quote, str)}{there}."
    yield f"- Mid: {_field(top, 'mid_price', page.quote, str)}."


def _traded(profile: VolumeProfileAnswer, page: Page) -> Iterator[str]:
    low, high = profile.price_range_low, profile.price_range_high
    yield f"- Traded in the last {page.hours} h: {low} to {high} {page.quote}, VWAP {_like(profile.vwap, low)} {page.quote}."
    worth = f"{_cut(profile.total_volume)} {page.base}, worth {_cut(profile.total_quote)} {page.quote}"
    yield f"- Volume: {worth}, in {profile.n_trades:,} trades."
    yield _trades_known(profile)


def _trades_known(profile: VolumeProfileAnswer) -> str:
    state = profile.trade_state
    lacking = ((state.missing_s, "trades are missing"), (state.unknown_s, "nothing is known"))
    rest = "".join(f"; of {seconds:,} s {what}" for seconds, what in lacking if seconds)
    return f"- All trades are there of {_share(profile.envelope.coverage)}{rest}."


def _top(top: OrderbookL1Answer, page: Page) -> Iterator[str]:
    spread = [_field(top, "spread", page.quote, str)]
    spread += [] if top.spread_bps is None else [f"{_cut(top.spread_bps)} bps of the mid"]
    spread += [] if top.spread_ticks is None else [f"{top.spread_ticks:,} tick{'' if top.spread_ticks == 1 else 's'}"]
    yield f"- Spread: {', '.join(spread)}."
    yield f"- Mid weighted by the best sizes: {_field(top, 'weighted_mid', page.quote, lambda x: _like(x, top.best_bid, 2))}."
    best, top20 = (_field(top, name, write=_signed) for name in ("imbalance", "imbalance_top20"))
    yield f"- Imbalance, -1 (all ask) to 1 (all bid): {best} of the best sizes, {top20} of the 20 best levels a side."
    bids, asks = _field(top, "bid_volume", page.base), _field(top, "ask_volume", page.base)
    yield f"- The 20 best bids hold {bids}, the 20 best asks {asks}."
    known = top.envelope.known_range
    if known is not None:
        down = "to the end of the bids" if known.bid_low is None else f"down to {known.bid_low} {page.quote}"
        up = "to the end of the asks" if known.ask_high is None else f"up to {known.ask_high} {page.quote}"
        yield f"- Known to be complete {down} and {up}."
    if top.walls is None:
        yield f"- Levels larger than usual: {_said(None, top.reasons.get('walls'))}."
    else:
        for side, walls in (("Bids", top.walls.bids), ("Asks", top.walls.asks)):
            levels = [f"{wall.price} with {_cut(wall.quote)} (large from {_cut(wall.threshold_quote)})" for wall in walls]
            yield f"- {side} larger than usual, {page.quote}: {_list(levels, 'orderbook_l1')}."

    by_depth: dict[tuple[str, ...], list[str]] = {}  # what is unknown of many bands is said once
    for band in top.depth:
        fields = (("bid_quote", _cut), ("ask_quote", _cut), ("imbalance", _signed))
        cells = [_said(getattr(band, name), top.reasons.get(f"depth.{band.bps}.{name}"), write=write) for name, write in fields]
        by_depth.setdefault(tuple(cells), []).append(str(band.bps))
    yield from _table(
        ("Within, bps of the mid", f"Bids, {page.quote}", f"Asks, {page.quote}", "Imbalance, -1 to 1"),
        ((", ".join(widths), *cells) for cells, widths in by_depth.items()),
    )
    taken = top.slippage_estimates
    costs = {name: _said(one.cost_bps, top.reasons.get(f"slippage_estimates.{name}")) for name, one in taken.items()}
    yield from _table(
        (f"Taking at once, {page.quote}", "Buying costs, bps of the mid", "Selling costs, bps of the mid"),
        (
            (_cut(one.target_usd), costs[name], costs[name.replace("buy_", "sell_")])
            for name, one in taken.items()
            if name.startswith("buy_")
        ),
    )


def _ladder(ladder: OrderbookL2Answer, page: Page) -> Iterator[str]:
    rows = _rows(ladder)
    yield from _table((f"Bid, {page.quote}", f"Size, {page.base}", f"Ask, {page.quote}", f"Size, {page.base}"), rows[: page.rows])
    if len(rows) > page.rows:
        yield f"- The last {len(rows) - page.rows} rows are left out so that the report fits: ask `orderbook_l2`."
    for side, complete in (("bids", ladder.bids_complete), ("asks", ladder.asks_complete)):
        there = len(getattr(ladder, side))
        asked = "" if there == page.levels else f" of {page.levels} asked for"
        sure = "none is missing between them" if complete else "they reach beyond what is known, so some may be missing"
        yield f"- Levels of {side}: {there}{asked}; {sure}."


def _rows(ladder: OrderbookL2Answer) -> list[tuple[str, ...]]:
    """Bid and ask side by side, exactly as they are."""
    longest = max(len(ladder.bids), len(ladder.asks))
    sides = ([*side, *[("none", "none")] * (longest - len(side))] for side in (ladder.bids, ladder.asks))
    return [(*map(str, bid), *map(str, ask)) for bid, ask in zip(*sides, strict=True)]


# Liquidity -----------------------------------------------------------------------------------------


def _profile(profile: VolumeProfileAnswer, page: Page) -> Iterator[str]:
    most = f"{profile.poc_low} to {profile.poc_high} {page.quote}, {_percent(profile.poc_share)} of the volume"
    yield f"- Most traded in the last {page.hours} h: {most}."
    yield f"- How far the quartiles of that price over resamples of time lie apart: {_field(profile, 'poc_iqr', page.quote)}."
    area = f"{profile.value_area_low} to {profile.value_area_high} {page.quote}"
    yield f"- Value area: {area}, {_percent(profile.value_area_share)} of the volume."
    sample = f"as good a sample as {_cut(profile.n_eff)} trades of equal size"
    yield f"- Rows are {profile.bin_size} {page.quote} high; the trades are {sample}."
    yield _trades_known(profile)
    for kind, word in (("high", "much"), ("low", "little")):
        nodes = sorted((node for node in profile.nodes or () if node.kind == kind), key=lambda node: -node.persistence)
        known = [f"{node.low} to {node.high} (in {_percent(node.persistence)} of resamples)" for node in nodes]
        listed = _list(known, "get_volume_profile") if profile.nodes is not None else _field(profile, "nodes")
        yield f"- Stable prices with {word} volume, {page.quote}: {listed}."


def _vacuums(vacuums: LiquidityVacuumsAnswer, page: Page) -> Iterator[str]:
    traded, resting = vacuums.traded, vacuums.resting
    rows: list[tuple[Any, str, str]] = []
    for past in traded.zones:
        less = f"{_percent(past.volume_deficit_pct / 100)} less traded than beside it"
        rows.append((past, less, f"{_percent(past.persistence)} of resamples"))
    for now in resting.zones:
        taken = _said(now.p_cross_1m, resting.reasons.get("p_cross_1m"), write=_percent)
        holds = "nothing rests" if now.kind == "empty" else "little rests"
        what = f"{holds}; {_cut(now.quote_to_cross)} {page.quote} up to its far end; past minutes that took more: {taken}"
        rows.append((now, what, f"{_percent(now.persistence)} of {resting.samples} ticks"))
    status = f"{len(traded.zones)} found" if traded.status == "ok" else _said(None, traded.reason)
    yield f"- Prices with little past volume between two with much: {status}."
    only = "" if resting.status == "ok" else "; thin ones were not looked for, too little history"
    status = _said(None, resting.reason) if resting.status == "too_few" else f"{len(resting.zones)} found{only}"
    yield f"- Prices at which nothing or little rests now: {status}."
    yield "- Thin is a fact; that price crosses such zones faster is not proven."
    mid2 = 2 * Decimal(vacuums.mid_price)
    rows.sort(key=lambda row: abs(Decimal(row[0].price_range_low) + Decimal(row[0].price_range_high) - mid2))
    yield from _table(
        (f"Prices, {page.quote}", "Where", "Width, bps", "What", "Seen in"),
        (
            (f"{zone.price_range_low} to {zone.price_range_high}", _words(zone.side), _cut(zone.width_bps), what, seen)
            for zone, what, seen in rows[: 2 * LISTED]
        ),
    )
    if len(rows) > 2 * LISTED:
        yield f"- {len(rows) - 2 * LISTED} farther from the mid are left out: ask `get_liquidity_vacuums`."


# What happens ----------------------------------------------------------------------------------------

PRESSED = {
    "STRONG_BUY": "buyers pressed much harder than is usual",
    "MODERATE_BUY": "buyers pressed harder than is usual",
    "NEUTRAL": "no side pressed harder than is usual",
    "MODERATE_SELL": "sellers pressed harder than is usual",
    "STRONG_SELL": "sellers pressed much harder than is usual",
}


def _flow(flow: OrderFlowAnswer, page: Page) -> Iterator[str]:
    per_s = f"{page.quote}/s"
    yield _window(flow.window_duration_secs, flow.time_window_end, flow.envelope.coverage, f", {flow.clean_s} s are usable")
    buyers, sellers = (_field(flow, name, per_s) for name in ("bid_flow_rate", "ask_flow_rate"))
    net = _field(flow, "net_flow", per_s, _signed)
    yield f"- Pressure: {buyers} in favour of buyers, {sellers} in favour of sellers, net {net}."
    best, top20 = (_field(flow, name, page.base, _signed) for name in ("ofi", "ofi_top20"))
    yield f"- Order-flow imbalance (above 0 buyers pressed): {best} at the best prices, {top20} over the 20 best ranks."
    yield f"- Mean imbalance within 10 bps, -1 (all ask) to 1 (all bid): {_field(flow, 'imbalance_bps_mean', write=_signed)}."
    whole = "Takers" if "delta" not in flow.reasons else "In the trades that are there takers"
    yield (
        f"- {whole} bought {_cut(flow.buy_quote)} {page.quote} and sold {_cut(flow.sell_quote)} {page.quote} "
        f"in {flow.n_trades:,} trades, about {flow.n_batches:,} orders."
    )
    delta, tfi = _field(flow, "delta", page.base, _signed), _field(flow, "tfi", write=_signed)
    yield f"- Bought less sold: {delta}; as a share of both, -1 to 1: {tfi}."
    since = f"{flow.cvd.anchor} ({_percent(flow.cvd.coverage)} of the time is covered)"
    yield f"- Bought less sold since {since}: {_said(flow.cvd.value, flow.reasons.get('cvd'), page.base, _signed)}."
    moved, explained = (_field(flow, name, "bps", _signed) for name in ("move_bps", "explained_move_bps"))
    yield f"- The mid moved: {moved}; of it order flow accounts for: {explained}."
    label = _field(flow, "flow_direction", write=PRESSED.__getitem__)
    if flow.conflict:
        label = "takers and resting orders are both unusual and point opposite ways"
    yield f"- Against its own past: {label}."
    if flow.ofi_rank is not None:
        takers = _field(flow, "tfi_rank", write=_percent)
        yield f"- Past windows with less imbalance in size: of order flow {_percent(flow.ofi_rank)}, of takers {takers}."
    yield _history(flow.baseline)


def _window(length_s: int, end: str, found: Covered | None, more: str = "") -> str:
    return f"- The {length_s} s up to {end}: a live book in {_share(found)}{more}."


def _history(baseline: Baseline) -> str:
    have = f"{baseline.have_s:,} s of the last 24 h are usable"
    enough = "enough to rank" if baseline.state == "ready" else f"{baseline.need_s:,} s are needed to rank"
    return f"- Own history: {have}, {enough}."


def _anomalies(found: MarketAnomaliesAnswer, page: Page) -> Iterator[str]:
    yield _window(found.window_duration_secs, found.time_window_end, found.envelope.coverage)
    yield "- Names are of patterns. Not found is said of the seconds it could see; not evaluated means that nothing can be said."
    yield from (_detector(one, page) for one in found.detectors)
    grave = [severity.value for severity in SEVERITIES]
    gravest = sorted(found.anomalies, key=lambda one: (-grave.index(one.severity), one.statement != "measured", -one.start_s))
    yield from (_finding(one) for one in gravest[:LISTED])
    if len(gravest) > LISTED:
        yield f"- {len(gravest) - LISTED} findings of no greater severity are left out: ask `detect_market_anomalies`."


def _detector(one: DetectorAnswer, page: Page) -> str:
    per_million = f"bps per million {page.quote}"
    units = {
        "_bps_per_million": per_million,
        "_quote_per_s": f"{page.quote}/s",
        "_per_s": "per s",
        "_quote": page.quote,
        "_bps": "bps",
    }
    now: list[str] = []
    unknown: dict[str, list[str]] = {}
    for name, value in one.current.items():
        end = next((end for end in units if name.endswith(end)), "")
        label = _words(name.removesuffix(end))
        if value is None:  # what is usual comes from its history, all else from the window
            usual = "median" in name or "slope" in name
            unknown.setdefault((one.reason if usual else None) or "no number in this window", []).append(label)
        else:
            now.append(f"{label} {_said(value, None, units.get(end, ''))}")
    now += [f"{', '.join(labels)} {_said(None, reason)}" for reason, labels in unknown.items()]
    status = _words(one.status) + ("" if one.reason is None else f" ({_words(one.reason)})")
    rate = _said(one.base_rate_per_day, one.reason or "it keeps no history", "a day")
    warned = "".join(f" Mind: {_words(warning)}." for warning in one.warnings)
    name = _words(PATTERNS[AnomalyType(one.anomaly_type)]).capitalize()
    return (
        f"- {name}: {status}, could see {one.seconds} s; such findings in its own history: {rate}. Now: {'; '.join(now)}.{warned}"
    )


def _finding(one: AnomalyAnswer) -> str:
    until = "it may go on" if one.end is None else f"to {one.end}"
    kind = "measured" if one.statement == "measured" else "inferred, other explanations fit as well"
    odds = _field(one, "per_day", f"a day (p {_field(one, 'p_value')})")
    assumed = "" if one.assumed_base_rate is None else f" if {_percent(one.assumed_base_rate)} of windows hold the pattern"
    sure = f"confidence {_field(one, 'confidence_score')}{assumed}"
    what = f"{_words(one.pattern)}, {one.severity}, from {one.start}, {until}"
    return f"- Found: {what}; {kind}: {_plain(one.text, SENTENCE_MAX)}; in ordinary time {odds}; {sure}."


def _health(health: HealthAnswer, page: Page) -> Iterator[str]:
    about = "; that is about our data, not about the market" if health.health_level == "UNKNOWN" else ""
    yield _window(WINDOW_S, utc(health.timestamp / 1000), health.envelope.coverage)
    yield f"- Level: {health.health_level}{about}."
    basis = "its own last 24 h" if health.basis == "relative" else "fixed anchors"
    yield f"- Score: {_field(health, 'overall_score', 'of 100')}, against {basis}."
    relative, absolute = (_field(health, name, "of 100") for name in ("relative_score", "absolute_score"))
    yield f"- Against its own last 24 h, where 50 is ordinary: {relative}; against fixed anchors: {absolute}."
    rows = []
    for part in health.parts:
        unit = {"quote": page.quote, "share": ""}.get(part.unit, part.unit)
        # A value without limit has its score, so that what is lacking beside it is history.
        ranked = code.BASELINE_SHORT if part.value is None and part.score_absolute is not None else part.reason
        scores = _said(part.score_relative, ranked), _said(part.score_absolute, part.reason)
        rows.append((part.name, _said(part.value, part.reason, unit), *scores, _percent(part.weight)))
    yield from _table(("Part", "Value", "Score against its past", "Score against anchors", "Weight"), rows)
    yield _history(health.baseline)


# Our data ------------------------------------------------------------------------------------------


def _status(health: OrderbookHealthAnswer, page: Page) -> Iterator[str]:
    reason = "" if health.reason is None else f"; {_plain(health.reason, SENTENCE_MAX)}"
    yield f"- Status: {health.status}{reason}."
    for book in health.symbols:
        no_book = "no book" if book.update_id is None else None
        off = "no service follows it here"
        yield f"- Book: epoch {_said(book.epoch, no_book, write=str)}, update {_said(book.update_id, no_book, write=str)}."
        age, heard = _said(book.age_ms, no_book, write=_duration), _said(book.heard_ms, off, write=_duration)
        yield f"- Since the last update: {age}. Since the connection was heard: {heard}."
        down, up = (
            _said(None, no_book) if no_book else "to their end" if reach is None else f"to {_cut(reach)} bps from the mid"
            for reach in (book.known_bid_bps, book.known_ask_bps)
        )
        yield f"- Complete: bids {down}, asks {up}."
        yield f"- In the last hour: {book.gaps_1h:,} breaks in the update ids, {book.resyncs_1h:,} books lost."
        if book.audit is None:
            yield f"- Best prices against the ticker: {_said(None, off)}."
        else:
            last = "" if book.audit.last_mismatch is None else f", the last at {book.audit.last_mismatch}"
            yield f"- Best prices against the ticker: {book.audit.checks:,} compared, {book.audit.mismatches:,} differed{last}."
        stored = _said(book.last_stored, "nothing is stored", write=utc)
        yield f"- Trades: {_said(book.trades, off, write=str)}. Newest stored second: {stored}."


def _covered(found: Coverage, page: Page) -> Iterator[str]:
    share = f"{found.live_s:,} of {found.expected_s:,} s ({_percent(found.ratio or 0.0)})"
    yield f"- Stored seconds with a live book in the last {page.hours} h: {share}; gaps: {len(found.gaps):,}."
    for gap in found.gaps[-GAPS_LISTED:]:
        yield f"  - {utc(gap.from_s)} to {utc(gap.to_s)}, {gap.seconds:,} s: {_words(gap.cause)}."
    if len(found.gaps) > GAPS_LISTED:
        yield f"  - {len(found.gaps) - GAPS_LISTED:,} gaps before these are left out: ask `get_incidents`."


SECTIONS: dict[str, dict[str, Callable[[Any, Page], Iterator[str]]]] = {
    "price_overview": {"orderbook_l1": _prices, "get_volume_profile": _traded},
    "orderbook_metrics": {"orderbook_l1": _top, "orderbook_l2": _ladder},
    "liquidity_analysis": {"get_volume_profile": _profile, "get_liquidity_vacuums": _vacuums},
    "market_microstructure": {"get_order_flow": _flow},
    "market_anomalies": {"detect_market_anomalies": _anomalies},
    "microstructure_health": {"get_microstructure_health": _health},
    "data_health": {"orderbook_health": _status, "coverage": _covered},
}

# Writing -------------------------------------------------------------------------------------------

WORDS = {
    code.BEYOND: "beyond what is known of the book",
    code.EXHAUSTED: "the book holds less",
    code.UNDEFINED: "nothing there to measure",
    code.BOOK_NOT_LIVE: "no live book",
    code.LOW_COVERAGE: "too many seconds are missing",
    code.TRADE_GAP: "trades are missing",
    code.BASELINE_SHORT: "too little history",
    code.TOO_FEW: "too few to tell",
    "regime_change": "more than 5 % of its history is itself extreme",
}


def _field(answer: Any, name: str, unit: str = "", write: Callable[[Any], str] | None = None) -> str:
    """A field of an answer that keeps its reasons beside it."""
    return _said(getattr(answer, name), answer.reasons.get(name), unit, write)


def _said(value: Any, reason: str | None, unit: str = "", write: Callable[[Any], str] | None = None) -> str:
    """The value with its unit, or that it is unknown and why."""
    if value is None:
        return f"unknown ({_words(reason or 'no reason is given')})"
    return f"{(write or _cut)(value)} {unit}".rstrip()


def _cut(value: str | float) -> str:
    """Four significant digits or all before the point, thousands apart; what is not zero never looks like it."""
    exact = Decimal(str(value))
    if not exact:
        return "0"
    if isinstance(value, float) and abs(value) < 1e-6:
        return "almost 0"
    text = f"{round(exact, max(0, 3 - exact.adjusted())):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _signed(value: str | float) -> str:
    """The same, with its sign."""
    text = _cut(value)
    return f"+{text}" if text[0].isdigit() and text != "0" else text


def _like(value: str | float, price: str | None, more: int = 0) -> str:
    """With the decimals of a price, and some more."""
    return f"{Decimal(str(value)):.{len((price or '').partition('.')[2]) + more}f}"


def _percent(share: float) -> str:
    """One decimal; more where it would look like none or all."""
    decimals = next((n for n in range(1, 7) if share in {0, 1} or 0 < float(f"{100 * share:.{n}f}") < 100), 1)
    return f"{100 * share:.{decimals}f}".rstrip("0").rstrip(".") + " %"


def _duration(span_ms: int) -> str:
    """In the unit that reads best."""
    for unit, length_ms, most in (("ms", 1, 1_000), ("s", 1_000, 120), ("min", 60_000, 120), ("h", 3_600_000, 48)):
        if span_ms < most * length_ms:
            return f"{_cut(span_ms / length_ms)} {unit}"
    return f"{_cut(span_ms / 86_400_000)} days"


def _share(found: Covered | None) -> str:
    assert found is not None, "every window has its coverage"
    return f"{found.live_s:,} of {found.expected_s:,} s ({_percent(found.ratio)})"


def _list(items: Sequence[str], question: str) -> str:
    more = f", and {len(items) - LISTED} more (ask `{question}`)" if len(items) > LISTED else ""
    return (", ".join(items[:LISTED]) or "none") + more


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Nothing without a row."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    if lines:
        yield from ("", f"| {' | '.join(header)} |", "|" + "---|" * len(header), *lines, "")


def _words(name: str) -> str:
    """A code in plain words."""
    return WORDS.get(name) or _plain(name.replace("_like", "-like").replace("_", " "))


_SIGNS = re.compile(r"[\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_])")  # an underscore inside a word is none


def _plain(text: str, most: int = NAME_MAX) -> str:
    """A text that others wrote, on one line, none of it Markdown, and not too long."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    line = line if len(line) <= most else line[: most - 3] + "..."
    return _SIGNS.sub(r"\\\g<0>", line)
