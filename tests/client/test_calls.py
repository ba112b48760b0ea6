"""One answer: a book, a tool, or the failure as it would have been inside the service."""

import asyncio
from typing import Any

import pytest
from msgspec import structs
from tests.client.doors import Neighbour, Told, door_of, neighbour
from tests.client.wire import wire_to
from tests.fakes import FakeClock, run, settle
from tests.serve.market import BTC, House, Market, until

from leadline.client import AsyncClient, Book, InternalError, Level, News, Refused, Unauthenticated, failures
from leadline.core import errors
from leadline.core.errors import BookNotLive, Deadline, InvalidRequest, LeadlineError, Malformed, UnknownSymbol, Unreachable
from leadline.core.records import SymbolRules
from leadline.serve.errors import TABLE
from leadline.serve.proto import market_data_pb2 as pb
from leadline.serve.tokens import Tokens


def live() -> House:
    house = House(Market(levels=60))
    house.history.set_rules(SymbolRules(BTC, "TRADING", "BTC", "USDT", 10**6, 10**3, 0))
    house.go_live()
    return house


def asks(house: House, question: Any) -> Any:
    """One question over a socket."""

    async def asked() -> Any:
        async with house.open() as door, AsyncClient(f"127.0.0.1:{door.port}") as client:
            try:
                return await question(client)
            except LeadlineError as error:  # the door's group would wrap it
                return error

    found = run(asked())
    if isinstance(found, LeadlineError):
        raise found
    return found


# Books -----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [5, 20, 100])
def test_the_book_now_is_the_markets(depth: int):
    house = live()
    found = asks(house, lambda client: client.book("btcusdt", depth))
    assert (found.bids, found.asks) == house.markets[BTC].best(depth, found.update_id)
    assert len(found.bids) == min(depth, len(house.markets[BTC].bids))
    told = (found.symbol, found.state, found.epoch, found.origin, found.depth, found.instance)
    assert told == (BTC, "LIVE", 1, "synthetic:7", depth, "first-run")
    assert (str(found.tick_size), str(found.step_size)) == ("0.01", "0.00001")
    assert (found.is_live, found.is_synthetic, found.known_bid_e8) == (True, True, None)


def test_exact_numbers_of_a_book():
    """Best 99.99 and 100.04: the mid is 100.015, the spread 0.05."""
    bids, asks = (Level(9_999_000_000, 5), Level(9_998_000_000, 1)), (Level(10_004_000_000, 5),)
    found = Book(symbol=BTC, news=News.BOOK, state="LIVE", bids=bids, asks=asks)
    assert (str(found.mid), str(found.spread)) == ("100.015", "0.05")
    assert (found.best_bid.price_e8, str(found.best_ask.price), str(found.best_ask.quantity)) == (9_999_000_000, "100.04", "5E-8")
    empty = structs.replace(found, asks=())
    assert (empty.mid, empty.spread, empty.best_ask) == (None, None, None)


def test_a_lost_book_is_the_last_good_one_with_its_reason_and_then_none():
    house = live()
    kept = house.markets[BTC].id
    house.gap()
    found = asks(house, lambda client: client.book(BTC, 5))
    assert (found.state, found.reason, found.is_live) == ("STALE", "gap", False)
    assert (found.bids, found.asks) == house.markets[BTC].best(5, kept)
    with pytest.raises(BookNotLive) as refused:
        asks(house, lambda client: client.book(BTC, 5, max_age_ms=39))
    told = refused.value
    assert (told.symbol, told.reason, told.retryable, told.exit_code) == (BTC, "gap", True, 4)
    assert str(told) == "no live book of BTCUSDT: gap, lost 0.04 s ago"


def test_a_book_that_crosses_is_refused():
    async def check() -> None:
        bids, asks = pb.Side(price_e8=[101], quantity_e8=[1]), pb.Side(price_e8=[100], quantity_e8=[1])
        crossed = pb.BookEvent(symbol=BTC, state=pb.LIVE, snapshot=pb.Snapshot(bids=bids, asks=asks, depth=5))
        async with door_of(Told(pages=[crossed])) as target, AsyncClient(target) as client:
            with pytest.raises(Malformed, match="best prices cross"):
                await client.book(BTC, 5)

    run(check())


