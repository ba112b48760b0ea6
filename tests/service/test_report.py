"""generate_market_report: every number is one that a tool says, what is refused is said, and it fits whatever is asked for.

Two histories: the recordings, and seventy minutes made by formula around a price of 100, with a live book made by hand.
"""

import math
import re
import zlib
from functools import cache

import msgspec
import numpy as np
import pytest
from markdown_it import MarkdownIt
from tests.core import build
from tests.core.test_oracles import both
from tests.service.desks import desk
from tests.store import samples

from leadline.analytics.health import Part
from leadline.core.cells import TickCells
from leadline.core.errors import InvalidRequest, UnknownSymbol
from leadline.core.records import (
    BookSnapshot,
    BookState,
    BookView,
    Incident,
    LevelEvent,
    MinuteBlock,
    SymbolRules,
    SymbolSecond,
    TradeBlock,
    TradeState,
)
from leadline.service import queries
from leadline.service.queries import Desk, coverage, run
from leadline.service.queries.desk import BookStatus
from leadline.service.queries.envelope import utc
from leadline.service.queries.report import SECTIONS, Page, RefusedAnswer, ReportAnswer, generate_market_report
from leadline.service.queries.sentences import about, sentences
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

E8, E16 = 10**8, 10**16
END = 1_800_010_800  # a full hour
LENGTH_S = 4_200
SYMBOL = "BTCUSDT"
NAMES = tuple(SECTIONS)


def report(where, symbol=SYMBOL, **options):
    return run(generate_market_report(where, symbol, **options))


def body(markdown, title):
    """What stands under a heading."""
    return re.search(rf"(?ms)^## {title}\n\n(.*?)(?=^## |\Z)", markdown)[1]


# A market by formula -----------------------------------------------------------


def noise(i, k):
    """In [0, 1)."""
    return zlib.crc32(b"%d:%d" % (i, k)) / 2**32


def mid2(i):
    """Best bid plus best ask at second i: 200.02 and some cents."""
    return build.e8("200.02") + 2 * 10**6 * round(3 * math.sin(i / 97))


def second(symbol, i, **changes):
    """Second i of LENGTH_S; the last one is END. Two trades in each, ids without a hole."""
    t = END - LENGTH_S + 1 + i
    size = [round(E8 * noise(i, k)) for k in range(6)]
    depth = [round((50 + 10 * noise(i, 7)) * 1000 * share * E16) for share in (1, 2, 5, 10, 25, 50)]
    fields = {
        "flags": 0,
        "epoch": 1,
        "known_bid": None,
        "n_ids": 200 + round(100 * noise(i, 8)),
        **dict(zip(("bid_added", "bid_removed", "ask_added", "ask_removed", "buy_qty", "sell_qty"), size, strict=True)),
        "mid2_open": mid2(i - 1),
        "mid2_high": max(mid2(i - 1), mid2(i)),
        "mid2_low": min(mid2(i - 1), mid2(i)),
        "mid2_close": mid2(i),
        "spread_tw": 2e6,
        "buy_quote": 100 * E8 * size[4],
        "sell_quote": 100 * E8 * size[5],
        "depth_bid": depth,
        "depth_ask": depth[::-1] if i % 2 else depth,
        "cost_buy": [1 + noise(i, 9)] * 6,
        "cost_sell": [1 + noise(i, 10)] * 6,
        **dict.fromkeys(("fill_buy", "fill_sell"), [None] * 6),
        **dict.fromkeys(("n_large_bid", "n_large_ask", "large_bid_quote", "large_ask_quote", "level_events_dropped"), 0),
        "level_events": [],
        "minute": MinuteBlock(60, [200.0] * 100, [200.0] * 100, [150.0] * 6, [190.0] * 6) if t % 60 == 0 else None,
    }
    trades = tuple(
        msgspec.structs.replace(
            build.trade(
                2 * i + n, (mid2(i) + (2 * 10**6 if n else -2 * 10**6)) / 2 / E8, size[4 + n] / E8 or 1, at=t - 1, buys=bool(n)
            ),
            symbol=symbol,
        )
        for n in (0, 1)
    )
    return SymbolSecond(
        symbol,
        t,
        samples.record(t, **(fields | changes)),
        BookSnapshot(*sides(), 7, t),
        None,
        (TradeBlock(symbol, t - 1, TradeState.COMPLETE, trades),),
        (),
    )


