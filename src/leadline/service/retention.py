"""Bounded growth: two caps, by age and by size, whichever cuts more. It runs, and says when it last did.

Space comes back only after compaction, so the cut by size is worked out from average growth and never loops on measured use.
"""

import asyncio
import logging
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

from leadline.clock import Clock
from leadline.core.errors import StoreError
from leadline.service.ports import Retained

log = logging.getLogger("leadline.retention")

EVERY_S = 600.0
INCIDENTS_LIVE = 10  # times longer than seconds
FULL_SHARE = 0.9  # a cut by size goes down to this share of the cap


class Caps(Struct, frozen=True):
    """Largest age in seconds and largest size in bytes."""

    max_age_s: int
    max_bytes: int


class Cut(Struct, frozen=True):
    """Everything before cutoff_s goes; cap says which bound asked for it."""

    cutoff_s: int
    cap: str


def plan(
    caps: Caps,
    *,
    now_s: int,
    oldest_s: int | None,
    newest_s: int | None,
    used_bytes: int,
    free_bytes: int,
    min_free_bytes: int,
) -> Cut | None:
    """What to cut now; None: nothing is too old, nothing too large, and the disk has room."""
    if oldest_s is None or newest_s is None:
        return None
    cuts = []
    if oldest_s < now_s - caps.max_age_s:
        cuts.append(Cut(now_s - caps.max_age_s, "age"))
    if used_bytes > caps.max_bytes:
        cuts.append(Cut(_cutoff(oldest_s, newest_s, used_bytes, used_bytes - FULL_SHARE * caps.max_bytes), "size"))
    if free_bytes < min_free_bytes < free_bytes + used_bytes:  # else all of it together would not make enough room
        cuts.append(Cut(_cutoff(oldest_s, newest_s, used_bytes, min_free_bytes - free_bytes), "disk"))
    return max(cuts, key=lambda cut: cut.cutoff_s, default=None)


def _cutoff(oldest_s: int, newest_s: int, used_bytes: int, surplus_bytes: float) -> int:
    """Second before which the surplus lies, by average growth; at most everything."""
    seconds = newest_s - oldest_s + 1
    return oldest_s + min(seconds, math.ceil(surplus_bytes * seconds / used_bytes))


class Retention:
    """Runs the plan against a store. last_run_s, seconds_cut: evidence for whoever asks whether it runs."""

    def __init__(self, store: Retained, caps: Caps, folder: Path, min_free_bytes: int) -> None:
        self._store = store
        self._caps = caps
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self.last_run_s: int | None = None
        self.seconds_cut = {"age": 0, "size": 0, "disk": 0}

    def run_once(self, now_s: int) -> Cut | None:
        """Look, and cut what is due. Raises StoreError."""
        free_bytes = shutil.disk_usage(self._folder).free
        cut = plan(
            self._caps,
            now_s=now_s,
            oldest_s=self._store.oldest_second(),
            newest_s=self._store.newest_second(),
            used_bytes=self._store.used_bytes(),
            free_bytes=free_bytes,
            min_free_bytes=self._min_free_bytes,
        )
        if free_bytes < self._min_free_bytes:
            log.warning("disk_low", extra={"free_bytes": free_bytes, "min_free_bytes": self._min_free_bytes})
        if cut is not None:
            incidents_before = now_s - INCIDENTS_LIVE * self._caps.max_age_s
            count = self._store.cut_before(cut.cutoff_s, incidents_before)
            self.seconds_cut[cut.cap] += count
            if cut.cap != "age":
                self._store.compact()
            level = logging.WARNING if cut.cap != "age" else logging.INFO
            log.log(level, "retention_cut", extra={"cap": cut.cap, "before": cut.cutoff_s, "symbol_seconds": count})
        self.last_run_s = now_s
        return cut

    async def run(self, clock: Clock, writer: ThreadPoolExecutor) -> None:
        """Every ten minutes, in the writer's thread, until cancelled. A failure is told and tried again."""
        while True:
            try:
                await asyncio.get_running_loop().run_in_executor(writer, self.run_once, clock.wall_ns() // 1_000_000_000)
            except (StoreError, OSError) as error:  # OSError: the disk that is asked for its free space
                log.error("retention_failed", extra={"cause": str(error)})
            await clock.sleep_until(clock.monotonic() + EVERY_S)
