"""What is stored, as clients are given it: rows with what is missing beside them, pages put together again, without I/O.

Pages of one window close up: each says of which seconds it is, and the next one goes on there. What does not is Malformed.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from leadline.client import frames
from leadline.client.books import Broken, levels_of
from leadline.client.records import Level, Trade
from leadline.client.trades import trades_of
from leadline.core.errors import Malformed
from leadline.serve.proto import market_data_pb2 as pb

if TYPE_CHECKING:
    import pandas
    import polars


class Gap(Struct, frozen=True):
    """Seconds [from_s, to_s) that are not there, and why; `unknown`: nobody noted it."""

    from_s: int
    to_s: int
    cause: str


class Coverage(Struct, frozen=True, kw_only=True):
    """What of the seconds [from_s, to_s) is there. Rates divide by the time covered, not by the time asked for.

    covered_s: with a live book; of trades: with all trades. missing_ids: of trades, fills known to be missing; None: nobody can
    count them.
    """

    symbol: str
    origin: str
    from_s: int
    to_s: int
    covered_s: int
    gaps: tuple[Gap, ...] = ()
    missing_ids: int | None = None

    @property
    def expected_s(self) -> int:
        """Length of the window."""
        return self.to_s - self.from_s

    @property
    def ratio(self) -> float:
        """covered_s / expected_s."""
        return self.covered_s / self.expected_s

    def to_pandas(self) -> "pandas.DataFrame":
        """The gaps, one a row."""
        return frames.to_pandas(frames.of_gaps(self.gaps))

    def to_polars(self) -> "polars.DataFrame":
        """The gaps, one a row."""
        return frames.to_polars(frames.of_gaps(self.gaps))


class StoredSnapshot(Struct, frozen=True):
    """The book at the whole second `timestamp_s`: at most 20 levels a side, best first."""

    timestamp_s: int
    update_id: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Rows(Struct, frozen=True, kw_only=True):
    """What all answers of stored rows have. coverage: of the window."""

    symbol: str
    origin: str
    coverage: Coverage


class Snapshots(Rows, frozen=True, kw_only=True):
    """Snapshots of a window, oldest first."""

    rows: tuple[StoredSnapshot, ...]

    def to_pandas(self, *, exact: bool = False) -> "pandas.DataFrame":
        """One row a snapshot, as docs/client.md says; exact: Decimal for float. Raises MissingPackage."""
        return frames.to_pandas(frames.of_snapshots(self.rows, exact))

    def to_polars(self, *, exact: bool = False) -> "polars.DataFrame":
        """One row a snapshot, as docs/client.md says; exact: Decimal for float. Raises MissingPackage."""
        return frames.to_polars(frames.of_snapshots(self.rows, exact))


class Trades(Rows, frozen=True, kw_only=True):
    """Aggregate trades of a window, in id order."""

    rows: tuple[Trade, ...]

    def to_pandas(self, *, exact: bool = False) -> "pandas.DataFrame":
        """One row a trade, as docs/client.md says; exact: Decimal for float. Raises MissingPackage."""
        return frames.to_pandas(frames.of_trades(self.rows, exact))

    def to_polars(self, *, exact: bool = False) -> "polars.DataFrame":
        """One row a trade, as docs/client.md says; exact: Decimal for float. Raises MissingPackage."""
        return frames.to_polars(frames.of_trades(self.rows, exact))


class Seconds(Rows, frozen=True, kw_only=True):
    """Records of a window, one a second, as columns named as in docs/records.md.

    t: unix s. columns: a value a row; None: none, and docs/records.md says when. Prices and quantities are integers of 1e-8,
    values in quote units Decimal; fields over bands, sizes or ranks have a tuple a row.
    """

    t: tuple[int, ...]
    columns: dict[str, tuple[Any, ...]]

    def to_pandas(self, *, exact: bool = False) -> "pandas.DataFrame":
        """One row a second, as docs/client.md says; exact: Decimal for float. Raises MissingPackage."""
        return frames.to_pandas(frames.of_seconds(self.t, self.columns, exact))

    def to_polars(self, *, exact: bool = False) -> "polars.DataFrame":
        """One row a second, as docs/client.md says; exact: Decimal for float. Raises MissingPackage."""
        return frames.to_polars(frames.of_seconds(self.t, self.columns, exact))


# One page --------------------------------------------------------------------


def snapshots_of(page: pb.SnapshotsPage) -> Snapshots:
    """A page. Raises Malformed."""
    try:
        rows = tuple(
            StoredSnapshot(one.timestamp, one.update_id, levels_of(one.bids, -1), levels_of(one.asks, 1))
            for one in page.snapshots
        )
    except Broken as error:
        raise Malformed("snapshots", str(error)) from error
    return Snapshots(symbol=page.symbol, origin=page.origin, coverage=coverage_of(page.coverage), rows=rows)


def trades_page_of(page: pb.TradesPage) -> Trades:
    """A page."""
    rows = tuple(trades_of(page.symbol, page.trades, stored=True))
    return Trades(symbol=page.symbol, origin=page.origin, coverage=coverage_of(page.coverage), rows=rows)


def coverage_of(page: pb.Coverage) -> Coverage:
    """A page."""
    return Coverage(
        symbol=page.symbol,
        origin=page.origin,
        from_s=page.from_s,
        to_s=page.to_s,
        covered_s=page.covered_s,
        gaps=tuple(Gap(gap.from_s, gap.to_s, gap.cause) for gap in page.gaps),
        missing_ids=page.missing_ids if page.HasField("missing_ids") else None,
    )


def seconds_of(chunk: pb.SecondsChunk) -> Seconds:
    """A slice. Raises Malformed."""
    return Seconds(
        symbol=chunk.symbol,
        origin=chunk.origin,
        coverage=coverage_of(chunk.coverage),
        t=tuple(chunk.t),
        columns={column.name: _values(column, len(chunk.t)) for column in chunk.columns},
    )


def _values(column: pb.Column, rows: int) -> tuple[Any, ...]:
    kind = column.WhichOneof("values")
    values: list[Any] = list(getattr(column, kind).values) if kind else []
    if len(values) != rows * column.width:
        raise Malformed(column.name[:40], f"{len(values)} values in {rows} rows of {column.width}")
    if kind == "texts" and column.name not in frames.NAMES:
        # What is an integer of 1e-8 elsewhere comes as text in whole units where it does not fit 64 bits.
        convert = _e8 if column.name in frames.PRICES | frames.QUANTITIES else Decimal
        values = [convert(text) if text else None for text in values]
    for place in column.nulls:
        values[place] = None
    if column.width == 1:
        return tuple(values)
    return tuple(tuple(values[at : at + column.width]) for at in range(0, len(values), column.width))


def _e8(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(8, "0"))


# Pages together --------------------------------------------------------------


class Pages:
    """Sees that pages close up: from from_s to to_s, of one symbol and one origin."""

    def __init__(self, from_s: int, to_s: int) -> None:
        self.at_s = from_s
        self._to_s = to_s
        self._born: tuple[str, str] | None = None

    def take(self, coverage: Coverage, token: str) -> None:
        """The next one; token: what it says of where to go on. Raises Malformed."""
        born = (coverage.symbol, coverage.origin)
        if self._born not in {None, born}:
            raise Malformed("origin", f"{born} behind {self._born}: another store answers now")
        if coverage.from_s != self.at_s or not self.at_s < coverage.to_s <= self._to_s:
            raise Malformed("coverage", f"[{coverage.from_s}, {coverage.to_s}) behind {self.at_s}")
        if bool(token) != (coverage.to_s < self._to_s):
            raise Malformed("next_page_token", f"{token[:40]!r} at {coverage.to_s} of {self._to_s}")
        self._born, self.at_s = born, coverage.to_s


def joined_coverage(parts: Sequence[Coverage]) -> Coverage:
    """One after the other; a gap that goes on is one."""
    gaps: list[Gap] = []
    for gap in (gap for part in parts for gap in part.gaps):
        if gaps and gaps[-1].to_s == gap.from_s and gaps[-1].cause == gap.cause:
            gaps[-1] = Gap(gaps[-1].from_s, gap.to_s, gap.cause)
        else:
            gaps.append(gap)
    missing = [part.missing_ids for part in parts]
    return structs.replace(
        parts[0],
        to_s=parts[-1].to_s,
        covered_s=sum(part.covered_s for part in parts),
        gaps=tuple(gaps),
        missing_ids=None if None in missing else sum(count or 0 for count in missing),
    )


def joined_snapshots(parts: Sequence[Snapshots]) -> Snapshots:
    """One after the other."""
    return structs.replace(parts[0], rows=tuple(row for part in parts for row in part.rows), coverage=_covered(parts))


def joined_trades(parts: Sequence[Trades]) -> Trades:
    """One after the other."""
    return structs.replace(parts[0], rows=tuple(row for part in parts for row in part.rows), coverage=_covered(parts))


def joined_seconds(parts: Sequence[Seconds]) -> Seconds:
    """One after the other."""
    columns = {name: tuple(value for part in parts for value in part.columns[name]) for name in parts[0].columns}
    return structs.replace(parts[0], t=tuple(t for part in parts for t in part.t), columns=columns, coverage=_covered(parts))


def _covered(parts: Sequence[Rows]) -> Coverage:
    return joined_coverage([part.coverage for part in parts])
