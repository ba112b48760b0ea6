"""A running service from Python: the same answers as typed, checked records, asynchronous or not (docs/client.md)."""

from leadline.client.aio import AsyncClient
from leadline.client.failures import InternalError, Refused, Unauthenticated
from leadline.client.frames import MissingPackage
from leadline.client.history import Coverage, Gap, Seconds, Snapshots, StoredSnapshot, Trades
from leadline.client.records import Book, Hole, Level, News, Policy, ToolInfo, Trade, TradeNews
from leadline.client.sync import Client

__all__ = [
    "AsyncClient",
    "Book",
    "Client",
    "Coverage",
    "Gap",
    "Hole",
    "InternalError",
    "Level",
    "MissingPackage",
    "News",
    "Policy",
    "Refused",
    "Seconds",
    "Snapshots",
    "StoredSnapshot",
    "ToolInfo",
    "Trade",
    "TradeNews",
    "Trades",
    "Unauthenticated",
]
