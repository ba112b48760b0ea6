"""Why a value is None: the codes that stand beside it. A reason is always one of these words, spelt here and nowhere else."""

from typing import Final

# What we know of the market.
BEYOND: Final = "beyond_known_range"  # a level that we cannot see could be part of it
EXHAUSTED: Final = "exhausted"  # the book is known to its end and holds less
NO_TRADES: Final = "no_trades"
UNDEFINED: Final = "undefined"  # nothing there to measure, or to divide by

# What we have of the window that was asked for.
BOOK_NOT_LIVE: Final = "book_not_live"
LOW_COVERAGE: Final = "low_coverage"
TRADE_GAP: Final = "trade_gap"  # trades are known to be missing
NO_TICKER_STREAM: Final = "no_ticker_stream"

# What we have of the past.
BASELINE_SHORT: Final = "baseline_short"
TOO_FEW: Final = "too_few"
NOT_FITTED: Final = "not_fitted"
NOT_CALIBRATED: Final = "not_calibrated"

NOT_ASKED: Final = "not_evaluated"  # the question did not ask for it
