"""Is the synthetic market like the real one? Ten minutes of each symbol, five seeds, against what was measured of the real one.

Baseline of each row: the target, measured on about eleven minutes of August 2024 (`TARGETS`). `recorded` beside it: 346 s of
2024-08-08, at hand here, through the same code as the synthetic frames, which reads frames and a snapshot of 1,000 levels as a
client gets them, in floats, and knows nothing of the model. The bar is a band of ratios, or of differences for correlations:
another minute of the real market is another market.
"""

import gzip
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from bench import material
from bench.rows import Row
from leadline.standin.market import SyntheticMarket

SECOND_NS = 10**9
START_MS = 1_767_225_600_000  # 2026-01-01
SEEDS = (7, 1, 2, 3, 4)
WARM_S = 10  # of the synthetic market, before the snapshot
SNAPSHOT_LEVELS = 1000
LIVES_S = 340  # lives of levels are looked at for as long as the recordings last: a longer look sees longer lives
REACHES_BP = (1, 5, 10, 20, 50, 100)
TICK = 0.01

Message = tuple[int, str, bytes]  # (time of arrival in ns, kind of stream, payload)


class Band(NamedTuple):
    """What a figure of the synthetic market may be: a ratio to the recorded one, an absolute difference, or a floor."""

    low: float
    high: float
    how: str = "ratio"


NEAR, COUNTS, WIDE = Band(0.7, 1.4), Band(0.6, 1.6), Band(0.5, 2.0)
CLOSE = Band(-0.2, 0.2, "difference")

# figure: (BTCUSDT, ETHUSDT, band, unit); None: not measured, or not promised.
TARGETS: dict[str, tuple[float | None, float | None, Band, str]] = {
    "levels a diff, mean": (46, 42, NEAR, "levels"),
    "levels a diff, p50": (22, 18, NEAR, "levels"),
    "levels a diff, p90": (104, 105, NEAR, "levels"),
    "levels a diff, p99": (383, 341, NEAR, "levels"),
    "update ids a second": (703, 632, NEAR, "1/s"),
    "tickers a second": (112, 90, NEAR, "1/s"),
    "trades a second": (31, 22, COUNTS, "1/s"),
    "takers a second": (11.0, 7.6, COUNTS, "1/s"),
    "levels a side within 1 bp": (18, 9, NEAR, "levels"),
    "levels a side within 5 bp": (114, 57, NEAR, "levels"),
    "levels a side within 10 bp": (243, 118, NEAR, "levels"),
    "levels a side within 20 bp": (527, 260, NEAR, "levels"),
    "levels a side within 50 bp": (1017, 621, NEAR, "levels"),
    "levels a side within 100 bp": (1286, 934, NEAR, "levels"),
    "base quantity a side within 10 bp": (45, 574, WIDE, "base"),
    "base quantity a side within 20 bp": (88, 1379, WIDE, "base"),
    "1-s return, sigma in bp": (1.25, 1.26, NEAR, "bp"),
    "1-s return, kurtosis": (20, None, Band(8, np.inf, "value"), "ratio"),
    "takers in 1 s, variance / mean": (11.9, None, WIDE, "ratio"),
    "spread of one tick, share of time": (0.993, None, Band(0.98, 1.0, "value"), "share"),
    "openings of the spread a second": (2.8, 2.8, WIDE, "1/s"),
    "levels a slot, autocorrelation at 1": (0.58, 0.53, CLOSE, "correlation"),
    "levels a slot, autocorrelation at 10": (0.11, 0.12, CLOSE, "correlation"),
    "level lifetime, p10, s": (0.1, 0.1, WIDE, "s"),
    "level lifetime, p25, s": (0.2, 0.4, WIDE, "s"),
    "level lifetime, p50, s": (1.1, 1.6, WIDE, "s"),
    "level lifetime, p75, s": (4.0, 5.8, WIDE, "s"),
    "level lifetime, p90, s": (13, 17, WIDE, "s"),
}


