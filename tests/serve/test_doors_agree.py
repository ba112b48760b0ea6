"""One running set of doors over the recordings: HTTP, gRPC under every name, and the command line over a store say the same."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from jsonschema import Draft202012Validator
from tests.core.test_oracles import FILES, spot
from tests.fakes import FakeClock, run
from tests.serve.questions import OURS, QUESTIONS
from tests.service import desks

from leadline import calling
from leadline.serve.doors import Binds, Doors
from leadline.serve.errors import Failed
from leadline.serve.guard import Rules
from leadline.serve.proto import provider_pb2 as pb
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


@pytest.fixture(scope="module")
def answers() -> dict[str, list[dict[str, Any]]]:
    """Tool -> what HTTP said, then what gRPC said under the three names, all from one run of the doors."""
    found: dict[str, list[dict[str, Any]]] = {}

    async def ask() -> None:
        doors = Doors(FakeClock(NOW_NS))
        doors.dispatcher.desk = desks.desk()
        async with doors.open(Binds("127.0.0.1:0", "127.0.0.1:0", Rules())):
            url = f"http://127.0.0.1:{doors.http_port}/api/tools"
            async with (
                aiohttp.ClientSession() as web,
                grpc.aio.insecure_channel(f"127.0.0.1:{doors.grpc_port}") as channel,
            ):
                provider = ProviderStub(channel)
                for name in NAMES:
                    async with web.post(f"{url}/{name}", json=QUESTIONS[name]) as answer:
                        assert (answer.status, answer.content_type) == (200, "application/json"), await answer.text()
                        found[name] = [await answer.json()]
                    payload = pb.Json(value=json.dumps(QUESTIONS[name]).encode())
                    for prefix in ("", "binance.", "binance_"):
                        said = await provider.Invoke(pb.InvokeRequest(tool_name=prefix + name, payload=payload))
                        found[name].append(json.loads(said.result.value))
        assert {labels: count for labels, count in doors.dispatcher.calls.items() if labels[1] == "grpc"} == {
            (name, "grpc", "ok"): 3 for name in NAMES
        }

    run(ask())
    return found


def test_there_is_a_question_for_each_tool():
    assert set(QUESTIONS) == set(NAMES)
    for tool in OURS:
        Draft202012Validator(input_schema(tool.request)).validate(QUESTIONS[tool.name])


@pytest.mark.parametrize("name", NAMES)
def test_every_door_gives_the_same_answer(name: str, answers: Any, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calling, "SystemClock", lambda: FakeClock(NOW_NS))
    over_store = calling.over_store(store, name, QUESTIONS[name])
    over_http, *over_grpc = answers[name]
    assert over_grpc == [over_http] * 3
    assert json.loads(json.dumps(over_store)) == over_http


@pytest.mark.parametrize("name", NAMES)
def test_the_command_line_takes_the_same_question_as_words(name: str, store: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calling, "SystemClock", lambda: FakeClock(NOW_NS))
    words = [f"{key}={json.dumps(value) if isinstance(value, dict) else value}" for key, value in QUESTIONS[name].items()]
    as_words = calling.over_store(store, f"binance.{name}", calling.arguments(words))
    assert as_words == calling.over_store(store, name, QUESTIONS[name])


@pytest.mark.parametrize("tool", OURS, ids=NAMES)
@pytest.mark.parametrize("described", [True, False])
def test_every_answer_is_what_its_schema_says_and_carries_the_envelope(tool: Any, described: bool, answers: Any):
    schema = output_schema(tool.result, described=described)
    Draft202012Validator.check_schema(schema)
    answer = answers[tool.name][0]
    Draft202012Validator(schema).validate(answer)
    assert set(answer) <= set(schema["properties"])
    assert (answer["envelope"]["origin"], answer["envelope"]["as_of_ms"]) == ("replay:test", NOW_NS // 10**6)
    assert answer["envelope"]["truncated"] is False


@pytest.mark.parametrize("tool", OURS, ids=NAMES)
def test_no_answer_has_a_field_that_its_schema_does_not_know(tool: Any, answers: Any):
    """Structs have no additionalProperties: false of their own below the root, so every object is walked by hand."""
    schema = output_schema(tool.result)
    assert _unknown(answers[tool.name][0], schema, schema.get("$defs", {}), "") == []


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
