"""The HTTP door over real sockets: how each failure is told, who may come in, health and readiness."""

import asyncio
import json
import logging
import socket
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from msgspec import Struct
from tests.fakes import FakeClock, run
from tests.serve.questions import BTC, QUESTIONS
from tests.serve.web import NOW_NS, Web, web

from leadline import __version__
from leadline.core import errors
from leadline.serve import dispatch, doors
from leadline.serve.errors import TABLE
from leadline.serve.guard import OPEN_PATHS, Rules
from leadline.serve.requests import Request
from leadline.serve.tools import TOOLS, Tool

FLOW = {"symbol": BTC}
SHAPE = {"error", "message", "retryable", "fields"}

# What is raised, the status, Retry-After, fields: written down from the table of the design, not from the code's.
FAILURES: list[tuple[Exception, int, str | None, dict[str, Any]]] = [
    (errors.InvalidRequest("side", "'x'", "buy, sell"), 400, None, {"field": "side", "why": "'x'", "allowed": "buy, sell"}),
    (errors.UnknownName("tool", "x", ["y"]), 404, None, {"kind": "tool", "name": "x", "near": ["y"]}),
    (errors.UnknownSymbol("X", ["Y"]), 404, None, {"symbol": "X", "near": ["Y"]}),
    (
        errors.BookNotLive("X", "gap", 40, 2.6),
        503,
        "3",
        {"symbol": "X", "reason": "gap", "since_ms": 40, "ready_in_s": 2.6},
    ),
    (errors.BookNotLive("X", "gap"), 503, None, {"symbol": "X", "reason": "gap", "since_ms": None, "ready_in_s": None}),
    (
        errors.NotEnoughData(3, 10, "s", 0.3, 0.2),
        503,
        "1",
        {"have": 3, "need": 10, "unit": "s", "coverage": 0.3, "ready_in_s": 0.2},
    ),
    (errors.NotReady("later"), 503, None, {}),
    (errors.Deadline(30), 504, None, {"after_s": 30}),
    (errors.Overloaded(1.5), 429, "2", {"retry_after_s": 1.5}),
    (errors.SlowReader(7), 429, None, {"waiting": 7}),
    (errors.RateLimited(61), 429, "61", {"retry_after_s": 61}),
    (errors.ExchangeError("no"), 502, None, {}),
    (errors.Rejected(400, -1121, "Invalid symbol."), 502, None, {}),
    (errors.Unreachable("x", "refused"), 502, None, {}),
    (errors.StoreCorrupt("/s", "crc", "seconds", "k"), 500, None, {"family": "seconds", "key": "k"}),
    (errors.RecordUnreadable("/s", "trades", "k", "short"), 500, None, {"family": "trades", "key": "k"}),
    (errors.StoreError("/s", "no"), 503, None, {}),
    (errors.StoreBusy("/s", "no"), 503, None, {}),
]


class Nothing(Struct, frozen=True):
    """No answer."""


