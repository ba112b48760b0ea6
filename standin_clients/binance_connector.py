"""binance-connector, the exchange's former one: streams and depth; it keeps no book, so follow.py does from its messages.

Its package is called `binance` like python-binance's: the two can never share an environment.
"""

import json
import queue
import time
from typing import Any

from binance.spot import Spot
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

from standin_clients.follow import FollowedBook, Gap
from standin_clients.lines import Lines, arguments, leave

ARGS = arguments()
LINES = Lines("binance-connector", ("book", "ticker", "trade"))
LIMIT = 5000
BETWEEN_S = 0.5  # subscriptions: each is a message, and 5 a second are allowed


def take(m: dict[str, Any], books: dict[str, FollowedBook], rest: Spot) -> None:
    """One message of a raw (/ws) connection. A book without snapshot fetches one; meanwhile messages wait in the queue."""
    match m.get("e"):
        case "depthUpdate":
            symbol, book = m["s"], books[m["s"]]
            try:
                followed = book.event(m["U"], m["u"], m["b"], m["a"])
            except Gap as gap:
                LINES.error(f"{symbol}: {gap}")
                followed = False
            if book.update_id is None:
                d = rest.depth(symbol, limit=LIMIT)
                LINES.snapshot(symbol, d["bids"], d["asks"], LIMIT)
                followed = book.snapshot(d["lastUpdateId"], d["bids"], d["asks"])
            if followed:
                LINES.book(symbol, book.update_id, *book.sides())
        case "trade":
            LINES.trade("trade", m["s"], m["t"], m["p"], m["q"], m["T"], m["m"])
        case None if "A" in m:
            LINES.ticker(m["s"], m["u"], (m["b"], m["B"]), (m["a"], m["A"]))


def main() -> None:
    until = time.monotonic() + ARGS.seconds
    messages: queue.SimpleQueue[str] = queue.SimpleQueue()
    LINES.listen("binance")
    rest = Spot(base_url=ARGS.rest)
    stream = SpotWebsocketStreamClient(
        stream_url=ARGS.ws, on_message=lambda _, text: messages.put(text), on_error=lambda _, error: LINES.error(error)
    )
    books = {symbol: FollowedBook() for symbol in ARGS.symbols}
    wanted = [name for symbol in ARGS.symbols for name in (f"{symbol}@depth@100ms", f"{symbol}@trade", f"{symbol}@bookTicker")]
    subscribe_at = time.monotonic()
    while (now := time.monotonic()) < until:
        if wanted and now >= subscribe_at:
            name, subscribe_at = wanted.pop(0), now + BETWEEN_S
            stream.subscribe(name.replace(name.split("@")[0], name.split("@")[0].lower()))
        try:
            take(json.loads(messages.get(timeout=0.1)), books, rest)
        except queue.Empty:
            continue
    leave()


main()
