"""What is stored, in pages and slices: exact, each with what is missing in it. Reads are short, with a breath between them.

A page ends when it has its rows, and at the latest after so many seconds; its token is the second at which the next one begins.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import Struct, structs

from leadline.core.errors import InvalidRequest
from leadline.core.records import BANDS_BPS, SIZES_QUOTE, SecondRecord
from leadline.core.units import decimal_text, decimal_text_e16
from leadline.serve.grpc_messages import origin_of, stored_snapshot, symbol_of, trade
from leadline.serve.proto import market_data_pb2 as pb
from leadline.service.hours import traded_between
from leadline.service.queries import Desk, Gap, coverage_in_steps, run_between

Breathe = Callable[[], Awaitable[None]]

SECOND_MAX = 9_999_999_999  # of a ten-digit unix second
READ_S = 60  # seconds a read
COVERED_S = 3_600  # seconds looked at for what is missing, between two breaths
DAY_S = 86_400
COVERAGE_PAGE_S = 7 * DAY_S
SCAN_S_MAX = 31 * DAY_S
CHUNK_S = 300
SNAPSHOTS = (600, 3_600)  # rows a page: unless asked for, and at most
TRADES = (5_000, 20_000)
GAPS = (1_000, 10_000)


# Windows ---------------------------------------------------------------------


class Asked(Struct, frozen=True):
    """A checked request: of [from_s, to_s), from at_s on, at most `rows`."""

    symbol: str
    from_s: int
    to_s: int
    at_s: int
    rows: int


def asked(desk: Desk, request: pb.RangeRequest, rows: tuple[int, int], *, unused: Sequence[str]) -> Asked:
    """unused: fields that say nothing here and must not be set. Raises InvalidRequest, UnknownSymbol."""
    symbol = symbol_of(desk, request.symbol)
    default, most = rows
    for name in unused:
        if getattr(request, name):
            raise InvalidRequest(name, "it says nothing here", "nothing")
    if request.from_s < 0:
        raise InvalidRequest("from_s", f"{request.from_s}", "unix s, not negative")
    if not request.from_s < request.to_s <= SECOND_MAX + 1:
        raise InvalidRequest("to_s", f"{request.to_s}", f"more than from_s, {request.from_s}, at most {SECOND_MAX + 1}")
    if request.page_size > most:
        raise InvalidRequest("page_size", f"{request.page_size} rows", f"0-{most}")
    at_s = request.from_s
    if token := request.page_token:
        known = token.isascii() and token.isdecimal() and len(token) <= 10
        if not known or not request.from_s <= int(token) < request.to_s:
            raise InvalidRequest("page_token", repr(token[:40]), "next_page_token of the page before, of the same window")
        at_s = int(token)
    return Asked(symbol, request.from_s, request.to_s, at_s, request.page_size or default)


def _token(at_s: int, to_s: int) -> str:
    return "" if at_s >= to_s else str(at_s)


# Pages -----------------------------------------------------------------------


async def snapshots_page(desk: Desk, request: pb.RangeRequest, breathe: Breathe) -> pb.SnapshotsPage:
    """Snapshots at multiples of step_s. Raises InvalidRequest, UnknownSymbol, StoreError."""
    window = asked(desk, request, SNAPSHOTS, unused=("fields",))
    step_s = request.step_s or 1
    if step_s > COVERED_S:
        raise InvalidRequest("step_s", f"{step_s} s", f"0-{COVERED_S}")
    at, end, found = window.at_s, min(window.to_s, window.at_s + DAY_S), list[pb.StoredSnapshot]()
    while at < end and len(found) < window.rows:
        # Every step has at most one row, so the read cannot give more than the page still takes.
        upto = min(end, at + min(READ_S, window.rows - len(found)) * step_s)
        for lo, hi in [(at, upto)] if step_s == 1 else [(t, t + 1) for t in range(-(-at // step_s) * step_s, upto, step_s)]:
            found += map(stored_snapshot, desk.reader.snapshots(window.symbol, lo, hi).rows)
        at = upto
        await breathe()
    return pb.SnapshotsPage(
        symbol=window.symbol,
        origin=origin_of(desk),
        snapshots=found,
        coverage=await _covered(desk, window.symbol, window.at_s, at, breathe),
        next_page_token=_token(at, window.to_s),
    )


async def trades_page(desk: Desk, request: pb.RangeRequest, breathe: Breathe) -> pb.TradesPage:
    """Trades by trade time; whole seconds, so a page may have a few more. Raises InvalidRequest, UnknownSymbol, StoreError."""
    window = asked(desk, request, TRADES, unused=("step_s", "fields"))
    at, end, found = window.at_s, min(window.to_s, window.at_s + DAY_S), list[pb.Trade]()
    while at < end and len(found) < window.rows:
        upto = min(end, at + READ_S)
        for block in desk.reader.trades(window.symbol, at, upto).rows:
            if len(found) >= window.rows:
                upto = block.second
                break
            found += map(trade, block.trades)
        at = upto
        await breathe()
    _, cover = await run_between(traded_between(desk.reader, window.symbol, window.at_s, at), breathe)
    return pb.TradesPage(
        symbol=window.symbol,
        origin=origin_of(desk),
        trades=found,
        coverage=pb.Coverage(
            symbol=window.symbol,
            origin=origin_of(desk),
            from_s=window.at_s,
            to_s=at,
            expected_s=cover.expected_s,
            covered_s=cover.known_s,
            ratio=cover.known_s / cover.expected_s,
            missing_ids=cover.missing_ids,
        ),
        next_page_token=_token(at, window.to_s),
    )


async def coverage_page(desk: Desk, request: pb.RangeRequest, breathe: Breathe) -> pb.Coverage:
    """Seconds with a live book. Raises InvalidRequest, UnknownSymbol, StoreError."""
    window = asked(desk, request, GAPS, unused=("step_s", "fields"))
    end = min(window.to_s, window.at_s + COVERAGE_PAGE_S)
    found = await _covered(desk, window.symbol, window.at_s, end, breathe, gaps_max=window.rows)
    found.next_page_token = _token(found.to_s, window.to_s)
    return found


async def _covered(desk: Desk, symbol: str, from_s: int, to_s: int, breathe: Breathe, gaps_max: int | None = None) -> pb.Coverage:
    """Of [from_s, to_s), or up to where there are gaps_max gaps."""
    at, live_s, gaps = from_s, 0, list[Gap]()
    while at < to_s and (gaps_max is None or len(gaps) < gaps_max):
        part = await run_between(coverage_in_steps(desk.reader, symbol, at, min(at + COVERED_S, to_s)), breathe)
        at, live_s = part.to_s, live_s + part.live_s
        gaps = _joined(gaps, part.gaps)
    return pb.Coverage(
        symbol=symbol,
        origin=origin_of(desk),
        from_s=from_s,
        to_s=at,
        expected_s=at - from_s,
        covered_s=live_s,
        ratio=live_s / (at - from_s),
        gaps=[pb.Gap(from_s=gap.from_s, to_s=gap.to_s, cause=gap.cause) for gap in gaps],
    )


def _joined(gaps: list[Gap], more: Iterable[Gap]) -> list[Gap]:
    """One after the other; a gap that goes on is one."""
    for gap in more:
        if gaps and gaps[-1].to_s == gap.from_s and gaps[-1].cause == gap.cause:
            gaps[-1] = Gap(gaps[-1].from_s, gap.to_s, gap.cause)
        else:
            gaps.append(gap)
    return gaps


# Seconds as columns ----------------------------------------------------------

LEFT_OUT = ("minute", "level_events")
FIELDS = tuple(field.name for field in structs.fields(SecondRecord) if field.name not in LEFT_OUT)
WIDTHS = {"ofi_diff": 10}
WIDTHS |= dict.fromkeys(("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask"), len(BANDS_BPS))
WIDTHS |= dict.fromkeys(("cost_buy", "cost_sell", "fill_buy", "fill_sell"), len(SIZES_QUOTE))
TEXTS = frozenset({"state", "reason", "ofi_source", "trade_state"})
NUMBERS = frozenset({"spread_tw", "cost_buy", "cost_sell"})


async def chunks(desk: Desk, request: pb.RangeRequest, breathe: Breathe) -> AsyncIterator[pb.SecondsChunk]:
    """The window's records, CHUNK_S seconds at a time. Raises InvalidRequest, UnknownSymbol, StoreError."""
    window = asked(desk, request, (0, 0), unused=("step_s", "page_size", "page_token"))
    if window.to_s - window.from_s > SCAN_S_MAX:
        raise InvalidRequest("to_s", f"{window.to_s - window.from_s} s", f"at most {SCAN_S_MAX} s behind from_s")
    for name in request.fields:
        if name not in FIELDS:
            raise InvalidRequest("fields", f"no column {name[:40]!r}", ", ".join(FIELDS))
    names = tuple(dict.fromkeys(request.fields)) or FIELDS
    for start in range(window.from_s, window.to_s, CHUNK_S):
        end = min(start + CHUNK_S, window.to_s)
        rows: list[SecondRecord] = []
        for lo in range(start, end, READ_S):
            rows += desk.reader.seconds(window.symbol, lo, min(lo + READ_S, end)).rows
            await breathe()
        columns = []
        for name in names:
            columns.append(column(name, rows))
            if name in WIDTHS:
                await breathe()
        yield pb.SecondsChunk(
            symbol=window.symbol,
            origin=origin_of(desk),
            t=[row.t for row in rows],
            columns=columns,
            coverage=await _covered(desk, window.symbol, start, end, breathe),
        )


def column(name: str, rows: Sequence[SecondRecord]) -> pb.Column:
    """One field over the rows; what is null has its place named."""
    width = WIDTHS.get(name, 1)
    values: list[Any] = [getattr(row, name) for row in rows]
    if name in WIDTHS:
        values = [one for value in values for one in ([None] * width if value is None else value)]
    found = pb.Column(name=name, width=width, nulls=[place for place, value in enumerate(values) if value is None])
    if name in TEXTS:
        found.texts.values.extend(value or "" for value in values)
    elif name in NUMBERS:
        found.numbers.values.extend(value or 0.0 for value in values)
    elif _is_quote(name):
        found.texts.values.extend("" if value is None else decimal_text_e16(value) for value in values)
    elif all(value is None or -(2**63) <= value < 2**63 for value in values):
        found.integers.values.extend(value or 0 for value in values)
    else:
        found.texts.values.extend("" if value is None else decimal_text(value) for value in values)
    return found


def _is_quote(name: str) -> bool:
    """Stored in units of 1e-16 (docs/records.md)."""
    return name.endswith("_quote") or name.startswith(("depth_", "fill_")) or name == "mid_sq"
