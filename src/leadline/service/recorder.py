"""Seconds to the store: checked, queued, written in one batch a second, told to the operator. A failed write never stops a feed.

The queue is bounded. When the store does not take batches, the oldest waiting one goes first, is counted, and an incident in
the next successful batch says which seconds are gone. Log sentences are an interface, word for word (docs/operations.md).
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec import structs

from leadline.clock import Clock
from leadline.core.errors import StoreError
from leadline.core.records import Flag, Incident, SymbolSecond
from leadline.service.ports import Listener, Nobody, RecordSink

log = logging.getLogger("leadline.recorder")

QUEUE_MAX_S = 60  # seconds of data that may wait for the store
KEPT_MAX = 20_000  # trades and incidents of dropped seconds: rows that wait; beyond that they are lost too
RETRY_S = 1.0
BEHIND_MAX_S = 5  # a snapshot's second must lie in [now - 5 s, now + 1 s]
AHEAD_MAX_S = 1
SERVICE = "*"


class Recorder:
    """The one writer of seconds. snapshot_lines: "all" logs each stored snapshot, "summary" one line a minute, "none" nothing."""

    def __init__(
        self,
        sink: RecordSink,
        *,
        snapshot_lines: str = "all",
        incident_keys: Collection[tuple[int, int]] = (),
        listener: Listener | None = None,
    ) -> None:
        self._sink = sink
        self._snapshot_lines = snapshot_lines
        self._listener: Listener = listener or Nobody()
        self._queue: deque[tuple[int, list[SymbolSecond]]] = deque()
        self._wake = asyncio.Event()
        self._last: dict[str, tuple[int, int, int]] = {}  # symbol -> (newest second, epoch, update id) accepted
        self._incident_keys = set(incident_keys)
        self._kept: list[SymbolSecond] = []  # what dropped seconds had to tell of others
        self._incidents: list[Incident] = []
        self._lost: tuple[int, int] | None = None  # first and last second dropped and not yet told
        self._in_hand = 0
        self._stored_in_minute: Counter[str] = Counter()
        self._minute = 0
        self.stored = 0
        self.skipped: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        self.dropped_seconds = 0
        self.write_errors = 0
        self.last_stored_second: int | None = None
        self.last_error: str | None = None

    # Checks ------------------------------------------------------------------

    def checked(self, row: SymbolSecond, clock_s: float) -> SymbolSecond:
        """The row as it may be stored; clock_s: the service's clock at the tick. Says what it takes away."""
        if row.record is None:
            return row
        snapshot, symbol = row.snapshot, row.symbol
        if not clock_s - BEHIND_MAX_S <= row.second <= clock_s + AHEAD_MAX_S:
            reason = f"second outside [now-{BEHIND_MAX_S} s, now+{AHEAD_MAX_S} s]"
            self.skipped["clock"] += 1
            log.warning("Skipping snapshot for %s: %s", symbol, reason, extra={"symbol": symbol, "second": row.second})
            flagged = structs.replace(row.record, flags=row.record.flags | int(Flag.CLOCK))
            return structs.replace(row, record=flagged, snapshot=None, skipped="clock")
        if snapshot is None:
            self.skipped[row.skipped or ""] += 1
            log.warning("Skipping snapshot for %s: %s", symbol, row.skipped, extra={"symbol": symbol, "second": row.second})
            return row
        epoch = row.record.epoch or 0
        newest, last_epoch, last_id = self._last.get(symbol, (0, 0, 0))
        if row.second <= newest:  # a late tick, or the clock was set back: the last one wins
            self.repeated[symbol] += 1
            log.warning("same_second_twice", extra={"symbol": symbol, "second": row.second})
        if epoch == last_epoch and snapshot.update_id < last_id:
            log.warning(
                "update_id_regressed", extra={"symbol": symbol, "second": row.second, "from": last_id, "to": snapshot.update_id}
            )
        self._last[symbol] = (max(newest, row.second), epoch, snapshot.update_id)
        if log.isEnabledFor(logging.DEBUG):
            fields = {"symbol": symbol, "second": row.second, "update_id": snapshot.update_id, "epoch": epoch}
            log.debug("snapshot_captured", extra={**fields, "bids": len(snapshot.bids), "asks": len(snapshot.asks)})
        return row

    # Writing -----------------------------------------------------------------

    def write(self, rows: Sequence[SymbolSecond]) -> None:
        """Write one batch now. Raises StoreError: nothing of it was written."""
        incidents = self._pending_incidents(self._lost)
        failed = self._sink.write(rows, incidents)
        self._lost = None
        self._written(incidents)
        self._tell(rows, failed)

    def write_pending(self) -> None:
        """Write the incidents that the last batch brought about. Raises StoreError."""
        if self._incidents:
            self.write([])

    def _tell(self, rows: Sequence[SymbolSecond], failed: Sequence[tuple[SymbolSecond, Exception]]) -> None:
        lost = {id(row) for row, _ in failed}
        for row, error in failed:
            self.write_errors += 1
            log.error("Failed to persist %s snapshot: %s", row.symbol, error, extra={"symbol": row.symbol, "second": row.second})
            self.incident("not_stored", row.second * 1000, row.second * 1000, f"{row.symbol} cannot be encoded", str(error))
        for row in rows:
            if id(row) in lost:
                continue
            if row.record is not None:
                self.last_stored_second = max(self.last_stored_second or 0, row.second)
            if row.snapshot is None:
                continue
            self.stored += 1
            if self._snapshot_lines == "all":
                log.info(
                    "Stored snapshot for %s at %d", row.symbol, row.second, extra={"symbol": row.symbol, "second": row.second}
                )
            elif self._snapshot_lines == "summary":
                self._summarise(row)

    def _summarise(self, row: SymbolSecond) -> None:
        minute = row.second // 60
        if minute != self._minute:
            self._tell_minute()
            self._minute = minute
        self._stored_in_minute[row.symbol] += 1

    def _tell_minute(self) -> None:
        if self._stored_in_minute:
            total = sum(self._stored_in_minute.values())
            log.info("snapshots_stored", extra={"count": total, "symbols": len(self._stored_in_minute)})
        self._stored_in_minute.clear()

    # Live: a queue and one writer -------------------------------------------------

    def accept(self, second: int, rows: Sequence[SymbolSecond], clock_s: float | None) -> None:
        """Take all rows of one second; never waits. clock_s None: they have been checked already.

        A full queue drops its oldest second and remembers the loss.
        """
        if len(self._queue) >= QUEUE_MAX_S:
            self._drop_oldest()
        self._queue.append((second, list(rows) if clock_s is None else [self.checked(row, clock_s) for row in rows]))
        self._wake.set()

    def _drop_oldest(self) -> None:
        """Its snapshots and records go; its trades and incidents, which may tell of other seconds, wait for the next batch."""
        second, rows = self._queue.popleft()
        self.dropped_seconds += 1
        self._lost = _joined(self._lost, (second, second))
        self._kept += [
            structs.replace(row, record=None, snapshot=None, skipped=None) for row in rows if row.trades or row.incidents
        ]
        for row in self._kept[:-KEPT_MAX]:
            for block in row.trades:
                self._lost = _joined(self._lost, (block.second, block.second))
        del self._kept[:-KEPT_MAX]
        log.error("queue_full", extra={"second": second, "symbols": len(rows)})

    def incident(self, kind: str, start_ms: int, end_ms: int | None, cause: str, detail: str) -> None:
        """Note a loss of the whole service; it goes with the next batch."""
        second = start_ms // 1000
        n = next((n for n in range(1000) if (second, n) not in self._incident_keys), 999)
        self._incident_keys.add((second, n))
        incident = Incident(SERVICE, second, n, kind, start_ms, end_ms, None, None, cause, detail)
        self._incidents.append(incident)
        self._listener.incident_noted(incident)

    def _pending_incidents(self, lost: tuple[int, int] | None) -> list[Incident]:
        pending = list(self._incidents)
        if lost is not None:
            first, last = lost
            n = next((n for n in range(1000) if (first, n) not in self._incident_keys), 999)
            detail = f"{last - first + 1} s of snapshots and records"
            # The record at tick t covers (t - 1, t]: so does the loss of a run of them.
            span = (first - 1) * 1000, last * 1000
            pending.append(Incident(SERVICE, first, n, "queue_full", *span, None, None, self.last_error or "slow store", detail))
        return pending

    @property
    def queue_length(self) -> int:
        """Seconds that wait for the store, the one in the writer's hands included."""
        return len(self._queue) + self._in_hand

    async def run(self, clock: Clock, writer: ThreadPoolExecutor) -> None:
        """Write queued seconds until cancelled; on the way out, whatever waits is written once more."""
        log.info("Snapshot persistence task started")
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._queue:
                    if not await self._write_oldest(writer):
                        await clock.sleep_until(clock.monotonic() + RETRY_S)
        finally:
            log.info("Snapshot persistence task shutting down")

    async def drain(self, writer: ThreadPoolExecutor) -> None:
        """Write all that waits, stopping at the first failure: what is accepted is not lost by an orderly stop."""
        while self._queue and await self._write_oldest(writer):
            pass
        if not self._queue and self._incidents:  # told by the last batch itself
            self._queue.append((0, []))
            await self._write_oldest(writer)
        self._tell_minute()
        if self._queue:
            log.error("seconds_lost_at_stop", extra={"count": len(self._queue), "cause": self.last_error})

    async def _write_oldest(self, writer: ThreadPoolExecutor) -> bool:
        """The oldest second leaves the queue while the writer has it: what is dropped meanwhile is surely not written."""
        second, rows = self._queue.popleft()
        told, self._lost = self._lost, None
        incidents = self._pending_incidents(told)
        self._in_hand = 1
        kept, self._kept = self._kept, []
        batch = [*kept, *rows]
        try:
            failed = await asyncio.get_running_loop().run_in_executor(writer, self._sink.write, batch, incidents)
        except StoreError as error:
            self._kept = kept + self._kept
            self._put_back(second, rows, told)
            self.write_errors += 1
            self.last_error = str(error)
            for row in rows:
                log.error("Failed to persist %s snapshot: %s", row.symbol, error, extra={"symbol": row.symbol, "second": second})
            return False
        except asyncio.CancelledError:  # the writer may finish all the same; the same again changes nothing
            self._kept = kept + self._kept
            self._put_back(second, rows, told)
            raise
        finally:
            self._in_hand = 0
        self._written(incidents)
        self._tell(batch, failed)
        return True

    def _put_back(self, second: int, rows: list[SymbolSecond], told: tuple[int, int] | None) -> None:
        newer, self._lost = self._lost, told
        self._queue.appendleft((second, rows))
        if len(self._queue) > QUEUE_MAX_S:  # it was full meanwhile: this second is the oldest
            self._drop_oldest()
        if newer is not None:
            self._lost = _joined(self._lost, newer)

    def _written(self, incidents: Sequence[Incident]) -> None:
        self._incidents = [incident for incident in self._incidents if incident not in incidents]
        self._incident_keys |= {(incident.second, incident.n) for incident in incidents}


def _joined(lost: tuple[int, int] | None, more: tuple[int, int]) -> tuple[int, int]:
    return more if lost is None else (min(lost[0], more[0]), max(lost[1], more[1]))
