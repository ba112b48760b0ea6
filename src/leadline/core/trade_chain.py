"""The trades of one symbol, complete by id: what is missing is named, asked for, and put where it belongs.

Aggregate ids rise by one and the fills close up (`f` = the `l` before + 1). A hole is a question to the exchange (FetchTrades);
live trades wait in order meanwhile. What stays away is said (TradesMissing), never passed over. Duplicates fall away by id.

Sans-I/O like BookSync: the caller carries out the effects and gives the time (monotonic seconds).
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from leadline.core.records import Trade, TradeState

PAGE = 1000  # aggTrades `limit`, the exchange's maximum
RETRY_S = (0.0, 1.0, 2.0, 4.0, 8.0)  # the database may lag the stream by seconds
HOLE_MAX = 500_000  # ids; 500 pages at weight 4 are a third of a minute's budget, more is not worth the wait
WAITING_MAX = 50_000  # live trades held while a hole is asked for; more than that and the hole is given up


class FetchTrades(Struct, frozen=True):
    """Ask for the aggregate trades from_id..to_id, no earlier than not_before; answer with this request_id, page by page.

    probe: nothing is known to be missing; whether there are any is the question.
    """

    request_id: int
    from_id: int
    to_id: int
    limit: int
    not_before: float
    probe: bool = False


class TradesAccepted(Struct, frozen=True):
    """Trades that continue the chain, in id order."""

    trades: tuple[Trade, ...]
    state: TradeState


class TradesMissing(Struct, frozen=True):
    """These aggregate ids stay away (none if only fills are missing inside the chain). after, before: the neighbours."""

    from_id: int
    to_id: int
    after: Trade
    before: Trade
    why: str


class ChainRestarted(Struct, frozen=True):
    """Ids fell while trade time rose: another chain begins."""

    last: Trade
    first: Trade


ChainEffect = FetchTrades | TradesAccepted | TradesMissing | ChainRestarted


class TradeChain:
    """State of one symbol's chain. `last`: the last stored trade of an earlier run, to be continued from."""

    def __init__(self, last: Trade | None = None) -> None:
        self.last = last
        self._waiting: list[Trade] = []
        self._request_id = 0
        self._attempt = 0
        self._open = False
        self._got: list[Trade] = []
        self._probe_id: int | None = None

    @property
    def hole(self) -> tuple[int, int] | None:
        """First and last aggregate id that is being asked for."""
        if not self._waiting or self.last is None:
            return None
        return self._next_id(), self._waiting[0].agg_id - 1

    @property
    def newest(self) -> Trade | None:
        """The newest live trade, waiting behind a hole or not."""
        return self._waiting[-1] if self._waiting else self.last

    def received(self, trade: Trade, now: float) -> list[ChainEffect]:
        """One live trade came."""
        newest = self.newest
        if newest is None:
            return self._accept([trade], TradeState.COMPLETE)
        if trade.agg_id <= newest.agg_id:
            if trade.ts_trade_ns > newest.ts_trade_ns:  # not a duplicate: the ids began anew
                return self._restart(trade)
            return []
        if self._waiting:
            self._waiting.append(trade)
            return self._give_up("too many trades wait behind the hole") if len(self._waiting) > WAITING_MAX else []
        if trade.agg_id > newest.agg_id + 1:
            self._waiting.append(trade)
            self._attempt = 0
            return [self._fetch(now)] if trade.agg_id - newest.agg_id <= HOLE_MAX else self._give_up("the hole is too long")
        return self._continue([trade], TradeState.COMPLETE)

    def page_received(self, request_id: int, trades: Sequence[Trade], now: float) -> list[ChainEffect]:
        """The answer to a FetchTrades: trades from its from_id on, in id order; an old answer changes nothing."""
        if request_id == self._probe_id:
            return self._probed(trades)
        hole = self.hole
        if request_id != self._request_id or not self._open or hole is None:
            return []
        self._open = False
        useful = [trade for trade in trades if hole[0] <= trade.agg_id <= hole[1]]
        run = useful[: _contiguous(useful, hole[0])]
        if not run:
            return self._ask_again(now, f"not in the answer, {len(RETRY_S)} attempts")
        self._got.extend(run)
        if run[-1].agg_id < hole[1]:
            self._attempt = 0
            return [self._fetch(now)]
        return self._close_hole()

    def page_failed(self, request_id: int, now: float) -> list[ChainEffect]:
        """The exchange did not answer."""
        if request_id == self._probe_id:
            self._probe_id = None
            return []
        if request_id != self._request_id or not self._open or self.hole is None:
            return []
        self._open = False
        return self._ask_again(now, f"no answer, {len(RETRY_S)} attempts")

    def probe(self, now: float) -> list[ChainEffect]:
        """Ask whether trades came about that the stream did not deliver; not while a hole is asked for."""
        if self.last is None or self._waiting or self._probe_id is not None:
            return []
        self._request_id += 1
        self._probe_id = self._request_id
        next_id = self._next_id()
        return [FetchTrades(self._request_id, next_id, next_id + PAGE - 1, PAGE, now, probe=True)]

    def is_probe(self, request_id: int) -> bool:
        """Whether this request is the open probe."""
        return request_id == self._probe_id

    def give_up(self, why: str) -> list[ChainEffect]:
        """Stop asking: every hole is recorded as missing and the live trades go on."""
        effects: list[ChainEffect] = []
        while self._waiting:  # behind the first hole there may be others
            effects += (effect for effect in self._give_up(why) if not isinstance(effect, FetchTrades))
        return effects

    def wants(self, request_id: int) -> bool:
        """Whether the answer to this request would still be used."""
        return request_id == self._probe_id or (request_id == self._request_id and self._open)

    # Inside ------------------------------------------------------------------

    def _next_id(self) -> int:
        newest = self._got[-1] if self._got else self.last
        assert newest is not None
        return newest.agg_id + 1

    def _probed(self, trades: Sequence[Trade]) -> list[ChainEffect]:
        self._probe_id = None
        later = [trade for trade in trades if trade.agg_id >= self._next_id()]
        return self._continue(later[: _contiguous(later, self._next_id())], TradeState.BACKFILLED)

    def _fetch(self, now: float) -> FetchTrades:
        hole = self.hole
        assert hole is not None
        self._probe_id = None  # the hole's own pages answer it
        self._request_id += 1
        self._open = True
        limit = min(PAGE, hole[1] - hole[0] + 1)
        return FetchTrades(self._request_id, hole[0], hole[1], limit, now + RETRY_S[self._attempt])

    def _ask_again(self, now: float, why: str) -> list[ChainEffect]:
        self._attempt += 1
        return [self._fetch(now)] if self._attempt < len(RETRY_S) else self._give_up(why)

    def _close_hole(self) -> list[ChainEffect]:
        got, waiting = self._got, self._waiting
        self._got, self._waiting, self._open = [], [], False
        return [*self._continue(got, TradeState.BACKFILLED), *self._replay(waiting)]

    def _give_up(self, why: str) -> list[ChainEffect]:
        got, waiting = self._got, self._waiting
        self._got, self._waiting, self._open = [], [], False
        effects = self._continue(got, TradeState.BACKFILLED) if got else []
        assert self.last is not None
        effects.append(TradesMissing(self.last.agg_id + 1, waiting[0].agg_id - 1, self.last, waiting[0], why))
        self.last = None  # the chain begins anew behind the hole
        return [*effects, *self._replay(waiting)]

    def _replay(self, waiting: list[Trade]) -> list[ChainEffect]:
        """Trades that waited; a second hole among them is asked for in its turn."""
        for index, trade in enumerate(waiting):
            if index and trade.agg_id != waiting[index - 1].agg_id + 1:
                effects = self._continue(waiting[:index], TradeState.COMPLETE)
                self._waiting, self._attempt = waiting[index:], 0
                if trade.agg_id - waiting[index - 1].agg_id > HOLE_MAX:
                    return [*effects, *self._give_up("the hole is too long")]
                return [*effects, self._fetch(0.0)]
        return self._continue(waiting, TradeState.COMPLETE)

    def _continue(self, trades: Sequence[Trade], state: TradeState) -> list[ChainEffect]:
        """Accept trades whose aggregate ids close up; fills that do not are said."""
        effects: list[ChainEffect] = []
        begin = 0
        last = self.last
        for index, trade in enumerate(trades):
            if last is not None and trade.first_id != last.last_id + 1:
                effects += self._accept(trades[begin:index], state)
                begin = index
                effects.append(TradesMissing(trade.agg_id, trade.agg_id - 1, last, trade, "fills do not close up"))
            last = trade
        return effects + self._accept(trades[begin:], state)

    def _accept(self, trades: Iterable[Trade], state: TradeState) -> list[ChainEffect]:
        accepted = tuple(trades)
        if not accepted:
            return []
        self.last = accepted[-1]
        return [TradesAccepted(accepted, state)]

    def _restart(self, trade: Trade) -> list[ChainEffect]:
        last = self._waiting[-1] if self._waiting else self.last
        assert last is not None
        effects = self.give_up("the ids began anew")
        self.last = None
        return [*effects, ChainRestarted(last, trade), *self._accept([trade], TradeState.COMPLETE)]


def _contiguous(trades: Sequence[Trade], from_id: int) -> int:
    """How many trades from the start have the ids from_id, from_id + 1, ..."""
    count = 0
    for trade in trades:
        if trade.agg_id != from_id + count:
            break
        count += 1
    return count
