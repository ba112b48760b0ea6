"""QuoteAudit: our best prices against the last ticker whose id is not above the book's."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.build import book, quote

from leadline.core.audit import PENDING_MAX, QuoteAudit


def at(update_id, bid=99, ask=101, bid_qty=1, ask_qty=1):
    return book([(bid, bid_qty), (90, 5)], [(ask, ask_qty), (110, 5)], update_id=update_id)


def ticker(update_id, bid=99, ask=101, bid_qty=1, ask_qty=1):
    return quote(update_id, bid, bid_qty, ask, ask_qty)


def test_a_book_is_compared_once_a_later_ticker_has_come():
    audit = QuoteAudit()
    assert audit.quote_received(ticker(5))
    audit.book_changed(at(7))
    assert audit.checks == 0, "a ticker of id 6 or 7 may still be on its way"
    assert audit.quote_received(ticker(8, bid=100))
    assert (audit.checks, audit.mismatches) == (1, 0)


def test_a_ticker_of_the_books_own_id_is_the_one_to_compare_with():
    audit = QuoteAudit()
    audit.quote_received(ticker(5, bid=98))
    audit.book_changed(at(7))
    assert audit.quote_received(ticker(7))
    assert audit.quote_received(ticker(9, bid=97))
    assert (audit.checks, audit.mismatches) == (1, 0)


def test_a_ticker_above_the_books_id_says_nothing_about_it():
    audit = QuoteAudit()
    audit.book_changed(at(7))
    audit.quote_received(ticker(8, bid=98))
    audit.quote_received(ticker(9, bid=98))
    assert audit.checks == 0, "no ticker at or below 7 is known"


def test_each_of_the_four_numbers_counts():
    for wrong in ({"bid": 98}, {"ask": 102}, {"bid_qty": 2}, {"ask_qty": 2}):
        audit = QuoteAudit()
        audit.quote_received(ticker(5, **wrong))
        audit.book_changed(at(7))
        assert not audit.quote_received(ticker(8))
        assert (audit.checks, audit.mismatches) == (1, 1)
        assert audit.last_mismatch.startswith("at 7: ")


def test_several_books_wait_for_one_ticker():
    audit = QuoteAudit()
    audit.quote_received(ticker(5))
    audit.book_changed(at(6))
    audit.book_changed(at(7, bid=98))
    assert not audit.quote_received(ticker(9))
    assert (audit.checks, audit.mismatches) == (2, 1)


def test_ids_that_do_not_rise_make_what_came_before_incomparable():
    for again in (4, 5):
        audit = QuoteAudit()
        audit.quote_received(ticker(5, bid=98))
        audit.book_changed(at(7))
        audit.quote_received(ticker(again))
        audit.quote_received(ticker(8))
        assert audit.checks == 0


def test_a_restart_forgets_books_and_tickers():
    audit = QuoteAudit()
    audit.quote_received(ticker(5, bid=98))
    audit.book_changed(at(7))
    audit.restart()
    audit.book_changed(at(8))
    audit.quote_received(ticker(9))
    assert audit.checks == 0


def test_a_one_sided_book_is_not_compared():
    audit = QuoteAudit()
    audit.quote_received(ticker(5))
    audit.book_changed(book([(99, 1)], [], update_id=7))
    assert audit.quote_received(ticker(9))
    assert audit.checks == 0


def test_a_quiet_ticker_leaves_the_oldest_books_uncompared_and_no_memory_grows():
    audit = QuoteAudit()
    audit.quote_received(ticker(5))
    for update_id in range(6, 6 + PENDING_MAX + 10):
        audit.book_changed(at(update_id))
    assert audit.quote_received(ticker(10_000))
    assert audit.checks == PENDING_MAX


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3), st.integers(97, 99)), max_size=40))
def test_every_comparable_book_is_compared_with_the_last_ticker_not_above_it(steps):
    """Model: at the end go through all books; comparable are those with a ticker at or below and one above."""
    audit, books, tickers = QuoteAudit(), [], []
    book_id = ticker_id = 10
    for is_book, step, bid in steps:
        if is_book:
            book_id += step
            books.append((book_id, bid, ticker_id))
            audit.book_changed(at(book_id, bid=bid))
        else:
            ticker_id += step
            tickers.append((ticker_id, bid))
            audit.quote_received(ticker(ticker_id, bid=bid))
    checks = mismatches = 0
    for update_id, bid, _ in books:
        before = [known for number, known in tickers if number <= update_id]
        # A book that comes behind the ticker that would release it waits for the next one.
        released = [number for number, _ in tickers if number > update_id]
        heard = next(seen for number, _, seen in books if number == update_id)
        if before and any(number > heard for number in released):
            checks += 1
            mismatches += before[-1] != bid
    assert (audit.checks, audit.mismatches) == (checks, mismatches)
