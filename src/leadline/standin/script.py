"""What is to happen when, in virtual time: faults from a file or the command line, and the ends of those that have one. Pure."""

import heapq
import itertools
import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from leadline.standin.draws import Draws
from leadline.standin.faults import ALL_FAULTS, FaultRequest

SECOND_NS = 1_000_000_000


class NotAScript(ValueError):
    """The text is no script; says where."""


class Entry(Struct, frozen=True, kw_only=True):
    """A fault, and when: `at_s` after the start, or again and again at random, `every_s` on average, drawn from `seed`."""

    request: FaultRequest
    at_s: Annotated[float, Meta(ge=0)] | None = None
    every_s: Annotated[float, Meta(gt=0)] | None = None
    seed: int = 0


class Scenario(Struct, frozen=True, kw_only=True):
    """A file: what market it wants, and its entries. Null: not said."""

    seed: int | None = None
    start_ms: int | None = None
    symbols: tuple[str, ...] | None = None
    entries: tuple[Entry, ...] = ()


def scenario(toml: str) -> Scenario:
    """A scenario from its text. Raises NotAScript."""
    try:
        said = tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise NotAScript(str(error)) from error
    unknown = said.keys() - {"seed", "start", "symbols", "script"}
    if unknown:
        raise NotAScript(f"unknown key {min(unknown)!r}; there are seed, start, symbols, script")
    start = said.get("start")
    try:
        said["script"] = msgspec.convert(said.get("script", []), list[dict[str, Any]])
        return Scenario(
            seed=msgspec.convert(said.get("seed"), int | None),
            start_ms=None if start is None else _unix_ms(start),
            symbols=msgspec.convert(said.get("symbols"), tuple[str, ...] | None),
            entries=tuple(entry(each) for each in said["script"]),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise NotAScript(str(error)) from error


def _unix_ms(said: object) -> int:
    moment = msgspec.convert(said, datetime)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def entry(said: dict[str, Any]) -> Entry:
    """One entry: `at` or `every` (with `seed`), seconds, beside the fields of a FaultRequest. Raises NotAScript."""
    fields = dict(said)
    if "at" in fields and "every" in fields:
        raise NotAScript(f"{said}: `at` or `every`, not both")
    when = {"at_s": fields.pop("at", None), "every_s": fields.pop("every", None), "seed": fields.pop("seed", 0)}
    try:
        found = msgspec.convert({**when, "request": fields}, Entry)
    except msgspec.ValidationError as error:
        raise NotAScript(f"{said}: {error}") from error
    if found.request.fault not in ALL_FAULTS:
        raise NotAScript(f"{found.request.fault!r} is none of {', '.join(ALL_FAULTS)}")
    return found


def command_line(words: str) -> Entry:
    """`diff.drop symbol=BTCUSDT at=12 count=1`: values as JSON has them, texts bare. Without a time: at the start."""
    name, *rest = words.split() or [""]
    said: dict[str, Any] = {"fault": name}
    for word in rest:
        key, equals, value = word.partition("=")
        if not equals:
            raise NotAScript(f"{word!r} is not key=value")
        try:
            said[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            said[key] = value
    return entry(said)


class Script:
    """What is due when. Times are the source's, ns."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, at_ns: int, do: Callable[[], None]) -> None:
        """Then, do that; what stands at one moment is done in the order in which it came here."""
        heapq.heappush(self._due, (at_ns, next(self._numbers), do))

    def play(self, entries: Iterable[Entry], start_ns: int, fault: Callable[[FaultRequest], None]) -> None:
        """All of these, from start_ns on."""
        for number, each in enumerate(entries):
            if each.every_s is None:
                self.at(start_ns + int((each.at_s or 0) * SECOND_NS), partial(fault, each.request))
            else:
                self._again(each, Draws(each.seed, "script", number), start_ns, fault)

    def _again(self, each: Entry, draws: Draws, from_ns: int, fault: Callable[[FaultRequest], None]) -> None:
        assert each.every_s is not None
        due_ns = from_ns + draws.waiting_us(1_000_000) * int(each.every_s * 1_000_000)  # a mean of one second, times every_s

        def strike() -> None:
            fault(each.request)
            self._again(each, draws, due_ns, fault)

        self.at(due_ns, strike)

    def clear(self) -> None:
        """Nothing is due any more."""
        self._due.clear()

    def next_ns(self) -> int | None:
        """When the next thing is due."""
        return self._due[0][0] if self._due else None

    def run(self, position_ns: int) -> None:
        """Do what is due."""
        while self._due and self._due[0][0] <= position_ns:
            heapq.heappop(self._due)[2]()