def sides(levels=20):
    """Bids 100.00 x 2, 99.99 x 3, 99.98 x 4 ..., asks 100.02 x 1, 100.03 x 2 ..."""
    bids = build.levels((f"{100 - n / 100:.2f}", n + 2) for n in range(levels))
    return bids, build.levels((f"{100.02 + n / 100:.2f}", n + 1) for n in range(levels))


def stressed(i):
    """The last 5 s: little depth, dear, many messages; and in the last 40 s more traded at 30 prices than was shown."""
    from_end = LENGTH_S - 1 - i
    changes = {}
    if from_end < 5:
        changes |= {
            "depth_bid": [E16] * 6,
            "depth_ask": [E16] * 6,
            "cost_buy": [60.0] * 6,
            "cost_sell": [60.0] * 6,
            "n_ids": 9000,
        }
    if from_end < 40 and from_end % 10 == 0:
        prices = [build.e8(100) - 10**6 * (from_end + n) for n in range(8)]
        changes["level_events"] = [
            LevelEvent("refill", "BID", price, 2000 * E8, 1 * E8, (1001 + n) * E8, 0, 1, 1.0) for n, price in enumerate(prices)
        ]
    return changes


def stored(symbol=SYMBOL, *, origin="synthetic:7", assets=("BTC", "USDT"), seconds=LENGTH_S, without=(), incidents=()):
    """The last so many seconds, but those so far from the end."""
    history = History(MemoryEngine(), "by formula")
    history.set_meta({"origin": origin})
    history.set_rules(SymbolRules(symbol, "TRADING", *assets, 10**6, 1_000, END - LENGTH_S))
    kept = [i for i in range(LENGTH_S - seconds, LENGTH_S) if LENGTH_S - 1 - i not in without]
    assert history.write([second(symbol, i, **stressed(i)) for i in kept], incidents) == []
    return history


@cache
def long():
    return stored()


class Followed:
    """Live books as a running service has them, set by the test."""

    def __init__(self, view, *, why="starting", cells=(), heard_ms=40, lost_ms=None, symbol=SYMBOL):
        self.symbols = (symbol,)
        self._view, self._why, self._cells = view, why, cells
        self._status = BookStatus(symbol, heard_ms, lost_ms, True, "COMPLETE", 5_000, 2, (END - 3_000) * 1000)

    def show(self, view):
        self._view = view

    def view(self, symbol, levels):
        view = self._view
        return view and msgspec.structs.replace(view, bids=view.bids[:levels], asks=view.asks[:levels])

    def why_none(self, symbol):
        return self._why

    def cells(self, symbol):
        return self._cells

    def size_thresholds(self, symbol):
        return [190.0] * 6

    def status(self, symbol):
        return self._status


def view(levels=20, state=BookState.LIVE, reason=None, known=("99.50", "100.60"), symbol=SYMBOL):
    """Received 120 ms before END."""
    edges = [None if edge is None else build.e8(edge) for edge in known]
    return BookView(symbol, state, reason, 1, 77, *sides(levels), *edges, END * 10**9 - 130_000_000, END * 10**9 - 120_000_000)


def ring():
    """30 ticks in cells of 0.01: nothing rests from 100.31 on, up to where the book is known."""
    bids, asks = np.zeros(50), np.zeros(50)
    bids[-20:], asks[1:30] = 300.0, 300.0
    tick = TickCells(0, build.e8("200.02"), 10**6, 9_952, bids, 10_001, asks, build.e8("99.50"), build.e8("100.60"))
    return [tick] * 30


def live(history, book=None, **status):
    books = Followed(view() if book is None else book, cells=ring(), **status)
    return Desk(history, now_ns=lambda: END * 10**9, books=books)


@cache
def whole():
    """All sections, all defaults."""
    return report(live(long()))


# Numbers -----------------------------------------------------------------------

NUMBER = re.compile(r"(?<![\w.])([-+]?\d[\d,]*(?:\.\d+)?)(?: (%|(?:ms|s|min|h|days)\b))?")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
UNITS = {"%": (100,), "s": (1, 1e-3), "min": (1 / 60_000,), "h": (1, 1 / 3_600_000), "days": (1 / 86_400_000,)}
OWN = {24.0, -1.0}  # hours asked for, lower end of a scale


