"""Playback: moves a source through time, at a pace, with gates and a pause, and hands on its frames. Knows no socket."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from leadline.clock import Clock
from leadline.standin.derived import Derived
from leadline.standin.pace import Pace
from leadline.standin.script import Script
from leadline.standin.source import DepthAnswer, Frame, Place, Source

GATE_WAIT_S = 5.0  # of virtual time that a recorded snapshot waits to be asked for
BATCH_NS = 100_000_000  # handed on in one piece at speed 0
CATCH_UP_NS = 1_000_000_000  # at most in one piece at other speeds
NAP_S = 0.2  # longest sleep without looking at the controls
GRAIN_S = 0.002  # frames leave together that are due within; or hundreds of symbols would wake the loop for each of theirs


class Player:
    """One source, one position. All times are the source's (virtual) unless they end in `_s`.

    speed: virtual seconds per second; 0 = as fast as `deliver` returns, and only while somebody listens.
    hold: stop at each recorded snapshot until it was asked for and `resume` has come.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Clock,
        pace: Pace,
        derived: Derived,
        script: Script,
        speed: float,
        hold: bool,
        paused: bool,
        deliver: Callable[[list[Frame]], Awaitable[None]],
        listeners: Callable[[str | None], bool],
    ) -> None:
        """deliver: takes frames, returns when more may come. listeners: is this depth heard by anybody (None: anything)?

        pace: is told how fast virtual time passes. derived: what is worked out at moments between the source's own. script: what
        else is due.
        """
        self.source = source
        self.speed = speed
        self.hold = hold
        self.gate: str | None = None
        self.gate_asked = False
        self.finished = False
        self.started = False
        self.position_ns = source.start_ns - 1
        self.frames = 0
        self.waiting: Counter[str] = Counter()  # depth requests whose place has not come
        self._clock = clock
        self._pace = pace
        self._derived = derived
        self._script = script
        self._deliver = deliver
        self._listeners = listeners
        self._limit_ns = self.position_ns if paused else None
        self._gate_resumed = False
        self._gate_answers = False
        self._anchor: tuple[float, int] | None = None
        self._moved = float("-inf")
        self._changed = asyncio.Event()
        self._keep_pace()

    @property
    def playing(self) -> bool:
        """True while virtual time passes by itself: not paused, not as fast as it is read, not at the end."""
        return bool(self.speed) and not self.paused and not self.finished

    @property
    def paused(self) -> bool:
        """True while only `advance` moves the market."""
        return self._limit_ns is not None

    def changed(self) -> None:
        """Something that somebody may wait for is different now."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for a condition on the state of the stand-in."""
        while not holds():
            await self._changed.wait()

    def pause(self) -> None:
        """Stop here."""
        self._limit_ns = self.position_ns
        self._keep_pace()
        self.changed()

    def set_speed(self, speed: float) -> None:
        """From now on; a pause stays."""
        self.speed, self._anchor = speed, None
        self._keep_pace()
        self.changed()

    def _keep_pace(self) -> None:
        self._pace.set_rate(self.speed if self.speed and not self.paused else 1.0)

    def resume(self) -> None:
        """At a held gate: the second of the two things it waits for. Elsewhere: end a pause."""
        if self.hold and self.gate is not None:
            self._gate_resumed = self._gate_answers = True
        else:
            self._limit_ns = self._anchor = None
            self._keep_pace()
        self.changed()

    def answer(self) -> None:
        """At a held gate: give the recorded snapshot to who asked for it, while playback stays."""
        self._gate_answers = self.gate is not None
        self.changed()

    async def advance(self, by_ns: int) -> None:
        """Pause, and play `by_ns` further; returns when those frames are handed on, or at a gate, or at the end."""
        goal = (self.position_ns if self._limit_ns is None else self._limit_ns) + by_ns
        self._limit_ns, self._anchor = goal, None
        self._keep_pace()
        self.changed()
        await self.until(lambda: self.position_ns >= goal or self.finished or self.gate is not None)

    async def depth(
        self, symbol: str, limit: int, events_back: int = 0, age_us: int = 0, place: Place = "now"
    ) -> DepthAnswer | None:
        """The book here, as it was age_us ago; or, before the place of the recorded one, at that place.

        None: not known, and no snapshot ahead.
        """
        self.waiting[symbol] += 1
        self.changed()
        try:
            while True:
                answer = self.source.depth(symbol, limit, events_back=events_back, place=place, age_us=age_us)
                if answer is not None and not self._closed(symbol):
                    break
                if answer is None and not self.source.snapshot_ahead(symbol):
                    return None
                await self._changed.wait()
        finally:
            self.waiting[symbol] -= 1
        if self.source.gate() == symbol:
            self.gate_asked = True
            self.changed()
        return answer

    def _closed(self, symbol: str) -> bool:
        """At the symbol's gate: before what stands in front of it was handed on, or held."""
        return self.source.gate() == symbol and (self.gate != symbol or (self.hold and not self._gate_answers))

    async def play(self) -> None:
        """One session, from the position to the end of the source."""
        if self.source.waits_for_client:
            await self.until(lambda: self._listeners(None) or self.paused)
        while not self.finished:
            if not self.speed:
                await self.until(lambda: self._listeners(None) or self.paused or bool(self.speed))
            await self._step()

    def restart(self) -> None:
        """The next session begins."""
        self.source.restart()
        self._derived.restart()
        self.position_ns = self.source.start_ns - 1
        self.finished = self.started = False
        self._anchor = None
        self.changed()

    async def _step(self) -> None:
        own_ns = self.source.next_ns()
        if own_ns is None:
            self.finished = True
            self.changed()
            return
        if self.source.gate() is not None:
            await self._stand_at_gate(own_ns)
            return
        script_ns = self._script.next_ns()
        if script_ns is not None and script_ns <= self.position_ns:
            self._script.run(self.position_ns)
            return
        tick_ns = self._derived.next_ns(self.position_ns)
        due_ns = min(own_ns, tick_ns)
        if script_ns is not None:
            due_ns = min(due_ns, script_ns)
        if self._limit_ns is not None and due_ns > self._limit_ns:
            limit_ns = self._limit_ns
            await self._move(limit_ns, tick_ns)
            await self.until(lambda: self._limit_ns != limit_ns)
        elif (target_ns := await self._target(due_ns)) is not None:
            ends = (target_ns, tick_ns, self._limit_ns, script_ns)
            await self._move(min(end for end in ends if end is not None), tick_ns)

    async def _target(self, due_ns: int) -> int | None:
        """How far playback may go now; None if it is not yet time."""
        if not self.speed:
            return due_ns + BATCH_NS
        now = self._clock.monotonic()
        if self._anchor is None:
            self._anchor = now, max(self.position_ns, self.source.start_ns)
        began, from_ns = self._anchor
        target_ns = from_ns + int((now - began) * self.speed * 1e9)
        due = began + (due_ns - from_ns) / 1e9 / self.speed
        if due <= now and self._moved + GRAIN_S <= now:
            self._moved = now
            return min(target_ns, due_ns + CATCH_UP_NS)
        await self._clock.sleep_until(min(now + NAP_S, max(due, self._moved + GRAIN_S)))
        return None

    async def _move(self, until_ns: int, tick_ns: int) -> None:
        """To until_ns, which is not behind the derived streams' next moment."""
        frames = self.source.advance(until_ns)
        if until_ns == tick_ns and self.source.gate() is None:
            frames += self._derived.tick(tick_ns)
        self.started = self.started or bool(frames)
        self.frames += len(frames)
        await self._deliver(frames)
        if self.source.gate() is None:  # else the gate's own place, when playback stands there
            self.position_ns = max(self.position_ns, until_ns)
        self.changed()

    async def _stand_at_gate(self, at_ns: int) -> None:
        symbol = self.gate = self.source.gate()
        assert symbol is not None
        self.position_ns = max(self.position_ns, at_ns)
        self.changed()
        if self.hold:
            await self.until(lambda: self.gate_asked and self._gate_resumed)
        elif self._listeners(symbol) or self.waiting[symbol]:
            await self._asked_or_late()
        self.source.pass_gate()
        self.gate = self._anchor = None
        self.gate_asked = self._gate_resumed = self._gate_answers = False
        self.changed()

    async def _asked_or_late(self) -> None:
        late_at = self._clock.monotonic() + GATE_WAIT_S / (self.speed or 1.0)
        async with asyncio.TaskGroup() as tasks:
            asked = tasks.create_task(self.until(lambda: self.gate_asked), name="gate.asked")
            late = tasks.create_task(self._clock.sleep_until(late_at), name="gate.late")
            await asyncio.wait((asked, late), return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            late.cancel()
