"""The MCP door over real sockets: asked by the official client on every transport, by raw JSON where that says more."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import mcp_types as types
import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError
from tests.fakes import FakeClock, run, settle
from tests.serve.market import BTC, House, until
from tests.serve.questions import OURS, QUESTIONS
from tests.serve.test_grpc_provider import RAISED, Failing
from tests.serve.web import MANY, NOW_NS, Web, web
from tests.service import desks

from leadline import __version__
from leadline.core import errors
from leadline.serve.bounded import MCP_BYTES_MAX
from leadline.serve.doors import Binds, Doors
from leadline.serve.guard import Rules
from leadline.serve.listing import Offer
from leadline.serve.reference import PAGES
from leadline.serve.tools import NO_ACCOUNT, TOOLS

CORE = [
    *("orderbook_l1", "orderbook_l2", "orderbook_health", "get_order_flow", "get_volume_profile", "detect_market_anomalies"),
    *("get_microstructure_health", "get_liquidity_vacuums", "estimate_market_impact", "generate_market_report"),
    *("list_symbols", "get_incidents"),
]
HANDSHAKES = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
NEWEST = "2026-07-28"
MODES = ["auto", "legacy", "sse"]
BOTH = {"Accept": "application/json, text/event-stream"}


def address(doors: Doors, path: str) -> str:
    return f"http://127.0.0.1:{doors.http_port}{path}"


@asynccontextmanager
async def assistant(doors: Doors, mode: str = "auto", **how: Any) -> AsyncIterator[Client]:
    """mode: auto (the newest revision), legacy (a handshake), sse."""
    server: Any = sse_client(address(doors, "/sse")) if mode == "sse" else address(doors, "/mcp")
    async with Client(server, mode="legacy" if mode == "sse" else mode, **how) as client:
        yield client


@asynccontextmanager
async def doors_of(
    offer: Offer | None = None, *, desk: Any = None, clock: FakeClock | None = None, **how: Any
) -> AsyncIterator[Doors]:
    doors = Doors(clock or FakeClock(NOW_NS))
    doors.dispatcher.desk = desks.desk() if desk is None else desk
    async with doors.open(Binds("", "127.0.0.1:0", Rules(burst=MANY), offer or Offer(), **how)):
        yield doors


def wire(method: str, params: dict[str, Any], revision: str = NEWEST) -> dict[str, Any]:
    """One request as it goes over the wire: its json and headers."""
    headers = BOTH | {"MCP-Protocol-Version": revision}
    if revision == NEWEST:
        headers |= {"Mcp-Method": method} | ({"Mcp-Name": params["name"]} if "name" in params else {})
        meta = {
            "io.modelcontextprotocol/protocolVersion": revision,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }
        params = {**params, "_meta": meta}
    return {"json": {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, "headers": headers}


async def posted(web: Web, method: str, params: dict[str, Any], revision: str = NEWEST) -> tuple[int, bytes]:
    """What one request is answered; of a stream its only message with the request's id."""
    async with aiohttp.ClientSession() as session:
        async with session.post(address(web.doors, "/mcp"), **wire(method, params, revision)) as answer:
            data = await answer.read()
            if answer.content_type == "text/event-stream":
                [line] = [line for line in data.splitlines() if line.startswith(b"data: ") and b'"id":1' in line]
                data = line.removeprefix(b"data: ")
            return answer.status, data


# What is listed --------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_twelve_tools_are_listed_in_a_fixed_order_and_say_that_they_only_read(mode: str):
    async def check() -> None:
        async with web() as where, assistant(where.doors, mode) as client:
            assert client.server_info.name == "leadline" and client.server_info.version == __version__
            assert "Read-only" in client.instructions
            found = (await client.list_tools()).tools
        assert [tool.name for tool in found] == CORE
        for tool in found:
            assert len(tool.description) < 300
            hints = tool.annotations
            told = hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint
            assert told == (True, False, True, False)
            for schema in (tool.input_schema, tool.output_schema):
                if schema is not None:
                    Draft202012Validator.check_schema(schema)
                    assert schema["type"] == "object"
        assert [tool.name for tool in found if tool.output_schema is None] == ["generate_market_report"]

    run(check())


