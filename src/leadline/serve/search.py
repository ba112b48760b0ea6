"""`search` and `fetch` for assistants that know no other tools: answers of our tools under ids, each with an address that opens.

ids are KIND:SYMBOL, and `klines:SYMBOL:INTERVAL`, as existing gateways write them. Words are compared whole, never in part.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from leadline.core.errors import InvalidRequest, UnknownName
from leadline.serve.asking import Asks, answer
from leadline.serve.prompts import INTERVALS
from leadline.serve.resources import JSON, MARKDOWN, Content

RESULTS_MAX = 20
QUERY_MAX = 500
WRAPPED_BYTES = 1_000  # what is around the answer, and its quotes
INTERVAL = "1h"


class Kind(Struct, frozen=True):
    """One kind of document. words: by any of them it is meant."""

    name: str
    title: str
    tool: str
    words: frozenset[str]


_WORDS = (
    ("report", "report", "generate_market_report", "report summary overview analysis market"),
    ("ticker", "24-hour statistics", "get_ticker", "ticker price change high low volume 24h day"),
    ("orderbook_l1", "best prices, spread, depth", "orderbook_l1", "orderbook book l1 spread bid ask depth imbalance liquidity"),
    ("orderbook_l2", "ladder of the order book", "orderbook_l2", "orderbook book l2 ladder levels depth walls"),
    ("order_flow", "order flow of the last minute", "get_order_flow", "flow pressure ofi delta cvd buyers sellers"),
    ("klines", f"candles of {INTERVAL}", "get_klines", "klines kline candles candle candlestick chart history"),
    ("trades", "latest trades", "get_recent_trades", "trades trade prints tape recent"),
    ("volume_profile", "volume profile of 24 h", "get_volume_profile", "volume profile poc value area"),
    ("orderbook_health", "state of our book", "orderbook_health", "health status fresh data quality orderbook"),
    ("liquidity_vacuums", "thin prices", "get_liquidity_vacuums", "liquidity vacuum vacuums thin gaps zones"),
    ("market_anomalies", "anomalies of the last minute", "detect_market_anomalies", "anomaly anomalies unusual iceberg"),
    ("microstructure_health", "score of the last minute", "get_microstructure_health", "health score microstructure"),
)
KINDS = {name: Kind(name, title, tool, frozenset(words.split())) for name, title, tool, words in _WORDS}
_WORD = re.compile(r"[^\W_]+")
_PAIR = re.compile(r"([^\W_]+)[/\-_ ]([^\W_]+)")


class Hit(Struct, frozen=True):
    """A document that may be meant."""

    id: str
    title: str
    url: str


async def search(asks: Asks, query: Any, *, transport: str, public_url: str) -> dict[str, Any]:
    """Documents of the symbols that the query names, those of the kinds it names first. Raises InvalidRequest, Failed."""
    if not isinstance(query, str) or not 0 < len(query) <= QUERY_MAX:
        raise InvalidRequest(
            "query", "no text" if not isinstance(query, str) else f"{len(query)} characters", f"1-{QUERY_MAX} characters"
        )
    known = await answer(asks, "list_symbols", {}, transport=transport, bytes_max=2**22)
    symbols = _meant(query, known.plain["symbols"])
    words = {word.lower() for word in _WORD.findall(query)}
    kinds = sorted(KINDS.values(), key=lambda kind: -len(kind.words & words))
    named = [kind for kind in kinds if kind.words & words] or kinds
    hits = [
        Hit(_id(kind, symbol), f"{symbol}: {kind.title}", address(public_url, _id(kind, symbol)))
        for symbol in symbols
        for kind in (named if len(symbols) > 1 else kinds)
    ]
    return {"results": msgspec.to_builtins(hits[:RESULTS_MAX])}


async def fetch(asks: Asks, document: Any, *, transport: str, public_url: str, bytes_max: int) -> dict[str, Any]:
    """The document as text. Raises InvalidRequest, UnknownName, Failed."""
    kind, arguments = document_of(document)
    found = await answer(asks, kind.tool, arguments, transport=transport, bytes_max=(bytes_max - WRAPPED_BYTES) * 4 // 5)
    symbol = arguments["symbol"]
    return {
        "id": document,
        "title": f"{symbol}: {kind.title}",
        "text": found.text,
        "url": address(public_url, document),
        "metadata": {name: str(found.plain["envelope"].get(name)) for name in ("origin", "state", "as_of_ms", "definition")},
    }


async def opened(asks: Asks, document: str, *, transport: str, bytes_max: int) -> Content:
    """What its address shows. Raises UnknownName, Failed."""
    kind, arguments = document_of(document)
    found = await answer(asks, kind.tool, arguments, transport=transport, bytes_max=bytes_max)
    return Content(found.text, MARKDOWN if found.tool.text else JSON)


def document_of(document: Any) -> tuple[Kind, dict[str, Any]]:
    """Kind and what to ask its tool. Raises InvalidRequest, UnknownName."""
    if not isinstance(document, str) or not document:
        raise InvalidRequest("id", "no text", "an id that search gave")
    name, _, rest = document.partition(":")
    symbol, colon, interval = rest.partition(":")
    kind = KINDS.get(name)
    if kind is None or not 0 < len(symbol) <= 64 or (colon and (name != "klines" or interval not in INTERVALS)):
        raise UnknownName("document", document[:80], [f"{one}:SYMBOL" for one in KINDS][:3])
    arguments: Mapping[str, Any] = {"interval": interval or INTERVAL, "limit": 100} if name == "klines" else {}
    return kind, {"symbol": symbol, **arguments}


def address(public_url: str, document: str) -> str:
    """Where the document opens in a browser."""
    return f"{public_url.rstrip('/')}/answers/{document}"


def _id(kind: Kind, symbol: str) -> str:
    return f"{kind.name}:{symbol}" + (f":{INTERVAL}" if kind.name == "klines" else "")


def _meant(query: str, known: Sequence[Mapping[str, Any]]) -> list[str]:
    """Symbols whose name, pair (BTC/USDT) or base asset is a word of the query; the most particular only."""
    words = {word.upper() for word in _WORD.findall(query)}
    pairs = {f"{base}{quote}".upper() for base, quote in _PAIR.findall(query)}
    exact = [str(row["symbol"]) for row in known if row["symbol"] in words | pairs]
    return exact or [str(row["symbol"]) for row in known if row["base_asset"] in words]