# Tools -----------------------------------------------------------------------------------


def test_a_tool_is_called_by_name_and_its_answer_is_unchanged():
    house = live()
    answer = asks(house, lambda client: client.call("orderbook_l1", symbol=BTC))
    best = min(house.markets[BTC].asks)
    assert (answer["symbol"], float(answer["best_ask"])) == (BTC, best / 1e8)
    names = {tool.name for tool in asks(house, lambda client: client.tools())}
    assert {"binance.orderbook_l1", "binance.get_order_flow"} <= names


# Failures ----------------------------------------------------------------------------------


def test_an_unknown_symbol_is_the_same_exception_as_inside():
    with pytest.raises(UnknownSymbol) as refused:
        asks(live(), lambda client: client.book("BTCUSD"))
    error = refused.value
    assert (error.symbol, error.near, error.retryable, error.exit_code) == ("BTCUSD", (BTC,), False, 3)
    assert str(error).startswith("symbol: 'BTCUSD' is not known") and "near matches: BTCUSDT" in str(error)


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (lambda client: client.book(BTC, 7), "depth"),
        (lambda client: client.book(BTC, max_age_ms=60_001), "max_age_ms"),
        (lambda client: client.coverage(BTC, 5, 5), "to_s"),
        (lambda client: client.seconds(BTC, 5, 6, fields=["sped"]), "fields"),
        (lambda client: client.call("orderbook_l2", symbol=BTC, levels="many"), "levels"),
        (lambda client: client.book(BTC, -1), "request"),  # no number that the message can hold
    ],
)
def test_a_wrong_field_is_named(question: Any, field: str):
    with pytest.raises(InvalidRequest) as refused:
        asks(live(), question)
    assert (refused.value.field, refused.value.exit_code) == (field, 2)
    assert str(refused.value).startswith(f"{field}: ")


RAISED: list[LeadlineError] = [
    errors.InvalidRequest("to_s", "5", "more"),
    errors.UnknownName("tool", "x", ("y",)),
    errors.UnknownSymbol("X", ("Y", "Z")),
    errors.BookNotLive(BTC, "gap", 40, 1.5),
    errors.NotEnoughData(3, 5, "minutes", 0.5, 120.0),
    errors.NotReady(),
    errors.Deadline(3.0),
    errors.RateLimited(17.0, banned=True),
    errors.ExchangeError(),
    errors.Rejected(400, -1121, "Invalid symbol."),
    errors.Rejected(503, None, "Unavailable"),
    errors.StoreCorrupt("store", "checksum", "seconds", "BTC:1"),
    errors.RecordUnreadable("store", "seconds", "BTC:1", "short"),
    errors.StoreError("store", "gone"),
    errors.Overloaded(1.5),
    errors.SlowReader(7),
    errors.StoreFull("store", "no space"),
    errors.StoreBusy("store", "wait"),
    errors.Malformed("book", "short"),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda error: type(error).__name__)
def test_a_failure_arrives_as_what_was_raised(raised: LeadlineError):
    async def check() -> None:
        async with door_of(Told(error=raised)) as target, AsyncClient(target) as client:
            with pytest.raises(type(raised)) as arrived:
                await client.book(BTC)
        error = arrived.value
        assert (type(error).__name__, str(error)) == (type(raised).__name__, str(raised))
        assert (error.retryable, error.exit_code) == (raised.retryable, raised.exit_code)
        told = next(door.fields for kind, door in TABLE.items() if isinstance(raised, kind))
        assert {name: getattr(error, name) for name in told} == {name: getattr(raised, name) for name in told}
        assert {name: getattr(error, name) for name in vars(raised) if name not in {*told, "retryable"}} == {
            name: None for name in vars(raised) if name not in {*told, "retryable"}
        }

    run(check())


def test_every_class_of_the_table_is_raised_here():
    assert {kind for kind in TABLE if not any(type(error) is kind for error in RAISED)} == set()


def test_a_bug_of_the_service_has_its_id_and_nothing_else():
    async def check() -> None:
        async with door_of(Told(error=ZeroDivisionError("secret"))) as target, AsyncClient(target) as client:
            with pytest.raises(InternalError) as arrived:
                await client.book(BTC)
        error = arrived.value
        assert str(error) == f"internal error, noted as {error.correlation_id}"
        assert (len(error.correlation_id), error.exit_code) == (12, 1)

    run(check())