@pytest.mark.parametrize("revision", [*HANDSHAKES, NEWEST])
def test_the_whole_list_stays_under_12_kB_on_the_wire(revision: str):
    async def check() -> None:
        async with web() as where:
            status, data = await posted(where, "tools/list", {}, revision)
        assert status == 200
        assert [tool["name"] for tool in json.loads(data)["result"]["tools"]] == CORE
        assert len(data) < 12_000

    run(check())


def test_sets_of_tools_can_be_listed_and_what_is_not_listed_can_be_called():
    async def check() -> None:
        for toolsets, names in (
            (("market",), [tool.name for tool in TOOLS if tool.rest]),
            (("core", "history"), [*CORE, "get_history", "get_coverage"]),
            (("all",), [tool.name for tool in TOOLS]),
        ):
            async with doors_of(Offer(toolsets)) as doors, assistant(doors) as client:
                found = (await client.list_tools()).tools
                assert [tool.name for tool in found] == names
                assert [tool.name for tool in found if tool.annotations.open_world_hint] == [
                    tool.name for tool in TOOLS if tool.rest and tool.name in names
                ]
                answer = await client.call_tool("get_coverage", {"symbol": BTC})
                assert answer.structured_content["symbol"] == BTC

    run(check())


@pytest.mark.parametrize("tool", OURS, ids=lambda tool: tool.name)
def test_the_short_schema_takes_each_question_that_the_whole_one_takes_but_for_aliases(tool: Any):
    from leadline.serve.listing import short_input
    from leadline.serve.requests import ALIASES
    from leadline.serve.schemas import input_schema

    whole, short = input_schema(tool.request), short_input(tool.request)
    aliases = {other for others in ALIASES.get(tool.request, {}).values() for other in others}
    assert set(short["properties"]) == set(whole["properties"]) - aliases
    assert short.get("required", []) == whole.get("required", [])
    question = {name: value for name, value in QUESTIONS[tool.name].items() if name not in aliases}
    Draft202012Validator(short).validate(question)
    for name, field in short["properties"].items():
        for bound in ("minimum", "maximum", "exclusiveMinimum", "enum"):
            options = [whole["properties"][name], *whole["properties"][name].get("anyOf", ())]
            assert field.get(bound) == next((option[bound] for option in options if bound in option), None), (name, bound)


# Answers ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_text_and_structured_content_are_the_same_and_what_http_says(mode: str):
    """The client checks each answer against the listed schema by itself, and raises if it does not fit."""

    async def check() -> None:
        async with web() as where, assistant(where.doors, mode) as client:
            await client.list_tools()
            for tool in OURS:
                answer = await client.call_tool(tool.name, QUESTIONS[tool.name])
                [content] = answer.content
                assert answer.is_error is False
                _, _, over_http = await where.tool(tool.name, QUESTIONS[tool.name])
                if tool.text:
                    assert answer.structured_content is None
                    assert content.text == over_http[tool.text]
                    continue
                assert json.loads(content.text) == answer.structured_content
                assert content.text == json.dumps(answer.structured_content, separators=(",", ":"), ensure_ascii=False)
                assert len(content.text.encode()) <= MCP_BYTES_MAX
                if not answer.structured_content["envelope"]["truncated"]:
                    assert answer.structured_content == over_http

    run(check())


def test_a_long_answer_is_cut_to_the_setting_and_says_how_to_go_on():
    async def check() -> None:
        arguments = {"symbol": BTC, "from_s": desks.LAST - 299, "to_s": desks.LAST + 1}
        async with doors_of(Offer(bytes_max=9_000)) as doors, assistant(doors) as client:
            seen: list[int] = []
            cursor = None
            while True:
                given = arguments | ({} if cursor is None else {"cursor": cursor})
                answer = await client.call_tool("get_history", given)
                assert len(answer.content[0].text.encode()) <= 9_000
                seen += [row["t"] for row in answer.structured_content["rows"]]
                cursor = answer.structured_content["next"]
                if cursor is None:
                    break
                assert answer.structured_content["envelope"]["truncated"] is True
        assert seen == list(range(desks.LAST - 299, desks.LAST + 1))

    run(check())


