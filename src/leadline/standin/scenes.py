"""What is put into a synthetic market on command: regimes, and scenes that are known for what they are (docs/standin.md).

A scene is a generator: it changes the market, gives the time to its next step in microseconds, and is labelled from its first
step to its last, so that whoever looks for such things has true cases to find.
"""

from collections.abc import Callable, Iterator

from msgspec import Struct, structs

from leadline.standin.draws import Draws
from leadline.standin.listing import Side
from leadline.standin.model import NORMAL, Pair, Regime

MS, SECOND = 1_000, 1_000_000

REGIMES = {
    regime.name: regime
    for regime in (
        NORMAL,
        Regime("quiet", speed=200, jump_length=500),
        Regime("busy", speed=4_000, jump_length=1_500),
        Regime("crash", jumps=20_000, arrivals=200, cancels=5_000, drift=-1),
        Regime("melt_up", jumps=20_000, arrivals=200, cancels=5_000, drift=1),
    )
}
RECOVERY_S = 120  # after a crash or a melt-up of limited length: back over minutes
RECOVERY_JUMPS = 3_000


class Action(Struct, frozen=True, kw_only=True):
    """One thing to do to the market of a symbol; what it does not need it ignores. Names: ACTIONS.

    for_s: how long; null: until the next one of its kind, a scene as long as it does by itself. bp: how far, basis points.
    times: how large, in usual best levels, or by how much a grid grows. count: how many.
    """

    name: str
    for_s: float | None = None
    side: str = "bid"
    bp: int = 5
    times: int = 50
    count: int = 20
    levels: int = 1000


class Label(Struct):
    """What was put into the market and when, UTC ms; end_ms null while it lasts. low, high: the prices concerned."""

    symbol: str
    name: str
    start_ms: int
    end_ms: int | None = None
    side: str = ""
    low: str | None = None
    high: str | None = None
    detail: str = ""


Steps = Iterator[int]
Scene = Callable[[Pair, Action, Draws, Label], Steps]