def run(quick: bool) -> list[Row]:
    """Ten minutes of both symbols for five seeds, the median of each figure; --quick: one seed, one minute, outside by chance."""
    seeds, seconds = (SEEDS[:1], 60) if quick else (SEEDS, 600)
    rows: list[Row] = []
    for place, (symbol, name) in enumerate(zip(("BTCUSDT", "ETHUSDT"), material.BIG, strict=True)):
        here = figures(*recorded(name))
        made = [figures(*synthetic(symbol, seconds, seed)) for seed in seeds]
        for figure, (*targets, band, unit) in TARGETS.items():
            value = float(np.median([of_seed[figure] for of_seed in made]))
            rows.append(row(f"{symbol} {figure}", value, unit, targets[place], band, f"recorded: {here[figure]:.3g}; target"))
    return rows


def row(figure: str, value: float, unit: str, target: float | None, band: Band, baseline: str) -> Row:
    """One line of the table; `met` by the band's own measure, without a target not at all."""
    if target is None:
        return Row(figure, value, unit)
    measured = {"ratio": value / target, "difference": value - target, "value": value}[band.how]
    bar = f"{band.how} {band.low:g} to {band.high:g}" if band.high < np.inf else f"{band.how} over {band.low:g}"
    return Row(figure, value, unit, baseline, target, bar, bool(band.low <= measured <= band.high))


# Material --------------------------------------------------------------------


def recorded(name: str) -> tuple[dict[str, Any], list[Message]]:
    """(the recorded REST body, the frames) of an hft capture; by nothing but its first space."""
    body: dict[str, Any] = {}
    messages: list[Message] = []
    with gzip.open(material.captures() / name) as lines:
        for line in lines:
            stamp, _, text = line.partition(b" ")
            said = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            if "stream" in said:
                kind = msgspec.json.decode(said["stream"], type=str).partition("@")[2]
                messages.append((int(stamp), kind, bytes(said["data"])))
            else:
                body = msgspec.json.decode(text)
    return body, messages


def synthetic(symbol: str, seconds: int, seed: int = 7) -> tuple[dict[str, Any], list[Message]]:
    """The same of the synthetic market."""
    market = SyntheticMarket(seed, (symbol,), start_ms=START_MS)
    market.advance(market.start_ns + WARM_S * SECOND_NS)
    answer = market.depth(symbol, SNAPSHOT_LEVELS)
    assert answer is not None
    frames = market.advance(market.start_ns + (WARM_S + seconds) * SECOND_NS)
    return msgspec.json.decode(answer.body), [(f.at_ns, f.stream.partition("@")[2], f.payload) for f in frames]


# Figures ---------------------------------------------------------------------


