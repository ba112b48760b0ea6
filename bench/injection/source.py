"""The stand-in's market in process, without sockets: one symbol from a seed, second after second, as it is received.

Frames are parsed by the product's own parser. A receive stamp is the virtual time at which the frame was sent, and a constant for
the way. What is kept of a second is its frames, compressed: any second can be handed out again.
"""

import zlib
from collections.abc import Iterator, Sequence

import msgspec

from bench.injection.plain import LEVELS
from leadline.core.records import BestQuote, DepthSnapshot, DepthUpdate, SymbolRules, Trade
from leadline.exchange.binance import wire
from leadline.standin.market import SyntheticMarket
from leadline.standin.source import Frame

SECOND_NS = 1_000_000_000
START_MS = 1_767_225_600_000  # 2026-01-01, a whole day
WAY_NS = 20_000_000  # from the exchange to us
KINDS = ("depth@100ms", "bookTicker", "aggTrade")  # what the service subscribes to

Event = DepthUpdate | BestQuote | Trade

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode


class Source:
    """A market that moves forward a second at a time. `frames`: packed seconds so far, the first at START_MS."""

    def __init__(self, symbol: str, seed: int | str) -> None:
        self.symbol = symbol
        self.seed = seed
        self._market = SyntheticMarket(seed, (symbol,), start_ms=START_MS)
        self.start_s = START_MS // 1000
        self.frames: list[bytes] = []
        self._streams = {f"{symbol.lower()}@{kind}": f'{{"stream":"{symbol.lower()}@{kind}","data":'.encode() for kind in KINDS}
        self._decoder = wire.FrameDecoder()

    @property
    def origin(self) -> str:
        """As the service would name it."""
        return self._market.origin

    def forward(self, *, keep: bool = True) -> list[Event]:
        """Play one more second; what is received of it, in order."""
        at_s = self.start_s + len(self.frames) + 1
        sent = self._market.advance(at_s * SECOND_NS)
        packed = _packed(sent, self._streams)
        self.frames.append(zlib.compress(packed, 1) if keep else b"")
        return self._parsed(packed)

    def second(self, place: int) -> list[Event]:
        """Once more the events of the second `place` after the start."""
        return self._parsed(zlib.decompress(self.frames[place]))

    def events(self, first: int, end: int) -> Iterator[Event]:
        """Of the seconds first <= place < end."""
        for place in range(first, min(end, len(self.frames))):
            yield from self.second(place)

    def snapshot(self) -> DepthSnapshot:
        """The market's own answer now: at its current id, so mostly inside an event."""
        answer = self._market.depth(self.symbol, LEVELS)
        assert answer is not None, "a synthetic book is known from the start"
        return wire.depth_snapshot(answer.body, self.symbol, answer.levels)

    def rules(self) -> SymbolRules:
        """What exchangeInfo says of the symbol."""
        body = {"serverTime": START_MS, "rateLimits": [], "symbols": self._market.exchange_info()}
        return wire.exchange_info(msgspec.json.encode(body)).rules[self.symbol]

    def _parsed(self, packed: bytes) -> list[Event]:
        decode = self._decoder.decode
        return [event for at_ns, frame in _unpack(packed) if isinstance(event := decode(frame, at_ns + WAY_NS), Event)]


def _packed(frames: Sequence[Frame], streams: dict[str, bytes]) -> bytes:
    """Those frames that the service would get, each as a combined stream writes it."""
    kept = [(f.at_ns, b"%b%b}" % (head, f.payload)) for f in frames if (head := streams.get(f.stream)) is not None]
    return _pack(kept)
