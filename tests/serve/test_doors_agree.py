"""One running set of doors on one frozen clock: HTTP, gRPC, MCP on every transport and the command line say the same."""

import asyncio
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from jsonschema import Draft202012Validator
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from tests.core.test_oracles import FILES, spot
from tests.fakes import FakeClock, run
from tests.serve.market import House
from tests.serve.questions import BTC, OURS, QUESTIONS
from tests.service import desks

from leadline import calling
from leadline.serve.bounded import MCP_BYTES_MAX
from leadline.serve.doors import Binds, Doors
from leadline.serve.errors import Failed
from leadline.serve.guard import Rules
from leadline.serve.proto import market_data_pb2 as md
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.proto.market_data_pb2_grpc import MarketDataStub
from leadline.serve.proto.provider_pb2_grpc import ProviderStub
from leadline.serve.schemas import input_schema, output_schema
from leadline.store.history import History
from leadline.store.rocks import RocksEngine

NOW_NS = (desks.LAST + 1) * 10**9
NAMES = [tool.name for tool in OURS]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The recordings on a disk."""
    path = tmp_path_factory.mktemp("agree") / "store"
    engine = RocksEngine(path)
    history = History(engine, str(path))
    history.set_meta({"origin": "replay:test"})
    for symbol in FILES:
        assert history.write(spot(symbol)[0]) == []
        history.set_rules(desks.RULES[symbol])
    engine.close()
    yield path


Answers = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def answers() -> Answers:
    """Tool -> door -> what it said there, all from one run of the doors."""
    found: Answers = {name: {} for name in NAMES}

    async def ask() -> None:
        doors = Doors(FakeClock(NOW_NS))
        doors.dispatcher.desk = desks.desk()
        async with doors.open(Binds("127.0.0.1:0", "127.0.0.1:0", Rules())):
            url = f"http://127.0.0.1:{doors.http_port}"
            async with aiohttp.ClientSession() as web:
                for name in NAMES:
                    async with web.post(f"{url}/api/tools/{name}", json=QUESTIONS[name]) as answer:
                        assert (answer.status, answer.content_type) == (200, "application/json"), await answer.text()
                        found[name]["http"] = await answer.json()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel:
                for name in NAMES:
                    payload = pb.Json(value=json.dumps(QUESTIONS[name]).encode())
                    for prefix in ("", "binance.", "binance_"):
                        said = await ProviderStub(channel).Invoke(pb.InvokeRequest(tool_name=prefix + name, payload=payload))
                        found[name][f"grpc {prefix}"] = json.loads(said.result.value)
            for transport, server, mode in (
                ("newest", f"{url}/mcp", "auto"),
                ("handshake", f"{url}/mcp", "legacy"),
                ("sse", sse_client(f"{url}/sse"), "legacy"),
                ("stdio", stdio(url), "auto"),
            ):
                async with Client(server, mode=mode) as assistant:
                    for name in NAMES:
                        said = await assistant.call_tool(name, QUESTIONS[name])
                        [block] = said.content
                        assert len(block.text.encode()) < MCP_BYTES_MAX
                        if name == "generate_market_report":  # Markdown and nothing else
                            assert said.structured_content is None
                            found[name][f"mcp {transport}"] = found[name]["http"] | {"markdown": block.text}
                        else:
                            found[name][f"mcp {transport}"] = said.structured_content
                            assert json.loads(block.text) == said.structured_content
            for name in NAMES:
                found[name]["cli, service"] = await asyncio.to_thread(calling.over_service, url, name, QUESTIONS[name])
        assert {labels: count for labels, count in doors.dispatcher.calls.items() if labels[1] == "grpc"} == {
            (name, "grpc", "ok"): 3 for name in NAMES
        }

    run(ask())
    return found


def stdio(url: str) -> StdioServerParameters:
    """`leadline mcp` as an assistant starts it: a child process, which asks the running service."""
    return StdioServerParameters(command=sys.executable, args=["-m", "leadline", "mcp", "--url", url])


def test_there_is_a_question_for_each_tool():
    assert set(QUESTIONS) == set(NAMES)
    for tool in OURS:
        Draft202012Validator(input_schema(tool.request)).validate(QUESTIONS[tool.name])


@pytest.mark.parametrize("name", NAMES)
def test_every_door_gives_the_same_answer(name: str, answers: Answers, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calling, "SystemClock", lambda: FakeClock(NOW_NS))
    over_store = json.loads(json.dumps(calling.over_store(store, name, QUESTIONS[name])))
    assert len(answers[name]) == 9
    assert {door: answer for door, answer in answers[name].items() if answer != over_store} == {}


def test_typed_gRPC_gives_the_rows_and_gaps_that_the_tools_give(answers: Answers):
    """Its numbers are integers of 1e-8; the tools' are decimal text."""
    history = answers["get_history"]["http"] | QUESTIONS["get_history"]
    whole = answers["get_coverage"]["http"]

    async def ask() -> Any:
        doors = Doors(FakeClock(NOW_NS))
        doors.dispatcher.desk = desks.desk()
        async with doors.open(Binds("127.0.0.1:0", "", Rules())):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel:
                data = MarketDataStub(channel)
                window = {"symbol": BTC, "from_s": history["from_s"], "to_s": history["to_s"]}
                snapshots = await data.GetSnapshots(md.RangeRequest(**window))
                seconds = [one async for one in data.ScanSeconds(md.RangeRequest(**window))]
                span = {"symbol": BTC, "from_s": whole["from_s"], "to_s": whole["to_s"]}
                return snapshots, seconds, await data.GetCoverage(md.RangeRequest(**span))

    snapshots, seconds, cover = run(ask())
    assert [row.timestamp for row in snapshots.snapshots] == [row["t"] for row in history["rows"]] != []
    for sent, told in zip(snapshots.snapshots, history["rows"], strict=True):
        assert (sent.update_id, *map(texts, (sent.bids, sent.asks))) == (
            told["update_id"],
            *([(Decimal(price), Decimal(size)) for price, size in told[side]] for side in ("bids", "asks")),
        )
    assert [t for chunk in seconds for t in chunk.t] == [row["t"] for row in history["rows"]]
    assert [[gap.from_s, gap.to_s, gap.cause] for gap in cover.gaps] == whole["gaps"] != []
    assert (cover.expected_s, cover.covered_s, cover.ratio) == (whole["expected_s"], whole["live_s"], whole["ratio"])


