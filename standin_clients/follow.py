"""A book kept by the exchange's official procedure, for the clients that keep none. Runs in the client's environment.

This is not leadline's book: what is judged is what the client made of the messages, and the stand-in that sent them.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

Side = dict[Decimal, Decimal]
Rows = Iterable[Sequence[Any]]


class Gap(Exception):
    """An event does not follow: a new snapshot is needed."""


class FollowedBook:
    """Spot rules: drop u <= id; the next event must have U <= id + 1."""

    def __init__(self) -> None:
        self.update_id: int | None = None
        self._bids: Side = {}
        self._asks: Side = {}
        self._pending: list[tuple[int, int, Rows, Rows]] = []

    def event(self, first_id: int, last_id: int, bids: Rows, asks: Rows) -> bool:
        """Is the book at `last_id` now? False: it waits for a snapshot, or the event is old. Raises Gap, and keeps the event."""
        if self.update_id is None:
            self._pending.append((first_id, last_id, bids, asks))
            return False
        if last_id <= self.update_id:
            return False
        if first_id > self.update_id + 1:
            at, self.update_id = self.update_id, None
            self._pending.append((first_id, last_id, bids, asks))
            raise Gap(f"book at {at}, event {first_id}..{last_id}")
        _set(self._bids, bids)
        _set(self._asks, asks)
        self.update_id = last_id
        return True

    def snapshot(self, update_id: int, bids: Rows, asks: Rows) -> bool:
        """Start anew, and apply what has waited. Does it follow now? False: the snapshot is too old, or nothing came yet."""
        self.update_id, self._bids, self._asks = update_id, {}, {}
        _set(self._bids, bids)
        _set(self._asks, asks)
        waiting, self._pending = self._pending, []
        followed = False
        for number, event in enumerate(waiting):
            try:
                followed = self.event(*event) or followed
            except Gap:
                self._pending = waiting[number:]
                return False
        return followed

    def sides(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Bids and asks, best first."""
        return sorted(self._bids.items(), reverse=True), sorted(self._asks.items())


def _set(side: Side, rows: Rows) -> None:
    for price, qty, *_ in rows:
        if Decimal(qty):
            side[Decimal(price)] = Decimal(qty)
        else:
            side.pop(Decimal(price), None)