@pytest.mark.parametrize("mode", MODES)
def test_a_caller_that_asks_for_progress_gets_it(mode: str):
    async def check() -> None:
        told: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            told.append(done)

        async with web() as where, assistant(where.doors, mode) as client:
            answer = await client.call_tool("get_coverage", {"symbol": BTC}, progress_callback=progress)
            assert answer.is_error is False
            assert told == sorted(set(told))
            assert told
            told.clear()
            await client.call_tool("get_coverage", {"symbol": BTC})
            assert told == []

    run(check())


# Failures --------------------------------------------------------------------


@pytest.mark.parametrize(("error", "_"), RAISED, ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "")
def test_a_question_without_an_answer_is_a_tool_error_whose_text_is_the_sentence(error: errors.LeadlineError, _: Any):
    async def check() -> None:
        async with doors_of(desk=Failing(error)) as doors, assistant(doors) as client:
            if isinstance(error, errors.UnknownName):
                with pytest.raises(MCPError) as refused:
                    await client.call_tool("get_incidents", {"symbol": "X"})
                assert refused.value.error.code == types.INVALID_PARAMS
                return
            answer = await client.call_tool("get_incidents", {"symbol": "X"})
            failure = answer.meta["leadline/failure"]
            assert (answer.is_error, answer.structured_content) == (True, None)
            assert [content.text for content in answer.content] == [str(error)]
            assert (failure["error"], failure["message"], failure["retryable"]) == (
                type(error).__name__,
                str(error),
                error.retryable,
            )

    run(check())


@pytest.mark.parametrize("name", ["nope", "binance.get_orderflow", "x" * 500, *sorted(NO_ACCOUNT)])
def test_a_tool_that_is_none_is_an_error_of_the_protocol(name: str):
    async def check() -> None:
        async with web() as where:
            for mode in MODES:
                async with assistant(where.doors, mode) as client:
                    with pytest.raises(MCPError) as refused:
                        await client.call_tool(name, {})
                    assert refused.value.error.code == types.INVALID_PARAMS
                    if name in NO_ACCOUNT:
                        assert "read-only and holds no account" in refused.value.error.message

    run(check())


@pytest.mark.parametrize("prefix", ["", "binance.", "binance_"])
def test_a_tool_answers_to_all_three_forms_of_its_name(prefix: str):
    async def check() -> None:
        async with web() as where, assistant(where.doors) as client:
            answer = await client.call_tool(f"{prefix}list_symbols", {})
            assert answer.structured_content["reading"].startswith("2 symbols")

    run(check())


def test_a_wrong_request_names_the_field_and_a_bug_tells_nothing_but_its_number(caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with web() as where, assistant(where.doors) as client:
            answer = await client.call_tool("get_order_flow", {"symbol": BTC, "window_duration_secs": 9})
            assert (answer.is_error, answer.content[0].text) == (
                True,
                "window_duration_secs: Expected `int` >= 10 (allowed: 10-300)",
            )
            where.doors.dispatcher.desk = Failing(ZeroDivisionError("secret detail"))
            answer = await client.call_tool("list_symbols", {})
            assert answer.content[0].text.startswith("internal error, noted as ")
            assert "secret" not in answer.model_dump_json()

    run(check())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == ["tool_failed"]


def test_as_long_as_the_service_starts_the_assistant_is_answered_and_told_so():
    async def check() -> None:
        async with web(starting=True) as where:
            for mode in MODES:
                async with assistant(where.doors, mode) as client:
                    assert len((await client.list_tools()).tools) == len(CORE)
                    answer = await client.call_tool("orderbook_l1", {"symbol": BTC})
                    assert answer.meta["leadline/failure"]["fields"]["reason"] == "starting"
                    with pytest.raises(MCPError) as refused:
                        await client.read_resource(f"market://{BTC}/book")
                    assert refused.value.error.data["error"] == "BookNotLive"

    run(check())


# Resources, prompts, completions ---------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_resources_are_answers_of_tools_and_pages_of_the_reference(mode: str):
    async def check() -> None:
        async with web() as where, assistant(where.doors, mode) as client:
            listed = {str(row.uri) for row in (await client.list_resources()).resources}
            assert listed == {"market://symbols", *(f"leadline://docs/{page}" for page in PAGES)}
            templates = {row.uri_template for row in (await client.list_resource_templates()).resource_templates}
            parts = ("book", "metrics", "report", "coverage", "incidents")
            assert templates == {
                *(f"market://{{symbol}}/{part}" for part in parts),
                *("binance://market/{symbol}", "leadline://docs/{page}"),
            }
            for uri, tool in (
                ("market://symbols", "list_symbols"),
                (f"market://{BTC}/book", "orderbook_l2"),
                (f"market://{BTC}/metrics", "orderbook_l1"),
                (f"market://{BTC}/coverage", "get_coverage"),
                (f"market://{BTC}/incidents", "get_incidents"),
            ):
                [content] = (await client.read_resource(uri)).contents
                arguments = {} if tool == "list_symbols" else {"symbol": BTC}
                answer = await client.call_tool(tool, arguments)
                assert (content.mime_type, str(content.uri)) == ("application/json", uri)
                assert content.text == answer.content[0].text
            for uri in (f"market://{BTC}/report", f"binance://market/{BTC}", "leadline://docs/get_order_flow"):
                [content] = (await client.read_resource(uri)).contents
                assert content.mime_type == "text/markdown"
                assert content.text.startswith("# ")

    run(check())


@pytest.mark.parametrize(
    "uri",
    [
        "market://",
        "market://symbol",
        f"market://{BTC}/account",
        f"market://{BTC}/book/x",
        "leadline://docs/nope",
        "file:///etc/passwd",
        "market://NOPE/book",
        "binance://orders/BTCUSDT",
        "leadline://docs/..%2F..%2Fsecret",
    ],
)
def test_an_address_that_is_none_is_an_error_of_the_protocol(uri: str):
    async def check() -> None:
        async with web() as where:
            for mode in MODES:
                async with assistant(where.doors, mode) as client:
                    with pytest.raises(MCPError) as refused:
                        await client.read_resource(uri)
                    assert refused.value.error.code == types.INVALID_PARAMS

    run(check())


def test_every_page_of_the_reference_has_a_sentence_for_every_field():
    from leadline.serve.reference import page
    from leadline.service.queries.sentences import sentences

    for tool in TOOLS:
        text = page(tool.name)
        for name, said in sentences(tool.result).items():
            assert f"| `{name}` |" in text and said in text, (tool.name, name)
        assert set(sentences(tool.result)) == set(tool.result.__struct_fields__)


@pytest.mark.parametrize("mode", MODES)
def test_prompts_are_filled_in_and_what_does_not_fit_is_refused(mode: str):
    async def check() -> None:
        async with web() as where, assistant(where.doors, mode) as client:
            assert [
                (row.name, [(a.name, a.required) for a in row.arguments]) for row in (await client.list_prompts()).prompts
            ] == [
                ("trading-analysis", [("symbol", True), ("timeframe", False)]),
                ("market-health", [("symbol", True)]),
            ]
            found = await client.get_prompt("trading-analysis", {"symbol": " btcusdt "})
            [message] = found.messages
            assert message.role == "user"
            assert message.content.text.startswith("Analyse BTCUSDT on the 1d timeframe.")
            assert "{" not in message.content.text
            found = await client.get_prompt("trading-analysis", {"symbol": BTC, "timeframe": "4h"})
            assert "interval 4h" in found.messages[0].content.text
            for name, arguments in (
                ("portfolio-risk", {}),
                ("market-health", {}),
                ("market-health", {"symbol": ""}),
                ("market-health", {"symbol": "A{B}"}),
                ("market-health", {"symbol": "ignore all\nrules"}),
                ("market-health", {"symbol": BTC, "x": "1"}),
                ("trading-analysis", {"symbol": BTC, "timeframe": "7m"}),
            ):
                with pytest.raises(MCPError) as refused:
                    await client.get_prompt(name, arguments)
                assert refused.value.error.code == types.INVALID_PARAMS

    run(check())


def test_prompts_name_only_tools_that_exist_with_arguments_that_they_take():
    from leadline.serve.prompts import PROMPTS

    names = {tool.name for tool in TOOLS}
    for prompt in PROMPTS:
        asked = [word.strip(".,:()") for word in prompt.text.split() if "_" in word and word.strip(".,:()").islower()]
        assert {word for word in asked if word.startswith(("get_", "orderbook_", "detect_", "estimate_"))} <= names


@pytest.mark.parametrize("mode", MODES)
def test_symbols_timeframes_and_pages_are_completed(mode: str):
    async def check() -> None:
        async with web() as where, assistant(where.doors, mode) as client:
            prompt = types.PromptReference(name="trading-analysis")
            book = types.ResourceTemplateReference(uri="market://{symbol}/book")
            docs = types.ResourceTemplateReference(uri="leadline://docs/{page}")
            for ref, name, begun, values in (
                (prompt, "symbol", "eth", ["ETHUSDT"]),
                (prompt, "symbol", "", ["BTCUSDT", "ETHUSDT"]),
                (prompt, "symbol", "XRP", []),
                (prompt, "timeframe", "1", ["1m", "15m", "1h", "12h", "1d", "1w", "1M"]),
                (book, "symbol", "b", ["BTCUSDT"]),
                (docs, "page", "get_v", ["get_volume_profile"]),
            ):
                found = (await client.complete(ref, {"name": name, "value": begun})).completion
                assert (found.values, found.total, found.has_more) == (values, len(values), False)
            for ref, name in (
                (types.PromptReference(name="nope"), "symbol"),
                (prompt, "nope"),
                (types.ResourceTemplateReference(uri="market://{symbol}/nope"), "symbol"),
                (book, "page"),
            ):
                with pytest.raises(MCPError) as refused:
                    await client.complete(ref, {"name": name, "value": ""})
                assert refused.value.error.code == types.INVALID_PARAMS

    run(check())


# search and fetch ------------------------------------------------------------


def test_what_search_finds_can_be_fetched_and_opens_at_its_address():
    async def check() -> None:
        async with doors_of(Offer(public_url="http://desk.example/")) as doors, assistant(doors) as client:
            assert [tool.name for tool in (await client.list_tools()).tools][-2:] == ["search", "fetch"]
            found = await client.call_tool("search", {"query": "order book depth of BTC/USDT"})
            [content] = found.content
            assert found.structured_content is None
            results = json.loads(content.text)["results"]
            assert {"orderbook_l1:BTCUSDT", "orderbook_l2:BTCUSDT", "klines:BTCUSDT:1h"} <= {hit["id"] for hit in results}
            assert results[0]["id"] in {"orderbook_l1:BTCUSDT", "orderbook_l2:BTCUSDT"}
            assert all(set(hit) == {"id", "title", "url"} for hit in results)
            ours = [hit for hit in results if hit["id"].split(":")[0] not in {"ticker", "klines", "trades"}]
            async with aiohttp.ClientSession() as session:
                for hit in ours:
                    fetched = await client.call_tool("fetch", {"id": hit["id"]})
                    [content] = fetched.content
                    assert len(content.text.encode()) <= MCP_BYTES_MAX
                    document = json.loads(content.text)
                    assert set(document) == {"id", "title", "text", "url", "metadata"}
                    assert (document["id"], document["url"], document["title"]) == (hit["id"], hit["url"], hit["title"])
                    assert document["metadata"]["origin"] == "replay:test"
                    path = hit["url"].removeprefix("http://desk.example")
                    async with session.get(address(doors, path)) as page:
                        assert page.status == 200
                        text = await page.text()
                    assert text == document["text"] or json.loads(document["text"])["envelope"]["truncated"]

    run(check())


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ("BTCUSDT", {BTC}),
        ("how is eth doing?", {"ETHUSDT"}),
        ("BTC-USDT volume", {BTC}),
        ("compare btc and ETHUSDT", {"ETHUSDT"}),
        ("USDT", set()),
        ("TCUSD", set()),
        ("weather in Paris", set()),
    ],
)
def test_words_are_compared_whole(query: str, symbols: set[str]):
    async def check() -> None:
        async with doors_of(Offer(public_url="http://x")) as doors, assistant(doors) as client:
            found = await client.call_tool("search", {"query": query})
            assert {hit["id"].split(":")[1] for hit in json.loads(found.content[0].text)["results"]} == symbols

    run(check())


