"""What can be read by its address: a symbol's book, coverage, incidents and report, and the pages of the reference.

Each is the answer of a tool, so nothing is worked out here. `binance://market/{symbol}` is the name of existing gateways.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from leadline.core.errors import UnknownName
from leadline.serve import reference
from leadline.serve.asking import Asks, answer

JSON, MARKDOWN = "application/json", "text/markdown"


class Resource(Struct, frozen=True, kw_only=True):
    """One kind. uri: its address, with {symbol} or {page} where there are many. tool None: a page of the reference."""

    uri: str
    name: str
    help: str
    tool: str | None
    arguments: Callable[[str], Mapping[str, Any]] = lambda symbol: {"symbol": symbol}
    mime_type: str = JSON

    @property
    def many(self) -> bool:
        """Whether the address is a template."""
        return "{" in self.uri


RESOURCES: tuple[Resource, ...] = (
    Resource(
        uri="market://symbols",
        name="symbols",
        help="Symbols that are followed or stored, with the state of each book.",
        tool="list_symbols",
        arguments=lambda _: {},
    ),
    Resource(uri="market://{symbol}/book", name="book", help="The 20 best levels a side, now.", tool="orderbook_l2"),
    Resource(uri="market://{symbol}/metrics", name="metrics", help="Best prices, spread, imbalance, depth.", tool="orderbook_l1"),
    Resource(
        uri="market://{symbol}/report",
        name="report",
        help="One page on the symbol.",
        tool="generate_market_report",
        mime_type=MARKDOWN,
    ),
    Resource(
        uri="market://{symbol}/coverage",
        name="coverage",
        help="What of its past is stored, and every gap with its cause.",
        tool="get_coverage",
    ),
    Resource(uri="market://{symbol}/incidents", name="incidents", help="Its losses, newest first.", tool="get_incidents"),
    Resource(
        uri="binance://market/{symbol}",
        name="market",
        help="Same as market://{symbol}/report.",
        tool="generate_market_report",
        mime_type=MARKDOWN,
    ),
    Resource(
        uri="leadline://docs/{page}",
        name="docs",
        help="What each tool takes and what each field of its answer means; pages: tools, envelope, errors, or a tool's name.",
        tool=None,
        mime_type=MARKDOWN,
    ),
)


class Content(Struct, frozen=True):
    """What an address holds now."""

    text: str
    mime_type: str


def resource_of(uri: str) -> tuple[Resource, str]:
    """The kind, and what stands in its place (empty: nothing does). Raises UnknownName."""
    for resource in RESOURCES:
        pattern = re.sub(r"\\{\w+\\}", "([^/?#]{1,64})", re.escape(resource.uri))
        if found := re.fullmatch(pattern, uri):
            return resource, found[1] if resource.many else ""
    near = difflib.get_close_matches(uri[:80], [resource.uri for resource in RESOURCES], n=2, cutoff=0.5)
    raise UnknownName("resource", uri[:80], near)


async def read(asks: Asks, uri: str, *, transport: str, bytes_max: int) -> Content:
    """Raises UnknownName for what is no resource, Failed where its tool has no answer."""
    resource, place = resource_of(uri)
    if resource.tool is None:
        return Content(reference.page(place), resource.mime_type)
    found = await answer(asks, resource.tool, resource.arguments(place), transport=transport, bytes_max=bytes_max)
    return Content(found.text, resource.mime_type)
