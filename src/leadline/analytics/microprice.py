"""The fitted micro-price: the mid plus the move that followed such best prices in the past."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from leadline.analytics.stats import Floats
from leadline.core.units import E8

DECILES = 10
FIT_EVENTS_MIN = 5_000
FIT_SPAN_NS_MIN = 3_600 * 10**9
FIT_STEPS_MAX = 1_000


class MicroPrice(Struct, frozen=True):
    """What the mid is expected to move, by state of the best prices. Source: Stoikov, The micro-price, Quantitative Finance 2018;
    with the mean change of the mid in place of its distribution.

    moves_e8: by spread (one tick, more) and decile of bid size / both sizes; None for a state that was never left. n: events.
    """

    tick_e8: int
    moves_e8: tuple[float | None, ...]
    n: int

    def of(self, bid_e8: int, bid_quantity_e8: int, ask_e8: int, ask_quantity_e8: int) -> float | None:
        """Mid plus expected move, quote; None in a state that the fit has not seen."""
        decile, rest = divmod(DECILES * bid_quantity_e8, bid_quantity_e8 + ask_quantity_e8)
        # On the border of two deciles both count half, so that the move is odd in the imbalance there too.
        deciles = {min(decile, DECILES - 1), max(decile - 1, 0)} if rest == 0 else {decile}
        wide = DECILES if ask_e8 - bid_e8 >= 2 * self.tick_e8 else 0
        moves = [self.moves_e8[wide + one] for one in deciles]
        known = [move for move in moves if move is not None]
        if len(known) < len(moves):
            return None
        return ((bid_e8 + ask_e8) / 2 + sum(known) / len(known)) / E8


def fit_microprice(
    quotes: NDArray[np.int64], chains: NDArray[np.int64], recv_ns: NDArray[np.int64], tick_e8: int
) -> MicroPrice | None:
    """From best quotes in order. None under one hour or 5,000 events, or where no move follows from them.

    quotes: rows of bid price, bid quantity, ask price, ask quantity (1e-8). chains: one number for each unbroken run of them.
    """
    if len(quotes) < FIT_EVENTS_MIN or int(recv_ns[-1]) - int(recv_ns[0]) < FIT_SPAN_NS_MIN:
        return None
    return expected_moves(quotes, chains, tick_e8)


def expected_moves(quotes: NDArray[np.int64], chains: NDArray[np.int64], tick_e8: int) -> MicroPrice | None:
    """The fit itself, of any number of events."""
    bid, bid_quantity, ask, ask_quantity = quotes.T
    share = bid_quantity / (bid_quantity.astype(np.float64) + ask_quantity)
    decile = np.minimum((DECILES * share).astype(np.int64), DECILES - 1)
    wide = np.where(ask - bid >= 2 * tick_e8, DECILES, 0)
    linked = chains[1:] == chains[:-1]
    change = np.diff(bid + ask)[linked] / 2
    # Every step counts mirrored as well: imbalance reversed, change negated.
    both = [(wide + decile, change), (wide + DECILES - 1 - decile, -change)]
    before = np.concatenate([state[:-1][linked] for state, _ in both])
    after = np.concatenate([state[1:][linked] for state, _ in both])
    moved = np.concatenate([step for _, step in both])
    states = 2 * DECILES

    def counted(chosen: NDArray[np.bool_]) -> Floats:
        flat = np.bincount(before[chosen] * states + after[chosen], minlength=states * states)
        return flat.reshape(states, states).astype(np.float64)

    times = np.bincount(before, minlength=states)
    each = np.maximum(times, 1)[:, None]
    stays, jumps = counted(moved == 0) / each, counted(moved != 0) / each
    mean = np.bincount(before, moved, states) / each[:, 0]
    try:
        first, onward = np.split(np.linalg.solve(np.eye(states) - stays, np.column_stack([mean, jumps])), [1], axis=1)
    except np.linalg.LinAlgError:
        return None  # some states are never left by a move
    move = term = first[:, 0]
    for _ in range(FIT_STEPS_MAX):
        term = onward @ term
        move = move + term
        if np.abs(term).max() <= 1e-9 * tick_e8:
            known = tuple(float(value) if n else None for value, n in zip(move, times, strict=True))
            return MicroPrice(tick_e8, known, len(quotes))
    return None
