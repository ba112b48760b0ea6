"""Stored data for people and pipes: a table on a terminal, JSON otherwise."""

import datetime
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from leadline.clock import SystemClock
from leadline.core.errors import BookNotLive
from leadline.core.units import decimal_text
from leadline.service import queries
from leadline.store.history import History
from leadline.store.keys import SECOND_MIN

GAPS_SHOWN = 20


def book(history: History, symbol: str, levels: int, form: str) -> None:
    """The latest stored snapshot, its age, and the state that its record gives it. Raises BookNotLive if there is none."""
    snapshot = history.latest_snapshot(symbol)
    if snapshot is None:
        raise BookNotLive(symbol, "no snapshot is stored")
    records = history.seconds(symbol, snapshot.timestamp, snapshot.timestamp + 1).rows
    record = records[0] if records else None
    age_s = SystemClock().wall_ns() / 1e9 - snapshot.timestamp
    bids = [(decimal_text(price), decimal_text(quantity)) for price, quantity in snapshot.bids[:levels]]
    asks = [(decimal_text(price), decimal_text(quantity)) for price, quantity in snapshot.asks[:levels]]
    answer = {
        "symbol": symbol,
        "origin": history.meta("origin", str),
        "source": "store",
        "second": snapshot.timestamp,
        "age_s": round(age_s, 3),
        "update_id": snapshot.update_id,
        "epoch": record.epoch if record else None,
        "flags": record.flags if record else None,
        "known_bid": decimal_text(record.known_bid) if record and record.known_bid is not None else None,
        "known_ask": decimal_text(record.known_ask) if record and record.known_ask is not None else None,
        "bids": bids,
        "asks": asks,
    }
    if form == "json":
        _json(answer)
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{symbol}[/bold] at {_utc(snapshot.timestamp)}, {_age(age_s)} old, update id {snapshot.update_id}, "
        f"from the store ({answer['origin']})"
    )
    table = Table("bid quantity", "bid", "ask", "ask quantity", box=None, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for row in range(max(len(bids), len(asks))):
        bid = bids[row] if row < len(bids) else ("", "")
        ask = asks[row] if row < len(asks) else ("", "")
        table.add_row(bid[1], f"[green]{bid[0]}[/green]", f"[red]{ask[0]}[/red]", ask[1])
    console.print(table)


def coverage(history: History, symbols: Sequence[str], start_s: float | None, end_s: float | None, form: str) -> None:
    """Seconds present and missing per symbol; gaps with their causes."""
    newest = history.newest_second()
    answers = []
    for symbol in symbols:
        first = history.first_second(symbol)
        if first is None or newest is None:
            continue
        lo = first if start_s is None else max(SECOND_MIN, -int(-start_s // 1))
        hi = newest + 1 if end_s is None else -int(-end_s // 1)
        answers.append(queries.coverage(history, symbol, lo, max(lo, hi)))
    if form == "json":
        _json(
            [
                {
                    "symbol": found.symbol,
                    "from_s": found.from_s,
                    "to_s": found.to_s,
                    "expected_s": found.expected_s,
                    "live_s": found.live_s,
                    "missing_s": found.expected_s - found.live_s,
                    "ratio": found.ratio,
                    "gaps": [[gap.from_s, gap.to_s, gap.cause] for gap in found.gaps],
                }
                for found in answers
            ]
        )
        return
    console = Console(highlight=False, soft_wrap=True)
    if not answers:
        console.print("nothing is stored yet")
    for found in answers:
        share = "no seconds" if found.ratio is None else f"{100 * found.ratio:.3f} %"
        missing = found.expected_s - found.live_s
        console.print(
            f"[bold]{found.symbol}[/bold] {_utc(found.from_s)} .. {_utc(found.to_s)}: {found.live_s} of {found.expected_s} s "
            f"with a live book ({share}), {missing} s missing in {len(found.gaps)} gaps"
        )
        for gap in found.gaps[-GAPS_SHOWN:]:
            console.print(f"  {_utc(gap.from_s)} .. {_utc(gap.to_s)}  {gap.seconds:>6} s  {gap.cause}")
        if len(found.gaps) > GAPS_SHOWN:
            console.print(f"  ... and {len(found.gaps) - GAPS_SHOWN} earlier ones (--format json lists all)")


def stats(history: History) -> None:
    """Size, origin, symbols and span of a store, as JSON."""
    _json(
        {
            "origin": history.meta("origin", str),
            "format": history.meta("format", int),
            "bytes": history.used_bytes(),
            "oldest_second": history.oldest_second(),
            "newest_second": history.newest_second(),
            "clean_shutdown": history.meta("clean_shutdown", bool),
            "symbols": history.symbols(),
        }
    )


def _json(value: Any) -> None:
    print(msgspec.json.encode(value).decode())  # noqa: T201


def _utc(second: int) -> str:
    return datetime.datetime.fromtimestamp(second, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
