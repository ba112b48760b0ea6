"""The live books of a running service, for whoever asks questions: frozen copies, and what goes with them."""

from collections.abc import Callable, Sequence
from typing import Protocol

from leadline.clock import Clock
from leadline.core.cells import TickCells
from leadline.core.records import BookView
from leadline.service.live import Live
from leadline.service.queries.desk import BookStatus


class Connection(Protocol):
    """The last evidence about one connection."""

    @property
    def symbols(self) -> tuple[str, ...]:
        """Whom it carries."""
        ...

    @property
    def state(self) -> str:
        """`open`, or what it is instead."""
        ...

    @property
    def last_read(self) -> float | None:
        """Monotonic seconds of the last thing read, pings included."""
        ...


class LiveBooks:
    """connections: of the streams that the books live on."""

    def __init__(self, live: Live, connections: Callable[[], Sequence[Connection]], clock: Clock) -> None:
        self._live = live
        self._connections = connections
        self._clock = clock

    @property
    def symbols(self) -> Sequence[str]:
        """The followed symbols."""
        return tuple(self._live.feeds)

    def view(self, symbol: str, levels: int) -> BookView | None:
        """A frozen copy: LIVE, or the last good one flagged STALE; None before the first."""
        return self._live.feeds[symbol].view(levels)

    def why_none(self, symbol: str) -> str:
        """Why there is no LIVE book."""
        return self._live.feeds[symbol].reason

    def cells(self, symbol: str) -> Sequence[TickCells]:
        """The last ticks in price cells, oldest first."""
        return self._live.feeds[symbol].cells

    def size_thresholds(self, symbol: str) -> Sequence[float | None] | None:
        """Quote value above which a level counts as large, by distance bucket; None: too little history."""
        return self._live.feeds[symbol].size_thresholds

    def status(self, symbol: str) -> BookStatus:
        """What goes with the book."""
        feed = self._live.feeds[symbol]
        connection = next((one for one in self._connections() if symbol in one.symbols), None)
        last_read = None if connection is None else connection.last_read
        return BookStatus(
            symbol=symbol,
            heard_ms=None if last_read is None else round(1000 * (self._clock.monotonic() - last_read)),
            lost_ms=None if feed.lost_since_ms is None else self._clock.wall_ns() // 1_000_000 - feed.lost_since_ms,
            connected=connection is not None and connection.state == "open",
            trades="COMPLETE" if feed.chain.hole is None else "MISSING",
            audit_checks=feed.audit.checks,
            audit_mismatches=feed.audit.mismatches,
            last_mismatch_ms=feed.last_mismatch_ms,
        )
