"""unicorn-binance-local-depth-cache, with its REST and WebSocket siblings; addresses by class attribute and settings table.

The depth cache runs in threads of its own; it is read in the stream's own thread, after each message it is done with.
"""

import time
from typing import Any

from unicorn_binance_local_depth_cache import BinanceLocalDepthCacheManager
from unicorn_binance_rest_api import BinanceRestApiManager
from unicorn_binance_websocket_api import BinanceWebSocketApiManager
from unicorn_binance_websocket_api.connection_settings import CONNECTION_SETTINGS, Exchanges

from standin_clients.lines import Lines, arguments, leave

ARGS = arguments()
LINES = Lines("unicorn-binance-local-depth-cache", ("book", "ticker", "trade"))
MOST_LEVELS = 1000  # a side: what it asks for, and what it cuts its book down to


class RestManager(BinanceRestApiManager):
    API_URL = f"{ARGS.rest}/api"

    def get_order_book(self, **params: Any) -> dict[str, Any]:
        book = super().get_order_book(**params)
        LINES.snapshot(params["symbol"], book["bids"], book["asks"], params["limit"])
        return book


class Watched:
    """Shows each synchronised book whose id is new. Hangs on `asyncio_queue_task_done`, which is called after each message."""

    def __init__(self, manager: BinanceLocalDepthCacheManager) -> None:
        self._manager = manager
        self._shown: dict[str, int] = {}
        self._done = manager.ubwa.asyncio_queue_task_done
        manager.ubwa.asyncio_queue_task_done = self.task_done

    def task_done(self, stream_id: str | None = None) -> bool:
        for market, cache in self._manager.depth_caches.items():
            update_id = cache["last_update_id"]
            if cache["is_synchronized"] and update_id != self._shown.get(market):
                self._shown[market] = update_id
                bids, asks = self._manager.get_bids(market=market), self._manager.get_asks(market=market)
                LINES.narrowed(market.upper(), bids, asks, MOST_LEVELS)
                LINES.book(market.upper(), update_id, bids, asks)
        return self._done(stream_id=stream_id)


def received(message: dict[str, Any]) -> None:
    m = message.get("data")
    if m is None:
        return
    if message["stream"].endswith("@aggTrade"):
        LINES.trade("agg", m["s"], m["a"], m["p"], m["q"], m["T"], m["m"], first=m["f"], last=m["l"])
    else:
        LINES.ticker(m["s"], m["u"], (m["b"], m["B"]), (m["a"], m["A"]))


def main() -> None:
    until = time.monotonic() + ARGS.seconds
    quiet = {"warn_on_update": False, "disable_colorama": True}
    most, _, api = CONNECTION_SETTINGS[Exchanges.BINANCE]
    CONNECTION_SETTINGS[Exchanges.BINANCE] = (most, f"{ARGS.ws}/", api)
    rest = RestManager(tld="com", **quiet)  # with `exchange=` the address would be set over ours
    depth = BinanceLocalDepthCacheManager("binance.com", ubra_manager=rest, depth_cache_update_interval=100, **quiet)
    for logger in ("unicorn_binance_local_depth_cache", "unicorn_binance_websocket_api", "unicorn_binance_rest_api"):
        LINES.listen(logger)
    Watched(depth)
    depth.create_depthcache(markets=ARGS.symbols)
    sockets = BinanceWebSocketApiManager(exchange="binance.com", output_default="dict", **quiet)
    sockets.create_stream(["aggTrade", "bookTicker"], ARGS.symbols, process_stream_data=received)
    # The library works in threads of its own and has no end to wait for.
    time.sleep(max(0.0, until - time.monotonic()))
    leave()


main()
