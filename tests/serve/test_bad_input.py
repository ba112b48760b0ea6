"""Bad input of every kind to every field of every tool, at every door: one shape of refusal, the field named, nothing answered,
nothing logged as an error, and never our own fault."""

import asyncio
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import aiohttp
import grpc
import msgspec
import pytest
from bench.soak_clients import Sse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes import run
from tests.serve.market import BTC, House
from tests.serve.test_requests import VALID
from tests.serve.web import Web, web

from leadline import calling
from leadline.core.errors import InvalidRequest, LeadlineError, UnknownSymbol
from leadline.serve import requests
from leadline.serve.dispatch import Dispatcher, Outcome
from leadline.serve.proto import market_data_pb2 as data
from leadline.serve.proto import provider_pb2 as pb
from leadline.serve.requests import request_of
from leadline.serve.schemas import input_schema
from leadline.serve.tools import TOOLS, Tool, tool_of

each = pytest.mark.parametrize("name", [tool.name for tool in TOOLS])
REFUSED = {"InvalidRequest", "UnknownSymbol"}
MESSAGE_MAX = 500


def deep(depth: int, *, of: type = list) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found] if of is list else {"a": found}
    return found


NOT_NUMBERS: list[Any] = [True, False, "5", "x", "", "５", "٥", [], [5], {}, {"a": 5}]
NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, 1e300, -1e300, 10**30, -(10**30), -1, 0.5, 1e-300]
NO_TEXTS: list[Any] = [5, 0, 5.5, True, False, [], ["x"], {}, {"x": "y"}]
LARGE: list[Any] = ["x" * 1_000_000, "🙂" * 100_000, [1] * 100_000, ["BTCUSDT"] * 100_000, dict.fromkeys(map(str, range(10_000)))]
DEEP: list[Any] = [deep(400), deep(900), deep(400, of=dict), deep(900, of=dict)]
TEXTS = [
    "'; DROP TABLE seconds; --",
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "%s%n%x",
    "$(reboot)",
    "BTCUSDT\r\nX-Injected: 1",
    "BTC\nUSDT",
    "BTCUSDT\x00",
    "\x00",
    "\x1b[2J",
    "<script>alert(1)</script>",
    "ＢＴＣＵＳＤＴ",
    "BTCUſDT",
    "１０",
    "\u202eTDSUCTB",
    "B\u0301TCUSDT",
    "BTC\u200bUSDT",
    "BTCUSDT\u3000X",
    "🙂",
    "\U000e0001" * 60,
    "\ud800",
    "BTC\udcff",
    "*",
    ":",
    "BTC:USDT",
    " ",
    "\t",
    "a" * 65,
    "null",
    "None",
    "[]",
]
NAMES = [
    "nonsense",
    "größe",
    "__class__",
    "symbol ",
    "Symbol",
    "symbol\x00",
    "\r\nX: 1",
    "\ud800",
    "`",
    "a`b",
    "x" * 100_000,
    "",
    "$",
]


def fields_of(tool: Tool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path of the field, its own name, its schema): those of options too, and other names."""
    aliases = {other: own for own, others in requests.ALIASES.get(tool.request, {}).items() for other in others}
    for field, said in input_schema(tool.request)["properties"].items():
        yield field, aliases.get(field, field), said
    for field, said in (
        input_schema(requests.ReportOptions)["properties"].items() if tool.name == "generate_market_report" else ()
    ):
        yield f"options.{field}", f"options.{field}", said


def wrong_values(said: dict[str, Any]) -> list[Any]:
    """Worked out from the schema: what is of no type that it allows, and what is out of its bounds."""
    kinds = said.get("anyOf", [said])
    types = {"string" if "enum" in one and isinstance(one["enum"][0], str) else one.get("type", "integer") for one in kinds}
    if "$ref" in str(said):
        types = {"object"}
    wrong: list[Any] = [*LARGE, *DEEP] + ([] if "null" in types else [None])
    if "object" in types:
        return [one for one in wrong if not isinstance(one, dict)] + [5, "x", True, [], TEXTS[0]]
    if "array" in types:
        return [*wrong, 5, "x", True, {}, [5], [None], [[]], *([text] for text in TEXTS)]
    if types & {"integer", "number"}:
        wrong += [one for one in NOT_NUMBERS if not ("string" in types and one == "5")]
        wrong += NO_NUMBERS if "integer" in types else [one for one in NO_NUMBERS if not 0 < one < 1e9]
        wrong += [1e-300] if "string" in types else []
    elif "string" in types:
        wrong += NO_TEXTS
    if "string" in types:
        wrong += TEXTS
    for one in kinds:
        wrong += [one["minimum"] - 1] if "minimum" in one else []
        wrong += [one["maximum"] + 1] if "maximum" in one else []
    return [one for one in wrong if not _allowed(one, kinds)]


def _allowed(value: Any, kinds: list[dict[str, Any]]) -> bool:
    """What is right after all: 10 ** 30 ms since 1970 is refused by the question, -1 by the schema; and an amount of 0.5."""
    for one in kinds:
        if one.get("type") == "number" and type(value) in {int, float} and 0 < value <= one.get("maximum", 1e9):
            return value >= 1e-8
        if one.get("type") == "integer" and type(value) is int and value >= one.get("minimum", 0) and "maximum" not in one:
            return True
    return False


def with_field(valid: dict[str, Any], path: str, own: str, value: Any) -> dict[str, Any]:
    outer, _, inner = path.partition(".")
    aliases = {"levels", "depth_levels", "limit"} if own == "levels" else {path}
    rest = {name: one for name, one in valid.items() if name not in aliases}
    return {**rest, outer: {inner: value} if inner else value}


def cases(name: str) -> Iterator[tuple[str, Any, str]]:
    """(what, arguments, the field that must be named)."""
    tool, valid = tool_of(name), VALID[name]
    for arguments in (None, 5, "x", True, [], [valid], "\ud800", deep(900)):
        yield f"arguments {str(arguments)[:20]!a}", arguments, "arguments"
    for field in input_schema(tool.request).get("required", ()):
        yield f"{field} missing", {one: value for one, value in valid.items() if one != field}, field
    for unknown in NAMES:
        yield f"unknown {unknown[:20]!a}", {**valid, unknown: 1}, ""
    for path, own, said in fields_of(tool):
        for value in wrong_values(said):
            if name == "get_incidents" and value == "*":  # the whole service
                continue
            yield f"{path}={str(value)[:30]!a}", with_field(valid, path, own, value), own


def judge(what: str, told: dict[str, Any], field: str, *, longest: int = MESSAGE_MAX) -> None:
    assert told.keys() == {"error", "message", "retryable", "fields"}, what
    assert told["error"] in REFUSED and told["retryable"] is False, (what, told["error"], told["message"][:200])
    assert len(told["message"]) < longest and told["message"].isprintable(), (what, told["message"])
    assert len(json.dumps(told, ensure_ascii=False)) < 3 * longest, what
    if told["error"] == "UnknownSymbol":
        assert field == "symbol", what
    else:
        named = told["fields"]["field"]
        inside = named.startswith((f"{field}[", f"{field}."))  # or, where the library does not say more, the object around it
        around = told["fields"]["why"] == "not Unicode text" and field.startswith(f"{named}.")
        assert not field or named == field or inside or around, (what, named)
        assert told["fields"]["why"] and told["fields"]["allowed"], what


def no_errors(caplog: pytest.LogCaptureFixture) -> None:
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING or record.exc_info] == []


class Asked:
    """An exchange that knows BTCUSDT, and must not be asked anything else."""

    def __getattr__(self, question: str) -> Any:
        async def ask(symbol: str, *_: Any) -> Any:
            if symbol != BTC:
                raise UnknownSymbol(symbol)
            raise AssertionError(f"{question} was asked of a request that is none")

        return ask

    async def listed(self, symbols: Any, _: float) -> dict[str, Any]:
        assert BTC not in symbols, "asked of a request that is none"
        return {}

    def near(self, symbol: str) -> list[str]:
        return [BTC]


def dispatcher() -> Dispatcher:
    """Over live books, with an exchange: whatever could be answered would be."""
    house = House()
    house.go_live()
    assert house.dispatcher.desk is not None
    house.dispatcher.desk.market = Asked()
    return house.dispatcher


@each
def test_whatever_is_wrong_with_a_field_is_refused_under_its_name(name: str, caplog: pytest.LogCaptureFixture):
    asked = dispatcher()

    async def check() -> None:
        for what, arguments, field in cases(name):
            outcome = await asked.call(name, arguments, transport="test")
            assert outcome.failure is not None, f"answered: {what}"
            judge(what, msgspec.json.decode(msgspec.json.encode(outcome.failure)), field)

    run(check())
    no_errors(caplog)


# Over sockets ----------------------------------------------------------------------------


def sent(name: str) -> list[tuple[str, bytes, str]]:
    """What JSON can carry of the cases, within what a door reads: each 5th, and all that is not of a type."""
    found = []
    for at, (what, arguments, field) in enumerate(cases(name)):
        try:
            body = json.dumps(arguments).encode()
        except RecursionError:
            continue
        if len(body) < 60_000 and (at % 5 == 0 or "ud800" in what or "nan" in what):
            found.append((what, body, field))
    return found


@each
def test_http_refuses_in_one_shape(name: str, caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        async with web() as client:
            client.doors.dispatcher.desk.market = Asked()
            for what, body, field in sent(name):
                headers = {"Content-Type": "application/json"}
                status, said, told = await client.ask("POST", f"/api/tools/{name}", data=body, headers=headers)
                assert status == (404 if told["error"] == "UnknownSymbol" else 400), (what, told)
                judge(what, told, "" if told["fields"].get("field") == "body" else field)
                assert "X-Injected" not in said and said["Content-Type"] == "application/json"

    run(check())
    no_errors(caplog)


@each
def test_grpc_refuses_in_one_shape(name: str, caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        house = House()
        house.go_live()
        house.dispatcher.desk.market = Asked()
        async with house.open() as door:
            for what, body, field in sent(name):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await door.provider.Invoke(pb.InvokeRequest(tool_name=name, payload=pb.Json(value=body)))
                told = json.loads(dict(refused.value.trailing_metadata())["leadline-error-bin"])
                code = grpc.StatusCode.NOT_FOUND if told["error"] == "UnknownSymbol" else grpc.StatusCode.INVALID_ARGUMENT
                assert (refused.value.code(), refused.value.details()) == (code, told["message"]), what
                judge(what, told, "" if told["fields"].get("field") == "payload" else field)

    run(check())
    no_errors(caplog)


MCP = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
OLD, NEW = "2025-06-18", "2026-07-28"


async def asked_by_mcp(client: Web, revision: str, name: str, arguments: bytes) -> tuple[int, dict[str, Any]]:
    """Status, and the one JSON-RPC message that came."""
    meta = ""
    headers = {**MCP, "MCP-Protocol-Version": revision}
    if revision == NEW:
        said = {"protocolVersion": NEW, "clientInfo": {"name": "test", "version": "1"}, "clientCapabilities": {}}
        meta = ',"_meta":' + json.dumps({f"io.modelcontextprotocol/{key}": value for key, value in said.items()})
        headers |= {"Mcp-Method": "tools/call", "Mcp-Name": name}
    params = b'{"name":%s,"arguments":%s%s}' % (json.dumps(name).encode(), arguments, meta.encode())
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":%s}' % params
    status, _, told = await client.ask("POST", "/mcp", data=body, headers=headers)
    if isinstance(told, str):
        told = json.loads(next(line[6:] for line in told.splitlines() if line.startswith("data: {")))
    return status, told


@pytest.mark.parametrize("revision", [OLD, NEW])
@each
def test_mcp_refuses_in_one_shape(name: str, revision: str, caplog: pytest.LogCaptureFixture):
    """A tool error with the sentence for the model and the fields for programs; what is no call is the protocol's error."""

    async def check() -> None:
        async with web() as client:
            client.doors.dispatcher.desk.market = Asked()
            for what, body, field in sent(name)[revision == NEW :: 8]:
                if body == b"null":  # no arguments are none, there
                    continue
                status, told = await asked_by_mcp(client, revision, name, body)
                if "error" in told:
                    message = told["error"]["message"]
                    assert told["error"]["code"] in {-32700, -32602} and len(message) < MESSAGE_MAX, (what, told)
                    assert message.isprintable() and told.keys() == {"jsonrpc", "id", "error"}, (what, told)
                    assert told["error"]["code"] == -32700 or what.startswith("arguments "), (what, told)
                    assert told["error"]["code"] != -32700 or b"\\ud" in body or body.count(b"[") + body.count(b"{") > 190, (
                        what,
                        told,
                    )
                    continue
                result = told["result"]
                assert status == 200 and result["isError"] is True and "structuredContent" not in result, (what, told)
                failure = result["_meta"]["leadline/failure"]
                assert [one["text"] for one in result["content"]] == [failure["message"]], what
                judge(what, failure, field)

    run(check())
    no_errors(caplog)


@pytest.mark.parametrize("revision", [OLD, NEW])
@pytest.mark.parametrize("name", ["", " ", "x" * 20_000, "../list_symbols", "ｌist_symbols", "%s", "place_order"])
def test_mcp_refuses_a_name_of_no_tool_by_the_protocols_error(name: str, revision: str, caplog: pytest.LogCaptureFixture):
    if revision == NEW and not (name.isascii() and len(name) < 8_000 and name.strip()):
        pytest.skip("no header can carry it")

    async def check() -> None:
        async with web() as client:
            _, told = await asked_by_mcp(client, revision, name, b"{}")
            assert told["error"]["code"] == -32602, told
            assert len(told["error"]["message"]) < MESSAGE_MAX and told["error"]["message"].isprintable()

    run(check())
    no_errors(caplog)


JUNK = [
    b"",
    b"x",
    b"[]",
    b"null",
    b"5",
    b'"x"',
    b"{}",
    b'{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
    b"\xff\xfe",
]
JUNK += [
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
    b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
    b"[" * 5_000,
    b"{" * 5_000,
]
JUNK += [b'{"jsonrpc":"2.0","id":1,"method":"no/such"}', b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}']


@pytest.mark.parametrize("body", JUNK, ids=range(len(JUNK)))
def test_what_is_no_message_of_mcp_is_refused_without_a_word_in_the_log(body: bytes, caplog: pytest.LogCaptureFixture):
    """At /mcp, and behind the stream of /sse, which goes on."""

    async def check() -> None:
        async with web() as client:
            status, _, _ = await client.ask("POST", "/mcp", data=body, headers=MCP)
            assert status in {200, 202, 400}
            async with aiohttp.ClientSession() as session, Sse.open(session, client.url) as stream:
                status, _, _ = await client.ask("POST", stream.path, data=body, headers=MCP)
                assert status in {202, 400}
                assert await stream.ask("ping", {}) == "ok"
                status, _, _ = await client.ask("POST", "/messages/?session_id=" + "0" * 32, data=body, headers=MCP)
                assert status == 404

    run(check())
    no_errors(caplog)


