"""Books that clients show, as {price: quantity} of Decimals, and the stream that they were built from."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

E8 = Decimal(10) ** -8

Side = dict[Decimal, Decimal]
Book = tuple[Side, Side]
"""Bids and asks."""


def of_integers(side: Mapping[str, Any]) -> Side:
    """From two lists of units of 1e-8, as a message of MarketData has them; protobuf's JSON leaves empty ones out."""
    pairs = zip(side.get("price_e8", ()), side.get("quantity_e8", ()), strict=True)
    return {Decimal(one) * E8: Decimal(other) * E8 for one, other in pairs}


def of_texts(levels: Iterable[Sequence[str]] | Mapping[str, str]) -> Side:
    """From rows of [price, quantity], or from the stand-in's truth."""
    pairs = levels.items() if isinstance(levels, Mapping) else levels
    return {Decimal(price): Decimal(quantity) for price, quantity in pairs}


def difference(shown: Book, truth: Mapping[str, Any], depth: int) -> str | None:
    """A sentence where the client's best `depth` levels are not the exchange's; None: they are."""
    for name, side, best_first in (("bids", shown[0], True), ("asks", shown[1], False)):
        wanted = sorted(of_texts(truth[name]).items(), reverse=best_first)[:depth]
        found = sorted(side.items(), reverse=best_first)
        if found != wanted:
            odd = next((pair for pair in zip(found, wanted, strict=False) if pair[0] != pair[1]), (len(found), len(wanted)))
            return f"{name} at {truth['update_id']}: {odd[0]} instead of {odd[1]}"
    return None


def crossed(book: Book) -> bool:
    """The best bid is not below the best ask."""
    return bool(book[0] and book[1]) and max(book[0]) >= min(book[1])


def broken(links: Iterable[tuple[int, int]]) -> str | None:
    """(seq, prev_seq) of a symbol's messages in their order: each names the one before it, the first names none."""
    before = 0
    for seq, prev_seq in links:
        if prev_seq != before or seq <= prev_seq:
            return f"{seq} says that {prev_seq} was before it, and {before} was"
        before = seq
    return None
