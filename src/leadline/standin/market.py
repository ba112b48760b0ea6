"""A source from a seed: the synthetic market, any number of symbols, for ever (docs/standin.md).

Output depends on (seed, symbols' specs, start, actions) alone. Symbols do not touch one another: a further one changes no other.
"""

from collections.abc import Iterable, Iterator, Sequence
from heapq import heapify, heappush, heapreplace

from leadline.standin import truth
from leadline.standin.draws import Draws
from leadline.standin.listing import SLOT_US
from leadline.standin.model import Pair
from leadline.standin.past import SeededPast
from leadline.standin.scenes import ACTIONS, Action, Label, begin
from leadline.standin.source import DepthAnswer, Diff, Frame, Place, TrueBook, UnknownAction, depth_body, symbol_info
from leadline.standin.specs import spec_of
from leadline.standin.tape import Tape
from leadline.standin.truth import Ledger

DEFAULT_SYMBOLS = ("BTCUSDT", "ETHUSDT")
DEPTH_MAX = 5_000


class SyntheticMarket:
    """A market that goes on for ever."""

    waits_for_client = False

    def __init__(self, seed: int | str, symbols: Iterable[str] = DEFAULT_SYMBOLS, *, start_ms: int) -> None:
        """start_ms: exchange time of the first moment, UTC."""
        self._seed = seed
        self._first = tuple(dict.fromkeys(symbols))
        self._start_us = start_ms * 1000
        self.restart()

    @property
    def origin(self) -> str:
        """`synthetic:<seed>`."""
        return f"synthetic:{self._seed}"

    @property
    def symbols(self) -> tuple[str, ...]:
        """As given, each once; without those delisted, with those listed since."""
        return tuple(self._symbols)

    @property
    def start_ns(self) -> int:
        """The first moment."""
        return self._start_us * 1000

    def restart(self) -> None:
        """The same market from its beginning, as it was before anybody acted on it."""
        self._now_us = self._start_us
        self._symbols = dict.fromkeys(self._first)
        self._pairs: dict[str, Pair] = {}
        self._begun: dict[str, int] = {}
        self._journal: dict[str, list[tuple[int, Action]]] = {}
        self._due: list[tuple[int, int, Pair]] = []
        self._labels: list[Label] = []
        for symbol in self._first:
            self._list(symbol)

    def _list(self, symbol: str) -> None:
        pair = self._pairs[symbol] = self._pair(symbol, self._now_us)
        self._begun[symbol], self._journal[symbol] = self._now_us, []
        heappush(self._due, (pair.next_us, len(self._pairs), pair))

    def _pair(self, symbol: str, start_us: int) -> Pair:
        spec = spec_of(self._seed, symbol)
        draws = Draws(self._seed, symbol, "ids")
        ids = (50_000_000_000 + draws.bits(24), 3_000_000_000 + draws.bits(24), 4_000_000_000 + draws.bits(24))
        past = SeededPast(self._seed, spec, start_us, ids[1:])
        kept_chunks = max(truth.KEPT_CHUNKS_LEAST, truth.KEPT_CHUNKS // len(self._first))
        pair = Pair(self._seed, spec, start_us, Tape(past, opening=spec.price_ticks * spec.tick_e8), ids, kept_chunks)
        if spec.tick_grows_after_s:
            pair.begin(_later(pair, spec.tick_grows_after_s), start_us)
        return pair

    @property
    def labels(self) -> Sequence[Label]:
        """What was done to it, with start and end."""
        return self._labels

    # Acting on it ---------------------------------------------------------------

    @property
    def can_act(self) -> bool:
        """Always."""
        return True

    def act(self, symbol: str, action: Action) -> None:
        """From now on; what it did is a label. Raises UnknownAction for a name that is none, or a symbol that is not there."""
        listed = symbol in self._symbols
        if action.name == "symbol.new":
            if listed:
                raise UnknownAction(f"symbol {symbol!r} is listed already")
            self._symbols[symbol] = None
            if symbol not in self._pairs:
                self._list(symbol)
        elif not listed:
            raise UnknownAction(f"symbol {symbol!r} is not served")
        elif action.name == "symbol.delisted":
            del self._symbols[symbol]
        if action.name not in ACTIONS:
            raise UnknownAction(f"{action.name!r} is none of {', '.join(ACTIONS)}")
        pair, journal = self._pairs[symbol], self._journal[symbol]
        if action.name.startswith("scene.") and pair.status != "TRADING":
            raise UnknownAction(f"{symbol} does not trade: {pair.status}")
        journal.append((self._now_us, action))
        self._labels.append(begin(pair, action, self._now_us, Draws(self._seed, symbol, "action", len(journal))))
        self._due = [(each.next_us, n, each) if each is pair else (due, n, each) for due, n, each in self._due]
        heapify(self._due)

    def _again(self, symbol: str, update_id: int) -> Ledger | None:
        """The market of the symbol once more from its beginning, with all that was done to it, until that id."""
        pair = self._pair(symbol, self._begun[symbol])
        done = 0
        for at_us, action in [*self._journal[symbol], (self._pairs[symbol].listing.now_us, None)]:
            while pair.next_us <= at_us:
                pair.step()
                pair.listing.frames.clear()
                if pair.listing.ledger.last_id >= update_id and pair.listing.ledger.holds(update_id):
                    return pair.listing.ledger
            if action is not None:
                done += 1
                begin(pair, action, at_us, Draws(self._seed, symbol, "action", done))
        return None

    # Being played ---------------------------------------------------------------

    def next_ns(self) -> int | None:
        """When the next event or slot end of any symbol is due; the position where no symbol is left."""
        return (self._due[0][0] if self._due else self._now_us + SLOT_US) * 1000

    def advance(self, until_ns: int) -> list[Frame]:
        """All frames up to `until_ns`, by time; symbols in their given order where times are equal."""
        until_us = until_ns // 1000
        frames: list[Frame] = []
        due = self._due
        while due and due[0][0] <= until_us:
            _, n, pair = due[0]
            limit_us = min(until_us, min((later[0] for later in due[1:3]), default=until_us) - 1)
            pair.step()
            while pair.next_us <= limit_us:
                pair.step()
            if pair.listing.frames:
                if pair.spec.symbol in self._symbols:
                    frames += pair.listing.frames
                pair.listing.frames = []
            heapreplace(due, (pair.next_us, n, pair))
        self._now_us = max(self._now_us, until_us)
        return frames

    def gate(self) -> str | None:
        """Never: nothing is recorded."""
        return None

    def pass_gate(self) -> None:
        """Nothing to pass."""

    def recorded(self, stream: str) -> bool:
        """Never."""
        return False

    def snapshot_ahead(self, symbol: str) -> bool:
        """Never: the book is known from the start."""
        return False

    def depth(
        self, symbol: str, limit: int, *, events_back: int = 0, place: Place = "now", age_us: int = 0
    ) -> DepthAnswer | None:
        """From memory at the current id, so mostly inside the next event."""
        pair, limit = self._pairs[symbol].listing, min(limit, DEPTH_MAX)
        ledger, ends = pair.ledger, pair.frame_ends
        update_id = ledger.last_id
        if events_back:
            update_id = ends[max(0, len(ends) - 1 - events_back)]
        elif place == "border":
            update_id = pair.sent_id
        elif place == "inside":
            update_id = (ends[-1] + ends[-2]) // 2 if len(ends) > 1 and ends[-1] > ends[-2] + 1 else pair.sent_id
        elif age_us:
            update_id = max(ledger.id_at(self._now_us - age_us), ledger.kept_from)
        if update_id == ledger.last_id:
            bids, asks = ([(k * s.away, s.quantities[k]) for k in s.keys[:limit]] for s in (pair.bids, pair.asks))
        else:
            old = ledger.book(update_id)
            if old is None:
                return None
            bids, asks = sorted(old[0].items(), reverse=True)[:limit], sorted(old[1].items())[:limit]
        return DepthAnswer(depth_body(update_id, pair.texts(bids), pair.texts(asks)), limit)

    def book(self, symbol: str, update_id: int, *, kept_only: bool = False) -> TrueBook | None:
        """The whole book at any id there ever was, of symbols that are delisted too.

        An id that is no longer kept takes a part of the time that has passed; it may be asked for beside the loop.
        """
        pair = self._pairs.get(symbol)
        if pair is None:
            return None
        listing = pair.listing
        ledger: Ledger | None = next((ledger for ledger in reversed(listing.ledgers) if ledger.holds(update_id)), None)
        if ledger is None and not kept_only and any(each.first_id <= update_id <= each.last_id for each in listing.ledgers):
            ledger = self._again(symbol, update_id)
        sides = ledger.book(update_id) if ledger else None
        if sides is None:
            return None
        bids, asks = (dict(listing.texts(list(side.items()))) for side in sides)
        return TrueBook(update_id, bids, asks)

    def diff(self, symbol: str, first_id: int, last_id: int) -> Diff | None:
        """What the ids did, as far as they are kept."""
        pair = self._pairs[symbol].listing
        sides = pair.ledger.touched(first_id, last_id)
        if sides is None:
            return None
        bids, asks = sides
        return Diff(first_id, last_id, dict(pair.texts(list(bids.items()))), dict(pair.texts(list(asks.items()))))

    def frame_end(self, symbol: str) -> int:
        """`u` of the last frame."""
        return self._pairs[symbol].listing.sent_id

    def tape(self, symbol: str) -> Tape:
        """The trades so far."""
        return self._pairs[symbol].listing.tape

    def exchange_info(self) -> list[dict[str, object]]:
        """One entry per symbol, with its real grid."""
        infos = []
        for symbol in self._symbols:
            pair = self._pairs[symbol]
            spec = pair.spec
            info = symbol_info(symbol, spec.tick_e8 * pair.grid, spec.lot_e8 * pair.lot_grid)
            infos.append({**info, "status": pair.status, "quotePrecision": spec.decimals, "quoteAssetPrecision": spec.decimals})
        return infos

    def server_time_ms(self) -> int:
        """The time reached."""
        return self._now_us // 1000


def _later(pair: Pair, after_s: int) -> Iterator[int]:
    yield after_s * 1_000_000
    pair.grid = 10
