"""Readers of the hub for tests: what they get without waiting, and a book rebuilt from it alone."""

from collections.abc import Callable
from typing import Any

from tests.fakes import run
from tests.serve.market import BTC, House

from leadline.service.fanout import Policy, Position, Reader
from leadline.service.lines import Diff, Event, Skipped, Snapshot, Status


class Copy:
    """What a reader knows, from events alone."""

    def __init__(self) -> None:
        self.seq = 0
        self.epoch = 0
        self.book: tuple[dict[int, int], dict[int, int]] | None = None

    def take(self, event: Event) -> None:
        assert event.prev_seq == self.seq
        self.seq = event.seq
        match event.body:
            case Snapshot(bids, asks):
                self.book = dict(bids), dict(asks)
                assert event.mark is not None
                self.epoch = event.mark.epoch
            case Diff(bids, asks):
                assert self.book is not None
                for side, levels in zip(self.book, (bids, asks), strict=True):
                    side.update(levels)
                    for price, size in levels:
                        if not size:
                            del side[price]
            case Status() | Skipped():
                self.book = None

    @property
    def best(self) -> Any:
        assert self.book is not None
        bids, asks = self.book
        return tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items()))

    @property
    def place(self) -> Position:
        return Position("first-run", self.seq, depth=5, epoch=self.epoch)


async def drained(reader: Reader) -> list[Event]:
    """Everything that can be had without waiting."""
    found: list[Event] = []
    while reader._due and not reader.ended:
        found += await reader.take()
    return found


def books(house: House, *symbols: str, depth: int = 5, policy: Policy = Policy.CONFLATE, **how: Any) -> Reader:
    return house.hub.read_books(symbols or (BTC,), depth, policy=policy, **how)


def bodies(events: list[Event]) -> list[str]:
    return [type(event.body).__name__ for event in events]


def on_a_loop(check: Callable[[], Any]) -> Callable[[], None]:
    def wrapped() -> None:
        run(check())

    wrapped.__name__ = check.__name__
    return wrapped