RANGE = {"symbol": BTC, "from_s": 10, "to_s": 20}
MOST, LEAST = 2**63 - 1, -(2**63)
SENDABLE = [text for text in TEXTS if not any("\ud800" <= char <= "\udfff" for char in text)]  # protobuf takes Unicode only
TYPED: list[tuple[str, Any, str]] = [
    *(("GetBook", data.BookRequest(symbol=text), "symbol") for text in ["", "x" * 100_000, *SENDABLE]),
    *(("GetBook", data.BookRequest(symbol=BTC, depth=depth), "depth") for depth in (1, 4, 21, 1_001, 2**32 - 1)),
    *(("GetBook", data.BookRequest(symbol=BTC, max_age_ms=age), "max_age_ms") for age in (60_001, 2**32 - 1)),
    *(("StreamBook", data.StreamBookRequest(symbols=[text]), "symbol") for text in ["", "x" * 100_000, *SENDABLE]),
    ("StreamBook", data.StreamBookRequest(), "symbols"),
    ("StreamBook", data.StreamBookRequest(symbols=[BTC] * 100_000), "symbols"),
    ("StreamBook", data.StreamBookRequest(symbols=[BTC], depth=7), "depth"),
    ("StreamBook", data.StreamBookRequest(symbols=[BTC], policy=99), "policy"),
    ("StreamTrades", data.StreamTradesRequest(), "symbols"),
    ("StreamTrades", data.StreamTradesRequest(symbols=[BTC], policy=-1), "policy"),
    *(
        (method, data.RangeRequest(**{**RANGE, field: value}), field)
        for method in ("GetSnapshots", "GetTrades", "GetCoverage", "ScanSeconds")
        for field, value in (
            *(("symbol", text) for text in ["", *SENDABLE]),
            *(("from_s", second) for second in (-1, LEAST)),
            *(("to_s", second) for second in (0, 10, -1, LEAST, MOST)),
            *(("page_token", token) for token in ("x", "x" * 100_000, "\x00", "🙂", "../..", "15:")),
            ("page_size", 2**32 - 1),
            ("step_s", 2**32 - 1),
            ("fields", ["nonsense"]),
            ("fields", ["x" * 100_000]),
            ("fields", ["t"] * 10_000),
        )
        if not (method == "ScanSeconds" and field == "fields" and value == ["t"] * 10_000)
    ),
]