def numbers_in(value):
    """All that an answer says: numbers, numbers as text, and those inside sentences of evidence."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, str):
        yield from (float(found[1].replace(",", "")) for found in NUMBER.finditer(MOMENT.sub("", value)))
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name != "reading":
                yield from numbers_in(inner)
    else:
        for inner in value:
            yield from numbers_in(inner)


def answers(where, symbol, hours, levels):
    """The tools, asked one by one."""
    end = where.end_s(symbol, None)
    yield from (
        run(ask(where, symbol)) for ask in (queries.orderbook_l1, queries.get_order_flow, queries.detect_market_anomalies)
    )
    yield run(queries.orderbook_l2(where, symbol, levels=levels))
    yield run(queries.get_microstructure_health(where, symbol))
    yield run(queries.orderbook_health(where, symbol))
    yield run(queries.get_volume_profile(where, symbol, duration_hours=hours))
    yield run(queries.get_liquidity_vacuums(where, symbol, duration_hours=hours))
    found = coverage(where.reader, symbol, end - hours * 3600 + 1, end + 1)
    yield {"all": found, "ratio": found.ratio, "expected": found.expected_s, "gaps": [gap.seconds for gap in found.gaps]}
    yield [len(found.gaps), len(found.gaps) - 10]


def strangers(markdown, said):
    """Printed numbers that none of the said ones becomes: times 100 before a percent sign, in another unit of time, cut to four
    digits, or to one decimal of a percent."""
    known = np.array(sorted(said))
    strange = []
    text = MOMENT.sub("", re.sub(r"`[^`]*`|[(]synthetic:\d+[)]|synthetic:\d+", "", markdown))
    for found in NUMBER.finditer(text):
        printed, unit = float(found[1].replace(",", "")), found[2]
        near = False
        for factor in UNITS.get(unit, (1,)):
            values = known * factor
            with np.errstate(divide="ignore"):
                digits = 10.0 ** np.minimum(0, np.floor(np.log10(np.abs(values))) - 3)
            step = np.minimum(0.1 if unit == "%" else digits, 0.1 ** len(found[1].partition(".")[2]))
            near = near or bool((np.abs(values - printed) <= step / 2 * (1 + 1e-9)).any())
        if not near and printed not in OWN:
            strange.append(found[0])
    return strange


def test_every_printed_number_is_one_that_a_tool_says():
    """34 findings: stress and the burst, and 4 times 8 prices; five are printed."""
    where = live(long())
    said = {number for answer in answers(where, SYMBOL, 24, 20) for number in numbers_in(msgspec.to_builtins(answer))}
    markdown = whole().markdown
    assert len(NUMBER.findall(markdown)) > 300
    assert strangers(markdown, said) == ["29"]


@both
def test_of_a_recording_too_every_printed_number_is_one_that_a_tool_says(symbol):
    said = {number for answer in answers(desk(), symbol, 24, 20) for number in numbers_in(msgspec.to_builtins(answer))}
    found = report(desk(), symbol)
    assert strangers(found.markdown.replace("replay:test", ""), said) == []
    assert found.sections == list(NAMES)
    assert found.failed_sections == []
    assert found.markdown.startswith(f"# REPLAYED DATA (replay:test): market report of {symbol}\n")


def test_a_number_that_no_tool_says_is_seen():
    assert strangers("- Mid: 100.01 USDT, 41.7 %.", {100.01, 0.4172}) == []
    assert strangers("- Mid: 100.02 USDT, 41.9 %.", {100.01, 0.4172}) == ["100.02", "41.9 %"]
    assert strangers("- 3.2 h and 950 ms", {11_520_000.0, 951.0}) == ["950 ms"]


# What a tool says ----------------------------------------------------------------


def test_a_live_book_is_printed_as_it_is():
    """Mid (100.00 + 100.02) / 2 = 100.01; spread 0.02 / 100.01 = 1.9998 bps = 2 ticks; best sizes 2 and 1: (2 - 1) / 3 = 0.3333;
    weighted (100.00 x 1 + 100.02 x 2) / 3 = 100.01333; 20 bids 2 + ... + 21 = 230, asks 1 + ... + 20 = 210, 20 / 440 = 0.04545.
    Within 1 bps, 100.00 to 100.02: bids 200, asks 100.02, 99.98 / 300.02 = 0.33324. Within 2 bps, 99.99 to 100.03:
    bids 200 + 299.97, asks 100.02 + 200.06, 199.89 / 800.05 = 0.24985. Level by level in fractions, buying for 10,000 costs
    9.4443 bps and selling 8.5825."""
    found = report(live(long()), include_sections=["price_overview", "orderbook_metrics"], orderbook_levels=3)
    assert found.markdown.startswith(
        "# SYNTHETIC DATA (synthetic:7): market report of BTCUSDT\n\n"
        "- As of 2027-01-15T11:00:00Z, data from synthetic:7.\n"
        "- Book: LIVE; its last update was received 120 ms ago; its connection was heard 40 ms ago.\n"
    )
    assert "- Best bid: 100.00 USDT, 2 BTC there.\n- Best ask: 100.02 USDT, 1 BTC there.\n- Mid: 100.01 USDT.\n" in found.markdown
    top = body(found.markdown, "Orderbook metrics")
    assert "- Spread: 0.02 USDT, 2 bps of the mid, 2 ticks.\n- Mid weighted by the best sizes: 100.0133 USDT.\n" in top
    assert "+0.3333 of the best sizes, +0.04545 of the 20 best levels a side.\n" in top
    assert "- The 20 best bids hold 230 BTC, the 20 best asks 210 BTC.\n" in top
    assert "- Known to be complete down to 99.50 USDT and up to 100.60 USDT.\n" in top
    assert "| 1 | 200 | 100 | +0.3332 |\n| 2 | 500 | 300.1 | +0.2498 |\n" in top
    assert "| 100.00 | 2.00000 | 100.02 | 1.00000 |\n| 99.99 | 3.00000 | 100.03 | 2.00000 |\n| 99.98 |" in top
    assert "| 10,000 | 9.444 | 8.582 |\n| 25,000 | unknown" in top
    assert "- Levels of bids: 3; none is missing between them.\n" in top
    assert found.data_age_ms == 120
    assert (found.envelope.source, found.envelope.state, found.envelope.update_id) == ("mixed", "LIVE", 77)


def test_what_is_unknown_of_many_bands_is_said_once_and_never_left_blank():
    """Known down to 99.99 and up to 100.03 the book says what lies within 1 bp: 200 and 100.02, and nothing farther out."""
    found = report(live(long(), view(known=("99.99", "100.03"))), include_sections=["orderbook_metrics"], orderbook_levels=3)
    beyond = "unknown (beyond what is known of the book)"
    assert f"| 1 | 200 | 100 | +0.3332 |\n| 2, 5, 10, 25, 50 | {beyond} | {beyond} | {beyond} |\n" in found.markdown
    assert f"| 10,000 | {beyond} | {beyond} |\n" in found.markdown
    assert "- Levels of bids: 3; they reach beyond what is known, so some may be missing.\n" in found.markdown
    assert "- The 20 best bids hold unknown (beyond what is known of the book), the 20 best asks unknown" in found.markdown


def test_assets_that_nobody_named_are_units_and_no_number_stands_alone():
    """A recording without exchangeInfo knows tick and step only."""
    found = report(live(stored(assets=("", ""), seconds=60)))
    assert "- Best bid: 100.00 quote units, 2 base units there.\n" in found.markdown
    assert "| Bid, quote units | Size, base units | Ask, quote units | Size, base units |\n" in found.markdown
    assert not re.search(r"  | [.,;)]|, :|, \|", re.sub("(?m)^  - ", "- ", found.markdown))


def test_a_side_without_levels_has_words_and_no_blank():
    """Three asks and no bid: every row says so."""
    book = msgspec.structs.replace(view(3, known=(None, None)), bids=())
    found = report(live(long(), book), include_sections=["price_overview", "orderbook_metrics"])
    assert "- Best bid: unknown (nothing there to measure).\n- Best ask: 100.02 USDT, 1 BTC there.\n" in found.markdown
    assert "| none | none | 100.02 | 1.00000 |\n| none | none | 100.03 | 2.00000 |\n" in found.markdown
    assert "- Levels of bids: 0 of 20 asked for; none is missing between them.\n" in found.markdown


@both
def test_of_a_recording_what_needs_history_is_unknown_and_says_why(symbol):
    """346 s are recorded, 1,800 are needed."""
    sections = ["market_microstructure", "market_anomalies", "microstructure_health"]
    found = report(desk(), symbol, include_sections=sections)
    assert found.markdown.count("- Own history: 28") == 2
    assert "s of the last 24 h are usable, 1,800 s are needed to rank.\n" in found.markdown
    assert "- Against its own past: unknown (too little history).\n" in found.markdown
    detectors = body(found.markdown, "Market anomalies")
    for name in ("Message burst", "Liquidity stress", "Fleeting liquidity", "Absorption-like"):
        assert f"- {name}: not evaluated (too little history), could see " in detectors
    assert "Now: bid, ask unknown (no number in this window); bid median, ask median unknown (too little history)." in detectors
    assert "- Iceberg-like: not found, could see 60 s; " in detectors
    assert "not evaluated means that nothing can be said" in detectors


def test_found_patterns_are_told_gravest_first_and_the_rest_is_counted():
    found = body(report(live(long()), include_sections=["market_anomalies"]).markdown, "Market anomalies")
    told = re.findall(r"(?m)^- Found: ([a-z-]+ ?[a-z]*), (\w+),", found)
    assert told == [("liquidity stress", "Critical"), ("message burst", "High"), *[("iceberg-like", "High")] * 3]
    assert "measured: 0 % of the usual depth within 10 bps is left" in found
    assert "inferred, other explanations fit as well: 1001 traded at 100 where 1 was shown" in found


def written(section, question, answer):
    """What a section writes of an answer."""
    page = Page(base="BTC", quote="USDT", hours=24, levels=20, rows=20, said=frozenset())
    return "\n".join(SECTIONS[section][question](answer, page))


def flow(**changes):
    answer = msgspec.structs.replace(run(queries.get_order_flow(live(long()), SYMBOL)), **changes)
    return written("market_microstructure", "get_order_flow", answer)


@pytest.mark.parametrize(
    ("label", "conflict", "sentence"),
    [
        ("STRONG_SELL", False, "sellers pressed much harder than is usual."),
        ("NEUTRAL", False, "no side pressed harder than is usual."),
        ("NEUTRAL", True, "takers and resting orders are both unusual and point opposite ways."),
    ],
)
def test_pressure_is_told_as_a_fact_and_a_conflict_as_one(label, conflict, sentence):
    assert f"- Against its own past: {sentence}\n" in flow(flow_direction=label, conflict=conflict)


def test_cut_numbers_never_look_like_none_or_like_all():
    """86,399 of 86,400 s are 99.99884 %."""
    cvd = msgspec.structs.replace(run(queries.get_order_flow(live(long()), SYMBOL)).cvd, coverage=86_399 / 86_400)
    text = flow(cvd=cvd, bid_flow_rate=1_234_567.8, ask_flow_rate=0.000123456, net_flow=-1e-12, tfi=0.0, tfi_rank=1e-5)
    assert "(99.999 % of the time is covered)" in text
    assert "1,234,568 USDT/s in favour of buyers, 0.0001235 USDT/s in favour of sellers, net almost 0 USDT/s" in text
    assert "as a share of both, -1 to 1: 0." in text
    assert "of takers 0.001 %." in text


def test_scores_stand_in_their_columns_and_a_cost_without_limit_has_one():
    """More than the book holds cannot be bought: no value, an absolute score of 0, and no rank for want of history."""
    answer = run(queries.get_microstructure_health(live(long()), SYMBOL))
    spread = msgspec.structs.replace(answer.parts[0], value=2.5, score_relative=21.0, score_absolute=70.0)
    cost = Part("cost", None, "bps", None, 0.0, 0.2, True, "exhausted")
    text = written("microstructure_health", "get_microstructure_health", msgspec.structs.replace(answer, parts=[spread, cost]))
    assert "| spread | 2.5 bps | 21 | 70 | 15 % |\n" in text
    assert "| cost | unknown (the book holds less) | unknown (too little history) | 0 | 20 % |\n" in text


def test_of_many_thin_stretches_the_nearest_ten_are_told_nearest_first():
    """12 of them begin 1, 2, ... 12 above the mid of 100.01, and are given in the wrong order."""
    answer = run(queries.get_liquidity_vacuums(live(long()), SYMBOL))
    zone, change = answer.resting.zones[-1], msgspec.structs.replace
    made = [change(zone, price_range_low=f"{101 + n}.01", price_range_high=f"{101 + n}.11") for n in reversed(range(12))]
    text = written("liquidity_analysis", "get_liquidity_vacuums", change(answer, resting=change(answer.resting, zones=made)))
    assert re.findall(r"(?m)^\| (\d+)\.01 to", text) == [str(101 + n) for n in range(10)]
    assert "- 2 farther from the mid are left out: ask `get_liquidity_vacuums`." in text


# What is refused -----------------------------------------------------------------


def test_a_symbol_whose_book_was_never_live_gets_a_report_of_refusals():
    nothing = Desk(History(MemoryEngine(), "empty"), now_ns=lambda: END * 10**9, books=Followed(None))
    found = report(nothing)
    assert found.markdown.startswith("# DATA OF UNKNOWN ORIGIN (unknown): market report of BTCUSDT\n")
    assert "- Book: none, WAITING (starting); its connection was heard 40 ms ago.\n" in found.markdown
    refused = [(one.section, one.question, one.error) for one in found.failed_sections]
    assert refused == [
        ("price_overview", "orderbook_l1", "BookNotLive"),
        ("price_overview", "get_volume_profile", "NotEnoughData"),
        ("orderbook_metrics", "orderbook_l1", "BookNotLive"),
        ("orderbook_metrics", "orderbook_l2", "BookNotLive"),
        ("liquidity_analysis", "get_volume_profile", "NotEnoughData"),
        ("liquidity_analysis", "get_liquidity_vacuums", "BookNotLive"),
        ("market_microstructure", "get_order_flow", "NotEnoughData"),
        ("market_anomalies", "detect_market_anomalies", "NotEnoughData"),
        ("microstructure_health", "get_microstructure_health", "NotEnoughData"),
    ]
    assert body(found.markdown, "Market microstructure").strip() == (
        "- No answer from `get_order_flow`: Insufficient historical data: have 0 s, need 30 s, ready in 30 s."
    )
    assert "- No answer from `orderbook_l1`: no live book of BTCUSDT: starting.\n" in body(found.markdown, "Price overview")
    assert [one.ready_in_s for one in found.failed_sections if one.question == "get_order_flow"] == [30]
    assert (found.data_age_ms, found.envelope.state, found.sections) == (None, "WAITING", list(NAMES))
    health = body(found.markdown, "Data health")
    assert "- Book: epoch unknown (no book), update unknown (no book).\n" in health
    assert "- Stored seconds with a live book in the last 24 h: 0 of 86,400 s (0 %); gaps: 1.\n" in health


def test_a_lost_book_is_shown_for_a_moment_and_then_refused_and_its_age_stays_true():
    """It may be shown for 5 s; 120 ms before END its last update came."""
    stale = view(state=BookState.STALE, reason="gap")
    shown = report(live(long(), stale, lost_ms=1_000), include_sections=["price_overview", "orderbook_metrics"])
    assert "- Book: STALE (gap); its last update was received 120 ms ago; " in shown.markdown
    assert shown.markdown.count("- Mind: this is the last good book, shown while a new one is built.\n") == 1
    assert "- Best bid: 100.00 USDT" in shown.markdown
    assert shown.failed_sections == []
    refused = report(live(long(), stale, lost_ms=6_000), include_sections=["price_overview"])
    [failed] = refused.failed_sections
    assert (failed.question, failed.reason) == ("orderbook_l1", "no live book of BTCUSDT: gap, lost 6 s ago")
    assert "Best bid" not in refused.markdown
    assert "- Traded in the last 24 h: 99.97 to 100.05 USDT" in refused.markdown
    assert (refused.data_age_ms, refused.envelope.state) == (120, "STALE")


def test_twenty_stored_seconds_are_too_few_for_most_and_each_says_how_many_it_needs():
    found = report(Desk(stored(seconds=20), now_ns=lambda: END * 10**9))
    assert "`get_order_flow`: Insufficient historical data: have 20 s, need 30 s, ready in 10 s." in found.markdown
    assert "`get_microstructure_health`: Insufficient historical data: have 20 s, need 30 s, ready in 10 s." in found.markdown
    assert {one.question for one in found.failed_sections} == {"get_order_flow", "get_microstructure_health"}
    assert "- Message burst: not evaluated (too little history), could see 20 s; " in found.markdown


def test_an_old_store_is_not_the_market_of_now_and_its_age_is_told():
    """An hour after the last record; its update came 10 ms before that second: 3,600.01 s."""
    found = report(Desk(long(), now_ns=lambda: (END + 3_600) * 10**9))
    assert "- Book: the newest stored one, LIVE then; its last update was received 60 min ago.\n" in found.markdown
    assert found.markdown.count("- Mind: the window ends in the past: this is not the market of now.\n") == 1
    assert found.data_age_ms == 3_600_010
    assert "the window ends in the past: this is not the market of now" in found.envelope.warnings


# Sections and bounds -------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_one_section_alone_is_what_it_is_among_all(name):
    title = name.replace("_", " ").capitalize()
    found = report(live(long()), include_sections=[name])
    assert found.sections == [name]
    assert re.findall(r"(?m)^## (.*)$", found.markdown) == [title]
    assert body(found.markdown, title).strip() == body(whole().markdown, title).strip()
    assert found.data_age_ms == 120
    assert (found.envelope.coverage is not None) == (name == "data_health")


def test_sections_stand_in_the_order_of_the_report_and_each_once():
    found = report(live(long()), include_sections=["data_health", "price_overview", "data_health"])
    assert found.sections == ["price_overview", "data_health"]
    assert re.findall(r"(?m)^## (.*)$", found.markdown) == ["Price overview", "Data health"]


@pytest.mark.parametrize("named", [["price"], ["price_overview", "Data_health"], [], [""]])
def test_an_unknown_section_names_the_field_and_those_there_are(named):
    with pytest.raises(InvalidRequest) as caught:
        report(live(long()), include_sections=named)
    assert caught.value.field == "options.include_sections"
    assert caught.value.allowed == (
        "price_overview, orderbook_metrics, liquidity_analysis, market_microstructure, market_anomalies, "
        "microstructure_health, data_health"
    )


@pytest.mark.parametrize("value", [0, -1, 169])
@pytest.mark.parametrize(("field", "allowed"), [("volume_window_hours", "1-168"), ("orderbook_levels", "1-100")])
def test_options_out_of_bounds_name_their_field(field, value, allowed):
    with pytest.raises(InvalidRequest) as caught:
        report(live(long()), **{field: value})
    assert (caught.value.field, caught.value.allowed) == (f"options.{field}", allowed)


def test_nothing_stored_and_not_followed_is_an_unknown_symbol():
    with pytest.raises(UnknownSymbol):
        report(Desk(History(MemoryEngine(), "empty"), now_ns=lambda: END * 10**9))
    assert report(live(long()), " btcusdt ", include_sections=["price_overview"]).symbol == "BTCUSDT"


def test_gaps_are_the_last_ten_and_each_with_its_cause():
    """Of the last 100 s every sixth is missing from the 6th on, 16 in all, the newest 4 in an outage from 84 to 100 s; before the
    100 s nothing is stored: 17 gaps in an hour, 84 s there."""
    without = range(6, 101, 6)
    outage = Incident(SYMBOL, END - 24, 0, "outage", (END - 24) * 1000, END * 1000, None, None, "killed", "")
    where = Desk(stored(seconds=100, without=without, incidents=[outage]), now_ns=lambda: END * 10**9)
    found = report(where, include_sections=["data_health"], volume_window_hours=1)
    whole = coverage(where.reader, SYMBOL, END - 3_599, END + 1)
    health = body(found.markdown, "Data health")
    assert f"last 1 h: {whole.live_s} of 3,600 s (2.3 %); gaps: 17.\n" in health
    listed = re.findall(r"(?m)^  - (\S+) to (\S+), (\d+) s: (.*)\.$", health)
    assert listed == [(utc(gap.from_s), utc(gap.to_s), "1", gap.cause) for gap in whole.gaps[-10:]]
    assert [cause for *_, cause in listed] == ["unknown"] * 6 + ["outage (killed)"] * 4
    assert "  - 7 gaps before these are left out: ask `get_incidents`.\n" in health
    assert found.envelope.coverage.live_s == whole.live_s


def test_a_long_gap_is_one_gap():
    """700 s long, in a window that is read by 600 s."""
    where = Desk(stored(seconds=720, without=range(10, 710)), now_ns=lambda: END * 10**9)
    found = report(where, include_sections=["data_health"], volume_window_hours=1)
    assert "last 1 h: 20 of 3,600 s (0.6 %); gaps: 2.\n" in found.markdown
    assert ", 700 s: unknown.\n" in found.markdown


# Markdown ------------------------------------------------------------------------


def parsed(markdown):
    """By an independent reader of Markdown: tokens, inline ones too."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    return [inner for token in tokens for inner in [token, *(token.children or [])]]