def figures(body: dict[str, Any], messages: list[Message]) -> dict[str, float]:
    """Every figure of TARGETS."""
    span_s = (messages[-1][0] - messages[0][0]) / SECOND_NS
    diffs = [msgspec.json.decode(payload) for _, kind, payload in messages if kind == "depth@100ms"]
    tickers = [(at, msgspec.json.decode(payload)) for at, kind, payload in messages if kind == "bookTicker"]
    trades = [msgspec.json.decode(payload) for _, kind, payload in messages if kind == "trade"]
    levels = np.array([len(d["b"]) + len(d["a"]) for d in diffs], float)
    out = {"levels a diff, mean": levels.mean()}
    out |= {f"levels a diff, p{p}": np.percentile(levels, p) for p in (50, 90, 99)}
    out["update ids a second"] = (diffs[-1]["u"] - diffs[0]["U"] + 1) / span_s
    out["tickers a second"] = len(tickers) / span_s
    out["trades a second"] = len(trades) / span_s
    takers = [b["T"] for a, b in pairwise(trades) if (a["T"], a["m"]) != (b["T"], b["m"])]
    out["takers a second"] = len(takers) / span_s
    out |= _of_the_book(body, diffs)
    out |= _of_the_price(tickers)
    a_second = np.array(list(_counts(t // 1000 for t in takers)))
    out["takers in 1 s, variance / mean"] = a_second.var() / a_second.mean()
    slots = _slots(diffs)
    for lag in (1, 10):
        out[f"levels a slot, autocorrelation at {lag}"] = np.corrcoef(slots[:-lag], slots[lag:])[0, 1]
    return {name: float(out[name]) for name in TARGETS}


def _counts(values: Iterable[int]) -> Iterator[int]:
    """How often each whole number between the first and the last stands there."""
    seen = Counter(values)
    return (seen[n] for n in range(min(seen) + 1, max(seen)))


def _slots(diffs: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    first = diffs[0]["E"]
    slots = np.zeros((diffs[-1]["E"] - first + 50) // 100 + 1)
    for diff in diffs:
        slots[(diff["E"] - first + 50) // 100] += len(diff["b"]) + len(diff["a"])
    return slots


def _of_the_book(body: dict[str, Any], diffs: list[dict[str, Any]]) -> dict[str, float]:
    """Depth at each whole second, and how long levels that appeared and went lived, by event time."""
    sides = ({float(p): float(q) for p, q in body["bids"]}, {float(p): float(q) for p, q in body["asks"]})
    sorted_prices = (sorted(sides[0]), sorted(sides[1]))
    born: tuple[dict[float, int], dict[float, int]] = ({}, {})
    lived: list[float] = []
    until_ms = diffs[0]["E"] + LIVES_S * 1000
    samples: dict[str, list[float]] = {}
    second = None
    for diff in diffs:
        if diff["u"] <= body["lastUpdateId"]:
            continue
        for side, prices, births, changes in zip(sides, sorted_prices, born, (diff["b"], diff["a"]), strict=True):
            for price_text, quantity_text in changes:
                price, quantity = float(price_text), float(quantity_text)
                if quantity:
                    if price not in side:
                        insort(prices, price)
                        births[price] = diff["E"]
                    side[price] = quantity
                elif price in side:
                    del side[price]
                    del prices[bisect_left(prices, price)]
                    if price in births and diff["E"] < until_ms:
                        lived.append((diff["E"] - births.pop(price)) / 1000)
        if diff["E"] // 1000 != second:
            second = diff["E"] // 1000
            for name, value in _depth_now(sides, sorted_prices):
                samples.setdefault(name, []).append(value)
    out = {name: float(np.mean(values)) for name, values in samples.items()}
    return out | {f"level lifetime, p{p}, s": float(np.percentile(lived, p)) for p in (10, 25, 50, 75, 90)}


def _depth_now(
    sides: tuple[dict[float, float], dict[float, float]], prices: tuple[list[float], list[float]]
) -> Iterator[tuple[str, float]]:
    mid = (prices[0][-1] + prices[1][0]) / 2
    for bp in REACHES_BP:
        bids = prices[0][bisect_left(prices[0], mid * (1 - bp / 1e4)) :]
        asks = prices[1][: bisect_right(prices[1], mid * (1 + bp / 1e4))]
        yield f"levels a side within {bp} bp", (len(bids) + len(asks)) / 2
        if bp in (10, 20):
            quantity = sum(sides[0][p] for p in bids) + sum(sides[1][p] for p in asks)
            yield f"base quantity a side within {bp} bp", quantity / 2


def _of_the_price(tickers: list[tuple[int, dict[str, Any]]]) -> dict[str, float]:
    at = np.array([moment for moment, _ in tickers], float)
    bid = np.array([float(t["b"]) for _, t in tickers])
    ask = np.array([float(t["a"]) for _, t in tickers])
    narrow = np.round((ask - bid) / TICK) == 1
    held = np.diff(at)
    places = np.searchsorted(at, np.arange(at[0] + SECOND_NS, at[-1], SECOND_NS), side="right") - 1
    returns = np.diff(np.log(((bid + ask) / 2)[places])) * 1e4
    spread = returns - returns.mean()
    return {
        "spread of one tick, share of time": float(held[narrow[:-1]].sum() / held.sum()),
        "openings of the spread a second": float((narrow[:-1] & ~narrow[1:]).sum() / (held.sum() / SECOND_NS)),
        "1-s return, sigma in bp": float(returns.std()),
        "1-s return, kurtosis": float((spread**4).mean() / (spread**2).mean() ** 2),
    }
