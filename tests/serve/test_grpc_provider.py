"""provider.v1.Provider over real sockets: names, payloads, failures, correlation, resources, prompts, topics."""

import json
import logging
from typing import Any

import grpc
import msgspec
import pytest
from google.protobuf.empty_pb2 import Empty
from msgspec import structs
from tests.core.build import e8
from tests.fakes import FakeClock, RestlessClock, run
from tests.serve.market import BTC, House, Market, until
from tests.service import desks

from leadline import __version__
from leadline.core import errors
from leadline.core.records import Incident, SymbolSecond
from leadline.serve.errors import TABLE
from leadline.serve.grpc_provider import RESULT_BYTES_MAX
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.tools import NO_ACCOUNT, TOOLS

NAMES = [tool.name for tool in TOOLS]
Code = grpc.StatusCode


def ask(name: str, payload: Any = None, **how: Any) -> pb.InvokeRequest:
    value = payload if isinstance(payload, bytes) else b"" if payload is None else msgspec.json.encode(payload)
    return pb.InvokeRequest(tool_name=name, payload=pb.Json(value=value), **how)


async def refused(call: Any) -> tuple[Code, dict[str, Any], grpc.aio.AioRpcError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    told = json.loads(dict(error.trailing_metadata())["leadline-error-bin"])
    assert told["message"] == error.details()
    assert told.keys() == {"error", "message", "retryable", "fields"}
    return error.code(), told, error


def live_house() -> House:
    house = House()
    house.go_live()
    return house


# Capabilities ------------------------------------------------------------------------------


class Failing:
    """A desk at which every question ends so."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


def test_all_tools_are_listed_under_the_names_that_gateways_expect():
    async def check() -> None:
        house = House()
        async with house.open() as door:
            found = await door.provider.ListCapabilities(Empty())
        assert [tool.name for tool in found.tools] == [f"binance.{name}" for name in NAMES]
        for tool in found.tools:
            wanted, given = json.loads(tool.input_schema.value), json.loads(tool.output_schema.value)
            assert wanted["type"] == given["type"] == "object"
            assert tool.description
        assert found.provider_version == __version__
        assert ("market://symbols", "application/json") in [(row.uri_scheme, row.mime_type) for row in found.resources]
        assert {row.name: json.loads(row.args_schema.value)["required"] for row in found.prompts} == {
            "trading-analysis": ["symbol"],
            "market-health": ["symbol"],
        }

    run(check())


# Invoke ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binance.orderbook_l1", "binance_orderbook_l1", "orderbook_l1"])
def test_a_tool_answers_to_all_three_forms_of_its_name(name: str):
    async def check() -> None:
        house = live_house()
        async with house.open() as door:
            answer = await door.provider.Invoke(ask(name, {"symbol": BTC}))
        told = json.loads(answer.result.value)
        [(price, _)], _ = house.markets[BTC].best(1, house.markets[BTC].id)
        assert (told["symbol"], told["envelope"]["update_id"]) == (BTC, house.markets[BTC].id)
        assert e8(told["best_bid"]) == price
        assert answer.error == ""
        assert house.dispatcher.calls == {("orderbook_l1", "grpc", "ok"): 1}

    run(check())


def test_nothing_as_payload_means_no_arguments():
    async def check() -> None:
        async with live_house().open() as door:
            for request in (pb.InvokeRequest(tool_name="list_symbols"), ask("list_symbols", b""), ask("list_symbols", {})):
                told = json.loads((await door.provider.Invoke(request)).result.value)
                assert [row["symbol"] for row in told["symbols"]] == [BTC]

    run(check())


@pytest.mark.parametrize(
    ("payload", "field", "why"),
    [
        (b"{", "payload", "no JSON"),
        (b"symbol=BTCUSDT", "payload", "no JSON"),
        (b'{"symbol": "BTC\xff"}', "payload", "no JSON"),
        (b"\xff\xfe{}", "payload", "no JSON"),
        (b"\x00", "payload", "no JSON"),
        (b"{} {}", "payload", "no JSON"),
        (b"[" * 100_000, "payload", "nested too deeply"),
        (b"[]", "arguments", "list"),
        (b'"BTCUSDT"', "arguments", "str"),
        (b"null", "arguments", "NoneType"),
        (b"17", "arguments", "int"),
        (b'{"symbol": 17}', "symbol", "Expected `str`"),
        (b'{"symbol": "BTCUSDT", "depth": 5}', "depth", "unknown field"),
        (b"{}", "symbol", "missing"),
        (b'{"symbol": "BTCUSDT", "max_age_ms": 60001}', "max_age_ms", "Expected `int` <= 60000"),
        (b'{"symbol": "' + b"B" * 3_000_000 + b'"}', "symbol", "Expected `str` of length <= 64"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_payload_that_is_no_request_is_refused_with_the_field(payload: bytes, field: str, why: str):
    async def check() -> None:
        async with live_house().open() as door:
            code, told, _ = await refused(door.provider.Invoke(ask("orderbook_l1", payload)))
            assert (code, told["error"], told["fields"]["field"]) == (Code.INVALID_ARGUMENT, "InvalidRequest", field)
            assert why in told["fields"]["why"]
            assert (await door.provider.Invoke(ask("list_symbols"))).result.value

    run(check())


def test_a_request_beyond_4_mib_is_refused_and_the_next_one_is_answered():
    async def check() -> None:
        async with live_house().open() as door:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await door.provider.Invoke(ask("orderbook_l1", b" " * (4 * 2**20 + 1)))
            assert caught.value.code() is Code.RESOURCE_EXHAUSTED
            assert (await door.provider.Invoke(ask("list_symbols", b" " * 10**6 + b"{}"))).result.value

    run(check())


def test_the_longest_answer_fits_what_a_client_accepts_by_itself():
    """3,600 stored seconds of 70 fields are some 8 MB; what is left of the rows says how to go on."""

    async def check() -> None:
        house = House(clock=FakeClock((desks.LAST + 1) * 10**9))
        house.dispatcher.desk = desks.desk()
        first = desks.recorded().first_second(BTC)
        [row] = desks.recorded().seconds(BTC, desks.LAST, desks.LAST + 1).rows
        for n in range(3_600):
            house.history.write([SymbolSecond(BTC, first + n, structs.replace(row, t=first + n), None, "", (), ())])
        house.dispatcher.desk.reader = house.history
        async with house.open() as door:
            arguments = {"symbol": BTC, "from_s": first, "to_s": first + 3_600, "limit": 3_600}
            answer = await door.provider.Invoke(ask("get_history", arguments))
        told = json.loads(answer.result.value)
        assert len(answer.result.value) <= RESULT_BYTES_MAX
        assert pb.InvokeResponse(result=pb.Json(value=b"x" * RESULT_BYTES_MAX)).ByteSize() < 4 * 2**20
        assert told["envelope"]["truncated"] is True
        assert len(told["rows"]) + told["envelope"]["omitted"]["rows"] == 3_600

    run(check())


# Failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nope", "binance.get_orderflow", "", "x" * 10**6, *sorted(NO_ACCOUNT)])
def test_an_unknown_tool_is_not_found_and_says_what_is_near(name: str):
    async def check() -> None:
        async with live_house().open() as door:
            code, told, _ = await refused(door.provider.Invoke(ask(name)))
        assert (code, told["error"], told["fields"]["kind"]) == (Code.NOT_FOUND, "UnknownName", "tool")
        if name == "binance.get_orderflow":
            assert told["fields"]["near"][0] == "get_order_flow"
        if name in NO_ACCOUNT:
            assert "read-only and holds no account" in told["message"]

    run(check())


RAISED: list[tuple[errors.LeadlineError, Code]] = [
    (errors.InvalidRequest("depth", "7 levels", "5, 20"), Code.INVALID_ARGUMENT),
    (errors.UnknownName("resource", "market://x"), Code.NOT_FOUND),
    (errors.UnknownSymbol("BTC", ["BTCUSDT"]), Code.NOT_FOUND),
    (errors.BookNotLive(BTC, "gap", 1, 2.0), Code.FAILED_PRECONDITION),
    (errors.NotEnoughData(3, 10, "s", 0.3, 7), Code.FAILED_PRECONDITION),
    (errors.NotReady(), Code.FAILED_PRECONDITION),
    (errors.Deadline(30), Code.DEADLINE_EXCEEDED),
    (errors.Overloaded(1.0), Code.RESOURCE_EXHAUSTED),
    (errors.SlowReader(7), Code.RESOURCE_EXHAUSTED),
    (errors.RateLimited(12.5), Code.RESOURCE_EXHAUSTED),
    (errors.ExchangeError(), Code.UNAVAILABLE),
    (errors.StoreCorrupt("data", "checksum", "seconds", "k"), Code.DATA_LOSS),
    (errors.RecordUnreadable("data", "seconds", "k", "why"), Code.DATA_LOSS),
    (errors.StoreError("data", "closed"), Code.UNAVAILABLE),
    (errors.StoreFull("data", "no space"), Code.UNAVAILABLE),
    (errors.Unreachable("the exchange", "refused"), Code.UNAVAILABLE),
    (errors.StoreLocked("data", "in use"), Code.UNAVAILABLE),
]


@pytest.mark.parametrize(
    ("error", "code"), RAISED, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else ""
)
def test_each_class_of_failures_has_its_status_and_its_fields(error: errors.LeadlineError, code: Code):
    async def check() -> None:
        house = House()
        house.dispatcher.desk = Failing(error)
        async with house.open() as door:
            found, told, _ = await refused(door.provider.ReadResource(pb.ResourceRequest(uri="market://X/incidents")))
            assert (found, told) == (await refused(door.provider.Invoke(ask("get_incidents", {"symbol": "X"}))))[:2]
        assert (found, told["error"], told["message"]) == (code, type(error).__name__, str(error))
        assert told["retryable"] is error.retryable
        assert told["fields"] == {name: json.loads(json.dumps(vars(error)[name])) for name in told["fields"]}

    run(check())


def test_every_row_of_the_table_was_raised():
    assert {type(error) for error, _ in RAISED} >= set(TABLE)


def test_failures_of_questions_come_through_the_door_as_they_are():
    """No book yet; no such symbol; nothing stored; time runs out: the clock moves 20 s at each look."""

    async def check() -> None:
        house = House()
        async with house.open() as door:
            code, told, _ = await refused(door.provider.Invoke(ask("orderbook_l1", {"symbol": BTC})))
            assert (code, told["fields"]["reason"]) == (Code.FAILED_PRECONDITION, "starting")
            code, told, _ = await refused(door.provider.Invoke(ask("orderbook_l1", {"symbol": "BTCUSD"})))
            assert (code, told["fields"]["near"]) == (Code.NOT_FOUND, [BTC])
            code, told, _ = await refused(door.provider.Invoke(ask("get_volume_profile", {"symbol": BTC})))
            assert (code, told["error"], told["fields"]["have"]) == (Code.FAILED_PRECONDITION, "NotEnoughData", 0)
            house.dispatcher.desk = None
            code, told, _ = await refused(door.provider.Invoke(ask("list_symbols")))
            assert (code, told["fields"]["reason"]) == (Code.FAILED_PRECONDITION, "starting")
            for stream in (door.provider.Stream(pb.StreamRequest(topic="incidents")).read(),):
                code, _, _ = await refused(stream)
                assert code is Code.FAILED_PRECONDITION
        slow = House(Market(), clock=RestlessClock(20.0))
        slow.dispatcher.desk.reader = desks.recorded()
        async with slow.open() as door:
            code, told, _ = await refused(door.provider.Invoke(ask("get_volume_profile", {"symbol": BTC})))
        assert (code, told["fields"]) == (Code.DEADLINE_EXCEEDED, {"after_s": 30.0})

    run(check())


def test_a_bug_tells_its_number_and_nothing_of_what_it_is_made_of(caplog: pytest.LogCaptureFixture):
    async def check() -> tuple[Any, Any]:
        house = live_house()
        house.view = lambda symbol, levels: 1 / 0  # type: ignore[method-assign]
        house.hub = Failing(ZeroDivisionError("secret detail"))  # type: ignore[assignment]
        house.hub.stop = lambda: None
        async with house.open() as door:
            tool = await refused(door.provider.Invoke(ask("orderbook_l1", {"symbol": BTC})))
            return tool, await refused(door.provider.Stream(pb.StreamRequest(topic="incidents")).read())

    for (code, told, error), name in zip(run(check()), ("tool_failed", "grpc_failed"), strict=True):
        assert (code, told["error"]) == (Code.INTERNAL, "InternalError")
        assert "secret" not in str(error)
        assert "Zero" not in str(error)
        [logged] = [record for record in caplog.records if record.getMessage() == name]
        assert (vars(logged)["id"], logged.exc_info is not None) == (told["fields"]["correlation_id"], True)


def test_a_caller_that_is_gone_is_no_bug_of_ours(caplog: pytest.LogCaptureFixture):
    """The library raises its own error where it cannot send any more."""

    async def check() -> None:
        house = House()
        house.hub = Failing(grpc.aio.InternalError("nobody is there"))  # type: ignore[assignment]
        house.hub.stop = lambda: None
        async with house.open() as door:
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await door.provider.Stream(pb.StreamRequest(topic="incidents")).read()
            assert "leadline-error-bin" not in dict(ended.value.trailing_metadata())

    run(check())
    assert [record for record in caplog.records if record.getMessage() == "grpc_failed"] == []


# Correlation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "back"),
    [
        ("order-7/Ä", "order-7/%C3%84"),
        ("two\nlines", "two%0Alines"),
        (" a b ", " a b "),
        ("x" * 10_000, "x" * 256),
        ("Ä" * 200, "%C3%84" * 42 + "%C3%"),
    ],
    ids=lambda value: value[:9],
)
def test_a_correlation_id_comes_back_and_is_logged(given: str, back: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, logger="leadline")

    async def check() -> None:
        async with live_house().open() as door:
            for method, request in (
                (door.provider.Invoke, ask("list_symbols", correlation_id=given)),
                (door.provider.ReadResource, pb.ResourceRequest(uri="market://symbols", correlation_id=given)),
                (door.provider.Invoke, ask("nope", correlation_id=given)),
                (door.provider.GetPrompt, pb.PromptRequest(prompt_name="nope", correlation_id=given)),
            ):
                call = method(request)
                assert dict(await call.trailing_metadata())["correlation-id"].strip() == back.strip()

    run(check())
    told = [vars(record) for record in caplog.records if record.getMessage() == "grpc_call"]
    assert [(line["method"], line["status"], line["correlation_id"]) for line in told] == [
        ("Invoke", "OK", back),
        ("ReadResource", "OK", back),
        ("Invoke", "NOT_FOUND", back),
        ("GetPrompt", "NOT_FOUND", back),
    ]


# Resources and prompts ---------------------------------------------------------------------------


def test_a_resource_is_the_answer_of_its_tool_and_a_prompt_is_filled_in():
    async def check() -> None:
        async with live_house().open() as door:
            found = await door.provider.ReadResource(pb.ResourceRequest(uri=f"market://{BTC}/book"))
            answer = await door.provider.Invoke(ask("orderbook_l2", {"symbol": BTC}))
            assert (found.content, found.mime_type, found.error) == (answer.result.value, "application/json", "")
            arguments = pb.Json(value=b'{"symbol": "btcusdt"}')
            prompt = await door.provider.GetPrompt(pb.PromptRequest(prompt_name="market-health", arguments=arguments))
            [message] = prompt.messages
            assert message.role == "user"
            assert message.content.startswith("How healthy is the market of BTCUSDT now?")
            for value, field in ((b"[]", "arguments"), (b"{", "arguments"), (b"", "symbol"), (b'{"symbol":7}', "symbol")):
                request = pb.PromptRequest(prompt_name="market-health", arguments=pb.Json(value=value))
                code, told, _ = await refused(door.provider.GetPrompt(request))
                assert (code, told["fields"]["field"]) == (Code.INVALID_ARGUMENT, field)

    run(check())


def test_what_is_no_resource_and_no_prompt_is_not_found():
    async def check() -> None:
        async with House().open() as door:
            code, told, _ = await refused(door.provider.ReadResource(pb.ResourceRequest(uri="market://symbol")))
            assert (code, told["fields"]["kind"], told["fields"]["near"][0]) == (Code.NOT_FOUND, "resource", "market://symbols")
            code, told, _ = await refused(door.provider.ReadResource(pb.ResourceRequest(uri="leadline://docs/x")))
            assert (code, told["fields"]["kind"]) == (Code.NOT_FOUND, "page")
            code, told, _ = await refused(door.provider.GetPrompt(pb.PromptRequest(prompt_name="portfolio-risk")))
            assert (code, told["fields"]["kind"]) == (Code.NOT_FOUND, "prompt")

    run(check())


# Topics --------------------------------------------------------------------------------------------


def data(event: pb.CloudEvent) -> Any:
    return json.loads(event.data.value)


@pytest.mark.parametrize(
    ("topic", "code", "near"),
    [
        ("", Code.NOT_FOUND, []),
        ("books.BTCUSDT", Code.NOT_FOUND, ["book.SYMBOL"]),
        ("incident", Code.NOT_FOUND, ["incidents"]),
        ("book", Code.NOT_FOUND, ["book.SYMBOL"]),
        ("book.", Code.INVALID_ARGUMENT, None),
        ("trades." + "x" * 10**5, Code.INVALID_ARGUMENT, None),
        ("seconds.BTCUSD", Code.NOT_FOUND, [BTC]),
    ],
)
def test_a_topic_that_is_none_is_refused(topic: str, code: Code, near: list[str] | None):
    async def check() -> None:
        house = live_house()
        async with house.open() as door:
            found, told, _ = await refused(door.provider.Stream(pb.StreamRequest(topic=topic)).read())
        assert (found, told["fields"].get("near")) == (code, near)
        assert house.hub.readers == 0

    run(check())


def test_a_book_topic_has_the_best_20_as_a_whole_at_most_ten_times_a_second():
    async def check() -> None:
        house = live_house()
        market = house.markets[BTC]
        async with house.open() as door:
            call = door.provider.Stream(pb.StreamRequest(topic="book.btcusdt"))
            first = await call.read()
            assert (first.type, first.source, first.specversion) == (
                "leadline.book.v1",
                "/leadline/synthetic:7/book/BTCUSDT",
                "1.0",
            )
            assert first.time == "2024-08-08T23:54:00Z"
            for _ in range(25):
                house.stir(depth=20)
                await door.provider.Invoke(ask("list_symbols"))
            last_id = market.id
            await house.clock.advance(0.1)
            second = await call.read()
            told = data(second)
            bids, asks = market.best(20, last_id)
            for got, levels in ((told["bids"], bids), (told["asks"], asks)):
                assert [(e8(price), e8(size)) for price, size in got] == list(levels)
            assert (told["state"], told["epoch"], told["update_id"], told["origin"]) == ("LIVE", 1, last_id, "synthetic:7")
            assert second.id != first.id
            house.gap()
            await house.clock.advance(0.1)
            lost = data(await call.read())
            assert (lost["state"], lost["reason"], lost["bids"], lost["asks"]) == ("STALE", "gap", None, None)
            call.cancel()
            await until(lambda: house.hub.readers == 0)

    run(check())


def test_trades_seconds_and_incidents_are_told_and_what_was_skipped_too():
    async def check() -> None:
        house = live_house()
        async with house.open() as door:
            topics = ("trades.BTCUSDT", "seconds.BTCUSDT", "incidents")
            trades, seconds, incidents = (door.provider.Stream(pb.StreamRequest(topic=topic)) for topic in topics)
            assert [(await call.read()).type for call in (trades, seconds, incidents)] == ["leadline.status.v1"] * 3
            house.trade()
            house.hub.trades_missing(BTC, 2, 3, "they stay away")
            await house.clock.advance(0.1)
            event = await trades.read()
            [trade] = data(event)["trades"]
            assert (event.type, trade["agg_id"], trade["quantity"], trade["backfilled"]) == (
                "leadline.trades.v1",
                1,
                "0.00000005",
                False,
            )
            await house.clock.advance(0.1)
            event = await trades.read()
            assert (event.type, data(event)["from_id"]) == ("leadline.trades_missing.v1", 2)
            [row] = desks.recorded().seconds(BTC, desks.LAST, desks.LAST + 1).rows
            lost = Incident(BTC, 5, 0, "gap", 5_000, 6_500, 1, 2, "gap", "")
            house.hub.second(SymbolSecond(BTC, desks.LAST, row, None, "", (), (lost,)))
            await house.clock.advance(0.1)
            event = await seconds.read()
            assert (event.type, event.time, data(event)["t"]) == ("leadline.second.v1", "2024-08-09T00:00:01Z", desks.LAST)
            event = await incidents.read()
            assert (event.type, event.time, event.source) == (
                "leadline.incident.v1",
                "1970-01-01T00:00:06.500Z",
                "/leadline/synthetic:7/incidents",
            )
            assert (data(event)["kind"], data(event)["end"]) == ("gap", "1970-01-01T00:00:06.500Z")
            for _ in range(65):
                house.hub.incident_noted(lost)
            await house.clock.advance(0.1)
            event = await incidents.read()
            assert (event.type, data(event)["count"]) == ("leadline.skipped.v1", 65)

    run(check())
