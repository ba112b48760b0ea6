"""Seconds for tests of the detectors, as columns: an ordinary past that ends at DAY, and what comes after it."""

import numpy as np

from leadline.analytics.activity import Activity
from leadline.analytics.health import Seconds
from leadline.analytics.order_flow import Columns

DAY = 1_799_971_200  # midnight, UTC: a multiple of every window's length
E8, E16 = 10**8, 10**16
NAN = np.nan


def ticks(first, last):
    """Both included, counted from DAY."""
    return np.arange(DAY + first, DAY + last + 1)


def filled(t, values):
    """One number for all rows, or a row each."""
    return np.broadcast_to(np.asarray(values, float), len(t)).copy()


def activity(t, *, messages=100, fills=0, mid_range_e8=0, bids=0, asks=0, bought=0, sold=0):
    return Activity(t, *(filled(t, column) for column in (messages, fills, mid_range_e8, bids, asks, bought, sold)))


def seconds(t, *, depth=1e6, cost=2, spread=1, returns=0.1):
    """Of a live book. NaN in all columns: a data fault."""
    columns = [filled(t, column) for column in (spread, cost, depth, NAN, returns, NAN)]
    live = np.ones(len(t), bool)
    return Seconds(t, live, live, ~live, np.ones(len(t)), *columns)


def flow(t, *, ofi=0, bought=0, sold=0, moves=0, epoch=1):
    """ofi in base units, bought and sold in quote, at a price of 1; moves in bps."""
    ofi, bought, sold, moves = (filled(t, column) for column in (ofi, bought, sold, moves))
    epochs = np.broadcast_to(epoch, len(t)).astype(np.int64)
    return Columns(t, epochs, np.ones(len(t), bool), ofi * E8, bought * E8, sold * E8, bought, sold, moves, moves)


def changed(values, at, to):
    """A copy with another value in some places."""
    out = np.array(values, float)
    out[at] = to
    return out


def found(outcome):
    """Status and reason, and of each event what is about time, counted from DAY, and its severity."""
    events = [
        (event.start_s - DAY, None if event.end_s is None else event.end_s - DAY, event.detected_s - DAY, event.severity.value)
        for event in outcome.events
    ]
    return outcome.status.value, outcome.reason, events


NOT_FOUND = ("not_found", None, [])


def refused(reason):
    return "not_evaluated", reason, []
