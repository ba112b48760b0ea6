"""Frames bent on command: dropped, doubled, late, broken, with other times or borders. Pure: frames go in, messages come out.

A fault of all connections bends a frame once, one of a single connection bends what is sent to that one.
"""

import re
from collections.abc import Callable

import msgspec
from msgspec import Struct

from leadline.standin.faults import FRAME_FAULTS, HOLD_BACK, STREAMS, FaultRequest, Faults, Kept, Rule
from leadline.standin.source import Diff, Frame, fixed, text

_TIMES = re.compile(rb'"([ET])":(\d+)')
_EVENT_TIME = re.compile(rb'"E":(\d+)')
_BENDS = (*FRAME_FAULTS, HOLD_BACK)
OFF_BOOK_PERCENT = 10  # how far from the price fills of the insurance fund were seen


class Message(Struct, frozen=True):
    """What goes out for a frame. cut: the message ends where `payload` does, in the middle of the JSON."""

    stream: str
    payload: bytes
    cut: bool = False


class _Ids(Struct):
    U: int | None = None
    u: int | None = None
    a: object = None
    t: int | None = None

    def pair(self) -> tuple[int, int] | None:
        if isinstance(self.a, int):
            return self.a, self.a
        return (self.U, self.u) if self.U is not None and self.u is not None else None


_ids = msgspec.json.Decoder(_Ids)


