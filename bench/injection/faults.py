"""The scripts of row 7: faults of our data, which must never look like the market's. Nothing is renumbered, so that they show.

Each takes the base's events and gives what is received of them. The exchange itself goes on as it was.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count

from msgspec import Struct, structs

from bench.injection.edits import Plot
from bench.injection.source import SECOND_NS, Event
from leadline.core.records import DepthSnapshot, DepthUpdate, Trade

ANSWER_NS = 3 * SECOND_NS  # so late that some seconds have no book
LASTS_S = 10
DOUBLED = 5

Delivery = Callable[[Iterable[Event], Plot], Iterator[Event]]


class Fault(Struct, frozen=True):
    """deliver: what comes. incident: the kind that must be noted, None: none is. crossed: so is the first snapshot answered."""

    deliver: Delivery
    incident: str | None
    crossed: bool = False


def dropped(events: Iterable[Event], plot: Plot) -> Iterator[Event]:
    """One diff does not come."""
    lost = False
    for event in events:
        if not lost and isinstance(event, DepthUpdate) and event.ts_recv_ns >= plot.start_ns:
            lost = True
            plot.label.end_ns = event.ts_recv_ns
        else:
            yield event


def doubled(events: Iterable[Event], plot: Plot) -> Iterator[Event]:
    """Some diffs come twice."""
    left = DOUBLED
    for event in events:
        yield event
        if left and isinstance(event, DepthUpdate) and event.ts_recv_ns >= plot.start_ns:
            left -= 1
            plot.label.end_ns = event.ts_recv_ns
            yield event


def reordered(events: Iterable[Event], plot: Plot) -> Iterator[Event]:
    """A diff comes after the one that follows it."""
    held: DepthUpdate | None = None
    done = False
    for event in events:
        if done or not isinstance(event, DepthUpdate) or event.ts_recv_ns < plot.start_ns:
            yield event
        elif held is None:
            held = event
        else:
            done = True
            plot.label.end_ns = event.ts_recv_ns
            yield event
            yield structs.replace(held, ts_recv_ns=event.ts_recv_ns)


def silent(events: Iterable[Event], plot: Plot) -> Iterator[Event]:
    """Nothing comes for ten seconds; it is lost."""
    until_ns = plot.label.end_ns = plot.start_ns + LASTS_S * SECOND_NS
    return (event for event in events if not plot.start_ns <= event.ts_recv_ns < until_ns)


def without_trades(events: Iterable[Event], plot: Plot) -> Iterator[Event]:
    """No trade comes for ten seconds."""
    until_ns = plot.label.end_ns = plot.start_ns + LASTS_S * SECOND_NS
    return (event for event in events if not (isinstance(event, Trade) and plot.start_ns <= event.ts_recv_ns < until_ns))


def stepped(by_s: int) -> Delivery:
    """The exchange's clock is off by so much for ten seconds."""

    def deliver(events: Iterable[Event], plot: Plot) -> Iterator[Event]:
        until_ns = plot.label.end_ns = plot.start_ns + LASTS_S * SECOND_NS
        by_ns = by_s * SECOND_NS
        for event in events:
            if not plot.start_ns <= event.ts_recv_ns < until_ns:
                yield event
                continue
            match event:
                case DepthUpdate():
                    yield structs.replace(event, ts_event_ns=event.ts_event_ns + by_ns)
                case Trade():
                    moved = {"ts_trade_ns": event.ts_trade_ns + by_ns, "ts_event_ns": event.ts_event_ns + by_ns}
                    yield structs.replace(event, **moved)
                case _:
                    yield event

    return deliver


def crossed_first(answer: Callable[[], DepthSnapshot]) -> Callable[[], DepthSnapshot]:
    """The first answer is of a book that cannot be."""
    given = count()

    def answered() -> DepthSnapshot:
        true = answer()
        return true if next(given) else structs.replace(true, bids=(true.asks[0], *true.bids))

    return answered


FAULTS = {
    "dropped": Fault(dropped, "gap"),
    "doubled": Fault(doubled, None),
    "reordered": Fault(reordered, "gap"),
    "silence": Fault(silent, "gap"),
    "crossed snapshot": Fault(dropped, "gap", crossed=True),
    "lost trades": Fault(without_trades, "trades_missing"),
    "clock +2 s": Fault(stepped(2), None),
    "clock -2 s": Fault(stepped(-2), None),
    "clock +30 s": Fault(stepped(30), None),
}
