"""Which records may be computed over: the rule of docs/records.md, for one record and for columns of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadline.core.records import HARMLESS, BookState, Flag, SecondRecord, TradeState

Bools = NDArray[np.bool_]

_HARMFUL = ~int(HARMLESS)  # plain integers: a Flag is slow, and a day has 86,400 records
_TRADES_LATE = int(Flag.TRADES_LATE)


def is_clean(record: SecondRecord) -> bool:
    """Whether what the record sums up happened to one live book during the whole second."""
    return record.state is BookState.LIVE and not record.flags & _HARMFUL


def has_all_trades(record: SecondRecord) -> bool:
    """Whether no trade is known to be missing from what was received in this second. Backfilled ones are in no record."""
    return record.trade_state is TradeState.COMPLETE and not record.flags & _TRADES_LATE


def clean_rows(columns: Mapping[str, NDArray[Any]]) -> Bools:
    """is_clean of a row each, from columns `state` and `flags` as the store gives them."""
    clean: Bools = (columns["state"] == BookState.LIVE) & ((columns["flags"] & _HARMFUL) == 0)
    return clean


def rows_with_all_trades(columns: Mapping[str, NDArray[Any]]) -> Bools:
    """has_all_trades of a row each, from columns `trade_state` and `flags`."""
    whole: Bools = (columns["trade_state"] == TradeState.COMPLETE) & ((columns["flags"] & _TRADES_LATE) == 0)
    return whole
