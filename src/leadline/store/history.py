"""Records over any Engine: the face of the store that the service sees.

Windows are half-open, [lo, hi) on key seconds. A read is one synchronous call over the window it is given; the caller cuts
long windows with `slices` and lets the loop breathe between them. Nothing is cached and writers take turns, so threads may share
a History. What cannot be read is a hole with a cause in the answer, never a missing row that looks like quiet.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from leadline.core.errors import InvalidRequest, RecordUnreadable, StoreCorrupt, StoreError, StoreMismatch
from leadline.core.records import (
    BookSnapshot,
    Incident,
    SecondRecord,
    SymbolRules,
    SymbolSecond,
    Trade,
    TradeBlock,
    TradeHour,
    TradeState,
)
from leadline.store import codec, hour_codec, keys
from leadline.store.engine import DERIVED, FAMILIES, Engine, Put, Range, Scan
from leadline.store.hour_codec import HOUR_S
from leadline.store.trade_columns import STATES, trade_columns
from leadline.store.windows import Hole, SecondColumns, SnapshotColumns, TradeColumns, Window, slices

FORMAT = 1
PAGE = 4096  # rows a page where a whole family is walked

_PER_SECOND = ("snapshots", "seconds", "trades")
_CUT = (*_PER_SECOND, "hours")
_claims = count(1)  # of the whole process: no two hours that are being summed up share a number

T = TypeVar("T")

__all__ = ["FORMAT", "History", "Hole", "SecondColumns", "SnapshotColumns", "TradeColumns", "Window", "slices"]


class History:
    """Typed records over an engine. path_label: how errors name the store. Every method may raise StoreError."""

    def __init__(self, engine: Engine, path_label: str) -> None:
        self.engine = engine
        self.path_label = path_label
        self._writing = Lock()  # what is read to be written again must not change in between

    def open_for(self, origin: str, created_s: int) -> None:
        """Claim an empty store for data of `origin`, or check that it is such a store. Raises StoreMismatch. For writers."""
        held_format, held_origin = self.meta("format", int), self.meta("origin", str)
        if held_format is None:
            self.set_meta({"format": FORMAT, "created": created_s, "origin": origin})
            self.engine.flush()  # a repair forgets a family that has no data file yet
        elif held_format > FORMAT:
            raise StoreMismatch(
                self.path_label,
                f"format {held_format} is newer than format {FORMAT}, which this program writes; it can be read, not written",
            )
        elif held_origin != origin:
            raise StoreMismatch(
                self.path_label,
                f"holds data of {held_origin}, not of {origin}; choose another folder: data of two origins never share one",
            )

    # writing ------------------------------------------------------------------

    def write(self, rows: Sequence[SymbolSecond], incidents: Sequence[Incident] = ()) -> list[tuple[SymbolSecond, Exception]]:
        """All rows and incidents in one atomic batch, on the disk when it returns; the same second again: the last one wins.

        Trade blocks are merged with the stored block of their second: by id, state the worse of the two; the sums of their hour
        go in the same batch. A row that cannot be encoded is left out whole and returned with the reason. StoreError: nothing was
        written, the same call may be repeated.
        """
        with self._writing:
            return self._write(rows, incidents)

    def _write(self, rows: Sequence[SymbolSecond], incidents: Sequence[Incident]) -> list[tuple[SymbolSecond, Exception]]:
        staged: dict[tuple[str, bytes], bytes] = {}
        failed: list[tuple[SymbolSecond, Exception]] = []
        for row in rows:
            try:
                staged.update(self._encoded(row, staged))
            except StoreError:
                raise
            except Exception as error:  # whatever is wrong with one row must not cost the others
                failed.append((row, error))
        for incident in incidents:
            staged["incidents", keys.incident(incident.symbol, incident.second, incident.n)] = codec.encode_incident(incident)
        lost = {id(row) for row, _ in failed}
        puts = [(family, key, value) for (family, key), value in staged.items()]
        puts += self._symbols_put({row.symbol for row in rows if id(row) not in lost})
        if puts:
            self.engine.write(puts, _hours_of(key for family, key in staged if family == "trades"))
        return failed

    def put(self, symbol: str, second: int, value: bytes) -> None:
        """The specification's put: one encoded snapshot."""
        self.engine.write([("snapshots", keys.at(symbol, second), value), *self._symbols_put({symbol})])

    def _encoded(self, row: SymbolSecond, staged: dict[tuple[str, bytes], bytes]) -> dict[tuple[str, bytes], bytes]:
        key = keys.at(row.symbol, row.second)
        own: dict[tuple[str, bytes], bytes] = {}
        if row.record is not None:
            if row.record.t != row.second:
                raise ValueError(f"a record of {row.record.t} under the key of {row.second}")
            own["seconds", key] = codec.encode_second(row.record)
        if row.snapshot is not None and (row.snapshot.bids or row.snapshot.asks):
            if row.snapshot.timestamp != row.second:
                raise ValueError(f"a snapshot of {row.snapshot.timestamp} under the key of {row.second}")
            own["snapshots", key] = codec.encode_snapshot(row.snapshot)
        for block in row.trades:
            place = ("trades", keys.at(block.symbol, block.second))
            own[place] = codec.encode_trades(self._merged(block, own.get(place) or staged.get(place)))
        for i in row.incidents:
            own["incidents", keys.incident(i.symbol, i.second, i.n)] = codec.encode_incident(i)
        return own

    def _merged(self, block: TradeBlock, staged: bytes | None) -> TradeBlock:
        """The block with the trades already staged or stored for its second, in id order."""
        state, trades = block.state, {}
        try:
            value = staged or self.engine.get("trades", keys.at(block.symbol, block.second))
            if value is not None:
                held = codec.decode_trades(value, block.symbol, block.second)
                state = max(state, held.state, key=STATES.index)
                trades = {trade.agg_id: trade for trade in held.trades}
        except (StoreCorrupt, codec.Unreadable):
            state = TradeState.MISSING  # what was there is gone, and the new block says so
        trades |= {trade.agg_id: trade for trade in block.trades}
        return TradeBlock(block.symbol, block.second, state, tuple(trades[agg_id] for agg_id in sorted(trades)))

    def _symbols_put(self, seen: set[str]) -> list[Put]:
        held = set(self.symbols())
        return [] if seen <= held else [("meta", b"symbols", codec.encode_meta(sorted(seen | held)))]

    # reading ------------------------------------------------------------------

    def get(self, symbol: str, second: int) -> bytes | None:
        """The specification's get: the encoded snapshot of that second."""
        return self.engine.get("snapshots", keys.at(symbol, second))

    def snapshot(self, symbol: str, second: int) -> BookSnapshot | None:
        """The snapshot of exactly that second. Raises StoreCorrupt, RecordUnreadable."""
        value = self.get(symbol, second)
        return None if value is None else self._decoded("snapshots", keys.at(symbol, second), value, codec.decode_snapshot)

    def latest_snapshot(self, symbol: str, at: int | None = None) -> BookSnapshot | None:
        """The newest snapshot at or before `at` (None: of all). Raises StoreCorrupt, RecordUnreadable."""
        row = self._last("snapshots", symbol, at)
        return None if row is None else self._decoded("snapshots", *row, codec.decode_snapshot)

    def snapshots(self, symbol: str, lo: int, hi: int) -> Window[BookSnapshot]:
        """Exact snapshots; for statistics snapshot_columns is some ten times quicker."""
        return self._window("snapshots", keys.window(symbol, lo, hi), lambda _, value: codec.decode_snapshot(value))

    def snapshot_columns(self, symbol: str, lo: int, hi: int) -> SnapshotColumns:
        """The window as one float array."""
        seconds, levels, holes = self._columns("snapshots", keys.window(symbol, lo, hi), codec.snapshot_columns)
        return SnapshotColumns(seconds, levels, holes)

    def seconds(self, symbol: str, lo: int, hi: int) -> Window[SecondRecord]:
        """Exact records; where few fields are needed second_columns is quicker."""
        return self._window("seconds", keys.window(symbol, lo, hi), lambda _, value: codec.decode_second(value))

    def second_columns(self, symbol: str, lo: int, hi: int, names: Sequence[str]) -> SecondColumns:
        """The named fields as columns. Raises InvalidRequest for a name that is no column."""
        if unknown := set(names) - codec.COLUMNS:
            raise InvalidRequest("names", f"no such column: {', '.join(sorted(unknown))}")
        bounds = keys.window(symbol, lo, hi)
        seconds, columns, holes = self._columns("seconds", bounds, lambda values: codec.second_columns(values, names))
        return SecondColumns(seconds, columns, holes)

    def trades(self, symbol: str, lo: int, hi: int) -> Window[TradeBlock]:
        """Blocks in second order."""
        return self._window(
            "trades", keys.window(symbol, lo, hi), lambda key, value: codec.decode_trades(value, key.symbol, key.second)
        )

    def trade_columns(self, symbol: str, lo: int, hi: int) -> TradeColumns:
        """The trades of the window as exact columns: some four times quicker than to make columns of `trades`."""
        seconds, columns, holes = self._columns("trades", keys.window(symbol, lo, hi), trade_columns)
        return TradeColumns(seconds=seconds, unreadable=holes, **columns)

    def incidents(self, symbol: str) -> Window[Incident]:
        """All incidents of a symbol, or of the service (`*`): an incident may begin before the window it touches."""
        return self._window(
            "incidents",
            keys.symbol_range(symbol),
            lambda key, value: codec.decode_incident(value, key.symbol, key.second, key.n or 0),
        )

    def span(self, family: str, symbol: str) -> tuple[int, int] | None:
        """First and last second with a row of `symbol` in `family`; None if there is none."""
        first, last = self._first(family, symbol), self._last(family, symbol)
        return None if first is None or last is None else (first, keys.second(last[0]))

    def last_trade(self, symbol: str, at: int | None = None) -> Trade | None:
        """The highest id of the newest block, of second `at` or before, that holds trades.

        Blocks that do not decode are passed over: whoever continues the id chain from an older trade fetches them again.
        """
        row = self._last("trades", symbol, at)
        while row is not None:
            if (block := self._block(*row, symbol)) is not None and block.trades:
                return block.trades[-1]
            row = self._last("trades", symbol, keys.second(row[0]) - 1)
        return None

    def first_trade(self, symbol: str, from_s: int) -> Trade | None:
        """The lowest id of the oldest block, of second `from_s` or later, that holds trades and can be read."""
        lo, end = keys.window(symbol, from_s, keys.SECOND_MAX + 1)
        while rows := self.engine.scan("trades", lo, end, 1).rows:
            if (block := self._block(*rows[0], symbol)) is not None and block.trades:
                return block.trades[0]
            lo = keys.after(rows[0][0])
        return None

    def symbols(self) -> list[str]:
        """All symbols ever stored, sorted."""
        return self.meta("symbols", list[str]) or []

    def first_second(self, symbol: str) -> int | None:
        """Of the oldest readable record."""
        return self._first("seconds", symbol)

    def last_second(self, symbol: str, at: int | None = None) -> int | None:
        """Of the newest record at or before `at` (None: of all)."""
        row = self._last("seconds", symbol, at)
        return None if row is None else keys.second(row[0])

    def oldest_second(self) -> int | None:
        """Of any symbol, in any family that retention cuts."""
        found = [self._first(family, symbol) for symbol in self.symbols() for family in _PER_SECOND]
        return min((second for second in found if second is not None), default=None)

    def newest_second(self, at: int | None = None) -> int | None:
        """Of any symbol's records at or before `at` (None: of all): where the store ended."""
        return max((s for symbol in self.symbols() if (s := self.last_second(symbol, at)) is not None), default=None)

    # hours --------------------------------------------------------------------

    def trade_hour(self, symbol: str, second: int) -> TradeHour | None:
        """The sums of the hour that begins at `second`, equal to what its blocks give; None: read the blocks."""
        try:
            value = self.engine.get("hours", keys.at(symbol, second))
            return None if value is None else hour_codec.decode_hour(value, symbol, second)
        except (StoreCorrupt, codec.Unreadable):
            return None

    def hours_missing(self, symbol: str, lo: int, hi: int) -> list[int]:
        """Starts of the hours in [lo, hi), themselves whole hours, without sums; only what was stored and is not cut in part."""
        first = self._first("trades", symbol)
        if first is None:
            return []
        start = max(lo, first // HOUR_S * HOUR_S, -(-self._cut(symbol) // HOUR_S) * HOUR_S)
        rows = self.engine.scan("hours", *keys.window(symbol, start, hi)).rows
        held = {keys.second(key) for key, value in rows if hour_codec.is_hour(value)}
        return [second for second in range(start, hi, HOUR_S) if second not in held]

    def claim_hour(self, symbol: str, second: int) -> bytes:
        """Before its blocks are read: a mark in the hour's place, which goes when one of its blocks is written, or cut."""
        claim = hour_codec.encode_claim(next(_claims))
        with self._writing:
            self.engine.write([("hours", keys.at(symbol, second), claim)], sync=False)
        return claim

    def write_hour(self, hour: TradeHour, claim: bytes) -> bool:
        """Keep the sums of an hour whose blocks were read after the claim. False: they changed meanwhile, nothing is kept."""
        key, value = keys.at(hour.symbol, hour.second), hour_codec.encode_hour(hour)
        with self._writing:
            if self.engine.get("hours", key) != claim or hour.second < self._cut(hour.symbol):
                return False
            self.engine.write([("hours", key, value)], sync=False)  # lost with the power, it is summed up again
            return True

    # retention ----------------------------------------------------------------

    def cut_before(self, cutoff_s: int, incidents_cutoff_s: int | None = None) -> int:
        """Delete what is older than cutoff_s, of every symbol, in one batch; incidents only before incidents_cutoff_s.

        The sums of an hour go as soon as it begins before cutoff_s. Returns the number of symbol-seconds (rows of `seconds`)
        deleted. Space comes back by compaction.
        """
        with self._writing:
            return self._cut_before(cutoff_s, incidents_cutoff_s)

    def _cut_before(self, cutoff_s: int, incidents_cutoff_s: int | None) -> int:
        puts: list[Put] = []
        deletes: list[Range] = []
        count = 0
        for symbol in self.symbols():
            lo, hi = self._before(symbol, cutoff_s)
            count += self.engine.count("seconds", lo, hi)
            deletes += [(family, lo, hi) for family in _CUT]
            # Never back, even if this one is earlier: what the last one took away stays away.
            puts.append(("meta", f"cut:{symbol}".encode(), codec.encode_meta(max(cutoff_s, self._cut(symbol)))))
        if incidents_cutoff_s is not None:
            deletes += [("incidents", *self._before(s, incidents_cutoff_s)) for s in (*self.symbols(), keys.SERVICE)]
        if puts or deletes:
            self.engine.write(puts, deletes)
        return count

    def cleanup_old_snapshots(self, retention_s: int, now_s: int) -> int:
        """The specification's: delete the snapshots older than retention_s of all symbols, return how many."""
        deletes = [("snapshots", *self._before(symbol, now_s - retention_s)) for symbol in self.symbols()]
        count = sum(self.engine.count(*cut) for cut in deletes)
        if count:
            self.engine.write([], deletes)
        return count

    def compact(self) -> None:
        """Force back the space of the last cut; only after a cut by size."""
        for symbol in self.symbols():
            cut = self._cut(symbol)
            for family in _CUT if cut else ():
                self.engine.compact(family, *self._before(symbol, cut))

    def used_bytes(self) -> int:
        """All families and the log."""
        return self.engine.used_bytes()

    # meta ---------------------------------------------------------------------

    def meta(self, name: str, kind: Any = Any) -> Any:
        """A value by its plain name (docs/store.md lists them), or None. Raises RecordUnreadable if it is no `kind`."""
        key = name.encode()
        value = self.engine.get("meta", key)
        return None if value is None else self._decoded("meta", key, value, lambda v: codec.decode_meta(v, kind))

    def set_meta(self, values: dict[str, Any]) -> None:
        """Several names at once, all or nothing: `clean_shutdown`, `banned_until` and the like."""
        self.engine.write([("meta", name.encode(), codec.encode_meta(value)) for name, value in values.items()])

    def rules(self, symbol: str) -> SymbolRules | None:
        """What the exchange last said of the symbol."""
        rules: SymbolRules | None = self.meta(f"rules:{symbol}", SymbolRules)
        return rules

    def set_rules(self, rules: SymbolRules) -> None:
        """Kept under the rules' own symbol."""
        self.set_meta({f"rules:{rules.symbol}": rules})

    def digest(self) -> str:
        """SHA-256 over family, key and value of all families but derived ones, in order, each with its length before it.

        Equal digests: the same content, byte for byte. Raises StoreCorrupt where something cannot be read.
        """
        sha = hashlib.sha256()
        for family in (family for family in FAMILIES if family not in DERIVED):
            lo, page = b"", PAGE
            while page == PAGE:
                rows = self.engine.scan(family, lo, b"\xff", PAGE).rows
                for key, value in rows:
                    for part in (family.encode(), key, value):
                        sha.update(len(part).to_bytes(4, "big") + part)
                page = len(rows)
                lo = keys.after(rows[-1][0]) if rows else lo
        return sha.hexdigest()

    # helpers ------------------------------------------------------------------

    def _window(self, family: str, bounds: tuple[bytes, bytes], decode: Callable[[keys.Key, bytes], T]) -> Window[T]:
        scan = self.engine.scan(family, *bounds)
        holes = _damaged(scan)
        rows: list[T] = []
        for raw, value in scan.rows:
            key = keys.parse(raw)
            try:
                rows.append(decode(key, value))
            except codec.Unreadable as error:
                holes.append(Hole(key.second, key.second + 1, "unreadable", self._unreadable(family, raw, error).why))
        return Window(rows, _ordered(holes))

    def _columns(
        self, family: str, bounds: tuple[bytes, bytes], to_columns: Callable[[list[bytes]], Any]
    ) -> tuple[NDArray[np.int64], Any, list[Hole]]:
        scan = self.engine.scan(family, *bounds)
        rows, holes = scan.rows, _damaged(scan)
        try:
            columns = to_columns([value for _, value in rows])
        except codec.Unreadable:
            good = []
            for key, value in rows:
                try:
                    to_columns([value])
                    good.append((key, value))
                except codec.Unreadable as error:
                    second = keys.second(key)
                    holes.append(Hole(second, second + 1, "unreadable", str(error)))
            rows = good
            columns = to_columns([value for _, value in rows])
        seconds = np.fromiter((keys.second(key) for key, _ in rows), np.int64, len(rows))
        return seconds, columns, _ordered(holes)

    def _last(self, family: str, symbol: str, at: int | None = None) -> tuple[bytes, bytes] | None:
        lo, end = keys.symbol_range(symbol)
        upto = end if at is None else keys.window(symbol, at, at)[0]
        if at is not None and at < keys.SECOND_MIN:
            return None
        return self.engine.last(family, lo, upto)

    def _first(self, family: str, symbol: str) -> int | None:
        rows = self.engine.scan(family, *keys.symbol_range(symbol), 1).rows
        return keys.second(rows[0][0]) if rows else None

    def _block(self, key: bytes, value: bytes, symbol: str) -> TradeBlock | None:
        try:
            return codec.decode_trades(value, symbol, keys.second(key))
        except codec.Unreadable:
            return None

    def _cut(self, symbol: str) -> int:
        """Second before which retention has cut; 0: never."""
        return self.meta(f"cut:{symbol}", int) or 0

    def _before(self, symbol: str, cutoff_s: int) -> tuple[bytes, bytes]:
        return keys.symbol_range(symbol)[0], keys.window(symbol, cutoff_s, cutoff_s)[0]

    def _decoded(self, family: str, key: bytes, value: bytes, decode: Callable[[bytes], Any]) -> Any:
        try:
            return decode(value)
        except codec.Unreadable as error:
            raise self._unreadable(family, key, error) from error

    def _unreadable(self, family: str, key: bytes, error: Exception) -> RecordUnreadable:
        return RecordUnreadable(self.path_label, family, key.decode(errors="replace"), str(error))


def _hours_of(blocks: Iterable[bytes]) -> list[Range]:
    """The hours of these keys, each as a range of one key."""
    found = {keys.hour(key) for key in blocks}
    return [("hours", key, keys.after(key)) for key in sorted(found)]


def _damaged(scan: Scan) -> list[Hole]:
    return [Hole(*keys.span(damage.lo, damage.hi), "corrupt", damage.why) for damage in scan.holes]


def _ordered(holes: list[Hole]) -> list[Hole]:
    return sorted(holes, key=lambda hole: hole.lo_s)
