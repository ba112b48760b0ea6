"""`python -m bench injection`: the protocol of docs, or some of it. Tables to the screen, everything as JSON to a file."""

import argparse
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bench.injection import day, score
from bench.injection.asking import Past
from bench.injection.cells import Cell, cells
from bench.injection.gates import gate
from bench.injection.path import Clean, clean_pass
from bench.injection.placements import Placement, placements
from bench.injection.run import ROOM_S, Ground, run_cell, scene
from bench.injection.score import Outcome
from bench.injection.source import Source
from bench.injection.usual import Usual, usual_of

ROWS = (1, 2, 3, 4, 5, 6, 7)
EVERY_S = 45  # between checkpoints: more than the time over which events merge
WARM_S = 60  # of the market, before what is usual is measured

A = TypeVar("A")
B = TypeVar("B")

_work: Any = None
_items: Any = None


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench injection", description="Inject, ask, judge. See bench/README.md.")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), help="of the protocol, by comma; default: 1 to 7")
    parser.add_argument("--cells", default="", help="only those whose name holds this text")
    parser.add_argument("--placements", type=int, default=200, help="a cell")
    parser.add_argument("--symbol", default="BTCUSDT,ETHUSDT", help="by comma")
    parser.add_argument("--seed", default="7")
    parser.add_argument("--lead-hours", type=float, default=2.5, help="clean, before the first placement; default: 2.5")
    parser.add_argument("--hours", type=float, default=3, help="with placements, after the lead-in; with --day: of the day")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--day", action="store_true", help="row 0: a day without injections")
    parser.add_argument("--shuffled", action="store_true", help="with --day: its trades shuffled")
    parser.add_argument("--window", type=int, default=60, help="with --day: seconds asked about")
    parser.add_argument("--json", type=Path, help="a file for the results and all outcomes")
    given = parser.parse_args(argv)
    logging.getLogger("leadline").setLevel(logging.CRITICAL)  # faults are made on purpose
    symbols = given.symbol.split(",")
    if given.day:
        days = _each(given.processes, partial(_day, given), symbols)
        print(day.table(days))
        _write(given.json, {"days": days})
    else:
        outcomes = [outcome for symbol in symbols for outcome in _injections(symbol, given)]
        found = score.results(outcomes)
        print(score.table(found, gate))
        _write(given.json, {"seed": given.seed, "lead_hours": given.lead_hours, "results": found, "outcomes": outcomes})
    return 0


def _day(given: argparse.Namespace, symbol: str) -> day.Day:
    seconds = int(given.hours * 3600)
    return day.day(symbol, given.seed, seconds, window_s=given.window, shuffled=given.shuffled, told=_teller(symbol, seconds))


def _injections(symbol: str, given: argparse.Namespace) -> list[Outcome]:
    """All chosen cells at all placements of one symbol."""
    chosen = [cell for cell in cells({int(row) for row in given.rows.split(",")}) if given.cells in cell.name]
    lead_s = int(given.lead_hours * 3600)
    seconds = lead_s + int(given.hours * 3600)
    source = Source(symbol, given.seed)
    clean = clean_pass(source, seconds, every=EVERY_S, first=lead_s, told=_teller(symbol, seconds))
    usual = usual_of(clean.history, symbol, source.start_s + WARM_S, source.start_s + lead_s)
    places = placements(clean, given.placements, given.seed, room_s=ROOM_S)
    _say(f"{symbol}: {len(chosen)} cells at {len(places)} placements; {usual}")
    shares = [places[n :: given.processes] for n in range(given.processes)]
    return [outcome for part in _each(given.processes, partial(_share, clean, usual, chosen), shares) for outcome in part]


def _share(clean: Clean, usual: Usual, chosen: Sequence[Cell], places: Sequence[Placement]) -> list[Outcome]:
    """The placements of one process, in order of time."""
    ground = Ground(clean, usual, Past(clean.history, clean.symbol, clean.source.start_s))
    out: list[Outcome] = []
    begun = time.process_time()
    for n, placement in enumerate(places, 1):
        ready = scene(ground, placement)
        out += [run_cell(ground, ready, cell) for cell in chosen]
        _say(f"{clean.symbol}: {n} of {len(places)}, {1000 * (time.process_time() - begun) / len(out):.0f} ms CPU each")
    return out


def _each(processes: int, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """In so many processes, which inherit what is there: a clean pass is not sent to anybody."""
    if processes == 1 or len(items) == 1:
        return [work(item) for item in items]
    global _work, _items  # what a process inherits it finds here
    _work, _items = work, items
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        return pool.map(_inherited, range(len(items)), chunksize=1)


def _inherited(place: int) -> Any:
    return _work(_items[place])


def _teller(symbol: str, seconds: int) -> Callable[[int], None]:
    def told(done: int) -> None:
        if done % 3600 == 0:
            _say(f"{symbol}: {done // 3600} h of {seconds / 3600:.3g} h played")

    return told


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _write(path: Path | None, what: object) -> None:
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(what)))


if __name__ == "__main__":
    sys.exit(main())
