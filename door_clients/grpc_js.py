"""@grpc/grpc-js with our protos: a second language, which keeps books from a stream by the rules that the proto states."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from door_clients.books import broken, crossed, difference, of_integers, of_texts
from door_clients.checks import Checks
from door_clients.doors import SYMBOLS, Doors
from door_clients.programs import ran

PROTOS = Path(__file__).resolve().parents[1] / "protos"
SECONDS = 5
DEPTH = 100
TOPIC_DEPTH = 20
BOOKS_MIN = 2 * SECONDS  # a symbol; the market moves ten times a second
EVENTS_MIN = 2 * SECONDS  # of a topic


def check(node: Path, folder: Path, doors: Doors) -> Checks:
    """node: the program; folder: where the script and its packages are."""
    checks = Checks()
    flow_before = doors.ask("/api/tools/get_order_flow", {"symbol": "BTCUSDT"})
    ended = ran([node, folder / "ask.js", doors.grpc, PROTOS, SECONDS])
    checks.equal("status of the script", (ended.status, ended.complained.strip()), (0, ""))
    lines = [json.loads(line) for line in ended.said.splitlines()]
    told = {name: line for line in lines for name in ("names", "failure", "ended") if name in line}
    names = [f"binance.{tool['name']}" for tool in doors.ask("/api/tools")[1]["tools"]]
    checks.equal("names of ListCapabilities", told.get("names", {}).get("names"), names)
    _answers({line["tool"]: line for line in lines if "tool" in line}, flow_before, doors, checks)
    _failure(told.get("failure", {}).get("failure", {}), doors, checks)
    _topic([line["event"] for line in lines if "event" in line], doors, checks)
    _books([line for line in lines if "seq" in line], doors, checks)
    complaints = [line["complaint"] for line in lines if "complaint" in line]
    checks.equal("what is removed was there", complaints, [])
    checks.equal("how streams that it cancels end", told.get("ended", {}).get("ended"), ["CANCELLED", "CANCELLED"])
    return checks


def _answers(answers: dict[str, Any], flow_before: tuple[int, Any], doors: Doors, checks: Checks) -> None:
    top = answers["orderbook_l1"]
    checks.equal("status of orderbook_l1", top["code"], "OK")
    if top["code"] == "OK":
        answer = top["answer"]
        truth = doors.truth("BTCUSDT", answer["last_update_id"])
        best = max(of_texts(truth["bids"])), min(of_texts(truth["asks"]))
        checks.equal("best prices", tuple(of_texts([[answer["best_bid"], "1"], [answer["best_ask"], "1"]])), best)
    flow, (status, wanted) = answers["get_order_flow"], flow_before
    if status == 200:
        checks.equal("fields of get_order_flow", flow["answer"].keys(), wanted.keys())
    elif flow["code"] != "OK":  # too young a service: both doors say so
        told = (flow["code"], [one["error"] for one in flow["answer"]["beside"]])
        checks.equal("why there is no order flow", told, ("FAILED_PRECONDITION", [wanted["error"]]))


def _failure(failure: dict[str, Any], doors: Doors, checks: Checks) -> None:
    """What travels beside the status is the body that HTTP sends."""
    status, body = doors.ask("/api/tools/get_order_flow", {"symbol": "NOPE"})
    checks.equal("the failure by HTTP", (status, body.get("error")), (404, "UnknownSymbol"))
    checks.equal("status of an unknown symbol", failure.get("code"), "NOT_FOUND")
    checks.equal("its sentence", failure.get("details"), body["message"])
    checks.equal("leadline-error-bin", failure.get("beside"), [body])
    checks.equal("correlation-id", failure.get("echoed"), ["doors-2"])


def _topic(events: list[dict[str, Any]], doors: Doors, checks: Checks) -> None:
    checks.true(f"{EVENTS_MIN} events of book.BTCUSDT", len(events) >= EVENTS_MIN, len(events))
    checks.equal("ids of events", len({event["id"] for event in events}), len(events))
    for event in events:
        checks.equal("type and version", (event["type"], event["specversion"]), ("leadline.book.v1", "1.0"))
        data = event["data"]
        shown = of_texts(data["bids"]), of_texts(data["asks"])
        wrong = difference(shown, doors.truth("BTCUSDT", data["update_id"]), TOPIC_DEPTH)
        checks.true("a book of the topic is the exchange's", wrong is None, wrong)


def _books(lines: list[dict[str, Any]], doors: Doors, checks: Checks) -> None:
    by_symbol: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        by_symbol[line["symbol"]].append(line)
    for symbol in SYMBOLS:
        shown = by_symbol[symbol]
        checks.true(f"{BOOKS_MIN} books of {symbol}", len(shown) >= BOOKS_MIN, len(shown))
        checks.equal(f"the first of {symbol}", shown[0]["body"] if shown else None, "snapshot")
        wrong = broken((int(line["seq"]), int(line["prev_seq"])) for line in shown)
        checks.true(f"each of {symbol} names the one before it", wrong is None, wrong)
        for line in shown:
            book = of_integers(line["bids"]), of_integers(line["asks"])
            checks.true(f"{symbol} {line['seq']} is not crossed", not crossed(book), line["update_id"])
            wrong = difference(book, doors.truth(symbol, int(line["update_id"])), DEPTH)
            checks.true(f"{symbol} {line['seq']} is the exchange's", wrong is None, wrong)