def assert_plain(found):
    """Headings, lists, tables and code only; the text is without blanks that look like zero; tables are whole."""
    tokens = parsed(found.markdown)
    kinds = {token.type for token in tokens}
    allowed = {"heading", "bullet_list", "list_item", "paragraph", "table", "thead", "tbody", "tr", "th", "td"}
    assert kinds <= {f"{name}_{end}" for name in allowed for end in ("open", "close")} | {"inline", "text", "code_inline"}
    levels = [token.tag for token in tokens if token.type == "heading_open"]
    assert levels == ["h1", *["h2"] * len(found.sections)]
    cells = [tokens[place + 1].content for place, token in enumerate(tokens) if token.type in {"td_open", "th_open"}]
    assert all(cells)
    assert not re.search(r"\b(None|nan|inf|null)\b", found.markdown)
    lines = [re.sub(r"\\.", "", line) for line in found.markdown.splitlines() if line.startswith("|")]
    assert len(lines) == sum(token.type == "tr_open" for token in tokens) + sum(token.type == "table_open" for token in tokens)
    return tokens


def test_the_page_is_headings_lists_and_whole_tables():
    for where in (Desk(long(), now_ns=lambda: END * 10**9), live(long(), view(known=(None, None)))):
        assert_plain(report(where))
    assert_plain(whole())


