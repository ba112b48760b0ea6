"""The same questions for every client of MCP: what it shows against HTTP and against the exchange."""

import json
from typing import Any, NamedTuple, Protocol

from door_clients.books import crossed, difference, of_texts
from door_clients.checks import Checks
from door_clients.doors import Doors

LISTED = 12  # tools of set core
LEVELS = 20
FAILURE = "leadline/failure"
PAGE = "leadline://docs/orderbook_l1"


class McpClient(Protocol):
    """Answers are the protocol's own JSON. Each question may have a connection of its own."""

    def tools(self) -> list[Any]: ...

    def call(self, name: str, arguments: dict[str, Any]) -> Any: ...

    def resources(self) -> list[Any]: ...

    def read(self, uri: str) -> Any: ...

    def prompts(self) -> list[Any]: ...

    def prompt(self, name: str, arguments: dict[str, str]) -> Any: ...


class Way(NamedTuple):
    """One way in, with its name for the sentences."""

    name: str
    client: McpClient


def judge(way: Way, doors: Doors, checks: Checks) -> None:
    """Everything that each of them is asked on each way in."""
    _tools(way, doors, checks)
    _books(way, doors, checks)
    _same_as_http(way, doors, checks)
    _failure(way, doors, checks)
    _resources(way, doors, checks)
    _prompts(way, checks)


def _tools(way: Way, doors: Doors, checks: Checks) -> None:
    sentences = {row["name"]: row["description"] for row in doors.ask("/api/tools")[1]["tools"]}
    tools = way.client.tools()
    checks.equal(f"tools by {way.name}", len(tools), LISTED)
    for tool in tools:
        checks.equal(f"sentence of {tool['name']} by {way.name}", tool["description"], sentences.get(tool["name"]))
        checks.true(f"{tool['name']} only reads, by {way.name}", tool["annotations"]["readOnlyHint"])


def _books(way: Way, doors: Doors, checks: Checks) -> None:
    before = doors.tool("orderbook_l1", symbol="BTCUSDT")["last_update_id"]
    top = _answer(way, "orderbook_l1", {"symbol": "BTCUSDT"}, checks)
    after = doors.tool("orderbook_l1", symbol="BTCUSDT")
    checks.equal(f"fields of orderbook_l1 by {way.name}", top.keys(), after.keys())
    checks.true(f"the top by {way.name} is of its moment", before <= top["last_update_id"] <= after["last_update_id"])
    bid, ask = [[top["best_bid"], top["best_bid_size"]]], [[top["best_ask"], top["best_ask_size"]]]
    wrong = difference((of_texts(bid), of_texts(ask)), doors.truth("BTCUSDT", top["last_update_id"]), 1)
    checks.true(f"the top by {way.name} is the exchange's", wrong is None, wrong)
    _is_true(
        f"the ladder by {way.name}", _answer(way, "orderbook_l2", {"symbol": "ETHUSDT", "levels": LEVELS}, checks), doors, checks
    )


def _same_as_http(way: Way, doors: Doors, checks: Checks) -> None:
    """What is past does not change, so both doors must say the same."""
    question = {"symbol": "BTCUSDT", "limit": 5}
    shown = _answer(way, "get_incidents", question, checks)
    checks.equal(f"incidents by {way.name}", shown["incidents"], doors.tool("get_incidents", **question)["incidents"])


def _failure(way: Way, doors: Doors, checks: Checks) -> None:
    """The sentence is for the model; what stands beside it is the body that HTTP sends."""
    _, body = doors.ask("/api/tools/orderbook_l1", {"symbol": "NOPE"})
    result = way.client.call("orderbook_l1", {"symbol": "NOPE"})
    checks.equal(f"an unknown symbol by {way.name} is an error", result.get("isError"), True)
    checks.equal(f"its sentence by {way.name}", [one.get("text") for one in result["content"]], [body["message"]])
    checks.equal(f"its fields by {way.name}", result.get("_meta", {}).get(FAILURE), body)


def _resources(way: Way, doors: Doors, checks: Checks) -> None:
    uris = {row["uri"] for row in way.client.resources()}
    checks.true(f"resources by {way.name}", {"market://symbols", PAGE} <= uris, sorted(uris))
    (page,) = way.client.read(PAGE)["contents"]
    fields = doors.tool("orderbook_l1", symbol="BTCUSDT")
    unsaid = [name for name in fields if name not in page["text"]]
    checks.equal(f"fields that {PAGE} by {way.name} says nothing of", unsaid, [])
    (content,) = way.client.read("market://BTCUSDT/book")["contents"]
    checks.equal(f"kind of a book by {way.name}", content["mimeType"], "application/json")
    _is_true(f"the book by {way.name}", json.loads(content["text"]), doors, checks)


def _prompts(way: Way, checks: Checks) -> None:
    checks.equal(f"prompts by {way.name}", [row["name"] for row in way.client.prompts()], ["trading-analysis", "market-health"])
    (message,) = way.client.prompt("trading-analysis", {"symbol": "ETHUSDT", "timeframe": "4h"})["messages"]
    text = message["content"]["text"]
    checks.true(f"a prompt by {way.name} has its arguments", "ETHUSDT" in text and "4h" in text and "{" not in text, text)


def _answer(way: Way, name: str, arguments: dict[str, Any], checks: Checks) -> Any:
    """Structured content; the text must be the same."""
    result = way.client.call(name, arguments)
    checks.equal(f"{name} by {way.name} is no error", result.get("isError", False), False)
    (content,) = result["content"]
    checks.equal(f"text of {name} by {way.name}", json.loads(content["text"]), result["structuredContent"])
    return result["structuredContent"]


def _is_true(what: str, answer: Any, doors: Doors, checks: Checks) -> None:
    book = of_texts(answer["bids"]), of_texts(answer["asks"])
    checks.equal(f"rows of {what}", (len(answer["bids"]), len(answer["asks"])), (LEVELS, LEVELS))
    checks.true(f"{what} is not crossed", not crossed(book))
    checks.equal(f"order of {what}", (list(book[0]), list(book[1])), (sorted(book[0], reverse=True), sorted(book[1])))
    envelope = answer["envelope"]
    wrong = difference(book, doors.truth(envelope["symbol"], envelope["update_id"]), LEVELS)
    checks.true(f"{what} is the exchange's", wrong is None, wrong)