def raising(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fails(desk: Any, request: Any) -> Any:
        raise error
        yield

    tool = Tool(name="get_nothing", request=Request, result=Nothing, run=fails, help="Fails.")
    monkeypatch.setattr(dispatch, "tool_of", lambda name: tool)


def test_there_is_a_failure_for_each_row_of_the_table():
    assert set(TABLE) <= {type(error) for error, *_ in FAILURES}


@pytest.mark.parametrize(("error", "status", "retry_after", "fields"), FAILURES, ids=lambda one: type(one).__name__)
def test_each_class_of_failure_has_its_status_and_one_shape(
    error: Any, status: int, retry_after: str | None, fields: Any, monkeypatch: pytest.MonkeyPatch
):
    async def check() -> None:
        raising(monkeypatch, error)
        async with web() as client:
            got, headers, body = await client.tool("get_nothing", {})
            assert (got, headers.get("Retry-After"), headers["Content-Type"]) == (status, retry_after, "application/json")
            told = {"error": type(error).__name__, "message": str(error), "retryable": error.retryable, "fields": fields}
            assert body == told

    run(check())


def test_a_bug_tells_its_id_and_nothing_else(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    async def check() -> None:
        raising(monkeypatch, KeyError("a secret of the house"))
        async with web() as client:
            status, headers, body = await client.tool("get_nothing", {})
            assert (status, body["error"], body.keys(), "Retry-After" in headers) == (500, "InternalError", SHAPE, False)
            assert "secret" not in json.dumps(body)
            [line] = [record for record in caplog.records if record.levelno >= logging.ERROR]
            assert (line.getMessage(), line.id) == ("tool_failed", body["fields"]["correlation_id"])

    run(check())


@pytest.mark.parametrize(
    ("body", "content_type", "status", "field"),
    [
        (b"[" * 60_000, "application/json", 400, "body"),
        (b'{"a":' * 10_000, "application/json", 400, "body"),
        (b"{", "application/json", 400, "body"),
        (b"\xff\xfe", "application/json", 400, "body"),
        (b'{"symbol":"\\ud800"}', "application/json", 400, "body"),
        (b'{"symbol":NaN}', "application/json", 400, "body"),
        (b'{"symbol":1e999}', "application/json", 400, "body"),
        (b'{"symbol":' + b"9" * 5_000 + b"}", "application/json", 400, "body"),
        (b"null", "application/json", 400, "arguments"),
        (b"[]", "application/json", 400, "arguments"),
        (b"{}", "application/json; charset=utf-8", 400, "symbol"),
        (b"{}", "application/vnd.api+json", 400, "symbol"),
        (b"symbol=BTCUSDT", "application/x-www-form-urlencoded", 400, "Content-Type"),
        (b'{"symbol":"BTCUSDT"}', "text/plain", 400, "Content-Type"),
        (b"", "text/plain", 400, "symbol"),
    ],
)
def test_a_body_that_is_no_request_is_refused(
    body: bytes, content_type: str, status: int, field: str, caplog: pytest.LogCaptureFixture
):
    async def check() -> None:
        async with web() as client:
            how = {"data": body, "headers": {"Content-Type": content_type}}
            got, _, told = await client.ask("POST", "/api/tools/get_order_flow", **how)
            assert (got, told["fields"]["field"], told.keys()) == (status, field, SHAPE), told

    run(check())
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nonsense", 404),
        ("GET", "/api/tools/get_order_flow", 405),
        ("DELETE", "/healthz", 405),
        ("POST", "/api/tools/nonsense", 404),
        ("POST", "/api/tools/" + "x" * 5_000, 404),
        ("POST", "/api/tools/%00%ff", 404),
        ("POST", "/api/tools/..%2f..%2fetc", 404),
    ],
)
def test_what_is_not_there_is_told_in_the_same_shape(method: str, path: str, status: int):
    async def check() -> None:
        async with web() as client:
            got, _, told = await client.ask(method, path)
            assert (got, told.keys() if isinstance(told, dict) else told) == (status, SHAPE)

    run(check())


# Who may come in -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"Host": "evil.example"}, 421, "InvalidHost"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "InvalidHost"),
        ({"Host": "localhost.evil.example:3001"}, 421, "InvalidHost"),
        ({"Host": ""}, 421, "InvalidHost"),
        ({"Host": "0.0.0.0"}, 421, "InvalidHost"),
        ({"Host": "LOCALHOST:1"}, 200, None),
        ({"Host": "[::1]:3001"}, 200, None),
        ({"Host": "Books.Example:80"}, 200, None),
        ({"Origin": "http://evil.example"}, 403, "InvalidOrigin"),
        ({"Origin": "null"}, 403, "InvalidOrigin"),
        ({"Origin": ""}, 403, "InvalidOrigin"),
        ({"Origin": "http://localhost.evil.example"}, 403, "InvalidOrigin"),
        ({"Origin": "https://page.example:8443"}, 403, "InvalidOrigin"),
        ({"Origin": "http://localhost:80@evil.example"}, 403, "InvalidOrigin"),
        ({"Origin": "http://localhost:5173"}, 200, None),
        ({"Origin": "https://page.example"}, 200, None),
    ],
)
def test_only_known_hosts_and_origins_come_in(headers: dict[str, str], status: int, error: str | None):
    rules = Rules(hosts=["books.example"], origins=["https://page.example"])

    async def check() -> None:
        async with web(rules) as client:
            for path in ("/api/tools", *OPEN_PATHS):
                got, said, told = await client.ask("GET", path, headers=headers)
                ready_or_not = 503 if path == "/readyz" and status == 200 else status
                assert (got, told.get("error")) == (ready_or_not, error), path
                assert "Access-Control-Allow-Origin" not in said

    run(check())


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        ("Bearer wrong", 401),
        ("Bearer secretx", 401),
        ("Basic secret", 401),
        ("secret", 401),
        ("Bearer s\u00e9cret", 401),
        ("Bearer secret", 200),
        ("bearer secret", 200),
    ],
)
def test_a_token_is_asked_for_everywhere_but_at_the_open_paths(authorization: str | None, status: int):
    async def check() -> None:
        async with web(Rules(token="secret")) as client:
            headers = {} if authorization is None else {"Authorization": authorization}
            for path in ("/api/tools", "/metrics", "/openapi.json"):
                got, said, told = await client.ask("GET", path, headers=headers)
                assert got == status, path
                if status == 401:
                    assert (said["WWW-Authenticate"], told["error"], told.keys()) == ("Bearer", "Unauthenticated", SHAPE)
            got, _, _ = await client.tool("list_symbols", {}, headers=headers)
            assert got == status
            assert [(await client.ask("GET", path))[0] for path in ("/healthz", "/readyz")] == [200, 503]

    run(check())


