"""Where injections are put: checkpoints of a clean pass, as many from each tercile of volatility, drawn from a seed.

Checkpoints are farther apart than the time over which events merge, so no two placements look at the same minute.
"""

import random

import numpy as np
from msgspec import Struct

from bench.injection.path import Checkpoint, Clean
from bench.injection.source import SECOND_NS, WAY_NS

VOLATILITY_S = 60
TERCILES = 3
LEAD_NS = 2 * SECOND_NS  # from the fork to the first change: what is stored of the second of the fork is the base's own
SPREAD_MS = 10_000  # starts fall anywhere in a part of ten seconds


class Placement(Struct, frozen=True):
    """start_ns: receive time of the first change. volatility_bps: of a second, over the minute before. tercile: 0 is calm."""

    number: int
    checkpoint: Checkpoint
    start_ns: int
    tercile: int
    volatility_bps: float


def placements(clean: Clean, wanted: int, seed: int | str, *, room_s: int) -> list[Placement]:
    """In order of time; fewer than wanted where there are no more. room_s: seconds of frames that must follow a checkpoint."""
    source = clean.source
    found = [point for point in clean.checkpoints if point.place + room_s <= len(source.frames)]
    volatility = [_volatility(clean, source.start_s + point.place) for point in found]
    calm_first = sorted(range(len(found)), key=lambda i: (volatility[i], i))
    draws = random.Random(f"{seed}:{clean.symbol}:placements")
    chosen: dict[int, int] = {}
    for tercile, part in enumerate(np.array_split(np.array(calm_first, np.int64), TERCILES)):
        share = wanted // TERCILES + (tercile < wanted % TERCILES)
        chosen |= dict.fromkeys(draws.sample(part.tolist(), min(share, len(part))), tercile)
    out = []
    for number, i in enumerate(sorted(chosen)):
        at_ns = (source.start_s + found[i].place) * SECOND_NS + WAY_NS + LEAD_NS
        start_ns = at_ns + draws.randrange(SPREAD_MS) * 1_000_000
        out.append(Placement(number, found[i], start_ns, chosen[i], volatility[i]))
    return out


def _volatility(clean: Clean, at_s: int) -> float:
    """Root mean square of the one-second returns of the minute up to at_s, bps."""
    columns = clean.history.second_columns(clean.symbol, at_s - VOLATILITY_S + 1, at_s + 1, ["mid2_open", "mid2_close"]).columns
    returns = 1e4 * np.log(columns["mid2_close"] / columns["mid2_open"])
    return float(np.sqrt(np.nanmean(returns**2)))
