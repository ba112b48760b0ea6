"""The recorder against a real History: what it takes, what it says, and what it remembers while the store fails."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from msgspec import structs
from tests.fakes import FailingEngine, FakeClock, HeldWriter, InlineWriter, run, settle
from tests.store import samples

from leadline.core.errors import StoreFull
from leadline.core.records import BookSnapshot, BookState, Flag, Incident, SymbolSecond
from leadline.logs import JsonFormatter, TextFormatter
from leadline.service.recorder import QUEUE_MAX_S, Recorder
from leadline.store.history import History

T = 1_723_161_240
FULL = StoreFull("the test's store", "no space left on device")


class Room:
    """A recorder over a store that can fail."""

    def __init__(self, **options: object) -> None:
        self.engine = FailingEngine()
        self.history = History(self.engine, "the test's store")
        self.recorder = Recorder(self.history, **options)  # type: ignore[arg-type]
        self.clock = FakeClock()

    @asynccontextmanager
    async def running(self, writer: ThreadPoolExecutor | None = None) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.recorder.run(self.clock, writer or InlineWriter()))
        await settle()
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    def stored(self, symbol: str = "BTCUSDT") -> list[int]:
        return [snapshot.timestamp for snapshot in self.history.snapshots(symbol, T, T + 1000).rows]

    def records(self, symbol: str = "BTCUSDT") -> list[int]:
        return [record.t for record in self.history.seconds(symbol, T, T + 1000).rows]

    def incidents(self, kind: str) -> list[Incident]:
        return [incident for incident in self.history.incidents("*").rows if incident.kind == kind]


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.INFO, logger="leadline")
    yield


def said(caplog: pytest.LogCaptureFixture, containing: str = "") -> list[tuple[int, str]]:
    return [(r.levelno, r.getMessage()) for r in caplog.records if containing in r.getMessage()]


def live(second: int, symbol: str = "BTCUSDT", *, update_id: int = 7, epoch: int = 3) -> SymbolSecond:
    row = samples.row(second, symbol, update_id=update_id, epoch=epoch, flags=0)
    return structs.replace(row, snapshot=samples.book(second, update_id=update_id))


def empty(second: int, skipped: str = "empty orderbook") -> SymbolSecond:
    return structs.replace(samples.row(second), snapshot=None, skipped=skipped)


async def written(room: Room) -> None:
    """Until nothing waits; each batch takes a few turns of the loop."""
    while room.recorder.queue_length:
        await room.clock.advance(1)


def accept_all(room: Room, seconds: Sequence[int]) -> None:
    for second in seconds:
        room.recorder.accept(second, [live(second)], second)


# Sentences ---------------------------------------------------------------------


def test_the_operators_sentences_stand_word_for_word_with_their_levels(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        room = Room()
        async with room.running():
            room.recorder.accept(T, [live(T), live(T, "ETHUSDT")], T)
            room.recorder.accept(T + 1, [empty(T + 1)], T + 1)
            room.recorder.accept(T + 2, [empty(T + 2, "book not live (gap)")], T + 2)
            await settle()
            room.engine.error = FULL
            room.recorder.accept(T + 3, [live(T + 3)], T + 3)
            await settle()

    run(test())
    assert said(caplog) == [
        (logging.INFO, "Snapshot persistence task started"),
        (logging.WARNING, "Skipping snapshot for BTCUSDT: empty orderbook"),
        (logging.WARNING, "Skipping snapshot for BTCUSDT: book not live (gap)"),
        (logging.INFO, f"Stored snapshot for BTCUSDT at {T}"),
        (logging.INFO, f"Stored snapshot for ETHUSDT at {T}"),
        (logging.ERROR, "Failed to persist BTCUSDT snapshot: store the test's store: no space left on device"),
        (logging.INFO, "Snapshot persistence task shutting down"),
    ]


def test_both_formats_hold_the_sentence_so_that_one_grep_counts_in_either(caplog: pytest.LogCaptureFixture):
    room = Room()
    room.recorder.write([live(T), live(T, "ETHUSDT")])
    text = [TextFormatter().format(record) for record in caplog.records]
    lines = [JsonFormatter().format(record) for record in caplog.records]
    for formatted in (text, lines):
        assert sum("Stored snapshot for BTCUSDT" in line for line in formatted) == 1
        assert sum(f"Stored snapshot for ETHUSDT at {T}" in line for line in formatted) == 1
    first = json.loads(lines[0])
    assert (first["message"], first["symbol"], first["second"]) == (f"Stored snapshot for BTCUSDT at {T}", "BTCUSDT", T)


def test_stored_is_said_only_after_the_write_returned(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        room, writer = Room(), HeldWriter()
        async with room.running(writer):
            accept_all(room, [T])
            await settle()
            assert (writer.in_hand, said(caplog, "Stored")) == (1, [])
            await writer.let_through()
            assert said(caplog, "Stored") == [(logging.INFO, f"Stored snapshot for BTCUSDT at {T}")]

    run(test())


def test_a_debug_line_tells_levels_and_id_of_each_capture(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG, logger="leadline")
    Room().recorder.checked(live(T, update_id=99), T)
    (record,) = [r for r in caplog.records if r.levelno == logging.DEBUG]
    fields = vars(record)
    assert (fields["symbol"], fields["second"], fields["update_id"], fields["bids"], fields["asks"]) == ("BTCUSDT", T, 99, 20, 20)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("all", [f"Stored snapshot for BTCUSDT at {T + s}" for s in (58, 59, 60)]),
        ("summary", ["snapshots_stored", "snapshots_stored"]),
        ("none", []),
    ],
)
def test_snapshot_lines_decide_how_much_is_said(lines: str, expected: list[str], caplog: pytest.LogCaptureFixture):
    async def test() -> Room:
        room = Room(snapshot_lines=lines)
        accept_all(room, [T + 58, T + 59, T + 60])
        await room.recorder.drain(InlineWriter())
        return room

    room = run(test())
    assert room.stored() == [T + 58, T + 59, T + 60]
    assert [sentence for _, sentence in said(caplog)] == expected
    counts = [vars(record)["count"] for record in caplog.records if record.getMessage() == "snapshots_stored"]
    assert counts == ([2, 1] if lines == "summary" else [])  # the minute that an orderly stop cuts short is told too


# Checks ------------------------------------------------------------------------


def test_an_empty_book_leaves_a_record_and_no_snapshot():
    room = Room()
    room.recorder.write([room.recorder.checked(empty(T), T)])
    assert (room.records(), room.stored()) == ([T], [])
    assert dict(room.recorder.skipped) == {"empty orderbook": 1}


@pytest.mark.parametrize("ahead", [-5, -4.9, 0, 1])
def test_a_second_within_the_clock_window_is_stored(ahead: float):
    row = live(T)
    assert Room().recorder.checked(row, T - ahead) == row


@pytest.mark.parametrize("ahead", [-3600, -5.1, 1.1, 3600])
def test_a_second_outside_the_clock_window_is_refused_and_its_record_flagged(ahead: float, caplog: pytest.LogCaptureFixture):
    room = Room()
    row = room.recorder.checked(live(T), T - ahead)
    room.recorder.write([row])
    assert room.stored() == []
    assert [record.flags for record in room.history.seconds("BTCUSDT", T, T + 1).rows] == [int(Flag.CLOCK)]
    assert said(caplog) == [(logging.WARNING, "Skipping snapshot for BTCUSDT: second outside [now-5 s, now+1 s]")]


def test_a_second_outside_the_clock_window_is_flagged_without_a_book_too():
    row = structs.replace(empty(T, "book not live (gap)"), record=samples.record(T, state=BookState.SYNCING, flags=int(Flag.GAP)))
    checked = Room().recorder.checked(row, T + 10)
    assert checked.record is not None
    assert checked.record.flags == Flag.CLOCK | Flag.GAP


def test_an_update_id_that_falls_inside_an_epoch_is_warned_of_and_stored(caplog: pytest.LogCaptureFixture):
    room = Room()
    room.recorder.write([room.recorder.checked(live(T + i, update_id=10 - i), T + i) for i in (0, 1)])
    assert room.stored() == [T, T + 1]
    assert said(caplog, "regressed") == [(logging.WARNING, "update_id_regressed")]


@pytest.mark.parametrize(("update_id", "epoch"), [(9, 4), (10, 3), (11, 3)])
def test_an_update_id_that_falls_across_epochs_or_stands_still_is_no_news(
    update_id: int, epoch: int, caplog: pytest.LogCaptureFixture
):
    recorder = Room().recorder
    recorder.checked(live(T, update_id=10, epoch=3), T)
    recorder.checked(live(T + 1, update_id=update_id, epoch=epoch), T + 1)
    assert said(caplog) == []


def test_update_ids_of_two_symbols_are_not_compared(caplog: pytest.LogCaptureFixture):
    recorder = Room().recorder
    recorder.checked(live(T, update_id=10), T)
    recorder.checked(live(T, "ETHUSDT", update_id=1), T)
    assert said(caplog) == []


def test_the_same_second_again_is_warned_of_counted_and_the_last_one_wins(caplog: pytest.LogCaptureFixture):
    room = Room()
    for update_id in (7, 8):
        room.recorder.write([room.recorder.checked(live(T, update_id=update_id), T)])
    assert said(caplog, "same_second_twice") == [(logging.WARNING, "same_second_twice")]
    assert room.recorder.repeated == {"BTCUSDT": 1}
    snapshot = room.history.snapshot("BTCUSDT", T)
    assert snapshot is not None and snapshot.update_id == 8


def test_seconds_written_again_after_the_clock_was_set_back_are_each_warned_of(caplog: pytest.LogCaptureFixture):
    recorder = Room().recorder
    for second in (T, T + 1, T + 2, T + 1, T + 2, T + 3):  # set back by two seconds after the third
        recorder.checked(live(second), second)
    assert [vars(r)["second"] for r in caplog.records if r.getMessage() == "same_second_twice"] == [T + 1, T + 2]


# A store that fails --------------------------------------------------------------


def test_a_failed_write_is_told_for_each_symbol_and_nothing_is_lost_when_the_store_comes_back(caplog: pytest.LogCaptureFixture):
    async def test() -> None:
        room = Room()
        room.engine.error = FULL
        async with room.running():
            for second in range(T, T + 5):
                room.recorder.accept(second, [live(second), live(second, "ETHUSDT")], second)
                await room.clock.advance(1)
            assert room.stored() == [] and room.recorder.last_stored_second is None
            failures = said(caplog, "Failed")
            room.engine.error = None
            await written(room)
            assert room.stored() == room.stored("ETHUSDT") == list(range(T, T + 5))
            assert room.recorder.last_stored_second == T + 4
        assert {sentence.split()[3] for _, sentence in failures} == {"BTCUSDT", "ETHUSDT"}
        assert len(failures) == 2 * 6  # at once and each of the five seconds, per symbol
        assert room.recorder.write_errors == 6
        assert room.incidents("queue_full") == []

    run(test())


def test_a_full_queue_drops_the_oldest_counts_it_and_tells_exactly_the_lost_seconds_once():
    async def test() -> None:
        room = Room()
        room.engine.error = FULL
        async with room.running():
            for second in range(T, T + QUEUE_MAX_S + 10):
                room.recorder.accept(second, [live(second)], second)
                await settle()
                assert room.recorder.queue_length <= QUEUE_MAX_S
            assert room.recorder.dropped_seconds == 10
            room.engine.error = None
            await written(room)
            kept = list(range(T + 10, T + QUEUE_MAX_S + 10))
            assert room.stored() == kept
            (told,) = room.incidents("queue_full")
            # Records at ticks T .. T+9 are gone: what happened in (T - 1, T + 9].
            assert (told.second, told.start_ms, told.end_ms) == (T, (T - 1) * 1000, (T + 9) * 1000)
            assert (told.cause, told.detail) == (str(FULL), "10 s of snapshots and records")
            accept_all(room, [T + QUEUE_MAX_S + 10])
            await settle()
            assert room.incidents("queue_full") == [told]

    run(test())


def test_the_lost_seconds_stand_in_the_first_batch_that_succeeds():
    async def test() -> None:
        room = Room()
        room.engine.error = FULL
        accept_all(room, range(T, T + QUEUE_MAX_S + 3))
        async with room.running():
            room.engine.error = None
            await written(room)
            assert room.engine.writes == QUEUE_MAX_S
        assert len(room.incidents("queue_full")) == 1

    async def only_one_batch() -> None:
        room, writer = Room(), HeldWriter()
        accept_all(room, range(T, T + QUEUE_MAX_S + 3))
        async with room.running(writer):
            await writer.let_through()
            assert room.stored() == [T + 3]
            assert len(room.incidents("queue_full")) == 1

    run(test())
    run(only_one_batch())


def test_seconds_lost_while_a_slow_write_succeeds_are_told_and_the_written_one_is_not():
    """Second T is in the writer's hands; 60 more fill the queue, 3 more drop T+1..T+3. T is stored, and no loss."""

    async def test() -> None:
        room, writer = Room(), HeldWriter()
        async with room.running(writer):
            accept_all(room, [T])
            await settle()
            accept_all(room, range(T + 1, T + 1 + QUEUE_MAX_S + 3))
            assert room.recorder.dropped_seconds == 3
            while writer.in_hand:
                await writer.let_through()
            assert room.stored() == [T, *range(T + 4, T + QUEUE_MAX_S + 4)]
            (told,) = room.incidents("queue_full")
            assert (told.start_ms, told.end_ms) == (T * 1000, (T + 3) * 1000)

    run(test())


