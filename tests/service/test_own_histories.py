"""The histories of symbols that are asked about: read once, kept up to date, let go by least use, never passing over a record."""

from msgspec import structs
from tests.core.test_oracles import spot
from tests.service.desks import RULES

from leadline.core.records import SymbolSecond
from leadline.service.own_histories import OwnHistories
from leadline.service.steps import run
from leadline.store.history import History
from leadline.store.memory import MemoryEngine

LAST = 1723161601
LATER_S = 200_000


class Counting:
    """A store's reading side that counts the records it gives out as columns."""

    def __init__(self, history):
        self._history = history
        self.read = 0

    def second_columns(self, symbol, lo, hi, names):
        found = self._history.second_columns(symbol, lo, hi, names)
        self.read += len(found.seconds)
        return found

    def __getattr__(self, name):
        return getattr(self._history, name)


def rows(symbol, upto=LAST):
    return [row for row in spot(symbol)[0] if row.second <= upto]


def store(*symbols, upto=LAST):
    history = History(MemoryEngine(), "histories")
    for symbol in symbols:
        assert history.write(rows(symbol, upto)) == []
        history.set_rules(RULES[symbol])
    return history


def test_a_second_question_reads_only_what_is_new():
    history = store("BTCUSDT", upto=LAST - 10)
    counting = Counting(history)
    histories = OwnHistories(counting)
    run(histories.upto("BTCUSDT", LAST - 70, LAST - 10))
    assert counting.read == 336
    history.write([row for row in rows("BTCUSDT") if row.second > LAST - 10])
    own = run(histories.upto("BTCUSDT", LAST - 60, LAST))
    assert counting.read == 346
    assert own.to_s == LAST
    run(histories.upto("BTCUSDT", LAST - 300, LAST - 1))
    assert counting.read == 346, "a longer window that ended a second before"


def test_a_record_that_is_stored_late_is_not_passed_over():
    """Asked about at 20 s after the newest record: the history ends with the records, not with the question."""
    history = store("BTCUSDT", upto=LAST - 20)
    histories = OwnHistories(history)
    assert run(histories.upto("BTCUSDT", LAST - 60, LAST)).to_s == LAST - 20
    history.write([row for row in rows("BTCUSDT") if row.second > LAST - 20])
    own = run(histories.upto("BTCUSDT", LAST - 60, LAST))
    whole = run(OwnHistories(history).upto("BTCUSDT", LAST - 60, LAST))
    assert own.have_s(LAST) == whole.have_s(LAST) == 345


def test_the_least_used_symbol_goes_when_memory_is_short_and_the_asked_one_stays():
    histories = OwnHistories(store("BTCUSDT", "ETHUSDT"), bytes_max=1)
    run(histories.upto("BTCUSDT", LAST - 60, LAST))
    assert histories.symbols == ("BTCUSDT",)
    run(histories.upto("ETHUSDT", LAST - 60, LAST))
    assert histories.symbols == ("ETHUSDT",)
    roomy = OwnHistories(store("BTCUSDT", "ETHUSDT"))
    for symbol in ("BTCUSDT", "ETHUSDT", "BTCUSDT"):
        run(roomy.upto(symbol, LAST - 60, LAST))
    assert roomy.symbols == ("ETHUSDT", "BTCUSDT")


def test_two_questions_that_take_turns_read_each_record_once():
    counting = Counting(store("BTCUSDT"))
    histories = OwnHistories(counting)
    one, other = histories.upto("BTCUSDT", LAST - 60, LAST), histories.upto("BTCUSDT", LAST - 60, LAST)
    answers, waiting = [], [one, other]
    while waiting:
        for steps in list(waiting):
            try:
                next(steps)
            except StopIteration as end:
                answers.append(end.value)
                waiting.remove(steps)
    assert counting.read == 346
    assert answers[0] is answers[1]


def test_a_question_about_the_far_past_reads_that_past():
    """Two days later the recording lies outside what is held, and is read anew."""
    history = store("BTCUSDT")
    late = [
        SymbolSecond("BTCUSDT", row.second + LATER_S, structs.replace(row.record, t=row.second + LATER_S), None, None, (), ())
        for row in rows("BTCUSDT")
        if row.record is not None
    ]
    history.write(late)
    histories = OwnHistories(history)
    assert run(histories.upto("BTCUSDT", LAST + LATER_S - 60, LAST + LATER_S)).have_s(LAST + LATER_S) == 345
    assert run(histories.upto("BTCUSDT", LAST - 60, LAST)).have_s(LAST) == 345
