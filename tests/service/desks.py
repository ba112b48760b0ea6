"""Desks over what the recorder wrote of the two recordings, and what the tests of questions share."""

from functools import cache

from tests.core.test_oracles import FILES, spot

from leadline.core.records import SymbolRules
from leadline.service.queries import Desk
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

LAST = 1723161601
RULES = {
    "BTCUSDT": SymbolRules("BTCUSDT", "TRADING", "BTC", "USDT", 1_000_000, 1_000, LAST - 400),
    "ETHUSDT": SymbolRules("ETHUSDT", "TRADING", "ETH", "USDT", 1_000_000, 10_000, LAST - 400),
}


@cache
def recorded():
    """One store of both recordings."""
    history = History(MemoryEngine(), "recordings")
    history.set_meta({"origin": "replay:test"})
    for symbol in FILES:
        assert history.write(spot(symbol)[0]) == []
        history.set_rules(RULES[symbol])
    return history


def desk(now_s=LAST + 1):
    return Desk(recorded(), now_ns=lambda: now_s * 10**9)


def null_fields(answer):
    """Names of the fields that are null, envelope and constants aside."""
    return {name for name in answer.__struct_fields__ if getattr(answer, name) is None}