def test_a_loss_that_goes_on_while_the_first_part_is_being_told_is_told_to_its_end():
    """T, T+1 dropped and told in the batch of T+2; while that is written T+3, T+4 are dropped. Stored: T+2; lost: 4 seconds."""

    async def test() -> None:
        room, writer = Room(), HeldWriter()
        accept_all(room, range(T, T + QUEUE_MAX_S + 2))
        async with room.running(writer):
            accept_all(room, range(T + QUEUE_MAX_S + 2, T + QUEUE_MAX_S + 5))
            while writer.in_hand:
                await writer.let_through()
        lost = {
            second
            for told in room.incidents("queue_full")
            for second in range(told.start_ms // 1000 + 1, told.end_ms // 1000 + 1)
        }
        everything = set(range(T, T + QUEUE_MAX_S + 5))
        assert lost == everything - set(room.stored()) == {T, T + 1, T + 3, T + 4}
        assert room.recorder.dropped_seconds == 4

    run(test())


def test_a_write_that_fails_after_a_drop_loses_exactly_what_it_says():
    async def test() -> None:
        room, writer = Room(), HeldWriter()
        async with room.running(writer):
            accept_all(room, range(T, T + QUEUE_MAX_S + 2))
            await settle()
            accept_all(room, range(T + QUEUE_MAX_S + 2, T + QUEUE_MAX_S + 4))
            room.engine.error = FULL
            await writer.let_through()
            assert room.recorder.queue_length == QUEUE_MAX_S
            room.engine.error = None
            await room.clock.advance(1)
            while writer.in_hand:
                await writer.let_through()
        (told,) = room.incidents("queue_full")
        lost = set(range(told.start_ms // 1000 + 1, told.end_ms // 1000 + 1))
        assert lost == set(range(T, T + QUEUE_MAX_S + 4)) - set(room.stored())

    run(test())


def test_two_separate_losses_are_two_incidents():
    async def test() -> None:
        room = Room()
        async with room.running():
            for start in (T, T + 100):
                room.engine.error = FULL
                accept_all(room, range(start, start + QUEUE_MAX_S + 1))
                await settle()
                room.engine.error = None
                await written(room)
        assert [(i.start_ms // 1000 + 1, i.end_ms) for i in room.incidents("queue_full")] == [
            (T, T * 1000),
            (T + 100, (T + 100) * 1000),
        ]

    run(test())


def test_a_row_that_cannot_be_encoded_costs_no_other_and_is_an_incident(caplog: pytest.LogCaptureFixture):
    bad = structs.replace(live(T, "ETHUSDT"), snapshot=BookSnapshot(((-1, 1),), (), 7, T + 5))

    async def test() -> Room:
        room = Room()
        async with room.running():
            room.recorder.accept(T, [live(T), bad, live(T, "XRPUSDT")], T)
            await settle()
            accept_all(room, [T + 1])
            await settle()
        return room

    room = run(test())
    assert room.stored() == [T, T + 1] and room.stored("XRPUSDT") == [T] and room.records("ETHUSDT") == []
    ((level, sentence),) = said(caplog, "Failed")
    assert level == logging.ERROR and sentence.startswith("Failed to persist ETHUSDT snapshot: ")
    assert room.recorder.stored == 3
    (told,) = room.incidents("not_stored")
    assert (told.start_ms, told.end_ms, told.cause) == (T * 1000, T * 1000, "ETHUSDT cannot be encoded")


def test_a_row_that_cannot_be_encoded_is_not_the_last_stored_second():
    room = Room()
    room.recorder.write([live(T)])
    room.recorder.write([structs.replace(live(T + 1), snapshot=samples.book(T + 2))])
    assert room.recorder.last_stored_second == T


def test_what_waits_when_the_service_stops_is_written(caplog: pytest.LogCaptureFixture):
    async def test() -> Room:
        room, writer = Room(), HeldWriter()
        async with room.running(writer):
            accept_all(room, range(T, T + 10))
            await settle()  # one is in the writer's hands when the task is cancelled
        await room.recorder.drain(InlineWriter())
        return room

    room = run(test())
    assert room.stored() == list(range(T, T + 10))
    assert [sentence for _, sentence in said(caplog, "Stored")] == [f"Stored snapshot for BTCUSDT at {T + i}" for i in range(10)]
    assert room.recorder.queue_length == 0


def test_a_stop_over_a_broken_store_ends_and_says_how_much_is_lost(caplog: pytest.LogCaptureFixture):
    async def test() -> Room:
        room = Room()
        room.engine.error = FULL
        accept_all(room, [T, T + 1])
        await room.recorder.drain(InlineWriter())
        return room

    room = run(test())
    assert room.recorder.queue_length == 2
    (record,) = [r for r in caplog.records if r.getMessage() == "seconds_lost_at_stop"]
    assert (record.levelno, vars(record)["count"], vars(record)["cause"]) == (logging.ERROR, 2, str(FULL))


# Incidents -----------------------------------------------------------------------


def test_an_incident_goes_with_the_next_batch_that_is_written_and_only_once():
    room = Room(incident_keys=[(T, 0)])
    room.recorder.incident("outage", T * 1000, T * 1000 + 5, "stopped", "")
    room.engine.error = FULL
    with pytest.raises(StoreFull):
        room.recorder.write([live(T)])
    room.engine.error = None
    room.recorder.write([live(T)])
    (first,) = room.history.incidents("*").rows
    assert (first.kind, first.n) == ("outage", 1)  # number 0 of that second was taken before the start
    room.recorder.incident("outage", T * 1000, T * 1000 + 6, "stopped", "")
    room.recorder.write([live(T + 1)])
    assert [(i.n, i.end_ms) for i in room.history.incidents("*").rows] == [(1, T * 1000 + 5), (2, T * 1000 + 6)]


def test_an_incident_noted_while_a_batch_is_written_goes_with_the_one_after():
    async def test() -> None:
        room, writer = Room(), HeldWriter()
        async with room.running(writer):
            accept_all(room, [T, T + 1])
            await settle()
            room.recorder.incident("clock_step", T * 1000, T * 1000, "the clock was set back", "")
            await writer.let_through()
            assert room.history.incidents("*").rows == []
            await writer.let_through()
            assert len(room.incidents("clock_step")) == 1

    run(test())


def test_a_dropped_second_keeps_its_trades_and_incidents_which_tell_of_other_seconds():
    """The first second carries trades of a minute ago, as a backfill does, and an incident of five minutes ago."""

    async def test() -> None:
        room = Room()
        room.engine.error = FULL
        block, incident = samples.block(T - 60, 5), samples.incident(T - 300)
        async with room.running():
            first = structs.replace(live(T), trades=(block,), incidents=(incident,))
            room.recorder.accept(T, [first], T)
            for second in range(T + 1, T + QUEUE_MAX_S + 2):
                room.recorder.accept(second, [live(second)], second)
                await settle()
            assert room.recorder.dropped_seconds > 0
            room.engine.error = None
            await written(room)
        assert T not in room.stored()
        assert room.history.trades("BTCUSDT", T - 61, T - 59).rows == [block]
        assert incident in room.history.incidents("BTCUSDT").rows

    run(test())
