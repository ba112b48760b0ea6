"""The same questions for every command-line client of gRPC: what it shows as JSON against HTTP and against the exchange."""

import base64
import json
import re
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from door_clients.books import broken, difference, of_integers, of_texts
from door_clients.checks import Checks
from door_clients.doors import Doors

PROVIDER, DATA, HEALTH = "provider.v1.Provider", "leadline.v1.MarketData", "grpc.health.v1.Health"
SERVICES = {PROVIDER, DATA, HEALTH, "grpc.reflection.v1alpha.ServerReflection"}
DEPTH = 20
PAST_S = 5
EVENTS = 4


class Answered(NamedTuple):
    """code: name of the status, in capitals, OK where there is a message."""

    code: str
    message: Any
    error: str = ""


class GrpcClient(Protocol):
    """A client as its command line has it. Messages are protobuf's JSON with the names of the protos."""

    def services(self) -> set[str]: ...

    def ask(self, method: str, message: Any) -> Answered: ...

    def read(self, method: str, message: Any, count: int) -> list[Any]: ...


def judge(client: GrpcClient, doors: Doors) -> Checks:
    """Everything that both of them are asked."""
    checks = Checks()
    checks.equal("services by reflection", client.services(), SERVICES)
    _capabilities(client, doors, checks)
    _invoke(client, doors, checks)
    _history(client, doors, checks)
    _books(client, doors, checks)
    _failures(client, checks)
    for name in ("", PROVIDER, DATA):
        answered = client.ask(f"{HEALTH}/Check", {"service": name})
        checks.equal(f"health of {name or 'all'}", answered, Answered("OK", {"status": "SERVING"}))
    topic = client.read(f"{PROVIDER}/Stream", {"topic": "book.BTCUSDT"}, EVENTS)
    checks.equal("events of book.BTCUSDT", [event.get("type") for event in topic], ["leadline.book.v1"] * EVENTS)
    for event in topic:
        data = decoded(event["data"])
        shown = of_texts(data["bids"]), of_texts(data["asks"])
        wrong = difference(shown, doors.truth("BTCUSDT", data["update_id"]), DEPTH)
        checks.true("a book of the topic is the exchange's", wrong is None, wrong)
    return checks


def original(node: Any) -> Any:
    """priceE8 as price_e8: protobuf's JSON writes names in either way, and our messages have no maps."""
    if isinstance(node, dict):
        return {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name): original(value) for name, value in node.items()}
    return [original(one) for one in node] if isinstance(node, list) else node


def decoded(field: Any) -> Any:
    """JSON inside a message: bytes are base64 in protobuf's own JSON."""
    return json.loads(base64.b64decode(field["value"]))


def encoded(value: Any) -> dict[str, str]:
    return {"value": base64.b64encode(json.dumps(value).encode()).decode()}


def _capabilities(client: GrpcClient, doors: Doors, checks: Checks) -> None:
    listed = doors.ask("/api/tools")[1]["tools"]
    answered = client.ask(f"{PROVIDER}/ListCapabilities", {})
    checks.equal("status of ListCapabilities", answered.code, "OK")
    shown = (answered.message or {}).get("tools", [])
    checks.equal("names of tools", [tool["name"] for tool in shown], [f"binance.{row['name']}" for row in listed])
    for tool, row in zip(shown, listed, strict=False):
        checks.equal(f"sentence of {row['name']}", tool["description"], row["description"])
        for schema in ("input_schema", "output_schema"):
            checks.equal(f"{schema} of {row['name']}", decoded(tool[schema]), row[schema])