def test_a_body_may_be_as_large_as_the_rules_say_and_no_larger():
    """Around the symbol's text stand 13 bytes: {"symbol":""}. What has a length is refused before anybody reads it."""

    async def check() -> None:
        async with web(Rules(body_bytes_max=1_000)) as client:
            path, headers = "/api/tools/get_order_flow", {"Content-Type": "application/json"}
            for size, status in ((1_000, 400), (1_001, 413), (100_000, 413)):
                body = b'{"symbol":"' + b"x" * (size - 13) + b'"}'
                assert len(body) == size
                told = await client.ask("POST", path, data=body, headers=headers)
                assert (told[0], told[2]["error"]) == (status, "InvalidRequest" if status == 400 else "TooLarge"), size
                told = await client.ask("POST", path, data=_pieces(body), headers=headers)
                assert (told[0], told[2].keys()) == (status, SHAPE), f"{size} without a length"
                assert (await client.ask("GET", "/api/tools", data=body))[0] == (413 if status == 413 else 200), size

    run(check())


async def _pieces(body: bytes) -> Any:
    for at in range(0, len(body), 400):
        yield body[at : at + 400]


def test_a_client_has_so_many_requests_at_once_and_then_so_many_a_second():
    """Burst 3, one each 2 s. Three come in; the next waits 2 s; after 2 s one more; after 100 s no more than three."""

    async def check() -> None:
        clock = FakeClock(NOW_NS)
        async with web(Rules(rate_per_s=0.5, burst=3), clock=clock) as client:

            async def ask(times: int) -> list[tuple[int, str | None]]:
                found = [await client.ask("GET", "/api/tools") for _ in range(times)]
                assert all(body["error"] == "Overloaded" and body["retryable"] for status, _, body in found if status == 429)
                return [(status, headers.get("Retry-After")) for status, headers, _ in found]

            assert await ask(5) == [(200, None)] * 3 + [(429, "2")] * 2
            assert {(await client.ask("GET", "/healthz"))[0] for _ in range(5)} == {200}
            clock.now += 1
            assert await ask(1) == [(429, "1")]
            clock.now += 1
            assert await ask(2) == [(200, None), (429, "2")]
            clock.now += 100
            assert await ask(4) == [(200, None)] * 3 + [(429, "2")]

    run(check())


# What is told of the service -------------------------------------------------------------


def test_health_is_that_the_process_lives_and_readiness_is_more():
    async def check() -> None:
        async with web(starting=True) as client:
            assert await _status(client, "/healthz") == (200, {"status": "ok", "version": __version__})
            starting = {"ready": False, "reason": "starting", "symbols": {}}
            assert await _status(client, "/readyz") == (503, starting)
            status, _, told = await client.tool("get_order_flow", FLOW)
            assert (status, told["error"], told["fields"]["reason"]) == (503, "BookNotLive", "starting")

    run(check())


async def _status(client: Web, path: str) -> tuple[int, Any]:
    status, _, body = await client.ask("GET", path)
    return status, body