def test_signs_of_markdown_in_names_are_signs_and_nothing_else():
    """A symbol, its assets, an origin and a cause that would be a table, a link, a tag, a heading and emphasis."""
    symbol = "_A_|__B__[D](E)<B>`F~~G&LT;#\\"
    cause = "<script>alert(1)</script>\n# owned\n| a | *b* |\u202e"
    outage = Incident(symbol, END - 30, 0, "outage", (END - 30) * 1000, END * 1000, None, None, cause, "")
    history = stored(symbol, origin="synthetic:[7](x)", assets=("B|*C*", "<U>"), seconds=60, without=(3, 4), incidents=[outage])
    found = report(Desk(history, now_ns=lambda: END * 10**9), symbol)
    tokens = assert_plain(found)
    title = tokens[1].children
    assert "".join(token.content for token in title) == f"SYNTHETIC DATA (synthetic:[7](x)): market report of {symbol}"
    text = "\n".join("".join(inner.content for inner in token.children) for token in tokens if token.type == "inline")
    assert "outage (<script>alert(1)</script> # owned | a | *b* | )" in text
    assert "B|*C*" in text
    assert "<U>" in text


def test_the_largest_report_fits_and_says_what_was_cut():
    """A hundred levels a side of the longest prices and sizes there are, assets that are all signs of Markdown, a week, many
    findings, gaps and warnings."""
    step, top = 1, 2**62
    bids = tuple((top - n * step, 2**60 - n) for n in range(100))
    asks = tuple((top + 1 + n * step, 2**60 - n) for n in range(100))
    book = msgspec.structs.replace(view(), bids=bids, asks=asks, known_bid=None, known_ask=None)
    history = stored(assets=("|" * 32, "_" * 32), seconds=2_400, without=range(7, 500, 7))
    where = Desk(history, now_ns=lambda: END * 10**9, books=Followed(book))
    found = report(where, volume_window_hours=168, orderbook_levels=100)
    assert_plain(found)
    assert 15_000 < len(found.markdown.encode()) <= 20_000
    shown = len(re.findall(r"(?m)^\| 461168[\d.]+ \|", found.markdown))
    assert found.envelope.truncated
    assert found.envelope.omitted == {"ladder": 100 - shown}
    assert f"- The last {100 - shown} rows are left out so that the report fits: ask `orderbook_l2`.\n" in found.markdown
    assert report(live(long(), view(100)), orderbook_levels=100).envelope.truncated is False