def begin(pair: Pair, action: Action, now_us: int, draws: Draws) -> Label:
    """Put it into the market from now_us on. Raises KeyError for a name that is none of ACTIONS."""
    scene = ACTIONS[action.name]
    label = Label(pair.spec.symbol, action.name, now_us // 1000, side=action.side if action.name.startswith("scene") else "")
    is_scene = action.name.startswith("scene.")
    pair.begin(_labelled(scene(pair, action, draws, label), pair, label), now_us, always=not is_scene)
    return label


def _labelled(steps: Steps, pair: Pair, label: Label) -> Steps:
    yield from steps
    if label.end_ms is None and pair.standing.get(_kind(label)) is not label:  # else it lasts until the next of its kind
        label.end_ms = pair.listing.now_us // 1000


def _kind(label: Label) -> str:
    return label.name.partition(".")[0]


def _stands(pair: Pair, label: Label) -> None:
    """From now on this regime, or status, holds; the one before is over."""
    before = pair.standing.get(_kind(label))
    if isinstance(before, Label) and before.end_ms is None:
        before.end_ms = pair.listing.now_us // 1000
    pair.standing[_kind(label)] = label


def _falls(pair: Pair, label: Label) -> bool:
    """It ends, unless another one has taken its place."""
    if pair.standing.get(_kind(label)) is not label:
        return False
    del pair.standing[_kind(label)]
    return True


def _key(side: Side, key: int) -> int:
    """The key, or the last one of its side that is a price."""
    return key if key * side.away > 0 else side.away


def _us(action: Action, default_s: float) -> int:
    return int((default_s if action.for_s is None else action.for_s) * SECOND)


def _side(pair: Pair, action: Action) -> Side:
    return pair.listing.bids if action.side == "bid" else pair.listing.asks


def _concerns(pair: Pair, label: Label, side: Side, *keys: int) -> None:
    prices = sorted(key * side.away for key in keys)
    label.low, label.high = pair.listing.price_text(prices[0]), pair.listing.price_text(prices[-1])


def _regime(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    regime = REGIMES[action.name.partition(".")[2]]
    _stands(pair, label)
    pair.enter(regime)
    if action.for_s is None:
        return
    yield _us(action, 0)
    if not _falls(pair, label):
        return
    if regime.drift:
        back = structs.replace(NORMAL, jumps=RECOVERY_JUMPS, drift=-regime.drift)
        pair.enter(back)
        yield RECOVERY_S * SECOND
        if pair.regime is not back:
            return
    pair.enter(NORMAL)


def _wall(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """A large level, set and pulled; if price comes to it, it trades like any other."""
    side = _side(pair, action)
    if not side.keys:
        return
    key = _key(side, side.keys[0] + pair.ticks(action.bp))
    lots = action.times * pair.usual_best
    _concerns(pair, label, side, key)
    label.detail = f"{lots} lots"
    pair.listing.change(side, key, side.quantities.get(key, 0) + lots)
    yield _us(action, 10)
    if key in side.quantities:
        pair.listing.change(side, key, 0)


def _iceberg(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """`count` times the same best level is eaten by a taker and refilled within milliseconds. Price stays."""
    side = _side(pair, action)
    if not side.keys:
        return
    pair.settle()
    key, lots = side.keys[0], max(2, pair.usual_best)
    _concerns(pair, label, side, key)
    pair.pinned += 1
    wait_us = _us(action, 0.25 * action.count) // max(1, action.count)
    refills = 0
    pair.listing.change(side, key, lots)
    for _ in range(action.count):
        yield wait_us * (500 + draws.below(1000)) // 1000
        if not side.keys or side.keys[0] != key:
            continue  # somebody quotes better: not now
        pair.listing.trade(side, min(lots * 9 // 10, side.quantities[key] - 1) or 1, 2)
        yield MS + draws.below(4 * MS)
        pair.listing.change(side, key, lots)
        refills += 1
    pair.pinned -= 1
    label.detail = f"{refills} refills of {lots} lots"


def _stuffing(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Levels near the touch come and go, a thousand changes a second, without more trades than before."""
    side, changes = _side(pair, action), 0
    for _ in range(_us(action, 3) // (2 * MS)):
        if side.keys:
            key = side.keys[0] + 1 + draws.below(20)
            if key not in side.quantities and key * side.away > 0:
                pair.listing.change(side, key, pair.usual_best)
                yield MS
                pair.listing.change(side, key, 0)
                changes += 2
                yield MS
                continue
        yield 2 * MS
    label.detail = f"{changes} changes"


def _absorption(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Takers hit one side all the time, and its best price does not give way."""
    side = _side(pair, action)
    if not side.keys:
        return
    pair.settle()
    pair.pinned += 1
    _concerns(pair, label, side, side.keys[0])
    left_us, lots = _us(action, 10), 0
    while left_us > 0:
        wait_us = 50 * MS + draws.below(100 * MS)
        yield wait_us
        left_us -= wait_us
        if side.keys:
            key = side.keys[0]
            taken = max(1, min(pair.usual_best // 2, side.quantities[key] - 1))
            if taken < side.quantities[key]:
                pair.listing.trade(side, taken, 3)
                pair.listing.change(side, key, side.quantities[key] + taken)
                lots += taken
    pair.pinned -= 1
    label.detail = f"{lots} lots absorbed"


def _vacuum(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Nobody quotes in a band of `bp`, from as far away as it is wide."""
    side = _side(pair, action)
    if not side.keys:
        return
    low = side.keys[0] + pair.ticks(action.bp)
    high = low + pair.ticks(action.bp)
    _concerns(pair, label, side, _key(side, low), _key(side, high))
    band = (side, low, high)
    pair.banned.append(band)
    for key in [key for key in side.keys if low <= key <= high and key != side.keys[0]]:
        pair.listing.change(side, key, 0)
    yield _us(action, 20)
    pair.banned.remove(band)


def _takers(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """`count` large orders against one side, one after the other; price gives way."""
    side = _side(pair, action)
    wait_us = _us(action, 5) // max(1, action.count)
    for _ in range(action.count):
        pair.take(side, max(2, pair.usual_best * action.times // 50), 8)
        yield wait_us


def _lone_tick(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """The spread opens from one tick to two and closes again; nothing else happens meanwhile."""
    side = _side(pair, action)
    if not side.keys:
        return
    pair.settle()
    open_us = _us(action, 0.3)
    pair.freeze(pair.listing.now_us + open_us + MS)
    key, lots = side.keys[0], side.quantities[side.keys[0]]
    _concerns(pair, label, side, key, key + 1)
    if key + 1 not in side.quantities and (key + 1) * side.away > 0:
        pair.listing.change(side, key + 1, lots)
    pair.listing.change(side, key, 0)
    yield open_us
    pair.listing.change(side, key, lots)


def _frozen(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Nothing happens at all."""
    stays_us = _us(action, 30)
    pair.freeze(pair.listing.now_us + stays_us)
    yield stays_us


def _empty_side(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """All levels of a side are cancelled; after a while the side comes back where it was."""
    side = _side(pair, action)
    if not side.keys:
        return
    best = side.keys[0]
    band = (side, best - 10**12, best + 10**12)
    pair.banned.append(band)
    for key in reversed(list(side.keys)):
        pair.listing.change(side, key, 0)
    yield _us(action, 3)
    pair.banned.remove(band)
    other = pair.listing.asks if side is pair.listing.bids else pair.listing.bids
    best = max(best, 1 - other.keys[0]) if other.keys else best
    for key, lots in pair.levels_around(side, best):
        pair.listing.change(side, key, lots)


def _walk(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Price goes `bp` away from where it was, stays for_s, and comes back."""
    listing = pair.listing
    direction = -1 if action.side == "bid" else 1
    start = listing.asks.keys[0] if listing.asks.keys else 0
    for goal in (direction, -direction):
        pair.enter(structs.replace(NORMAL, jumps=12_000, drift=goal))
        reached = start + (pair.ticks(action.bp) * direction if goal == direction else 0)
        while listing.asks.keys and (reached - listing.asks.keys[0]) * goal > 0:
            yield 100 * MS
        pair.enter(NORMAL)
        if goal == direction:
            yield _us(action, 10)


def _status(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Trading stops, or goes on; the book stays. With for_s it goes on after that. What is not listed does not trade."""
    _stands(pair, label)
    name = action.name.partition(".")[2]
    pair.status = "TRADING" if name == "new" else name.upper()
    if action.for_s is not None:
        yield _us(action, 0)
        if _falls(pair, label):
            pair.status = "TRADING"


def _tick_size(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """The grid of prices is `times` as wide from now on; what stands between its lines stays and trades."""
    pair.grid *= action.times
    yield from ()


def _step_size(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """The same of quantities."""
    pair.lot_grid *= action.times
    yield from ()


def _burst(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """One lot more at `levels` prices a side at once, from the touch outwards: a frame of thousands of entries."""
    for side in (pair.listing.bids, pair.listing.asks):
        for key in side.keys[1 : action.levels + 1]:
            pair.listing.change(side, key, side.quantities[key] + 1)
    yield from ()


def _restart_ids(pair: Pair, action: Action, draws: Draws, label: Label) -> Steps:
    """Update ids begin lower, as after a restart of the exchange."""
    pair.listing.restart_ids(10**9)
    yield from ()


ACTIONS: dict[str, Scene] = {
    **{f"regime.{name}": _regime for name in REGIMES},
    "scene.wall": _wall,
    "scene.iceberg": _iceberg,
    "scene.stuffing": _stuffing,
    "scene.absorption": _absorption,
    "scene.vacuum": _vacuum,
    "scene.takers": _takers,
    "scene.lone_tick": _lone_tick,
    "scene.frozen": _frozen,
    "scene.empty_side": _empty_side,
    "scene.walk": _walk,
    **{f"symbol.{status}": _status for status in ("halt", "break", "cancel_only", "trading", "new", "delisted")},
    "symbol.tick_size": _tick_size,
    "symbol.step_size": _step_size,
    "diff.burst": _burst,
    "diff.id_restart": _restart_ids,
}