def test_the_typed_grpc_door_refuses_in_the_same_shape(caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        house = House()
        house.go_live()
        async with house.open() as door:
            for method, request, field in TYPED:
                what = f"{method} {str(request)[:60]!a}"
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    call = getattr(door.data, method)(request)
                    if hasattr(call, "read"):
                        raise AssertionError(f"answered: {what}, {await call.read()}"[:300])
                    raise AssertionError(f"answered: {what}, {await call}"[:300])
                told = json.loads(dict(refused.value.trailing_metadata())["leadline-error-bin"])
                code = grpc.StatusCode.NOT_FOUND if told["error"] == "UnknownSymbol" else grpc.StatusCode.INVALID_ARGUMENT
                assert (refused.value.code(), refused.value.details()) == (code, told["message"]), what
                judge(what, told, field, longest=1_000 if field == "fields" else MESSAGE_MAX)  # every column is named

    run(check())
    no_errors(caplog)


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 100_000, "get_order_flow\n", "../list_symbols", "ｌist_symbols", "🙂" * 5_000, "%s"]
)
def test_a_name_of_no_tool_is_refused_at_once_and_in_few_words(name: str, caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        house = House()
        async with house.open() as door:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await door.provider.Invoke(pb.InvokeRequest(tool_name=name))
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
            assert len(refused.value.details()) < MESSAGE_MAX and refused.value.details().isprintable()

    run(check())
    no_errors(caplog)


# The command line ------------------------------------------------------------------------


@each
def test_words_of_a_command_line_are_refused_before_anything_is_asked(name: str):
    """Numbers may be text there; what is no number of the field is refused all the same, and what is none is named."""
    tool = tool_of(name)
    for path, own, said in fields_of(tool):
        if "." in path or "$ref" in str(said):
            continue
        for text in [*TEXTS, "nan", "inf", "-inf", "1e999", "5_0", "٥", "５", "0x10", "-1", "", "1.5.5", "true", "{}", "[1]"]:
            right = "pattern" in str(said) and text in {
                "-1",
                "1e999",
            }  # a decimal number: what is wrong with it the question says
            try:
                given = {**VALID[name], **calling.arguments([f"{path}={text}"])}
                request = request_of(
                    tool.request, {one: value for one, value in given.items() if one == path or one != own}, lax=True
                )
            except InvalidRequest as error:
                assert len(str(error)) < MESSAGE_MAX and str(error).isprintable(), (path, text)
                assert error.field in {own, path} or error.field.startswith(own), (path, text, error.field)
            else:
                assert own == "symbol" or text == "null" or right, (path, text, request)
                msgspec.json.encode(request)


# Anything at all -------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@each
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_json_is_our_own_fault(name: str, data: st.DataObject):
    """Valid fields, wrong ones and unknown ones, mixed: an answer, or a failure that is the caller's or the moment's."""
    valid = {**VALID[name], "symbol": data.draw(st.sampled_from([BTC, "ETHUSDT"]))} if "symbol" in VALID[name] else VALID[name]
    fields = [path for path, _, _ in fields_of(tool_of(name)) if "." not in path]
    mixed = data.draw(st.dictionaries(st.sampled_from(fields) | st.text(max_size=8), JSON, max_size=3)) if fields else {}
    arguments = data.draw(st.just({**valid, **mixed}) | JSON)
    outcome = _answered(name, arguments)
    if outcome.failure is not None:
        assert outcome.failure.error != "InternalError", outcome.failure
        assert len(outcome.failure.message) < MESSAGE_MAX and outcome.failure.message.isprintable()
        msgspec.json.encode(outcome.failure)
    else:
        msgspec.json.encode(outcome.value)


class Silent(Asked):
    """An exchange that knows BTCUSDT and does not answer."""

    def __getattr__(self, question: str) -> Any:
        async def ask(*_: Any) -> Any:
            raise LeadlineError("no answer")

        return ask

    async def listed(self, symbols: Any, _: float) -> dict[str, Any]:
        raise LeadlineError("no answer")


def _answered(name: str, arguments: Any) -> Outcome:
    asked = dispatcher()
    assert asked.desk is not None
    asked.desk.market = Silent()
    return asyncio.run(asked.call(name, arguments, transport="test"))
