"""ccxt.pro: watchOrderBook, watchTrades and watchBidsAsks; addresses in `urls`, which is where its users put a mirror."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ccxt.pro

from standin_clients.lines import Lines, arguments, leave

ARGS = arguments()
LINES = Lines("ccxt", ("book", "ticker", "trade"))
MOST_LEVELS = 1000  # a side: what it asks for by itself, and what it cuts its book down to


class Exchange(ccxt.pro.binance):
    async def fetch_order_book(self, symbol: str, limit: int | None = None, params: Any = None) -> Any:
        book = await super().fetch_order_book(symbol, limit, params or {})
        LINES.snapshot(self.market(symbol)["id"], book["bids"], book["asks"], limit or MOST_LEVELS)
        return book


async def main() -> None:
    # Without keys it would still ask /sapi for currencies; types: spot alone, since nobody answers for the futures.
    options = {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False}
    exchange = Exchange({"options": options, "newUpdates": True})
    exchange.has["fetchCurrencies"] = False
    exchange.urls["api"]["public"] = f"{ARGS.rest}/api/v3"
    exchange.urls["api"]["v1"] = f"{ARGS.rest}/api/v1"
    exchange.urls["api"]["ws"]["spot"] = f"{ARGS.ws}/stream/ws"  # "/stream" in the address is how it tells spot from futures
    await exchange.load_markets()
    markets = [exchange.markets_by_id[name][0] for name in ARGS.symbols]
    jobs = [forever(exchange, watch, market) for watch in (books, trades, tickers) for market in markets]
    try:
        async with asyncio.timeout(ARGS.seconds):
            await asyncio.gather(*jobs)
    except TimeoutError:
        leave()


async def forever(exchange: Exchange, watch: Callable[..., Awaitable[None]], market: dict[str, Any]) -> None:
    """A checksum error is ccxt's word for a gap in the ids: it has dropped the book and begins anew when asked again."""
    while True:
        try:
            await watch(exchange, market)
        except ccxt.ChecksumError as error:
            LINES.error(error)


async def books(exchange: Exchange, market: dict[str, Any]) -> None:
    book = await exchange.watch_order_book(market["symbol"])
    if book["timestamp"]:  # has none until the first event is applied
        LINES.narrowed(market["id"], book["bids"], book["asks"], MOST_LEVELS)
        LINES.book(market["id"], book["nonce"], book["bids"], book["asks"])


async def trades(exchange: Exchange, market: dict[str, Any]) -> None:
    for t in await exchange.watch_trades(market["symbol"]):
        LINES.trade("trade", market["id"], int(t["id"]), t["price"], t["amount"], t["timestamp"], t["side"] == "sell")


async def tickers(exchange: Exchange, market: dict[str, Any]) -> None:
    t = (await exchange.watch_bids_asks([market["symbol"]]))[market["symbol"]]
    LINES.ticker(market["id"], t["info"]["u"], (t["bid"], t["bidVolume"]), (t["ask"], t["askVolume"]))


asyncio.run(main())
