"""The gRPC door as a whole: the contract's numbers, what is committed, health, reflection, limits, the token, the end."""

import importlib.util
import json
import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from packaging.requirements import Requirement
from packaging.version import Version
from tests.fakes import run
from tests.serve.market import BTC, House, until

from leadline.core.errors import InvalidRequest
from leadline.serve.grpc_server import HEALTH_S
from leadline.serve.proto import market_data_pb2, provider_pb2, provider_pb2_grpc
from leadline.serve.tokens import Tokens

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMITTED = ROOT / "src" / "leadline" / "serve" / "proto"
SERVICES = ("", "provider.v1.Provider", "leadline.v1.MarketData")
Serving = health_pb2.HealthCheckResponse

# The contract of existing gateways: message, and its fields by number and type.
CONTRACT = {
    "Json": "1 value bytes",
    "Tool": "1 name string, 2 description string, 3 input_schema Json, 4 output_schema Json",
    "Resource": "1 uri_scheme string, 2 description string, 3 mime_type string",
    "Prompt": "1 name string, 2 description string, 3 args_schema Json",
    "Capabilities": "1 tools repeated Tool, 2 resources repeated Resource, 3 prompts repeated Prompt, 4 provider_version string",
    "InvokeRequest": "1 tool_name string, 2 payload Json, 3 correlation_id string",
    "InvokeResponse": "1 result Json, 2 error string",
    "ResourceRequest": "1 uri string, 2 correlation_id string",
    "ResourceResponse": "1 content bytes, 2 mime_type string, 3 error string",
    "PromptRequest": "1 prompt_name string, 2 arguments Json, 3 correlation_id string",
    "PromptResponse": "1 messages repeated PromptMessage, 2 error string",
    "PromptMessage": "1 role string, 2 content string",
    "StreamRequest": "1 topic string",
    "CloudEvent": "1 id string, 2 source string, 3 type string, 4 time string, 5 specversion string, 6 data Json",
}


def written(message: Any) -> str:
    kinds = {9: "string", 12: "bytes", 11: None}
    fields = []
    for field in message.fields:
        kind = kinds[field.type] or field.message_type.name
        fields.append(f"{field.number} {field.name} {'repeated ' if field.is_repeated else ''}{kind}")
    return ", ".join(fields)


def test_the_providers_messages_are_the_contract_number_by_number():
    messages = provider_pb2.DESCRIPTOR.message_types_by_name
    assert {name: written(message) for name, message in messages.items()} == CONTRACT


def test_the_providers_methods_are_the_contract():
    service = provider_pb2.DESCRIPTOR.services_by_name["Provider"]
    assert service.full_name == "provider.v1.Provider"
    methods = {m.name: (m.input_type.full_name, m.output_type.full_name, m.server_streaming) for m in service.methods}
    assert methods == {
        "ListCapabilities": ("google.protobuf.Empty", "provider.v1.Capabilities", False),
        "Invoke": ("provider.v1.InvokeRequest", "provider.v1.InvokeResponse", False),
        "ReadResource": ("provider.v1.ResourceRequest", "provider.v1.ResourceResponse", False),
        "GetPrompt": ("provider.v1.PromptRequest", "provider.v1.PromptResponse", False),
        "Stream": ("provider.v1.StreamRequest", "provider.v1.CloudEvent", True),
    }


def test_a_book_event_has_its_numbers():
    fields = market_data_pb2.BookEvent.DESCRIPTOR.fields_by_name
    numbers = {name: field.number for name, field in fields.items()}
    assert list(numbers.items())[:9] == [
        *[("symbol", 1), ("instance", 2), ("epoch", 3), ("seq", 4), ("prev_seq", 5), ("update_id", 6)],
        *[("exchange_time_ms", 7), ("received_time_ms", 8), ("state", 9)],
    ]
    assert [numbers[name] for name in ("snapshot", "diff", "status", "skipped", "heartbeat")] == [10, 11, 12, 13, 14]
    assert market_data_pb2.Policy.Name(0) == "CONFLATE"


# What is committed ----------------------------------------------------------------------------


def test_what_is_committed_is_what_the_generator_writes(tmp_path: Path):
    spec = importlib.util.spec_from_file_location("generate", ROOT / "protos" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.generate(tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "leadline/serve/proto").iterdir()}
    assert {"provider.proto", "provider_pb2.py", "provider_pb2.pyi", "provider_pb2_grpc.py"} <= made.keys()
    held = {path.name: path.read_text() for path in COMMITTED.iterdir() if path.is_file() and path.name != "__init__.py"}
    assert held == made


def test_the_floors_are_those_of_the_generated_code():
    """Older packages than the generator's refuse to import what it writes."""
    floors = {one.name: one.specifier for one in map(Requirement, PROJECT["project"]["dependencies"])}
    [tools] = [one for one in map(Requirement, PROJECT["dependency-groups"]["dev"]) if one.name == "grpcio-tools"]
    made_by = provider_pb2_grpc.GRPC_GENERATED_VERSION
    assert str(tools.specifier) == f"=={made_by}"
    for name in ("grpcio", "grpcio-health-checking", "grpcio-reflection"):
        assert f">={made_by}" in str(floors[name])
        assert Version(made_by) in floors[name]
    [protobuf] = re.findall(r"Protobuf Python Version: ([\d.]+)", (COMMITTED / "provider_pb2.py").read_text())
    assert f">={protobuf}" in str(floors["protobuf"])