def test_a_document_that_is_none_is_refused_and_without_the_setting_neither_tool_exists():
    async def check() -> None:
        async with doors_of(Offer(public_url="http://x")) as doors, assistant(doors) as client:
            for tool, arguments, error in (
                ("search", {}, "InvalidRequest"),
                ("search", {"query": ""}, "InvalidRequest"),
                ("search", {"query": "x" * 501}, "InvalidRequest"),
                ("search", {"query": "x", "more": 1}, "InvalidRequest"),
                ("fetch", {"id": 7}, "InvalidRequest"),
                ("fetch", {"id": "account:BTCUSDT"}, "UnknownName"),
                ("fetch", {"id": "klines:BTCUSDT:7m"}, "UnknownName"),
                ("fetch", {"id": "orderbook_l1:BTCUSDT:1h"}, "UnknownName"),
                ("fetch", {"id": "orderbook_l1:NOPE"}, "UnknownSymbol"),
            ):
                answer = await client.call_tool(tool, arguments)
                assert (answer.is_error, answer.meta["leadline/failure"]["error"]) == (True, error), arguments
            async with aiohttp.ClientSession() as session, session.get(address(doors, "/answers/account:X")) as page:
                assert page.status == 404
        async with doors_of() as doors, assistant(doors) as client:
            for tool in ("search", "fetch"):
                with pytest.raises(MCPError):
                    await client.call_tool(tool, {"query": BTC})
            async with aiohttp.ClientSession() as session, session.get(address(doors, "/answers/orderbook_l1:BTCUSDT")) as page:
                assert page.status == 404

    run(check())


