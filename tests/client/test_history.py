"""Stored rows by the client: pages put together again, against the rows that were written, by hand."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from msgspec import structs
from tests.client.doors import Told, door_of
from tests.fakes import run
from tests.serve.market import BTC, House
from tests.store import samples

from leadline.client import AsyncClient, Gap, Level, Seconds, Snapshots, aio
from leadline.core.errors import InvalidRequest, Malformed, UnknownSymbol
from leadline.core.records import BookState, SecondRecord
from leadline.serve.grpc_history import CHUNK_S
from leadline.serve.proto import market_data_pb2 as pb

T = samples.T0  # ends in ...000
LAST = T + 10

# What docs/records.md calls `quote` and `px^2`: integers of 1e-16, which a client has as exact decimals.
QUOTE = ("buy_quote", "sell_quote", "max_batch_quote", "large_bid_quote", "large_ask_quote", "excess_quote", "mid_sq")
QUOTES = ("depth_bid", "depth_ask", "depth_min_bid", "depth_min_ask", "fill_buy", "fill_sell")


def stored() -> House:
    """T..T+9: T+4 has no live book (gap), T+6 is not there; two trades a second, ids from 1, none in T+8."""
    house = House()
    house.history.set_meta({"origin": "synthetic:7"})
    rows = []
    for i in range(10):
        trades = () if i == 8 else (samples.block(T + i, 2 * i + 1, 2 * i + 2),)
        row = samples.row(T + i, trades=trades)
        if i == 4:
            lost = samples.record(T + 4, state=BookState.SYNCING, reason="gap", update_id=None)
            row = structs.replace(row, record=lost, snapshot=None, skipped="gap")
        if i != 6:
            rows.append(row)
    assert house.history.write(rows) == []
    return house


def asks(question: Any) -> Any:
    async def asked() -> Any:
        async with stored().open() as door, AsyncClient(f"127.0.0.1:{door.port}") as client:
            try:
                return await question(client)
            except (InvalidRequest, UnknownSymbol) as error:  # the door's group would wrap it
                return error

    found = run(asked())
    if isinstance(found, Exception):
        raise found
    return found


async def collected(stream: Any) -> list[Any]:
    return [part async for part in stream]


# Pages -----------------------------------------------------------------------------------


def test_snapshots_are_the_rows_that_were_written_and_their_gaps_beside_them():
    found: Snapshots = asks(lambda client: client.snapshots("btcusdt", T, LAST))
    assert [row.timestamp_s - T for row in found.rows] == [0, 1, 2, 3, 5, 7, 8, 9]
    for row in found.rows:
        written = samples.book(row.timestamp_s)
        assert (row.bids, row.asks, row.update_id) == (written.bids, written.asks, written.update_id)
        assert row.bids[0] == Level(6_183_764_000_000, 100_000)
    coverage = found.coverage
    assert (coverage.expected_s, coverage.covered_s, coverage.ratio) == (10, 8, 0.8)
    assert coverage.gaps == (Gap(T + 4, T + 5, "gap"), Gap(T + 6, T + 7, "unknown"))
    assert (found.symbol, found.origin) == (BTC, "synthetic:7")


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_pages_close_up_and_together_they_are_the_whole(rows: int):
    async def both(client: AsyncClient) -> Any:
        pages = await collected(client.snapshot_pages(BTC, T, LAST, page_rows=rows))
        return pages, await client.snapshots(BTC, T, LAST)

    pages, whole = asks(both)
    assert [row for page in pages for row in page.rows] == list(whole.rows)
    assert len(pages) >= 8 // rows
    assert pages[0].coverage.from_s == T and pages[-1].coverage.to_s == LAST
    assert all(page.coverage.to_s == after.coverage.from_s for page, after in pairwise(pages))


def test_a_step_leaves_out_what_lies_between():
    found = asks(lambda client: client.snapshots(BTC, T, LAST, step_s=5))
    assert [row.timestamp_s - T for row in found.rows] == [0, 5]  # T is a multiple of five


def test_trades_are_the_ones_that_were_written():
    async def both(client: AsyncClient) -> Any:
        return await client.trades(BTC, T, LAST), await collected(client.trade_pages(BTC, T, LAST, page_rows=3))

    found, pages = asks(both)
    assert [one.agg_id for one in found.rows] == [*range(1, 13), 15, 16, 19, 20]
    one = found.rows[0]
    assert (one.symbol, str(one.price), str(one.quantity), one.aggressor) == (BTC, "61837.64", "0.001", "sell")
    assert (one.first_id, one.last_id, one.trade_time_ns, one.backfilled) == (10, 11, T * 10**9, None)
    assert [row for page in pages for row in page.rows] == list(found.rows)
    assert len(pages) >= 4


def test_coverage_of_more_than_a_page_is_one_and_its_gaps_are_joined():
    """A page is a week: in four weeks before the first second there is nothing, and that is one gap."""
    month = 28 * 86_400
    found = asks(lambda client: client.coverage(BTC, T - month, LAST))
    assert (found.from_s, found.to_s, found.covered_s) == (T - month, LAST, 8)
    assert [(gap.from_s - T, gap.to_s - T) for gap in found.gaps] == [(-month, 0), (4, 5), (6, 7)]


def test_seconds_hold_every_field_as_it_was_recorded():
    found: Seconds = asks(lambda client: client.seconds(BTC, T, LAST))
    assert [t - T for t in found.t] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    fields = [field.name for field in structs.fields(SecondRecord) if field.name not in {"level_events", "minute"}]
    assert list(found.columns) == fields
    for place, t in enumerate(found.t):
        changed = {"state": BookState.SYNCING, "reason": "gap", "update_id": None} if t == T + 4 else {}
        written = samples.record(t, **changed)
        for name in fields:
            value = getattr(written, name)
            if name in QUOTE and value is not None:
                value = Decimal(value) / 10**16
            if name in QUOTES:
                value = [None if one is None else Decimal(one) / 10**16 for one in value]
            assert found.columns[name][place] == (tuple(value) if isinstance(value, list) else value), name
    assert found.coverage.covered_s == 8


def test_seconds_of_chosen_fields_in_slices():
    async def sliced(client: AsyncClient) -> Any:
        return await collected(client.second_chunks(BTC, T - CHUNK_S, LAST, fields=["spread_max", "t"]))

    before, there = asks(sliced)
    assert (before.t, before.columns["t"]) == ((), ())
    assert (list(there.columns), there.columns["spread_max"][0], len(there.t)) == (["spread_max", "t"], 2_000_000, 9)


def test_a_window_that_is_too_long_for_one_scan_is_asked_for_in_parts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(aio, "SCAN_S", 4)
    found = asks(lambda client: client.seconds(BTC, T, LAST, fields=["n_diff"]))
    assert [t - T for t in found.t] == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    assert (found.coverage.from_s, found.coverage.to_s, found.coverage.covered_s) == (T, LAST, 8)


def test_what_does_not_fit_64_bits_comes_whole():
    house = House()
    big = 2**63 + 92  # 92233720368.547759 in whole units: the last two of eight decimals are zeros
    assert house.history.write([samples.row(T, ofi_top20=-big, bid_added=big)]) == []

    async def check() -> None:
        async with house.open() as door, AsyncClient(f"127.0.0.1:{door.port}") as client:
            found = await client.seconds(BTC, T, T + 1, fields=["ofi_top20", "bid_added"])
            assert found.columns == {"ofi_top20": (-big,), "bid_added": (big,)}

    run(check())


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        (lambda client: client.snapshots("BTCUSD", T, LAST), UnknownSymbol),
        (lambda client: client.trades(BTC, LAST, T), InvalidRequest),
        (lambda client: client.seconds(BTC, LAST, T), InvalidRequest),
        (lambda client: client.coverage(BTC, -5, T), InvalidRequest),
        (lambda client: client.seconds(BTC, T, LAST, fields=["nothing"]), InvalidRequest),
        (lambda client: client.snapshots(BTC, T, LAST, step_s=-1), InvalidRequest),
    ],
)
def test_a_wrong_question_is_refused(question: Any, kind: type[Exception]):
    with pytest.raises(kind):
        asks(question)


# Pages that do not close up -------------------------------------------------------------------


def covered(from_s: int, to_s: int, **what: Any) -> pb.Coverage:
    return pb.Coverage(**({"symbol": BTC, "origin": "a", "from_s": from_s, "to_s": to_s} | what))


def page(from_s: int, to_s: int, token: str = "", **what: Any) -> pb.TradesPage:
    return pb.TradesPage(symbol=BTC, origin="a", coverage=covered(from_s, to_s, **what), next_page_token=token)


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ([page(0, 5, "5"), page(6, 10)], r"coverage: \[6, 10\) behind 5"),
        ([page(0, 5, "5"), page(5, 11)], r"coverage: \[5, 11\) behind 5"),
        ([page(0, 0, "0")], r"coverage: \[0, 0\) behind 0"),
        ([page(0, 5)], "next_page_token: '' at 5 of 10"),
        ([page(0, 10, "10")], "next_page_token: '10' at 10 of 10"),
        ([page(0, 5, "5"), page(5, 10, origin="b")], "another store answers now"),
        ([page(0, 5, "5"), page(5, 10, symbol="ETHUSDT")], "another store answers now"),
    ],
)
def test_pages_that_do_not_close_up_are_no_answer(pages: list[pb.TradesPage], why: str):
    async def check() -> None:
        async with door_of(Told(pages=pages)) as target, AsyncClient(target) as client:
            with pytest.raises(Malformed, match=why):
                await client.trades(BTC, 0, 10)

    run(check())


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([pb.SecondsChunk(symbol=BTC, t=[0], coverage=covered(0, 5))], "seconds: ended at 5 of 10"),
        (
            [pb.SecondsChunk(t=[0, 1], columns=[pb.Column(name="n_diff", width=1, integers=pb.Integers(values=[1]))])],
            "n_diff: 1 values in 2 rows of 1",
        ),
    ],
)
def test_slices_that_end_early_or_have_too_few_values_are_no_answer(chunks: list[pb.SecondsChunk], why: str):
    async def check() -> None:
        async with door_of(Told(pages=chunks)) as target, AsyncClient(target) as client:
            with pytest.raises(Malformed, match=why):
                await client.seconds(BTC, 0, 10)

    run(check())