def texts(side: md.Side) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(p).scaleb(-8), Decimal(q).scaleb(-8)) for p, q in zip(side.price_e8, side.quantity_e8, strict=True)]


def test_the_live_book_is_the_same_at_every_door():
    """Of feeds that follow a market, whose own book is the judge."""
    question = {"symbol": BTC, "depth_levels": 20}

    async def ask() -> None:
        house = House()
        house.go_live()
        for _ in range(40):
            house.move()
        doors = Doors(house.clock, house.dispatcher)
        doors.hub = house.hub
        async with doors.open(Binds("127.0.0.1:0", "127.0.0.1:0", Rules())):
            url = f"http://127.0.0.1:{doors.http_port}"
            async with grpc.aio.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel:
                payload = pb.Json(value=json.dumps(question).encode())
                said = await ProviderStub(channel).Invoke(pb.InvokeRequest(tool_name="binance.orderbook_l2", payload=payload))
                over_grpc = json.loads(said.result.value)
                typed = await MarketDataStub(channel).GetBook(md.BookRequest(symbol=BTC, depth=20))
                first = await anext(aiter(MarketDataStub(channel).StreamBook(md.StreamBookRequest(symbols=[BTC], depth=20))))
            async with Client(f"{url}/mcp") as assistant:
                over_mcp = (await assistant.call_tool("orderbook_l2", question)).structured_content
            over_http = await asyncio.to_thread(calling.over_service, url, "orderbook_l2", question)
            assert over_http == over_grpc == over_mcp
        market = house.markets[BTC]
        bids, asks = market.best(20, market.id)
        assert over_http["envelope"]["update_id"] == typed.update_id == first.update_id == market.id
        assert over_http["envelope"]["epoch"] == typed.epoch == first.epoch
        for side, levels in (("bids", bids), ("asks", asks)):
            expected = [(Decimal(price).scaleb(-8), Decimal(size).scaleb(-8)) for price, size in levels]
            assert [(Decimal(price), Decimal(size)) for price, size in over_http[side]] == expected
            assert texts(getattr(typed.snapshot, side)) == texts(getattr(first.snapshot, side)) == expected

    run(ask())


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_takes_the_same_question_as_words(name: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calling, "SystemClock", lambda: FakeClock(NOW_NS))
    words = [f"{key}={json.dumps(value) if isinstance(value, dict) else value}" for key, value in QUESTIONS[name].items()]
    as_words = calling.over_store(store, f"binance.{name}", calling.arguments(words))
    assert as_words == calling.over_store(store, name, QUESTIONS[name])