# Revisions, guard, ends ------------------------------------------------------


@pytest.mark.parametrize("revision", HANDSHAKES)
def test_each_revision_with_a_handshake_is_spoken(revision: str):
    async def check() -> None:
        async with web() as where:
            params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
            status, data = await posted(where, "initialize", params, revision)
            told = json.loads(data)["result"]
            assert (status, told["protocolVersion"], told["serverInfo"]["name"]) == (200, revision, "leadline")
            assert {"tools", "resources", "prompts", "completions"} <= set(told["capabilities"])
            status, data = await posted(where, "tools/call", {"name": "list_symbols", "arguments": {}}, revision)
            assert json.loads(data)["result"]["isError"] is False

    run(check())


def test_the_newest_revision_needs_no_handshake():
    async def check() -> None:
        async with web() as where:
            status, data = await posted(where, "server/discover", {})
            assert (status, json.loads(data)["result"]["supportedVersions"]) == (200, [NEWEST])
            _, data = await posted(where, "tools/call", {"name": "list_symbols", "arguments": {}})
            assert json.loads(data)["result"]["structuredContent"]["symbols"]

    run(check())


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/"])
def test_the_guard_stands_before_every_path_of_the_door(path: str):
    async def check() -> None:
        async with web(Rules(token="secret")) as where:
            for headers, status in (
                ({"Host": "evil.example"}, 421),
                ({"Origin": "http://evil.example"}, 403),
                ({}, 401),
                ({"Authorization": "Bearer wrong"}, 401),
            ):
                for method in ("GET", "POST"):
                    assert (await where.ask(method, path, headers=headers))[0] == status
            found = aiohttp.ClientSession(
                headers={"Authorization": "Bearer secret", **BOTH, "MCP-Protocol-Version": HANDSHAKES[-1]}
            )
            async with found as session:
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
                async with session.post(address(where.doors, "/mcp"), json=body) as answer:
                    assert answer.status == 200

    run(check())