class Bending:
    """What is sent for each frame, while faults are on."""

    def __init__(
        self,
        faults: Faults,
        *,
        best_ask: Callable[[str], str | None],
        diff: Callable[[str, int, int], Diff | None],
    ) -> None:
        """best_ask: price text of the symbol's best ask now, None while it is not known. diff: what a range of ids did."""
        self._faults = faults
        self._best_ask = best_ask
        self._diff = diff

    @property
    def private(self) -> bool:
        """Whether some connection is sent something else than the others."""
        return any(rule.request.client is not None for rule in self._faults.rules(_BENDS))

    def messages(self, frame: Frame) -> list[Message]:
        """What is sent for a frame: itself, something else, several, or nothing."""
        return self._through(None, frame, [Message(frame.stream, frame.payload)])

    def messages_for(self, client: int, frame: Frame, messages: list[Message]) -> list[Message]:
        """What one connection is sent of what is sent for a frame."""
        return self._through(client, frame, messages)

    def _through(self, client: int | None, frame: Frame, messages: list[Message]) -> list[Message]:
        out = messages
        for rule in self._faults.rules(_BENDS):
            if rule.request.client == client and _concerns(rule.request, frame):
                out = [sent for message in out for sent in self._bent(rule, frame, message)]
        return out

    def _bent(self, rule: Rule, frame: Frame, message: Message) -> list[Message]:
        request = rule.request
        way = request.fault.partition(".")[2]
        if rule.ended or (rule.left == 0 and frame.stream in rule.kept):
            return self._let_go(rule, frame, message)
        match way:
            case "drop" | "silent" | "hole":
                out: list[Message] = []
                if way == "hole":
                    self._hide(frame)
            case "duplicate":
                out = [message, message]
            case "reorder":
                return self._reordered(rule, frame, message)
            case "delay" | "ahead, the stream":
                return self._delayed(rule, frame, message)
            case "malformed":
                out = [Message(message.stream, message.payload[:-1] + b",}")]
            case "truncated":
                out = [Message(message.stream, message.payload[: len(message.payload) // 2], cut=True)]
            case "unknown_event":
                strange = msgspec.json.encode(
                    {"e": "somethingNew", "E": frame.at_ns // 1_000_000, "s": frame.symbol, "x": [1, None]}
                )
                out = [Message(message.stream, strange), message]
            case "extra_keys":
                out = [Message(message.stream, message.payload[:-1] + b',"ps":"%b","st":1}' % frame.symbol.encode())]
            case "empty":
                out = [Message(message.stream, _empty(message.payload)), message]
            case "crossed":
                ask = self._best_ask(frame.symbol)
                if ask is None:
                    return [message]
                out = [Message(message.stream, _crossed(message.payload, ask))]
            case "split":
                split = self._split(rule, frame, message)
                if split is None:
                    return [message]
                out = [split]
            case "off_book":
                out = [message, Message(message.stream, _off_book(message.payload))]
            case _:
                payload = _other_times(request, message.payload)
                if payload == message.payload:  # a frame that tells no time
                    return [message]
                out = [Message(message.stream, payload)]
        self._struck(rule, frame, out)
        return out

    def _reordered(self, rule: Rule, frame: Frame, message: Message) -> list[Message]:
        """The frame waits for the next one of its stream, and comes after it."""
        kept = rule.kept.pop(frame.stream, None)
        if kept is not None:
            self._struck(rule, frame, [message, *kept.held])
            return [message, *kept.held]
        rule.kept[frame.stream] = kept = Kept()
        kept.held.append(message)
        self._struck(rule, frame, [], use=False)
        return []

    def _delayed(self, rule: Rule, frame: Frame, message: Message) -> list[Message]:
        """The frame waits until `events` more of its stream wait behind it; when the fault is over, all come with the next."""
        kept = rule.kept.setdefault(frame.stream, Kept())
        kept.held.append(message)
        rule.seen += 1
        if rule.left is not None:
            rule.left -= 1
        out = [kept.held.pop(0)] if len(kept.held) > rule.request.events else []
        self._struck(rule, frame, out, use=False)
        return out

    def _let_go(self, rule: Rule, frame: Frame, message: Message) -> list[Message]:
        """What was kept of the stream goes out before the frame; one that was cut is made whole."""
        kept = rule.kept.pop(frame.stream, None)
        if not rule.kept:
            self._faults.end(rule)
        if kept is None:
            return [message]
        if kept.from_id is not None:
            last = _ids.decode(frame.payload).u
            assert last is not None
            rest = self._diff(frame.symbol, kept.from_id, last)
            message = message if rest is None else Message(message.stream, _rewritten(message.payload, rest))
        return [*kept.held, message]

    def _split(self, rule: Rule, frame: Frame, message: Message) -> Message | None:
        """The frame ends in its middle, and its rest begins the next one: other borders, the same history."""
        ids = _ids.decode(frame.payload)
        if ids.U is None or ids.u is None:
            return None
        kept = rule.kept.get(frame.stream) or Kept()
        first = ids.U if kept.from_id is None else kept.from_id
        last = (first + ids.u) // 2
        diff = self._diff(frame.symbol, first, last)
        if diff is None:
            return None
        kept.from_id = last + 1
        rule.kept[frame.stream] = kept
        return Message(message.stream, _rewritten(message.payload, diff))

    def _hide(self, frame: Frame) -> None:
        agg_id = _ids.decode(frame.payload).a
        if isinstance(agg_id, int):
            self._faults.hidden.setdefault(frame.symbol, set()).add(agg_id)

    def _struck(self, rule: Rule, frame: Frame, out: list[Message], *, use: bool = True) -> None:
        detail = " ".join(str(len(sent.payload)) for sent in out) + " bytes" if out else "nothing sent"
        self._faults.record(
            rule.request.fault,
            frame.at_ns,
            symbol=frame.symbol,
            client=rule.request.client,
            ids=_ids.decode(frame.payload).pair(),
            detail=detail,
        )
        if use:
            self._faults.used(rule)


def _concerns(request: FaultRequest, frame: Frame) -> bool:
    if request.symbol not in ("", frame.symbol):
        return False
    kind = request.fault.partition(".")[0]
    if request.fault == "trades.off_book":
        return frame.stream.endswith("@trade")
    if request.fault == HOLD_BACK:
        return frame.stream.endswith(STREAMS["diff"])
    return frame.stream.endswith(STREAMS.get(kind, (request.stream,)))


def _crossed(payload: bytes, ask: str) -> bytes:
    """The same event with one more bid, at twice the best ask: the ids stay whole, the book does not."""
    update = msgspec.json.decode(payload)
    update["b"].insert(0, [text(2 * fixed(ask)), "1.00000000"])
    return msgspec.json.encode(update)


def _empty(payload: bytes) -> bytes:
    """An event that says nothing, with the last id before this one."""
    update = msgspec.json.decode(payload)
    last = update["U"] - 1
    return msgspec.json.encode({**update, "U": last, "u": last, "b": [], "a": []})


def _rewritten(payload: bytes, diff: Diff) -> bytes:
    update = msgspec.json.decode(payload)
    sides = {
        "b": sorted(diff.bids.items(), key=lambda level: fixed(level[0]), reverse=True),
        "a": sorted(diff.asks.items(), key=lambda level: fixed(level[0])),
    }
    return msgspec.json.encode({**update, "U": diff.first_id, "u": diff.last_id, **sides})


def _off_book(payload: bytes) -> bytes:
    """A fill that is none of the book's: its price is far away, and `X` says so."""
    trade = msgspec.json.decode(payload)
    price = text(fixed(trade["p"]) * (100 - OFF_BOOK_PERCENT) // 100)
    return msgspec.json.encode({**trade, "p": price, "X": "INSURANCE_FUND"})


def _other_times(request: FaultRequest, payload: bytes) -> bytes:
    if request.fault == "time.micros":
        return _TIMES.sub(rb'"\1":\g<2>000', payload)
    by = -request.ms if request.fault == "time.back" else request.ms
    return _EVENT_TIME.sub(lambda found: b'"E":%d' % (int(found[1]) + by), payload, count=1)
