"""Pictures of stored data, for people: one file each, the same bytes for the same data.

series.py  what is drawn, as arrays: NaN where there is no number, and the reason beside it
by_price.py  pressure.py  resting.py  the three pictures
sheet.py   paper, colours, axes and the line that says where the data is from

Only the three pictures and the sheet know matplotlib, which is an extra: `pip install leadline[plot]`.
"""

from pathlib import Path

from leadline.clock import SystemClock
from leadline.core.errors import InvalidRequest, NotEnoughData
from leadline.service import queries
from leadline.store.history import History

SUFFIXES = ("png", "svg", "pdf")
WINDOW_S = 600
WINDOW_S_MAX = 86_400


def check(out: Path) -> None:
    """Whether a picture can be made there, before anything is read. Raises InvalidRequest."""
    try:
        import matplotlib  # noqa: F401 (asked for here, so that its absence is a sentence)
    except ImportError:
        raise InvalidRequest("plot", "matplotlib is not installed; install it with: pip install 'leadline[plot]'") from None
    if out.suffix[1:].lower() not in SUFFIXES:
        raise InvalidRequest("--out", f"{out}: not a kind of picture", ", ".join(f".{suffix}" for suffix in SUFFIXES))
    if out.is_dir():
        raise InvalidRequest("--out", f"{out}: is a folder")


def profile(history: History, symbol: str, hours: int, out: Path) -> None:
    """Where trading happened in the last `hours`, and the way the mid went. Raises NotEnoughData."""
    from leadline.plot import by_price as picture
    from leadline.plot import series

    desk = queries.Desk(history, now_ns=SystemClock().wall_ns)
    end_s = desk.end_s(symbol, None)
    answer = queries.run(queries.get_volume_profile(desk, symbol, duration_hours=hours, end_s=end_s))
    path = series.price_path(history, symbol, end_s - hours * 3600, end_s)
    rows, names = series.profile_series(answer), series.names_of(history, symbol)
    _write(out, picture.drawn(rows, path, answer, names, hours=hours, end_s=end_s, form=_form(out)))


def flow(history: History, symbol: str, start_s: float | None, end_s: float | None, out: Path) -> None:
    """Mid, pressure and volume delta over [start_s, end_s). Raises NotEnoughData without a record in it."""
    from leadline.plot import pressure as picture
    from leadline.plot import series

    lo, hi = window(history, symbol, start_s, end_s)
    found = series.flow_series(history, symbol, lo, hi)
    _write(out, picture.drawn(found, series.names_of(history, symbol), _form(out)))


def depth(history: History, symbol: str, start_s: float | None, end_s: float | None, out: Path) -> None:
    """The newest snapshot before end_s, and depth near the mid over [start_s, end_s). Raises BookNotLive, NotEnoughData."""
    from leadline.plot import resting as picture
    from leadline.plot import series

    lo, hi = window(history, symbol, start_s, end_s)
    snapshot = series.book_series(history, symbol, hi - 1)
    found = series.depth_series(history, symbol, lo, hi)
    _write(out, picture.drawn(snapshot, found, series.names_of(history, symbol), _form(out)))


def window(history: History, symbol: str, start_s: float | None, end_s: float | None) -> tuple[int, int]:
    """Record seconds [lo, hi); where nothing is asked for, the last ten minutes stored. Raises InvalidRequest, NotEnoughData."""
    first, last = history.first_second(symbol), history.last_second(symbol)
    if first is None or last is None:
        raise NotEnoughData(0, 1, "s", 0.0, None)
    hi = last + 1 if end_s is None else -int(-end_s // 1)
    lo = max(hi - WINDOW_S, first) if start_s is None else -int(-start_s // 1)
    if hi - lo > WINDOW_S_MAX:
        raise InvalidRequest("--from", f"the window is {hi - lo:,} s long", f"at most {WINDOW_S_MAX:,} s")
    if lo >= hi:
        raise InvalidRequest("--from", f"nothing lies between {lo} and {hi}", f"a moment before --to; stored: {first} to {last}")
    return lo, hi


def _form(out: Path) -> str:
    return out.suffix[1:].lower()


def _write(out: Path, picture: bytes) -> None:
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise InvalidRequest("--out", f"cannot write {out}: {error.strerror}") from error
