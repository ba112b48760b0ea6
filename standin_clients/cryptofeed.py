"""cryptofeed: L2 book, trades (aggTrade) and tickers; addresses in the class's endpoints. It speaks TLS only.

The certificate is trusted by SSL_CERT_FILE (sockets) and REQUESTS_CA_BUNDLE (exchangeInfo), which the runner sets.
"""

import asyncio
import logging
import os
from typing import Any

from cryptofeed import FeedHandler
from cryptofeed.connection import RestEndpoint, Routes, WebsocketEndpoint
from cryptofeed.defines import L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import Binance

from standin_clients.lines import Lines, arguments, leave

ARGS = arguments()
LINES = Lines("cryptofeed", ("book", "ticker", "trade"))
LIMIT = 1000  # what it asks for by itself
NAMES: dict[str, str] = {}  # BTC-USDT -> BTCUSDT


async def on_book(book: Any, received_s: float) -> None:
    symbol, bids, asks = NAMES[book.symbol], book.book.bids.to_list(), book.book.asks.to_list()
    if book.delta is None:
        LINES.snapshot(symbol, bids, asks, LIMIT)
    else:
        LINES.book(symbol, book.sequence_number, bids, asks)


async def on_trade(t: Any, received_s: float) -> None:
    LINES.trade("agg", NAMES[t.symbol], int(t.id), t.price, t.amount, round(t.timestamp * 1000), t.side == "sell")


async def on_ticker(t: Any, received_s: float) -> None:
    LINES.ticker(NAMES[t.symbol], t.raw["u"], (t.bid, None), (t.ask, None))  # its ticker has no quantities


def main() -> None:
    Binance.websocket_endpoints = [WebsocketEndpoint(ARGS.tls.replace("https://", "wss://"))]
    routes = Routes("/api/v3/exchangeInfo", l2book="/api/v3/depth?symbol={}&limit={}")
    Binance.rest_endpoints = [RestEndpoint(ARGS.tls, routes=routes)]
    NAMES.update({name: symbol for name, symbol in Binance.symbol_mapping().items() if symbol in ARGS.symbols})
    asyncio.set_event_loop(asyncio.new_event_loop())
    handler = FeedHandler(config={"log": {"filename": os.devnull, "level": "WARNING", "disabled": False}, "uvloop": False})
    LINES.listen("feedhandler", logging.WARNING)  # a gap is a warning to it
    callbacks = {L2_BOOK: on_book, TRADES: on_trade, TICKER: on_ticker}
    handler.add_feed(Binance(symbols=list(NAMES), channels=list(callbacks), callbacks=callbacks))
    asyncio.get_event_loop().call_later(ARGS.seconds, leave)
    handler.run(install_signal_handlers=False)


main()
