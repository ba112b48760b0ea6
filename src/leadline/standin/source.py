"""What the stand-in's server asks of a source, and the records that every source gives out. Pure: no sockets, no clock.

A source is a market with a position in time. `advance` moves it and returns the frames that fall due; every other question is
answered for the position reached. The server does not know whether a recording or a seed is behind it.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from leadline.standin.scenes import Action, Label
    from leadline.standin.tape import Tape

MAX_ROWS = 1000  # of aggTrades, trades and klines; Binance rest-api.md
_E8 = 10**8

Place = Literal["now", "border", "inside"]


class Frame(Struct, frozen=True, gc=False):
    """One stream message: `payload` is the bare JSON, as it is sent under /ws."""

    at_ns: int
    stream: str
    symbol: str
    payload: bytes


class DepthAnswer(Struct, frozen=True, gc=False):
    """The body of `GET depth`. `levels`: how many levels a side were to be had; a side with fewer is complete."""

    body: bytes
    levels: int


class Diff(Struct, frozen=True, gc=False):
    """What a range of update ids did to the book: every price touched in it, with its quantity at `last_id`. Decimal texts."""

    first_id: int
    last_id: int
    bids: Mapping[str, str]
    asks: Mapping[str, str]


class TrueBook(Struct, frozen=True):
    """The whole book at `update_id`, price text to quantity text.

    known_bid, known_ask: the outermost prices between which no level is missing; None where the side is complete.
    """

    update_id: int
    bids: dict[str, str]
    asks: dict[str, str]
    known_bid: str | None = None
    known_ask: str | None = None


class AggTrade(Struct, frozen=True, gc=False):
    """A row of `GET aggTrades`, in the exchange's names and order."""

    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741  the exchange's name
    T: int
    m: bool
    M: bool = True


class Trade(Struct, frozen=True, gc=False):
    """A row of `GET trades`, in the exchange's names and order."""

    id: int
    price: str
    qty: str
    quoteQty: str
    time: int
    isBuyerMaker: bool
    isBestMatch: bool = True


class UnknownAction(ValueError):
    """Nothing can be done by that name, or not to this symbol, or not to this source."""


class Source(Protocol):
    """A market at a position in time."""

    @property
    def origin(self) -> str:
        """`replay:<name>` or `synthetic:<seed>`."""
        ...

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol that is served, upper case."""
        ...

    @property
    def waits_for_client(self) -> bool:
        """True when nothing may be played before somebody listens."""
        ...

    @property
    def start_ns(self) -> int:
        """Time of the first moment."""
        ...

    def next_ns(self) -> int | None:
        """When the next thing happens; None at the end."""
        ...

    def advance(self, until_ns: int) -> list[Frame]:
        """Move to `until_ns`, or to the next gate if that comes first; the frames passed, in order."""
        ...

    def gate(self) -> str | None:
        """The symbol whose recorded snapshot stands at this very place; None elsewhere. `pass_gate` goes on."""
        ...

    def pass_gate(self) -> None:
        """Leave the gate."""
        ...

    def restart(self) -> None:
        """Back to the start; ids go back too."""
        ...

    def depth(
        self, symbol: str, limit: int, *, events_back: int = 0, place: Place = "now", age_us: int = 0
    ) -> DepthAnswer | None:
        """The book now, or as it was `events_back` depth frames ago; None when it is not known (yet).

        age_us: as it was that long ago (a cache of the exchange); a recording has no such cache.

        place: `border` is the id at which the last frame ended, `inside` one within a frame: the last one, or of a recording the
        next one. A frame of one id has no inside: then its border.
        """
        ...

    def diff(self, symbol: str, first_id: int, last_id: int) -> Diff | None:
        """What these ids did; None when they are not kept, or (of a recording) are no whole frames."""
        ...

    def frame_end(self, symbol: str) -> int:
        """`u` of the symbol's last depth frame so far; before the first, the id before its `U`."""
        ...

    def recorded(self, stream: str) -> bool:
        """True where frames of that stream are sent as they were recorded: nobody else may make them up."""
        ...

    def snapshot_ahead(self, symbol: str) -> bool:
        """True when a recorded snapshot of the symbol is still to come: whoever asks for depth may wait for it."""
        ...

    def book(self, symbol: str, update_id: int, *, kept_only: bool = False) -> TrueBook | None:
        """The truth at that id; None when there is none, or no frame ends there. kept_only: None too where it takes time."""
        ...

    def tape(self, symbol: str) -> "Tape":
        """The trades sent so far, and what can be worked out from them."""
        ...

    @property
    def can_act(self) -> bool:
        """Whether something can be done to it."""
        ...

    def act(self, symbol: str, action: "Action") -> None:
        """Do something to the market from now on. Raises UnknownAction; a recording cannot be changed."""
        ...

    @property
    def labels(self) -> "Sequence[Label]":
        """What was done to the market so far."""
        ...

    def exchange_info(self) -> list[dict[str, object]]:
        """The entries of `symbols` in exchangeInfo."""
        ...

    def server_time_ms(self) -> int:
        """The exchange's clock at this position."""
        ...


def agg_trade_frame(symbol: str, event_ms: int, row: AggTrade) -> bytes:
    """The `@aggTrade` payload of a row."""
    return b'{"e":"aggTrade","E":%d,"s":%b,%b' % (event_ms, msgspec.json.encode(symbol), msgspec.json.encode(row)[1:])


def depth_body(update_id: int, bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]) -> bytes:
    """The body of `GET depth`; sides best first."""
    return msgspec.json.encode({"lastUpdateId": update_id, "bids": bids, "asks": asks})


def fixed(text: str) -> int:
    """Decimal text as an integer of 1e-8; further decimals are cut. The stand-in's own, shared with nobody."""
    whole, _, fraction = text.partition(".")
    return int(whole) * _E8 + int(fraction.ljust(8, "0")[:8])


def text(value_e8: int) -> str:
    """An integer of 1e-8 with all its 8 decimals."""
    return f"{value_e8 // _E8}.{value_e8 % _E8:08d}"


_QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "USD")


def symbol_info(symbol: str, tick_e8: int, step_e8: int) -> dict[str, object]:
    """One entry of exchangeInfo with every key that clients index blindly, PRICE_FILTER first (docs/standin.md)."""
    quote = next((q for q in _QUOTES if symbol.endswith(q) and symbol != q), symbol[-3:])
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol.removesuffix(quote),
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": True,
        "ocoAllowed": True,
        "otoAllowed": True,
        "opoAllowed": True,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": True,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "pegInstructionsAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": True,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": text(tick_e8),
                "maxPrice": text(tick_e8 * 100_000_000),
                "tickSize": text(tick_e8),
            },
            {"filterType": "LOT_SIZE", "minQty": text(step_e8), "maxQty": "9000.00000000", "stepSize": text(step_e8)},
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "100.00000000", "stepSize": "0.00000000"},
            {
                "filterType": "PERCENT_PRICE_BY_SIDE",
                "bidMultiplierUp": "5",
                "bidMultiplierDown": "0.2",
                "askMultiplierUp": "5",
                "askMultiplierDown": "0.2",
                "avgPriceMins": 5,
            },
            {
                "filterType": "NOTIONAL",
                "minNotional": "5.00000000",
                "applyMinToMarket": True,
                "maxNotional": "9000000.00000000",
                "applyMaxToMarket": False,
                "avgPriceMins": 5,
            },
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
        ],
        "permissions": [],
        "permissionSets": [["SPOT", "MARGIN"]],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }
