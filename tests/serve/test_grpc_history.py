"""Stored rows over real sockets: pages and slices of the recordings, against what an independent program worked out of them."""

import json
from decimal import Decimal
from itertools import pairwise
from typing import Any

import grpc
import pytest
from msgspec import structs
from tests.core.build import e8
from tests.core.test_oracles import FILES, expected
from tests.fakes import FakeClock, run
from tests.serve.market import BTC, House
from tests.service import desks

from leadline.core.records import SecondRecord, SymbolSecond
from leadline.serve import grpc_history
from leadline.serve.grpc_history import FIELDS, WIDTHS, column
from leadline.serve.proto import market_data_pb2 as pb
from leadline.store import codec

ETH = "ETHUSDT"
FIRST, LAST = 1723161256, desks.LAST  # the first and the last stored second of BTCUSDT


def recorded() -> House:
    house = House(clock=FakeClock((LAST + 1) * 10**9))
    house.dispatcher.desk = desks.desk()
    return house


def window(symbol: str = BTC, from_s: int = FIRST, to_s: int = LAST + 1, **how: Any) -> pb.RangeRequest:
    return pb.RangeRequest(symbol=symbol, from_s=from_s, to_s=to_s, **how)


async def pages(method: Any, request: pb.RangeRequest) -> list[Any]:
    found = [await method(request)]
    while token := found[-1].next_page_token:
        request.page_token = token
        found.append(await method(request))
    return found


def seams(found: list[Any]) -> list[tuple[int, int]]:
    """What each page is about."""
    return [(page.coverage.from_s, page.coverage.to_s) for page in found]