def test_the_generator_is_not_needed_to_run():
    assert not [one for one in PROJECT["project"]["dependencies"] if Requirement(one).name == "grpcio-tools"]


# Health and reflection ---------------------------------------------------------------------------


def test_health_follows_readiness_for_each_name_and_ends_before_the_door_does():
    async def check() -> None:
        house = House()
        async with house.open() as door:
            health = health_pb2_grpc.HealthStub(door.channel)

            async def said() -> set[int]:
                return {(await health.Check(health_pb2.HealthCheckRequest(service=name))).status for name in SERVICES}

            assert await said() == {Serving.SERVING}
            house.ready = False
            await house.clock.advance(HEALTH_S)
            assert await said() == {Serving.NOT_SERVING}
            house.ready = True
            await house.clock.advance(HEALTH_S)
            assert await said() == {Serving.SERVING}
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{door.port}")
            watches = [
                health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))
                for name in (SERVICES[1], "nobody")
            ]
            assert [(await watch.read()).status for watch in watches] == [Serving.SERVING, Serving.SERVICE_UNKNOWN]
            house.ready = False
            await house.clock.advance(HEALTH_S)
            assert (await watches[0].read()).status == Serving.NOT_SERVING
            house.ready = True
            await house.clock.advance(HEALTH_S)
            assert (await watches[0].read()).status == Serving.SERVING
        assert (await watches[0].read()).status == Serving.NOT_SERVING
        assert [await watch.read() for watch in watches] == [grpc.aio.EOF] * 2
        await channel.close()

    run(check())


def test_a_door_that_opens_before_the_books_are_there_is_not_serving():
    async def check() -> None:
        house = House()
        house.ready = False
        async with house.open() as door:
            health = health_pb2_grpc.HealthStub(door.channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == Serving.NOT_SERVING

    run(check())


def test_reflection_lists_the_services_and_has_their_files():
    async def check() -> None:
        async with House().open() as door:
            stub = reflection_pb2_grpc.ServerReflectionStub(door.channel)
            asked = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="leadline.v1.MarketData"),
            ]
            listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
        names = {service.name for service in listed.list_services_response.service}
        assert names == {*SERVICES[1:], "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
        assert file.file_descriptor_response.file_descriptor_proto

    run(check())


# Who comes in, and the end -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [(), (("authorization", "Bearer wrong"),), (("authorization", "geheim"),), (("authorization", "Basic geheim"),)],
    ids=["none", "wrong", "bare", "basic"],
)
def test_without_the_token_nobody_comes_in_but_whoever_asks_for_health(metadata: Any):
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open(tokens=Tokens(house.clock, "geheim")) as door:
            calls = (
                door.provider.ListCapabilities(Empty(), metadata=metadata),
                door.data.GetBook(market_data_pb2.BookRequest(symbol=BTC), metadata=metadata),
                door.data.StreamBook(market_data_pb2.StreamBookRequest(symbols=[BTC]), metadata=metadata).read(),
            )
            for call in calls:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await call
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert json.loads(dict(refused.value.trailing_metadata())["leadline-error-bin"])["error"] == "Unauthenticated"
            health = health_pb2_grpc.HealthStub(door.channel)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == Serving.SERVING
            right = (("authorization", "bearer geheim"),)
            assert (await door.provider.ListCapabilities(Empty(), metadata=right)).tools
        assert house.hub.readers == 0

    run(check())


def test_a_port_that_is_taken_is_told_and_not_shared():
    async def check() -> None:
        async with House().open() as door:
            with pytest.raises(InvalidRequest, match=rf"grpc.bind: 127.0.0.1:{door.port}"):
                async with House().open(bind=f"127.0.0.1:{door.port}"):
                    pass
        with pytest.raises(InvalidRequest, match=r"grpc\.bind"):
            async with House().open(bind="no such host:1"):
                pass

    run(check())


def test_more_metadata_than_allowed_is_refused_and_the_next_call_is_answered():
    async def check() -> None:
        async with House().open() as door:
            with pytest.raises(grpc.aio.AioRpcError):
                await door.provider.ListCapabilities(Empty(), metadata=(("x", "y" * 100_000),))
            assert (await door.provider.ListCapabilities(Empty())).tools

    run(check())


def test_a_call_in_flight_is_finished_before_the_door_closes():
    """The exchange is asked while the door closes; the call is answered, and new ones are not."""

    async def check() -> None:
        house = House()
        begun, go_on = [], []

        class Slow:
            async def average_price(self, symbol: str) -> Any:
                begun.append(symbol)
                await until(lambda: bool(go_on))
                return SimpleNamespace(minutes=5, price_e8=3 * 10**8, close_ms=1)

        house.dispatcher.desk.market = Slow()
        async with house.open() as door:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{door.port}")
            payload = provider_pb2.Json(value=b'{"symbol":"BTCUSDT"}')
            request = provider_pb2.InvokeRequest(tool_name="get_avg_price", payload=payload)
            call = provider_pb2_grpc.ProviderStub(channel).Invoke(request)
            await until(lambda: bool(begun))
            house.hub.stop = lambda: go_on.append(1)  # type: ignore[method-assign]
        assert json.loads((await call).result.value)["mins"] == 5
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await provider_pb2_grpc.ProviderStub(channel).ListCapabilities(Empty())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        await channel.close()

    run(check())
