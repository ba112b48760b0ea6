"""What the exchange says of our symbols while we run: whether they trade, and on which grid. Asked slowly, and last of all.

A failed question is told and asked again at the next turn; nothing depends on it but what we know.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

from msgspec import structs

from leadline.clock import Clock
from leadline.core.errors import ExchangeError, StoreError
from leadline.core.records import SymbolRules
from leadline.core.units import decimal_text
from leadline.service.ports import Market

log = logging.getLogger("leadline.listing")

INTERVAL_S = 60.0  # weight 20 of 6,000; a silent stream is not concluded from less than this and 10 s of silence
NOT_LISTED = "not listed"


class Listing:
    """The rules of the followed symbols.

    known: as kept last. trading: is told symbol and status at each turn. keep: stores new rules; raises StoreError.
    """

    def __init__(
        self,
        known: Mapping[str, SymbolRules],
        *,
        market: Market,
        clock: Clock,
        trading: Callable[[str, str], None],
        keep: Callable[[SymbolRules], Awaitable[None]],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self.known = dict(known)
        self._market, self._clock, self._trading, self._keep = market, clock, trading, keep
        self._interval_s = interval_s

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + self._interval_s)
            try:
                listed = await self._market.rules(tuple(self.known))
            except ExchangeError as error:
                log.warning("listing_failed", extra={"cause": str(error)})
                continue
            for symbol in self.known:
                self._trading(symbol, listed[symbol].status if symbol in listed else NOT_LISTED)
            for symbol in self.known.keys() & listed.keys():
                await self._renew(symbol, listed[symbol])

    async def _renew(self, symbol: str, found: SymbolRules) -> None:
        before = self.known[symbol]
        rules = renewed(before, found)
        if rules == before:
            return
        try:
            await self._keep(rules)
        except StoreError as error:  # seen again, and kept, at the next turn
            log.error("rules_not_kept", extra={"symbol": symbol, "cause": str(error)})
            return
        self.known[symbol] = rules
        if rules.since_s != before.since_s:
            grid = {"tick": decimal_text(rules.tick_e8), "step": decimal_text(rules.step_e8)}
            log.warning("rules_changed", extra={"symbol": symbol, **grid})


def renewed(before: SymbolRules | None, found: SymbolRules) -> SymbolRules:
    """What was found, in place of `before`. Its since_s goes on from there as long as tick and step are the same."""
    if before is None or before.inferred or (before.tick_e8, before.step_e8) != (found.tick_e8, found.step_e8):
        return found
    return structs.replace(found, since_s=before.since_s)