@pytest.mark.parametrize("tool", OURS, ids=NAMES)
@pytest.mark.parametrize("described", [True, False])
def test_every_answer_is_what_its_schema_says_and_carries_the_envelope(tool: Any, described: bool, answers: Answers):
    schema = output_schema(tool.result, described=described)
    Draft202012Validator.check_schema(schema)
    answer = answers[tool.name]["http"]
    Draft202012Validator(schema).validate(answer)
    assert set(answer) <= set(schema["properties"])
    assert (answer["envelope"]["origin"], answer["envelope"]["as_of_ms"]) == ("replay:test", NOW_NS // 10**6)
    assert answer["envelope"]["truncated"] is False


@pytest.mark.parametrize("tool", OURS, ids=NAMES)
def test_no_answer_has_a_field_that_its_schema_does_not_know(tool: Any, answers: Answers):
    """Structs have no additionalProperties: false of their own below the root, so every object is walked by hand."""
    schema = output_schema(tool.result)
    assert _unknown(answers[tool.name]["http"], schema, schema.get("$defs", {}), "") == []


def _unknown(value: Any, schema: dict[str, Any], defs: dict[str, Any], path: str) -> list[str]:
    """Paths of fields that no alternative of the schema names."""
    options = [defs[one["$ref"].rsplit("/", 1)[-1]] if "$ref" in one else one for one in schema.get("anyOf", [schema])]
    if isinstance(value, list):
        rows = next((one["items"] for one in options if one.get("items")), {})
        return [place for n, one in enumerate(value) for place in _unknown(one, rows, defs, f"{path}[{n}]")]
    known = [one["properties"] for one in options if "properties" in one]
    if not isinstance(value, dict) or not known:
        return []
    names = {name: field for properties in known for name, field in properties.items()}
    extra = [f"{path}.{name}" for name in value if name not in names]
    return extra + [p for name, one in value.items() if name in names for p in _unknown(one, names[name], defs, f"{path}.{name}")]


def test_the_same_failure_is_told_at_every_door(store: Path):
    """An unknown symbol: one class, one sentence, the same fields; the command line exits as for that class, 3."""

    async def ask() -> list[dict[str, Any]]:
        doors = Doors(FakeClock(NOW_NS))
        doors.dispatcher.desk = desks.desk()
        async with doors.open(Binds("127.0.0.1:0", "127.0.0.1:0", Rules())):
            async with aiohttp.ClientSession() as web:
                url = f"http://127.0.0.1:{doors.http_port}/api/tools/get_order_flow"
                async with web.post(url, json={"symbol": "BTCUSD"}) as answer:
                    assert answer.status == 404
                    over_http = await answer.json()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel:
                payload = pb.Json(value=b'{"symbol":"BTCUSD"}')
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await ProviderStub(channel).Invoke(pb.InvokeRequest(tool_name="get_order_flow", payload=payload))
            return [over_http, json.loads(dict(refused.value.trailing_metadata())["leadline-error-bin"])]

    over_http, over_grpc = run(ask())
    with pytest.raises(Failed) as failed:
        calling.over_store(store, "get_order_flow", {"symbol": "BTCUSD"})
    over_store = json.loads(msgspec.json.encode(failed.value.failure))
    assert over_http == over_grpc == over_store
    assert (over_http["error"], over_http["fields"]["near"], failed.value.exit_code) == (
        "UnknownSymbol",
        ["BTCUSDT", "ETHUSDT"],
        3,
    )