def test_no_word_advises_foretells_or_accuses():
    for markdown in (whole().markdown, report(desk(), "ETHUSDT").markdown):
        words = set(re.findall(r"[a-z]+", markdown.lower().replace("no advice, no forecast, nobody's intent", "")))
        assert not words & {
            *("advice", "forecast", "intent", "should", "will", "expect", "expected", "likely", "target", "stop", "risk", "safe"),
            *("recommend", "bullish", "bearish", "manipulation", "spoofing", "stuffing", "crash", "soon", "warning"),
        }


# Steps ----------------------------------------------------------------------------


def test_all_of_the_book_is_of_one_moment_while_time_goes_on_between_steps():
    """At every pause another update moves the book up by a cent: best prices, ladder and head are of one update nevertheless."""
    books = Followed(view())
    steps = generate_market_report(Desk(long(), now_ns=lambda: END * 10**9, books=books), SYMBOL)
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as done:
            found = done.value
            break
        pauses += 1
        book = books.view(SYMBOL, 20)
        up = [tuple((price + 10**6, quantity) for price, quantity in side) for side in (book.bids, book.asks)]
        books.show(msgspec.structs.replace(book, bids=up[0], asks=up[1], update_id=book.update_id + 1))
    assert pauses >= len({question for questions in SECTIONS.values() for question in questions}) - 1
    best = re.search(r"- Best bid: (\S+) USDT", found.markdown)[1]
    assert f"| {best} | 2.00000 |" in found.markdown
    seen = found.envelope.update_id - 77
    assert best == f"{100 + seen / 100:.2f}"
    assert seen == pauses - 1, "the last pause is before the writing"


def test_every_field_of_the_answer_has_its_sentence():
    for kind in (ReportAnswer, RefusedAnswer):
        assert set(sentences(kind)) == set(kind.__struct_fields__)
        assert about(kind)
