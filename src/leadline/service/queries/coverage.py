"""Questions over stored records, one function each. An answer says what it rests on: what is there, what is missing, and why."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from msgspec import Struct

from leadline.core.records import Incident, SecondRecord
from leadline.service.steps import Steps, run

STEP_S = 600
SERVICE = "*"
NO_BOOK_LOST = {"trades_missing", "chain_restart", "not_trading"}  # incidents that take no book away


class Reader(Protocol):
    """The store's reading side, as far as coverage needs it."""

    def second_columns(self, symbol: str, lo: int, hi: int, names: Sequence[str]) -> Any:
        """Object with `seconds` (n,) int64, `columns` by name, `unreadable` holes (lo_s, hi_s, cause)."""
        ...

    def seconds(self, symbol: str, lo: int, hi: int) -> Any:
        """Object with `rows` of SecondRecord."""
        ...

    def incidents(self, symbol: str) -> Any:
        """Object with `rows` of Incident."""
        ...

    def first_second(self, symbol: str) -> int | None:
        """Of the oldest record."""
        ...

    def last_second(self, symbol: str, at: int | None = None) -> int | None:
        """Of the newest record at or before `at`."""
        ...


class Gap(Struct, frozen=True):
    """Seconds [from_s, to_s) without a LIVE book in the store, and why. cause "unknown" means that nobody noted it; where nobody
    did, before the oldest record and after the newest, it says just that.
    """

    from_s: int
    to_s: int
    cause: str

    @property
    def seconds(self) -> int:
        """Length."""
        return self.to_s - self.from_s


class Coverage(Struct, frozen=True):
    """Of the seconds [from_s, to_s): how many have a record with a LIVE book, and the gaps between them."""

    symbol: str
    from_s: int
    to_s: int
    live_s: int
    gaps: tuple[Gap, ...]

    @property
    def expected_s(self) -> int:
        """Seconds asked for."""
        return self.to_s - self.from_s

    @property
    def ratio(self) -> float | None:
        """Share in [0, 1]; None for an empty window."""
        return self.live_s / self.expected_s if self.expected_s else None


def coverage(reader: Reader, symbol: str, lo: int, hi: int) -> Coverage:
    """Coverage of [lo, hi), half-open on record seconds. Reads one narrow column in slices; causes where seconds are missing."""
    return run(coverage_in_steps(reader, symbol, lo, hi))


def coverage_in_steps(reader: Reader, symbol: str, lo: int, hi: int) -> Steps[Coverage]:
    """The same in short steps. What lies before the oldest record or after the newest is not read."""
    causes, live = _Causes(reader, symbol), 0
    oldest_s, newest_s = reader.first_second(symbol), reader.last_second(symbol)
    if oldest_s is None or newest_s is None:
        causes.explain(lo, hi, otherwise="nothing is stored")
        return Coverage(symbol, lo, hi, live, tuple(causes.gaps))
    begin = min(max(lo, oldest_s), hi)
    end = min(max(begin, newest_s + 1), hi)
    causes.explain(lo, begin, otherwise="nothing is stored so far back")
    for start in range(begin, end, STEP_S):
        upto = min(start + STEP_S, end)
        found = reader.second_columns(symbol, start, upto, ["update_id"])
        there = np.zeros(upto - start, dtype=bool)
        there[(found.seconds - start)[~np.isnan(found.columns["update_id"].astype(np.float64))]] = True
        live += int(there.sum())
        holes = [(hole.lo_s, hole.hi_s, hole.cause) for hole in found.unreadable]
        for first, last in _runs(~there):
            records = reader.seconds(symbol, start + first, start + last).rows
            causes.explain(start + first, start + last, records=records, holes=holes)
        yield
    causes.explain(end, hi, otherwise="nothing is stored since")
    return Coverage(symbol, lo, hi, live, tuple(causes.gaps))


class _Causes:
    """Gaps as they are found, oldest first. Incidents are read when the first one must be explained."""

    def __init__(self, reader: Reader, symbol: str) -> None:
        self._reader, self._symbol = reader, symbol
        self._incidents: list[Incident] | None = None
        self.gaps: list[Gap] = []

    def explain(
        self,
        lo: int,
        hi: int,
        *,
        records: Sequence[SecondRecord] = (),
        holes: Sequence[tuple[int, int, str]] = (),
        otherwise: str = "unknown",
    ) -> None:
        """Add the missing seconds [lo, hi), cut where the cause changes; between two edges it cannot change."""
        if lo >= hi:
            return
        if self._incidents is None:
            noted = [*self._reader.incidents(self._symbol).rows, *self._reader.incidents(SERVICE).rows]
            self._incidents = [incident for incident in noted if incident.kind not in NO_BOOK_LOST]
        reasons = {record.t: record.reason for record in records}
        edges = {lo, hi, *reasons, *(t + 1 for t in reasons), *(edge for first, end, _ in holes for edge in (first, end))}
        for incident in self._incidents:
            edges.add(-(-incident.start_ms // 1000))
            if incident.end_ms is not None:
                edges.add(incident.end_ms // 1000 + 1)
        inside = sorted(edge for edge in edges if lo <= edge <= hi)
        for first, end in pairwise(inside):
            cause = next((cause for from_s, to_s, cause in holes if from_s <= first < to_s), None)
            cause = cause or reasons.get(first) or _incident_cause(first, self._incidents) or otherwise
            goes_on = bool(self.gaps) and (self.gaps[-1].to_s, self.gaps[-1].cause) == (first, cause)
            self.gaps.append(Gap(self.gaps.pop().from_s if goes_on else first, end, cause))


def _incident_cause(second: int, incidents: Sequence[Incident]) -> str | None:
    """The incident that covers the tick at this second; the latest to begin if there are several."""
    tick_ms = second * 1000
    covering = [i for i in incidents if i.start_ms <= tick_ms and (i.end_ms is None or tick_ms <= i.end_ms)]
    if not covering:
        return None
    incident = max(covering, key=lambda i: i.start_ms)
    return incident.kind if incident.kind == incident.cause else f"{incident.kind} ({incident.cause})"


def _runs(mask: "np.ndarray[Any, np.dtype[np.bool_]]") -> Iterator[tuple[int, int]]:
    """Half-open index ranges in which the mask is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