def test_a_failure_of_a_later_release_keeps_its_sentence():
    class Novel(errors.NotReady):
        def __str__(self) -> str:
            return "something new"

    async def check() -> None:
        async with door_of(Told(error=Novel())) as target, AsyncClient(target) as client:
            assert "Novel" not in failures._kinds()
            with pytest.raises(Refused) as arrived:
                await client.book(BTC)
        assert (arrived.value.status, arrived.value.details, arrived.value.retryable) == (
            "FAILED_PRECONDITION",
            "something new",
            True,
        )

    run(check())


def test_a_token_is_sent_and_a_wrong_one_is_refused():
    house = live()

    async def check() -> None:
        async with house.open(tokens=Tokens(house.clock, "tide")) as door:
            async with AsyncClient(f"127.0.0.1:{door.port}", "tide") as client:
                assert (await client.book(BTC)).is_live
            for token in ("", "tied"):
                async with AsyncClient(f"127.0.0.1:{door.port}", token) as client:
                    for question in (client.book(BTC), anext(client.stream_book(BTC)), client.seconds(BTC, 1, 2)):
                        with pytest.raises(Unauthenticated):
                            await question

    run(check())


def test_an_answer_that_does_not_come_in_time_is_given_up():
    async def check() -> None:
        async with live().open() as door, wire_to(door.port) as wire:
            wire.hold()
            async with AsyncClient(f"127.0.0.1:{wire.port}", timeout_s=0.05) as client:
                with pytest.raises(Deadline) as late:
                    await client.book(BTC)
        assert (late.value.after_s, late.value.exit_code) == (0.05, 4)

    run(check())


def test_nobody_there_is_told_with_the_address():
    async def check() -> None:
        async with live().open() as door, wire_to(door.port) as wire:
            wire.is_shut = True
            async with AsyncClient(f"127.0.0.1:{wire.port}") as client:
                for question in (client.book(BTC), client.trades(BTC, 1, 2), client.seconds(BTC, 1, 2), client.tools()):
                    with pytest.raises(Unreachable) as refused:
                        await question
                    assert (refused.value.what, refused.value.exit_code) == (client.target, 5)

    run(check())


# The end ---------------------------------------------------------------------------------


def test_a_closed_client_gives_up_what_is_asked_and_answers_nothing_more():
    async def check() -> None:
        async with live().open() as door, wire_to(door.port) as wire:
            wire.hold()
            async with AsyncClient(f"127.0.0.1:{wire.port}") as client:
                asked = asyncio.ensure_future(client.book(BTC))
                await until(lambda: wire.connections == 1)
                await client.close()
                with pytest.raises(Unreachable, match="the client was closed"):
                    await asked
                with pytest.raises(RuntimeError, match="not open"):
                    await client.book(BTC)

    run(check())


def test_whoever_is_cancelled_leaves_no_task_and_no_reader():
    """Cancelled with a stream that waits for a message, one that waits for its next attempt, and a call."""
    house = live()

    async def check(beside: Neighbour) -> None:
        async with (
            wire_to(beside.port) as wire,
            AsyncClient(f"127.0.0.1:{wire.port}", clock=FakeClock()) as cut_off,
            AsyncClient(f"127.0.0.1:{beside.port}", clock=FakeClock()) as client,
        ):
            gone, idle = cut_off.stream_trades(BTC), client.stream_book(BTC)
            await anext(gone)
            wire.cut()
            assert (await anext(gone)).state == "UNKNOWN"
            pausing = asyncio.ensure_future(anext(gone))
            assert (await anext(idle)).is_live
            waiting = asyncio.ensure_future(anext(idle))
            await until(lambda: beside.do(lambda: house.hub.readers) == 1)
            wire.hold()
            asked = asyncio.ensure_future(cut_off.book(BTC))
            await settle()
            for task in (pausing, waiting, asked):
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            wire.let_go()
            await until(lambda: beside.do(lambda: house.hub.readers) == 0)
            await until(
                lambda: asyncio.all_tasks() - {asyncio.current_task()} <= wire._tasks
            )  # the library's own take a turn or two

    with neighbour(house) as beside:
        run(check(beside))