# Pages ----------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", FILES)
def test_pages_of_snapshots_hold_each_expected_second_once(symbol: str):
    async def check() -> None:
        async with recorded().open() as door:
            found = await pages(door.data.GetSnapshots, window(symbol, page_size=100))
        edges = [FIRST, FIRST + 100, FIRST + 200, FIRST + 300, LAST + 1]
        assert seams(found) == list(pairwise(edges))
        assert {(page.symbol, page.origin) for page in found} == {(symbol, "replay:test")}
        rows = {int(row["t_ms"]) // 1000: row for row in expected(f"spot_{FILES[symbol]}_top20_1s.csv.gz")}
        got = [one for page in found for one in page.snapshots]
        assert [one.timestamp for one in got] == sorted(t for t in rows if t >= FIRST)
        for one in got:
            row = rows[one.timestamp]
            assert one.update_id == int(row["last_u"])
            for name, side in (("b", one.bids), ("a", one.asks)):
                assert list(side.price_e8) == [e8(row[f"{name}{n}_p"]) for n in range(20)]
                assert list(side.quantity_e8) == [e8(row[f"{name}{n}_q"]) for n in range(20)]

    run(check())


def test_a_step_leaves_out_what_lies_between():
    """From ...256 to ...601 the multiples of 60 are ...300, 360, 420, 480, 540, 600: two pages of four and two."""

    async def check() -> None:
        async with recorded().open() as door:
            found = await pages(door.data.GetSnapshots, window(step_s=60, page_size=4))
        assert [one.timestamp - 1723161000 for page in found for one in page.snapshots] == [300, 360, 420, 480, 540, 600]
        assert [len(page.snapshots) for page in found] == [4, 2]
        assert seams(found) == [(FIRST, FIRST + 240), (FIRST + 240, LAST + 1)]

    run(check())


@pytest.mark.parametrize("symbol", FILES)
def test_pages_of_trades_hold_each_trade_once_and_end_at_whole_seconds(symbol: str):
    async def check() -> None:
        async with recorded().open() as door:
            found = await pages(door.data.GetTrades, window(symbol, FIRST - 5, LAST + 5, page_size=500))
        rows = expected(f"spot_{FILES[symbol]}_trades_1s.csv.gz")
        by_second: dict[int, list[pb.Trade]] = {}
        for page in found:
            for trade in page.trades:
                by_second.setdefault(trade.trade_time_ns // 10**9, []).append(trade)
                assert page.coverage.from_s <= trade.trade_time_ns // 10**9 < page.coverage.to_s
        assert sorted(by_second) == [int(row["t_ms"]) // 1000 for row in rows]
        for row in rows:
            trades = by_second[int(row["t_ms"]) // 1000]
            bought = sum(trade.quantity_e8 for trade in trades if not trade.buyer_is_maker)
            quote = sum(trade.price_e8 * trade.quantity_e8 for trade in trades)
            assert (bought, quote) == (e8(row["taker_buy_qty"]), int(Decimal(row["quote_qty"]) * 10**16))
            assert (trades[0].first_id, trades[-1].last_id) == (int(row["first_id"]), int(row["last_id"]))
        ids = [trade.agg_id for page in found for trade in page.trades]
        assert ids == sorted(set(ids))
        assert len(found) > 3
        assert all(len(page.trades) >= 500 for page in found[:-1])

    run(check())


def test_coverage_of_trades_counts_the_seconds_that_are_proven():
    """The recording has no hole: between its first trade and its last one every second is there. Of those before nobody knows."""

    async def check() -> None:
        async with recorded().open() as door:
            page = await door.data.GetTrades(window(from_s=FIRST, to_s=FIRST + 100))
            assert (page.coverage.expected_s, page.coverage.covered_s, page.coverage.ratio) == (100, 100, 1.0)
            assert (page.coverage.HasField("missing_ids"), page.coverage.missing_ids) == (True, 0)
            page = await door.data.GetTrades(window(from_s=FIRST - 1_000, to_s=FIRST - 900))
            assert (list(page.trades), page.coverage.expected_s, page.coverage.covered_s) == ([], 100, 0)

    run(check())


def test_pages_of_coverage_have_each_gap_once_with_its_cause():
    """Seconds 10-14 and 50 are cut out of a copy: one page of one gap each, and what lies behind."""

    async def check() -> None:
        house = House(clock=FakeClock((LAST + 1) * 10**9))
        source = desks.recorded()
        for row in source.seconds(BTC, FIRST, FIRST + 100).rows:
            if row.t - FIRST not in {10, 11, 12, 13, 14, 50}:
                house.history.write([_row(row)])
        async with house.open() as door:
            whole = await door.data.GetCoverage(window(to_s=FIRST + 100))
            found = await pages(door.data.GetCoverage, window(to_s=FIRST + 100 + 8 * 86_400))
        assert [(gap.from_s - FIRST, gap.to_s - FIRST, gap.cause) for gap in whole.gaps] == [
            (10, 15, "unknown"),
            (50, 51, "unknown"),
        ]
        assert (whole.expected_s, whole.covered_s, whole.ratio) == (100, 94, 0.94)
        assert [(page.from_s, page.to_s) for page in found] == [
            (FIRST, FIRST + 7 * 86_400),
            (FIRST + 7 * 86_400, FIRST + 100 + 8 * 86_400),
        ]
        assert [(gap.from_s - FIRST, gap.to_s - FIRST) for gap in found[0].gaps] == [(10, 15), (50, 51), (100, 7 * 86_400)]
        assert [(gap.from_s - FIRST, gap.to_s - FIRST) for gap in found[1].gaps] == [(7 * 86_400, 100 + 8 * 86_400)]

    run(check())


def _row(record: SecondRecord) -> Any:
    return SymbolSecond(BTC, record.t, record, None, "", (), ())


def test_a_page_of_coverage_ends_when_it_has_its_gaps():
    async def check() -> None:
        house = House(clock=FakeClock((LAST + 1) * 10**9))
        [row] = desks.recorded().seconds(BTC, FIRST, FIRST + 1).rows
        for hour in range(5):
            house.history.write([_row(structs.replace(row, t=FIRST + hour * 3_600 + 1_800))])
        async with house.open() as door:
            found = await pages(door.data.GetCoverage, window(to_s=FIRST + 5 * 3_600, page_size=2))
        assert [(page.from_s - FIRST, page.to_s - FIRST, page.covered_s) for page in found] == [
            (3_600 * hour, 3_600 * (hour + 1), 1) for hour in range(5)
        ]

    run(check())


@pytest.mark.parametrize(
    ("method", "change", "field"),
    [
        ("GetSnapshots", {"symbol": ""}, "symbol"),
        ("GetSnapshots", {"symbol": "x" * 65}, "symbol"),
        ("GetSnapshots", {"from_s": -1}, "from_s"),
        ("GetSnapshots", {"to_s": FIRST}, "to_s"),
        ("GetSnapshots", {"to_s": 2**62}, "to_s"),
        ("GetSnapshots", {"page_size": 3_601}, "page_size"),
        ("GetSnapshots", {"step_s": 3_601}, "step_s"),
        ("GetSnapshots", {"fields": ["t"]}, "fields"),
        ("GetSnapshots", {"page_token": "-1"}, "page_token"),
        ("GetSnapshots", {"page_token": str(LAST + 1)}, "page_token"),
        ("GetSnapshots", {"page_token": str(FIRST - 1)}, "page_token"),
        ("GetSnapshots", {"page_token": "9" * 5_000}, "page_token"),
        ("GetSnapshots", {"page_token": "".join(chr(0x660 + int(digit)) for digit in str(FIRST + 1))}, "page_token"),
        ("GetTrades", {"step_s": 1}, "step_s"),
        ("GetTrades", {"page_size": 20_001}, "page_size"),
        ("GetCoverage", {"fields": ["t"]}, "fields"),
        ("ScanSeconds", {"page_token": str(FIRST)}, "page_token"),
        ("ScanSeconds", {"page_size": 5}, "page_size"),
        ("ScanSeconds", {"fields": ["t", "minute"]}, "fields"),
        ("ScanSeconds", {"fields": ["x" * 10**5]}, "fields"),
        ("ScanSeconds", {"to_s": FIRST + 31 * 86_400 + 1}, "to_s"),
    ],
)
def test_a_window_that_is_none_is_refused_with_its_field(method: str, change: dict[str, Any], field: str):
    async def check() -> None:
        async with recorded().open() as door:
            call = getattr(door.data, method)(pb.RangeRequest(**{"symbol": BTC, "from_s": FIRST, "to_s": LAST + 1} | change))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await (call.read() if method == "ScanSeconds" else call)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            told = json.loads(dict(refused.value.trailing_metadata())["leadline-error-bin"])
            assert told["fields"]["field"] == field

    run(check())


def test_an_unknown_symbol_is_not_found():
    async def check() -> None:
        async with recorded().open() as door:
            for call in (door.data.GetTrades(window("BTCUSD")), door.data.GetBook(pb.BookRequest(symbol="BTCUSD"))):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() is grpc.StatusCode.NOT_FOUND

    run(check())


# Seconds as columns ----------------------------------------------------------------------------


def values_of(one: pb.Column) -> list[Any]:
    """Rows of a column: None where it says null."""
    kind = one.WhichOneof("values")
    cells: list[Any] = list(getattr(one, kind or "integers").values)
    for place in one.nulls:
        cells[place] = None
    return cells if one.width == 1 else [cells[n : n + one.width] for n in range(0, len(cells), one.width)]


def exact(name: str, value: Any) -> Any:
    """A field of a record as a column writes it, worked out by Decimal."""
    if isinstance(value, list):
        return [exact(name, one) for one in value]
    quote = name.endswith("_quote") or name.startswith(("depth_", "fill_")) or name == "mid_sq"
    if quote and value is not None:
        return Decimal(value) / 10**16
    return None if value is None else getattr(value, "value", value)


def as_numbers(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [as_numbers(name, one) for one in value]
    return Decimal(value) if isinstance(value, str) and value[0].isdigit() else value


def test_scanned_seconds_are_the_stored_records_field_by_field():
    async def check() -> None:
        async with recorded().open() as door:
            chunks = [chunk async for chunk in door.data.ScanSeconds(window(from_s=FIRST - 100, to_s=LAST + 100))]
        assert [(one.coverage.from_s - FIRST, one.coverage.to_s - FIRST) for one in chunks] == [
            (-100, 200),
            (200, LAST + 100 - FIRST),
        ]
        records = desks.recorded().seconds(BTC, FIRST - 100, LAST + 100).rows
        assert [t for chunk in chunks for t in chunk.t] == [record.t for record in records]
        got: dict[str, list[Any]] = {}
        for chunk in chunks:
            for one in chunk.columns:
                got.setdefault(one.name, []).extend(values_of(one))
        assert tuple(got) == FIELDS
        for name in FIELDS:
            found = [as_numbers(name, value) for value in got[name]]
            wanted = [exact(name, getattr(record, name)) for record in records]
            if name in WIDTHS:
                wanted = [[None] * WIDTHS[name] if value is None else value for value in wanted]
            assert found == wanted, name
        assert sum(chunk.coverage.covered_s for chunk in chunks) == sum(record.update_id is not None for record in records)

    run(check())


def test_only_the_fields_asked_for_are_sent_in_their_order():
    async def check() -> None:
        async with recorded().open() as door:
            request = window(to_s=FIRST + 10, fields=["spread_tw", "state", "spread_tw"])
            [chunk] = [chunk async for chunk in door.data.ScanSeconds(request)]
        assert [one.name for one in chunk.columns] == ["spread_tw", "state"]
        assert [one.WhichOneof("values") for one in chunk.columns] == ["numbers", "texts"]

    run(check())


def test_a_sum_beyond_64_bits_comes_as_exact_text_in_whole_units():
    """2^63 units of 1e-8 are 92233720368.54775808."""
    [row] = desks.recorded().seconds(BTC, LAST, LAST + 1).rows
    rows = [structs.replace(row, bid_added=number) for number in (2**63, None, 5)]
    found = column("bid_added", rows)
    assert (list(found.texts.values), list(found.nulls)) == (["92233720368.54775808", "", "0.00000005"], [1])
    assert column("bid_added", rows[1:]).WhichOneof("values") == "integers"


def test_columns_are_those_of_the_store_and_as_wide():
    assert set(FIELDS) == codec.COLUMNS
    assert WIDTHS == codec._WIDTHS
    assert grpc_history.TEXTS == codec._TEXT_COLUMNS


def test_a_scan_that_is_cancelled_reads_no_further():
    async def check() -> None:
        house = recorded()
        reads: list[int] = []
        source = desks.recorded()

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(source, name)

            def seconds(self, symbol: str, lo: int, hi: int) -> Any:
                reads.append(lo)
                return source.seconds(symbol, lo, hi)

        house.dispatcher.desk.reader = Counting()
        async with house.open() as door:
            call = door.data.ScanSeconds(window(from_s=FIRST, to_s=FIRST + 30 * 86_400))
            await call.read()
            call.cancel()
            await door.data.GetCoverage(window(to_s=FIRST + 10))
            read = len(reads)
            for _ in range(20):
                await door.data.GetCoverage(window(to_s=FIRST + 10))
            assert len(reads) == read < 30 * 86_400 // 60

    run(check())
