"""Row 0: a day without any injection. What the detectors find in it is false, whatever it looks like.

Asked once a minute for the minute that has passed, as somebody who watches would. The same day with its trades shuffled: their
sizes and sides change places inside a minute, each is done at the touch of its new moment, so what takers do says nothing of
what the book does.
"""

import random
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct, structs

from bench.injection.asking import Found, Past, Questions
from bench.injection.cells import DETECTORS
from bench.injection.path import clean_pass
from bench.injection.score import SEVERITIES, distinct
from bench.injection.source import Event, Source
from leadline.core.records import BestQuote, DepthUpdate, Trade

HISTORY_S = 1_860  # half an hour of history before the first window
MINUTE_S = 60
DAY_S = 86_400


class Quiet(Struct, frozen=True):
    """A detector over the windows asked. windows: those evaluated, of `asked`. events: distinct ones; a_day: at this rate.

    found: windows with a finding of this severity or above.
    """

    kind: str
    asked: int
    windows: int
    events: int
    a_day: float
    found: dict[str, int]
    reasons: dict[str, int]


class Day(Struct, frozen=True):
    """seconds: of the market. shuffled: its trades were."""

    symbol: str
    seed: int | str
    seconds: int
    window_s: int
    shuffled: bool
    detectors: list[Quiet]
    events: list[Found]


def day(
    symbol: str,
    seed: int | str,
    seconds: int = DAY_S,
    *,
    window_s: int = MINUTE_S,
    shuffled: bool = False,
    told: Callable[[int], None] | None = None,
) -> Day:
    """Windows follow one another, so a window of five minutes is asked every five."""
    source: Source = Shuffled(symbol, seed) if shuffled else Source(symbol, seed)
    clean = clean_pass(source, seconds, told=told)
    first_s = source.start_s + HISTORY_S
    ends = range(first_s + window_s, source.start_s + seconds, window_s)
    past = Past(clean.history, symbol, source.start_s).copy_at(first_s)
    asked = Questions(clean.history, symbol, past)
    answers = [asked.anomalies(end_s, window_s) for end_s in ends]
    events = distinct(event for answer in answers for event in answer.found)
    found = []
    for kind in DETECTORS:
        statuses = [answer.statuses.get(kind, ("not_evaluated", "no data")) for answer in answers]
        worst = [_worst([event for event in answer.found if event.kind == kind]) for answer in answers]
        own = [event for event in events if event.kind == kind]
        evaluated = sum(status != "not_evaluated" for status, _ in statuses)
        found.append(
            Quiet(
                kind,
                len(answers),
                evaluated,
                len(own),
                len(own) * DAY_S / (evaluated * window_s) if evaluated else 0.0,
                {severity: sum(place >= n for place in worst) for n, severity in enumerate(SEVERITIES)},
                dict(Counter(reason for status, reason in statuses if status == "not_evaluated" and reason)),
            )
        )
    return Day(symbol, seed, seconds, window_s, shuffled, found, events)


def _worst(events: Sequence[Found]) -> int:
    """Place of the worst severity; -1 without an event."""
    return max((SEVERITIES.index(event.severity) for event in events), default=-1)


def table(days: Sequence[Day]) -> str:
    """Markdown, a line per symbol and detector."""
    lines = ["| symbol | day | detector | windows | events | a day | windows found: Low+, Medium+, High+, Critical |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | --- |")
    for one in days:
        what = f"{one.seconds / 3600:.3g} h" + (", trades shuffled" if one.shuffled else "")
        for quiet in one.detectors:
            why = "".join(f", {n} {reason}" for reason, n in quiet.reasons.items())
            found = ", ".join(str(quiet.found[severity]) for severity in SEVERITIES)
            cells = (one.symbol, what, quiet.kind, f"{quiet.windows}{why}", quiet.events, f"{quiet.a_day:.2f}", found)
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


class Shuffled(Source):
    """The market a minute ahead of what is handed out, its trades shuffled inside each minute after the first."""

    def __init__(self, symbol: str, seed: int | str) -> None:
        super().__init__(symbol, seed)
        self._draws = random.Random(f"{seed}:{symbol}:shuffled")
        self._waiting: list[list[Event]] = []

    def forward(self, *, keep: bool = True) -> list[Event]:
        """One second of it. keep: nothing can be handed out again."""
        if len(self.frames) < MINUTE_S:  # the snapshot that a feed begins with is of the market's own moment
            return super().forward(keep=False)
        if not self._waiting:
            self._waiting = shuffled([super(Shuffled, self).forward(keep=False) for _ in range(MINUTE_S)], self._draws)
        return self._waiting.pop(0)


def shuffled(seconds: Sequence[Sequence[Event]], draws: random.Random) -> list[list[Event]]:
    """Sizes and sides of all trades change places; they are done at the touch, and take no more in a slot than is shown there."""
    deck = [(e.quantity_e8, e.buyer_is_maker) for events in seconds for e in events if isinstance(e, Trade)]
    draws.shuffle(deck)
    touch: BestQuote | None = None
    taken: Counter[int] = Counter()  # by price, in this slot
    out: list[list[Event]] = []
    for events in seconds:
        dealt: list[Event] = []
        for event in events:
            match event:
                case BestQuote():
                    touch = event
                case DepthUpdate():
                    taken.clear()
                case Trade():
                    event = _dealt(event, *deck.pop(), touch, taken)
            dealt.append(event)
        out.append(dealt)
    return out


def _dealt(trade: Trade, quantity: int, sold: bool, touch: BestQuote | None, taken: Counter[int]) -> Trade:
    """Before the first ticker of the minute the touch is not known: there the trade's own price stands for both sides."""
    price, shown = trade.price_e8, quantity
    if touch is not None:
        bid, ask = (touch.bid_price_e8, touch.bid_quantity_e8), (touch.ask_price_e8, touch.ask_quantity_e8)
        price, shown = bid if sold else ask
    quantity = min(quantity, max(1, shown - taken[price]))  # a trade of nothing is none
    taken[price] += quantity
    return structs.replace(trade, price_e8=price, quantity_e8=quantity, buyer_is_maker=sold)