def _invoke(client: GrpcClient, doors: Doors, checks: Checks) -> None:
    before = doors.tool("orderbook_l1", symbol="BTCUSDT")["last_update_id"]
    question = {"tool_name": "binance.orderbook_l1", "payload": encoded({"symbol": "BTCUSDT"})}
    answered = client.ask(f"{PROVIDER}/Invoke", question)
    checks.equal("status of Invoke", answered.code, "OK")
    if answered.message is None:
        return
    after, answer = doors.tool("orderbook_l1", symbol="BTCUSDT"), decoded(answered.message["result"])
    checks.equal("fields of orderbook_l1", answer.keys(), after.keys())
    between = before <= answer["last_update_id"] <= after["last_update_id"]
    checks.true("the book is of its moment", between, (before, answer["last_update_id"], after["last_update_id"]))
    truth = doors.truth("BTCUSDT", answer["last_update_id"])
    best = max(of_texts(truth["bids"]).items()), min(of_texts(truth["asks"]).items())
    for name, found in (("bid", best[0]), ("ask", best[1])):
        shown = Decimal(answer[f"best_{name}"]), Decimal(answer[f"best_{name}_size"])
        checks.equal(f"best {name}", shown, found)


def _history(client: GrpcClient, doors: Doors, checks: Checks) -> None:
    """What is past does not change, so both doors must say the same."""
    last_s = doors.tool("list_symbols")["symbols"][0]["last_stored"]
    for kind in ("seconds", "snapshots"):
        question = {"symbol": "ETHUSDT", "from_s": last_s - PAST_S, "to_s": last_s, "kind": kind}
        answered = client.ask(f"{PROVIDER}/Invoke", {"tool_name": "get_history", "payload": encoded(question)})
        checks.equal(f"status of get_history ({kind})", answered.code, "OK")
        rows = decoded(answered.message["result"])["rows"] if answered.message else None
        checks.equal(f"stored {kind}", rows, doors.tool("get_history", **question)["rows"])


def _books(client: GrpcClient, doors: Doors, checks: Checks) -> None:
    answered = client.ask(f"{DATA}/GetBook", {"symbol": "BTCUSDT", "depth": DEPTH})
    checks.equal("status of GetBook", answered.code, "OK")
    if answered.message:
        _is_true(answered.message, doors, checks)
    events = client.read(f"{DATA}/StreamBook", {"symbols": ["ETHUSDT"], "depth": DEPTH}, EVENTS)
    checks.equal("messages of StreamBook", len(events), EVENTS)
    if events:
        checks.true("the first is a snapshot", "snapshot" in events[0], events[0])
        _is_true(events[0], doors, checks)
        wrong = broken((int(event["seq"]), int(event.get("prev_seq", 0))) for event in events)
        checks.true("each names the one before it", wrong is None, wrong)


def _is_true(event: Any, doors: Doors, checks: Checks) -> None:
    snapshot = event["snapshot"]
    shown = of_integers(snapshot.get("bids", {})), of_integers(snapshot.get("asks", {}))
    checks.equal("levels", (len(shown[0]), len(shown[1])), (DEPTH, DEPTH))
    wrong = difference(shown, doors.truth(event["symbol"], int(event["update_id"])), DEPTH)
    checks.true(f"the book of {event['symbol']} is the exchange's", wrong is None, wrong)


def _failures(client: GrpcClient, checks: Checks) -> None:
    for what, method, message, code, said in (
        ("an unknown symbol", f"{DATA}/GetBook", {"symbol": "NOPE"}, "NOT_FOUND", "'NOPE'"),
        ("an unknown tool", f"{PROVIDER}/Invoke", {"tool_name": "nonsense"}, "NOT_FOUND", "'nonsense'"),
        ("a wrong depth", f"{DATA}/GetBook", {"symbol": "BTCUSDT", "depth": 7}, "INVALID_ARGUMENT", "5, 20, 100, 1000"),
        ("an unknown topic", f"{PROVIDER}/Stream", {"topic": "nonsense"}, "NOT_FOUND", "'nonsense'"),
    ):
        answered = client.ask(method, message)
        checks.equal(f"status of {what}", answered.code, code)
        checks.true(f"the sentence of {what} names it", said in answered.error, answered.error)
