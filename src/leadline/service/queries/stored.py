"""get_coverage: what of a symbol's past is stored, and what is missing, with its cause."""

from msgspec import Struct

from leadline.core.errors import InvalidRequest, NotEnoughData
from leadline.service.queries.coverage import coverage_in_steps
from leadline.service.queries.desk import Desk
from leadline.service.queries.envelope import Envelope, covered, of_service, utc
from leadline.service.steps import Steps

DEFINITION = "coverage/1"


class CoverageAnswer(Struct, frozen=True, kw_only=True):
    """Of the seconds asked about: how many have a record with a LIVE book, and the gaps between them.

    reading: One sentence made of the fields.
    symbol: The symbol.
    from_s: First second, unix s.
    to_s: First second that is not meant, unix s.
    expected_s: Seconds asked about.
    live_s: So many of them have a record with a LIVE book.
    ratio: live_s / expected_s, in [0, 1].
    gaps: The missing seconds as [first, first after, cause], oldest first.
    gaps_total: How many gaps there are; more than are listed where the answer was cut.
    envelope: The evidence.
    """

    reading: str
    symbol: str
    from_s: int
    to_s: int
    expected_s: int
    live_s: int
    ratio: float
    gaps: list[tuple[int, int, str]]
    gaps_total: int
    envelope: Envelope


def get_coverage(desk: Desk, symbol: str, *, from_s: int | None = None, to_s: int | None = None) -> Steps[CoverageAnswer]:
    """Of [from_s, to_s); by default from the oldest stored second to the newest. Raises UnknownSymbol, InvalidRequest,
    NotEnoughData.
    """
    symbol = desk.symbol(symbol)
    oldest_s, newest_s = desk.reader.first_second(symbol), desk.reader.last_second(symbol)
    if oldest_s is None or newest_s is None:
        raise NotEnoughData(0, 1, "s", 0.0, None)
    begin_s = oldest_s if from_s is None else from_s
    end_s = newest_s + 1 if to_s is None else to_s
    if begin_s >= end_s:
        raise InvalidRequest("to_s", f"{end_s}", f"more than from_s, {begin_s}")
    found = yield from coverage_in_steps(desk.reader, symbol, begin_s, end_s)
    share = 100 * found.live_s / found.expected_s
    missing_s = found.expected_s - found.live_s
    return CoverageAnswer(
        reading=(
            f"{symbol}: {found.live_s} of {found.expected_s} s are there ({share:.2f} %) from {utc(begin_s)} to {utc(end_s)}, "
            f"{missing_s} s are missing in {len(found.gaps)} {'gap' if len(found.gaps) == 1 else 'gaps'}."
        ),
        symbol=symbol,
        from_s=begin_s,
        to_s=end_s,
        expected_s=found.expected_s,
        live_s=found.live_s,
        ratio=found.live_s / found.expected_s,
        gaps=[(gap.from_s, gap.to_s, gap.cause) for gap in found.gaps],
        gaps_total=len(found.gaps),
        envelope=of_service(desk, symbol, definition=DEFINITION, covered=covered(found, begin_s - 1, end_s - 1)),
    )