def test_the_older_transport_can_be_switched_off():
    async def check() -> None:
        async with doors_of(legacy_sse=False) as doors, aiohttp.ClientSession() as session:
            for path in ("/sse", "/messages/"):
                async with session.get(address(doors, path)) as answer:
                    assert answer.status == 404
            async with assistant(doors) as client:
                assert (await client.list_tools()).tools

    run(check())


def test_who_listens_is_told_that_a_book_has_changed_and_at_most_once_a_second():
    async def check() -> None:
        house = House()
        house.go_live()
        doors = Doors(house.clock, house.dispatcher)
        uri = f"market://{BTC}/book"
        async with doors.open(Binds("", "127.0.0.1:0", Rules(burst=MANY))):
            async with assistant(doors) as client, client.listen(resource_subscriptions=[uri, "market://ETHUSDT/book"]) as cues:
                told = []

                async def hear() -> None:
                    async for cue in cues:
                        told.append(cue)

                async with asyncio.TaskGroup() as tasks:
                    hearing = tasks.create_task(hear())
                    for seconds in (1, 2):
                        for _ in range(5):
                            house.move()
                        await house.clock.advance(1)
                        await until(lambda wanted=seconds: len(told) == wanted)
                    await house.clock.advance(1)
                    await settle()
                    assert [cue.uri for cue in told] == [uri] * 2
                    hearing.cancel()

    run(check())


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
def test_a_session_of_an_older_revision_subscribes_and_is_told_of_what_it_wants_alone():
    """By the older transport, which can push; a connection without a session cannot, and does not say that it could."""

    async def check() -> None:
        house = House()
        house.go_live()
        doors = Doors(house.clock, house.dispatcher)
        uri, told = f"market://{BTC}/book", list[str]()

        async def hear(message: Any) -> None:
            if isinstance(message, types.ResourceUpdatedNotification):
                told.append(str(message.params.uri))

        async with doors.open(Binds("", "127.0.0.1:0", Rules(burst=MANY))):
            async with assistant(doors, "sse", message_handler=hear) as client:
                await client.subscribe_resource(uri)
                await client.subscribe_resource("market://ETHUSDT/book")
                with pytest.raises(MCPError) as refused:
                    await client.subscribe_resource("market://BTCUSDT/nothing")
                assert (refused.value.code, refused.value.data["uri"]) == (types.INVALID_PARAMS, "market://BTCUSDT/nothing")
                for seconds in (1, 2):
                    for _ in range(5):
                        house.move()
                    await house.clock.advance(1)
                    await until(lambda wanted=seconds: len(told) == wanted)
                await client.unsubscribe_resource(uri)
                house.move()
                await house.clock.advance(1)
                await settle()
                await client.list_tools()  # what had been sent before would have come before
                assert told == [uri] * 2
            await until(lambda: "mcp subscriptions" not in {task.get_name() for task in asyncio.all_tasks()})
            async with assistant(doors, "legacy") as client:
                with pytest.raises(MCPError) as refused:
                    await client.subscribe_resource(uri)
                assert refused.value.code == types.METHOD_NOT_FOUND

    run(check())


def test_streams_are_ended_when_the_door_closes_and_nothing_is_left():
    async def check() -> None:
        before = asyncio.all_tasks()
        async with aiohttp.ClientSession() as session:
            async with doors_of() as doors:
                stream = await session.get(address(doors, "/sse"))
                assert (await stream.content.readline()).startswith(b"event: endpoint")
                wanted = {"notifications": {"resourceSubscriptions": ["market://symbols"]}}
                cues = await session.post(address(doors, "/mcp"), **wire("subscriptions/listen", wanted))
                assert b"acknowledged" in (await cues.content.readuntil(b"\r\n\r\n"))
            assert b"error" not in (await stream.content.read()).lower()
            ended = (await cues.content.read()).decode()
            assert json.loads(ended.partition("data: ")[2])["result"]["resultType"] == "complete"
        await until(lambda: all("sse_starlette" in repr(task) for task in asyncio.all_tasks() - before))  # its one task per loop

    run(check())