def test_the_listing_and_the_description_are_the_table():
    async def check() -> None:
        async with web() as client:
            _, listed = await _status(client, "/api/tools")
            assert [row["name"] for row in listed["tools"]] == [tool.name for tool in TOOLS]
            for row in listed["tools"]:
                Draft202012Validator.check_schema(row["input_schema"])
                Draft202012Validator.check_schema(row["output_schema"])
            _, api = await _status(client, "/openapi.json")
            others = {"/healthz", "/readyz", "/metrics", "/openapi.json", "/api/tools"}
            assert set(api["paths"]) == others | {f"/api/tools/{tool.name}" for tool in TOOLS}
            assert "$ref" not in json.dumps(api)
            for name, question in QUESTIONS.items():
                post = api["paths"][f"/api/tools/{name}"]["post"]
                Draft202012Validator(post["requestBody"]["content"]["application/json"]["schema"]).validate(question)
                _, _, answer = await client.tool(name, question)
                Draft202012Validator(post["responses"]["200"]["content"]["application/json"]["schema"]).validate(answer)
                refused = post["responses"]["400"]["content"]["application/json"]["schema"]
                _, _, told = await client.tool(name, {"nonsense": 1})
                Draft202012Validator(refused).validate(told)

    run(check())


REFUSALS = {400, 403, 404, 413, 421, 429, 500, 502, 503, 504}


def test_every_status_that_a_question_may_meet_is_described_with_its_headers():
    """By hand: the failures above, what the guard refuses, 401 where a token is set. Retry-After is always there with 429."""

    async def check() -> None:
        for token in ("", "secret"):
            async with web(Rules(token=token)) as client:
                _, _, api = await client.ask("GET", "/openapi.json", headers={"Authorization": "Bearer secret"})
                for tool in TOOLS:
                    post = api["paths"][f"/api/tools/{tool.name}"]["post"]
                    wanted = {200, *REFUSALS, *({401} if token else ())}
                    assert {int(status) for status in post["responses"]} == wanted
                    assert post["responses"]["429"]["headers"]["Retry-After"]["required"] is True
                    assert post["responses"]["503"]["headers"]["Retry-After"]["required"] is False
                    assert post.get("security") == ([{"token": []}] if token else None)
                for path in ("/healthz", "/readyz"):
                    assert "security" not in api["paths"][path]["get"]
                assert ("components" in api) == bool(token)
        assert {status for _, status, _, _ in FAILURES} <= REFUSALS

    run(check())


def test_a_question_without_a_body_is_described_as_one_where_no_field_is_required():
    async def check() -> None:
        async with web() as client:
            _, api = await _status(client, "/openapi.json")
            for tool in TOOLS:
                body = api["paths"][f"/api/tools/{tool.name}"]["post"]["requestBody"]
                status, _, told = await client.ask("POST", f"/api/tools/{tool.name}")
                missing = status == 400 and told["fields"]["why"] == "missing"
                assert body["required"] is missing, tool.name

    run(check())


def test_the_other_paths_answer_as_they_are_described():
    async def check() -> None:
        for starting in (False, True):
            async with web(starting=starting) as client:
                _, api = await _status(client, "/openapi.json")
                for path in set(api["paths"]) - {f"/api/tools/{tool.name}" for tool in TOOLS}:
                    status, headers, told = await client.ask("GET", path)
                    [(media_type, said)] = api["paths"][path]["get"]["responses"][str(status)]["content"].items()
                    assert headers["Content-Type"].partition(";")[0] == media_type, path
                    Draft202012Validator(said["schema"]).validate(told if media_type == "application/json" else str(told))

    run(check())


def test_what_is_said_beside_a_reference_is_kept():
    """`options` of a report has a default, which a reference alone would not say."""

    async def check() -> None:
        async with web() as client:
            _, api = await _status(client, "/openapi.json")
            body = api["paths"]["/api/tools/generate_market_report"]["post"]["requestBody"]
            options = body["content"]["application/json"]["schema"]["properties"]["options"]
            assert options["default"] == {"include_sections": None, "volume_window_hours": 24, "orderbook_levels": 20}
            assert options["properties"]["volume_window_hours"]["maximum"] == 168

    run(check())


def test_many_questions_at_once_have_each_their_own_answer():
    async def check() -> None:
        async with web() as client:
            windows = [10 + n for n in range(30)]
            asked = [client.tool("get_order_flow", {**FLOW, "window_duration_secs": window}) for window in windows]
            found = await asyncio.gather(*asked)
            assert [answer["envelope"]["coverage"]["expected_s"] for _, _, answer in found] == windows

    run(check())


def test_an_answer_is_sent_as_soon_as_it_is_written():
    """Nagle's algorithm holds back the second small write of an answer until the client has acknowledged the first, for 40 ms."""

    async def check() -> None:
        accepted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        listening = doors._socket("127.0.0.1", 0, "")
        async with await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listening):
            _, client = await asyncio.open_connection(*listening.getsockname())
            served = await accepted
            assert served.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            client.close()
            served.close()

    run(check())
