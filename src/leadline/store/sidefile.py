"""A small witness beside the log: the last second that was surely written.

RocksDB opens over a log damaged in the middle and is silent about what came after (docs/store.md); this file is not.
"""

import os
from pathlib import Path

PERIOD_S = 10


class SideFile:
    """Text file with one unix second. `seen`: what it said when it was opened; None if there was none or it is no number."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seen: int | None = int(path.read_text())
        except (FileNotFoundError, ValueError):
            self.seen = None
        self._noted = self.seen

    def log_lost(self, newest_s: int | None) -> bool:
        """Whether a store whose newest second is `newest_s` ended earlier than this file says. Ask at open."""
        return self.seen is not None and (newest_s is None or newest_s < self.seen)

    def note(self, second: int) -> None:
        """`second` is on the disk. The file follows at most every 10 s of seconds; OSError is the caller's."""
        if self._noted is not None and second < self._noted + PERIOD_S:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(f"{second}\n")
        os.replace(fresh, self._path)  # no fsync: a lost rename leaves an older second, which is still true
        self._noted = second
